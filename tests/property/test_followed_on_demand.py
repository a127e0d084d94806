"""A market that follows what is asked for agrees with one that follows everything, whatever happens."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.market import Market
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from depthcast.shared.reader import (
    AppliedEntry,
    OldestEntry,
    Written,
    read_info,
    within_history,
    written_in,
)
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.take_up import Beginning, StreamEnds
from depthcast.shared.types import Snapshot, Symbol
from tests.property.test_reader_convergence import SYMBOLS, Authority

KEYS = PartitionKeys("{test:0}")
LINGER_S = 3.0
Raw = tuple[Position, list[tuple[bytes, bytes]]]
Found = tuple[Position, Snapshot] | None
Result = TypeVar("Result")


def market(*, everything: bool) -> Market:
    made = Market(
        GatewayCounters(),
        history_deltas=8,
        history_deltas_total=100,
        deflate_bytes_min=0,
        part_levels_max=100,
        parts_bytes_max=10_000,
        full_depth_max=1000,
        stale_ms=60_000,
        input_lag_max_ms=60_000,
        channel_linger_s=0,
        channels_max=100,
        groups_max=10,
        groups_per_symbol_max=10,
        book_history_s=10,
        book_history_bytes_max=1_000_000,
        follow_everything=everything,
        follow_linger_s=LINGER_S,
    )
    made.set_partitions(1)
    return made


class Gateway:
    """A market, and what feeds it as the program does. `now` is its clock."""

    def __init__(self, authority: Authority, *, everything: bool) -> None:
        self.authority = authority
        self.market = market(everything=everything)
        list_instruments(self, SYMBOLS)
        self.upstream = self.market.upstreams[0]
        self.reader = self.upstream.reader
        self.now = 0.0
        self.seen: dict[str, int] = {}

    def step(self, entries: int = 1000) -> bool:
        """Load, or read up to so many entries; returns whether there was anything to do."""
        authority, reader = self.authority, self.reader
        if reader.lost_reason is not None or reader.missing:
            wanted = list(self.upstream.symbols if reader.lost_reason is not None else reader.missing)
            found = {symbol: authority.snapshots.get(symbol, [None])[-1] for symbol in wanted}
            updates = reader.load(authority.tail, found)
            assert reader.position is not None
            self.apply(AppliedEntry(reader.position, None, updates))
            return True
        position = reader.position
        assert position is not None
        batch = [entry for entry in authority.entries if entry[0] > position][:entries]
        if not batch:
            reader.check_tail(authority.tail)
            return reader.lost_reason is not None
        for raw in batch:
            entry = reader.read(*raw)
            if entry is None:
                break
            self.apply(entry)
        return True

    def apply(self, entry: AppliedEntry) -> None:
        self.market.apply(self.upstream, entry, self.now)
        self.check()

    def check(self) -> None:
        """What is shown was published, does not go back while it is followed, and has its own past."""
        for symbol, replica in self.reader.shown.items():
            assert symbol in self.upstream.symbols
            assert replica.seq >= self.seen.get(symbol, 0)
            assert levels(replica) == self.authority.published[symbol, replica.seq]
            listing = self.market.listings[symbol]
            assert listing.replica is replica
            assert listing.history is not None
            assert listing.history.replica is replica
            state = listing.history.state_at(replica.seq)
            assert state.digest & 0xFFFFFFFF == replica.digest, "a change is missing in its past"
        self.seen = {symbol: replica.seq for symbol, replica in self.reader.shown.items()}

    def settle(self) -> None:
        for _ in range(300):
            if not self.step():
                break
        else:
            pytest.fail("it never comes to rest")
        self.market.update_statuses(self.now)


class Asked(Gateway):
    """The one that follows on demand; `meanwhile` happens whenever it waits for an answer.

    `on_its_way`: entries that the server has sent and that were not applied yet. `steps`, `takes_up`: what
    goes on now. `rests`: how often it came to rest because it followed nothing.
    """

    def __init__(self, authority: Authority, meanwhile: Callable[[], None]) -> None:
        super().__init__(authority, everything=False)
        self.meanwhile = meanwhile
        self.on_its_way: list[Raw] | None = None
        self.steps = self.takes_up = False
        self.rests = 0
        redis: Any = None
        with patch("depthcast.shared.runtime.follow.Tail"):
            self.follower = Follower(
                redis, KEYS, self.reader, lambda: self.upstream.symbols, past_s=10, rest_look_s=1.0
            )

    def step(self, entries: int = 1000) -> bool:
        """As of the other one; but it rests, and a read takes time, for others to come in between."""
        follower = self.follower
        if self.on_its_way is not None:
            batch, self.on_its_way = self.on_its_way, None
            self.take(batch)
            return True
        if self.upstream.symbols:
            follower._at_rest = False
            if self.reader.lost_reason is None and not self.reader.missing and entries < 3:
                position = self.reader.position
                assert position is not None
                self.on_its_way = [each for each in self.authority.entries if each[0] > position][:entries]
                return True
            return super().step(entries)
        self.rests += not follower._at_rest
        follower._at_rest = True
        before = self.reader.position
        self.steps = True
        with self._reading():
            looked = finished(follower._look_at_end())
        self.steps = False
        for entry in looked:
            self.apply(entry)
        return self.reader.position != before

    def take(self, batch: list[Raw]) -> None:
        for raw in batch:
            entry = self.reader.read(*raw)
            if entry is None:
                break
            self.apply(entry)

    def take_up(self, *, past: bool) -> bool:
        """Take up what is asked for; returns whether it succeeded or there was nothing."""
        some = list(self.market.demand.asked[0])
        if not some:
            return True
        self.takes_up = True
        with self._reading():
            taken = finished(self.follower.take_up(some, self.market.note_earlier, past=past))
        self.takes_up = False
        if taken is not None:
            self.market.adopt(0, taken.beside, taken.symbols, self.now, taken.written)
            self.check()
        return taken is not None

    def ends(self) -> StreamEnds:
        """Both ends of the stream, which may have lost its last entry."""
        authority = self.authority
        written = written_in(*authority.entries[-1])
        position, fields = authority.entries[0]
        return StreamEnds(authority.tail, written, OldestEntry(position, read_info(fields)[1]), foreign=False)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        authority = self.authority

        async def newest_entry() -> tuple[Position, Written | None]:
            self.meanwhile()
            ends = self.ends()
            self.meanwhile()
            return ends.tail, ends.written

        async def read_beginning(_: Any, __: Any, symbols: list[str], newest: int) -> Beginning:
            self.meanwhile()
            ends = self.ends()
            found: dict[str, Found] = {}
            for symbol in symbols:
                self.meanwhile()
                found[symbol] = authority.snapshots.get(symbol, [None])[-1]
            self.meanwhile()
            entries = authority.entries[-newest:] if newest else []
            self.meanwhile()
            return Beginning(ends, within_history(found, ends.oldest), entries)

        async def snapshots_before(_: Any, newest: dict[str, Position]) -> dict[str, Found]:
            self.meanwhile()
            kept = {key: authority.snapshots.get(key.rsplit(":", 1)[1], []) for key in newest}
            return {
                key: older[-1]
                for key, of_symbol in kept.items()
                if (older := [each for each in of_symbol if each[0] < newest[key]])
            }

        async def read_range(_: Any, __: str, after: Position, upto: Position, *, count: int) -> list[Raw]:
            self.meanwhile()
            return [entry for entry in authority.entries if after < entry[0] <= upto][: min(count, 3)]

        with (
            patch.object(self.follower, "_newest_entry", newest_entry),
            patch.multiple(
                "depthcast.shared.runtime.follow",
                read_beginning=read_beginning,
                snapshots_before=snapshots_before,
                read_range=read_range,
            ),
        ):
            yield


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns that never really waits."""
    try:
        work.send(None)
    except StopIteration as end:
        found: Result = end.value
        return found
    raise AssertionError("it waits")


