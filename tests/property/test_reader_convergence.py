"""Readers of a stream that drops, repeats, reorders and corrupts show nothing wrong, and never go back."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthcast.shared.codec import decode_delta, encode_delta, encode_info
from depthcast.shared.digest import digest_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import PartitionReader
from depthcast.shared.types import Delta, EntryInfo, Snapshot

SYMBOLS = ["A", "B", "C"]
Levels = tuple[dict[int, int], dict[int, int]]
Fields = list[tuple[bytes, bytes]]


class Authority:
    """A partition's streams, and every state ever published, by seq."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.epoch = 0
        self.entries: list[tuple[Position, Fields]] = []
        self.untrimmed: list[tuple[Position, Fields]] = []
        self.tail = ZERO
        self.snapshots: dict[str, list[tuple[Position, Snapshot]]] = {}
        self.states: dict[str, tuple[int, Levels]] = {}
        self.published: dict[tuple[str, int], Levels] = {}
        self.past: dict[Position, dict[str, tuple[int, Levels]]] = {ZERO: {}}
        self.lead()

    def lead(self) -> None:
        """A new leader: seal, then move every symbol into the epoch."""
        prev = self.tail
        self.epoch += self.rng.randint(1, 3)
        self.append(Position(self.epoch, 0), [], prev)
        self.publish(dict.fromkeys(self.states))

    def append(self, position: Position, deltas: Fields, prev: Position | None = None) -> None:
        info = EntryInfo(1, "0-0", 0, 0, 0, None, None if prev is None else str(prev))
        self.entries.append((position, [(b"_", encode_info(info)), *deltas]))
        self.untrimmed.append(self.entries[-1])
        self.tail = position
        self.past[position] = dict(self.states)

    def publish(self, changed: dict[str, tuple[int, int, int] | None]) -> None:
        """One entry: each symbol's change as (side, price, quantity), or None; unknown symbols are born."""
        deltas = []
        born = []
        for symbol, change in changed.items():
            seq, levels = self.states.get(symbol, (0, ({}, {})))
            after = (dict(levels[0]), dict(levels[1]))
            flats: list[list[int]] = [[], []]
            if seq and change:
                side, price, quantity = change
                flats[side] = [price, quantity]
                after[side][price] = quantity
                if not quantity:
                    del after[side][price]
            new = max(seq + 1, self.epoch * 1000)
            delta = Delta(seq, new, flats[0], flats[1], digest_of(after[0].items(), after[1].items()), 1)
            deltas.append((symbol.encode(), encode_delta(delta)))
            self.states[symbol] = (new, after)
            self.published[symbol, new] = after
            if not seq:
                born.append(symbol)
        self.append(Position(self.epoch, self.tail.n + 1), deltas)
        for symbol in born:
            self.snap(symbol)

    def snap(self, symbol: str) -> None:
        seq, levels = self.states[symbol]
        flats = [[number for level in side.items() for number in level] for side in levels]
        snapshot = Snapshot(seq, flats[0], flats[1], digest_of(levels[0].items(), levels[1].items()), 0)
        kept = self.snapshots.setdefault(symbol, [])
        if not kept or kept[-1][0] != self.tail:
            kept.append((self.tail, snapshot))

    def trim(self) -> None:
        newest = min((kept[-1][0] for kept in self.snapshots.values()), default=ZERO)
        self.entries = [entry for entry in self.entries if entry[0] >= newest or entry[0] == self.tail]

    def lose_tail(self) -> None:
        """A failover that loses the end of the stream, and a leader that continues from what survived.

        The replica that is promoted had not trimmed yet what a lost snapshot allowed to trim.
        """
        kept = self.rng.choice(self.entries[-4:])[0]
        self.untrimmed = [entry for entry in self.untrimmed if entry[0] <= kept]
        self.entries = list(self.untrimmed)
        self.tail = kept
        self.states = dict(self.past[kept])
        self.snapshots = {
            symbol: left
            for symbol, all_kept in self.snapshots.items()
            if (left := [snapshot for snapshot in all_kept if snapshot[0] <= kept])
        }
        self.epoch = max(self.epoch, kept.epoch)
        self.lead()

    def lose_everything(self) -> None:
        """FLUSHALL, and a leader that begins anew."""
        self.entries, self.untrimmed, self.snapshots, self.states = [], [], {}, {}
        self.past, self.tail = {ZERO: {}}, ZERO
        self.lead()

    def step(self) -> None:
        choice = self.rng.random()
        if choice < 0.75:
            changed = self.rng.sample(SYMBOLS, self.rng.randint(0, len(SYMBOLS)))
            self.publish({symbol: self.change(symbol) for symbol in changed})
        elif choice < 0.87:
            for symbol in self.rng.sample(sorted(self.states), self.rng.randint(0, len(self.states))):
                self.snap(symbol)
        elif choice < 0.92:
            self.trim()
        elif choice < 0.97:
            self.lead()
        else:
            self.lose_tail()

    def change(self, symbol: str) -> tuple[int, int, int]:
        side, price = self.rng.randint(0, 1), self.rng.randint(-3, 3)
        held = self.states.get(symbol, (0, ({}, {})))[1][side]
        quantity = self.rng.choice([0, 1, 2, 3]) if price in held else self.rng.choice([1, 2, 2**53 - 1])
        return side, price, quantity


class Viewer:
    """Drives a reader as the program's follower does, over a connection that may be bad."""

    def __init__(self, authority: Authority, rng: Random) -> None:
        self.authority, self.rng = authority, rng
        self.wanted = set(SYMBOLS[:2])
        self.reader = PartitionReader(self.wanted.__contains__)
        self.seen: dict[str, int] = {}
        self.loads = 0

    def step(self, spoil: float) -> bool:
        """Load or read once; returns whether there was anything to do."""
        authority, reader = self.authority, self.reader
        if reader.lost_reason is not None or reader.missing:
            wanted = list(self.wanted if reader.lost_reason is not None else reader.missing)
            tail = authority.tail
            if self.rng.random() < spoil:
                authority.step()
            found = {symbol: authority.snapshots.get(symbol, [None])[-1] for symbol in wanted}
            if self.rng.random() < spoil / 4:
                found[self.rng.choice(wanted)] = None
            reader.load(tail, found)
            self.loads += 1
            self.check()
            return True
        assert reader.position is not None
        batch = [entry for entry in authority.entries if entry[0] > reader.position]
        if not batch:
            reader.check_tail(authority.tail)
            return reader.lost_reason is not None
        for position, fields in self.through(batch, spoil):
            entry = reader.read(position, fields)
            self.check()
            if entry is None:
                break
        return True

    def through(self, batch: list[tuple[Position, Fields]], spoil: float) -> list[tuple[Position, Fields]]:
        """The part of `batch` that arrives, possibly altered."""
        arrived = []
        for position, fields in batch:
            roll = self.rng.random() / spoil if spoil else 1.0
            if roll < 0.2:
                continue
            arrived.append((position, self.spoilt(fields) if roll < 0.6 else fields))
            if 0.6 < roll < 0.8:
                arrived.append(arrived[-1])
            if 0.8 < roll < 0.9 and len(arrived) > 1:
                arrived[-2:] = reversed(arrived[-2:])
        return arrived

    def spoilt(self, fields: Fields) -> Fields:
        place = self.rng.randrange(len(fields))
        name, raw = fields[place]
        kind = self.rng.randrange(3)
        if kind == 0 or name == b"_":
            return [*fields[:place], (name, raw[: self.rng.randrange(len(raw))]), *fields[place + 1 :]]
        if kind == 1:
            return [field for field in fields if field[0] != name]
        delta = decode_delta(raw)
        wrong = encode_delta(delta._replace(bids=[*delta.bids, 9, 9]))
        return [*fields[:place], (name, wrong), *fields[place + 1 :]]

    def check(self) -> None:
        for symbol, replica in self.reader.shown.items():
            assert replica.seq >= self.seen.get(symbol, 0), "what is shown went back"
            self.seen[symbol] = replica.seq
            book = replica.book
            assert (book.bids.levels, book.asks.levels) == self.authority.published[symbol, replica.seq]

    def settle(self) -> None:
        """Read a good connection to its end; every wanted symbol must be shown at its final state."""
        for _ in range(200):
            if not self.step(0.0):
                break
        else:
            pytest.fail("the reader never comes to rest")
        expected = {symbol: state for symbol, state in self.authority.states.items() if symbol in self.wanted}
        shown = {
            symbol: (replica.seq, (replica.book.bids.levels, replica.book.asks.levels))
            for symbol, replica in self.reader.shown.items()
        }
        assert shown == expected
        assert all(self.reader.is_current(symbol) for symbol in expected)


def run(rng: Random, steps: int, spoil: Callable[[], float]) -> Viewer:
    authority = Authority(rng)
    viewer = Viewer(authority, rng)
    for step in range(steps):
        authority.step()
        if rng.random() < 0.6:
            viewer.step(spoil())
        if step == steps // 2:
            viewer.wanted.add("C")
            viewer.reader.want("C")
        if rng.random() < 0.05:
            viewer.reader.mark_lost("for a test")
    authority.publish({symbol: authority.change(symbol) for symbol in SYMBOLS})
    authority.lead()
    viewer.settle()
    return viewer


@settings(max_examples=50)
@given(
    rng=st.randoms(use_true_random=False), steps=st.integers(1, 40), spoil=st.sampled_from([0.0, 0.1, 0.5])
)
def test_short_runs(rng: Random, steps: int, spoil: float) -> None:
    run(rng, steps, lambda: spoil)


@pytest.mark.parametrize("seed", range(4))
def test_long_runs(seed: int) -> None:
    rng = Random(seed)
    viewer = run(rng, 1500, lambda: rng.choice([0.0, 0.05, 0.4]))
    assert viewer.loads > 100