def levels(replica: Any) -> tuple[dict[int, int], dict[int, int]]:
    return replica.book.bids.levels, replica.book.asks.levels


def run(rng: Random, steps: int) -> Asked:
    authority = Authority(rng)

    def meanwhile() -> None:
        while rng.random() < 0.4:
            happen(rng, authority)
        if rng.random() < 0.5 and not asked.steps:
            asked.step(rng.choice((1, 2, 1000)))
        if rng.random() < 0.3 and not asked.takes_up:
            asked.take_up(past=rng.random() < 0.5)
        if rng.random() < 0.1:
            ask_or_unfollow(rng, asked)
        if rng.random() < 0.03:
            asked.reader.mark_lost("for a test")

    asked, everything = Asked(authority, meanwhile), Gateway(authority, everything=True)
    for _ in range(steps):
        happen(rng, authority)
        for gateway in (asked, everything):
            if rng.random() < 0.6:
                gateway.step(rng.choice((1, 3, 1000)))
        if rng.random() < 0.03:
            sample = rng.sample(SYMBOLS, rng.randint(1, 3))
            for gateway in (asked, everything):
                list_instruments(gateway, sample)
        demand(rng, asked)
    finish(rng, authority, asked, everything)
    return asked


def happen(rng: Random, authority: Authority) -> None:
    """Something happens to the streams, FLUSHALL at the worst."""
    if rng.random() < 0.01:
        authority.lose_everything()
    else:
        authority.step()


def demand(rng: Random, asked: Asked) -> None:
    """Somebody asks, something is taken up, or time passes."""
    choice = rng.random()
    if choice < 0.6:
        ask_or_unfollow(rng, asked)
    elif choice < 0.8:
        asked.take_up(past=rng.random() < 0.5)
    elif choice < 0.9:
        asked.market.update_statuses(asked.now)
    if rng.random() < 0.03:
        asked.reader.mark_lost("for a test")


def ask_or_unfollow(rng: Random, asked: Asked) -> None:
    """Somebody asks, or time passes."""
    if rng.random() < 0.6:
        asked.market.ask(rng.sample(SYMBOLS, rng.randint(1, 3)), past=rng.random() < 0.5)
        return
    asked.now += rng.choice((LINGER_S / 2, LINGER_S / 2, 2 * LINGER_S))
    asked.market.unfollow_idle(asked.now)
    asked.market.unfollow_idle(asked.now)
    asked.check()


def list_instruments(gateway: Gateway, symbols: list[str]) -> None:
    gateway.market.list_instruments({symbol: Instrument(Symbol(symbol), "1", "1") for symbol in symbols})


def finish(rng: Random, authority: Authority, asked: Asked, everything: Gateway) -> None:
    """Everything is calm: what is followed, and what is asked for now, is what the other market has."""
    asked.meanwhile = lambda: None
    for gateway in (asked, everything):
        list_instruments(gateway, SYMBOLS)
    for anew in (False, True):
        if anew:
            unfollow_everything(asked)
        authority.publish({symbol: authority.change(symbol) for symbol in SYMBOLS})
        authority.lead()
        asked.market.ask(rng.sample(SYMBOLS, 2))
        everything.settle()
        if not anew or rng.random() < 0.5:
            asked.settle()
        assert asked.take_up(past=rng.random() < 0.5)
        authority.publish({symbol: authority.change(symbol) for symbol in SYMBOLS})
        for gateway in (asked, everything):
            gateway.settle()
        compare(asked, everything)


def unfollow_everything(asked: Asked) -> None:
    """Nobody has asked for anything in a while."""
    asked.now += 2 * LINGER_S
    for _ in range(2):
        asked.market.unfollow_idle(asked.now)
        asked.now += 2 * LINGER_S
    asked.settle()
    assert (asked.reader.shown, asked.follower.resting) == ({}, True)


def compare(asked: Asked, everything: Gateway) -> None:
    assert len(asked.upstream.symbols) >= 2
    for symbol in SYMBOLS:
        mine, other = asked.market.listings[symbol], everything.market.listings[symbol]
        assert other.replica is not None
        assert not other.stale
        if symbol not in asked.upstream.symbols:
            assert (mine.replica, mine.stale) == (None, True)
            continue
        assert mine.replica is not None
        assert (mine.replica.seq, levels(mine.replica)) == (other.replica.seq, levels(other.replica))
        assert (mine.stale, mine.doubt, mine.instrument) == (other.stale, other.doubt, other.instrument)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_short_runs(seed: int, steps: int) -> None:
    run(Random(seed), steps)


@pytest.mark.parametrize("seed", range(3))
def test_long_runs(seed: int) -> None:
    asked = run(Random(seed), 500)
    counters = asked.market.counters
    assert counters.taken_up > 15
    assert counters.unfollowed > 3
    assert asked.rests > 3


def test_a_read_that_is_on_its_way_when_all_is_unfollowed_does_no_harm() -> None:
    authority = Authority(Random(1))
    authority.publish(dict.fromkeys(SYMBOLS))
    asked = Asked(authority, lambda: None)
    asked.settle()
    asked.market.ask(["A"])
    assert asked.take_up(past=False)
    authority.publish(dict.fromkeys(SYMBOLS))
    asked.step(1)
    assert asked.on_its_way
    for _ in range(3):
        asked.now += 2 * LINGER_S
        asked.market.unfollow_idle(asked.now)
    assert not asked.upstream.symbols
    asked.market.ask(["B"])
    authority.publish(dict.fromkeys(SYMBOLS))
    assert asked.take_up(past=False)
    asked.step()
    assert asked.reader.lost_reason is None
    asked.settle()
    assert asked.reader.is_current("B")
