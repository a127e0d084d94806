"""Random levels, doubts and listings, with gaps and restarts, are replayed as they were recorded."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthcast.feed.recording import check, files_of, rows_of
from depthcast.ingestor.engine import Engine
from depthcast.producer.input_log import Fields
from depthcast.runtime.feed_file import open_feed
from depthcast.runtime.recorder import Recorder, RecordFolder, RecordOptions
from depthcast.runtime.replay import fields_of
from depthcast.shared.codec import NO_MARKS, Marks, encode_delta, encode_info
from depthcast.shared.digest import digest_of
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

SYMBOLS = (Symbol("A"), Symbol("B"))
REASONS = ("gap", "checksum", "rejected")
State = tuple[dict[int, int], dict[int, int], str]
"""Bids and asks in ticks of 0.5, and why the book is stale."""


class Market:
    """One symbol as a leader publishes it."""

    def __init__(self, symbol: Symbol, rng: Random) -> None:
        self.rng, self.symbol, self.seq = rng, symbol, 10
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.doubt: str | None = None
        self.listing = self._listing(1)

    def _listing(self, number: int) -> Listing:
        return Listing(number, Instrument(self.symbol, self.rng.choice(("1", "0.5")), "1"))

    @property
    def digest(self) -> int:
        return digest_of(self.sides[0].items(), self.sides[1].items())

    @property
    def state(self) -> State:
        ticks = 2 if self.listing.instrument.tick_size == "1" else 1
        bids, asks = ({price * ticks: lots for price, lots in side.items()} for side in self.sides)
        return bids, asks, self.doubt or ("withdrawn" if self.listing.withdrawn else "")

    def change(self) -> bytes:
        """The next delta: of levels, of doubt, of both, or the begin or end of a listing."""
        before, self.seq = self.seq, self.seq + 1
        if self.listing.withdrawn or self.rng.random() < 0.1:
            self.sides[0].clear()
            self.sides[1].clear()
            self.doubt = None
            if self.listing.withdrawn or self.rng.random() < 0.5:
                self.listing = self._listing(self.listing.number + 1)
            else:
                self.listing = self.listing._replace(withdrawn=True)
            return encode_delta(Delta(0, self.seq, [], [], 0, 0), to_table(self.listing))
        flats: list[list[int]] = [[], []]
        marks: dict[str, str | None] = {}
        if self.rng.random() < 0.4:
            reasons = (*REASONS, *([None] * 3))
            self.doubt = marks["stale"] = self.rng.choice([each for each in reasons if each != self.doubt])
        if not marks or self.rng.random() < 0.5:
            side = self.rng.randrange(2)
            price, held = 90 + 20 * side + self.rng.randrange(4), self.sides[side]
            lots = self.rng.choice([each for each in range(4) if each != held.get(price, 0)])
            flats[side] = [price, lots]
            held[price] = lots
            if not lots:
                del held[price]
        return encode_delta(Delta(before, self.seq, flats[0], flats[1], self.digest, 1), marks)

    @property
    def snapshot(self) -> Snapshot:
        bids, asks = ([n for pair in side.items() for n in pair] for side in self.sides)
        marks = to_table(self.listing) | ({"stale": self.doubt} if self.doubt else {})
        return Snapshot(self.seq, bids, asks, self.digest, 1, marks)


class Story:
    """A recorder that follows a partition, and every state that a replay of its recording should make."""

    def __init__(self, path: Path, rng: Random) -> None:
        self.path, self.rng = path, rng
        self.markets = {symbol: Market(symbol, rng) for symbol in SYMBOLS}
        self.expected: dict[Symbol, list[State]] = {symbol: [] for symbol in SYMBOLS}
        self.position = Position(9, 0)
        self.recorder = self._recorder()
        self.gaps = 0
        self.missed: set[Symbol] = set()
        self.load()

    def _recorder(self) -> Recorder:
        folder = RecordFolder(self.path)
        folder.restore()
        return Recorder(RecordOptions("", "p", 1, self.path), DeploymentKeys("p"), 1, folder)

    def restart(self) -> None:
        """Kill the recorder, and start another one."""
        self.recorder.folder.journal.close()
        self.recorder = self._recorder()

    def load(self) -> None:
        """Begin with snapshots; where deltas were missed, a gap ends here."""
        reader = self.recorder.readers[0]
        reader.mark_lost("test")
        for symbol in SYMBOLS:
            reader.want(symbol)
        found: dict[str, tuple[Position, Snapshot] | None] = {
            symbol: (self.position, market.snapshot) for symbol, market in self.markets.items()
        }
        updates = reader.load(self.position, found)
        self.recorder.take(0, AppliedEntry(self.position, None, updates))
        for symbol, market in self.markets.items():
            known = self.expected[symbol]
            if known and symbol in self.missed:
                known.append((*known[-1][:2], "gap"))
                self.gaps += 1
            known.append(market.state)
        self.missed.clear()

    def publish(self, *, read: bool) -> None:
        """One entry, which the recorder reads or misses."""
        self.position = Position(9, self.position.n + 1)
        named = [symbol for symbol in SYMBOLS if self.rng.random() < 0.6]
        info = encode_info(EntryInfo(1_769_904_000_000_000 + self.position.n, "0-0", 0, 0, 0))
        fields = [(b"_", info), *((symbol.encode(), self.markets[symbol].change()) for symbol in named)]
        if not read:
            self.missed.update(named)
            return
        entry = self.recorder.readers[0].read(self.position, fields)
        assert entry is not None
        self.recorder.take(0, entry)
        for symbol in named:
            self.expected[symbol].append(self.markets[symbol].state)

    def step(self) -> None:
        what = self.rng.random()
        if what < 0.06:
            for _ in range(self.rng.randrange(3)):
                self.publish(read=False)
            self.load()
        elif what < 0.12:
            self.recorder.folder.flush()
        elif what < 0.18:  # killed: what is in no file is in the journal
            self.restart()
        else:
            self.publish(read=True)


def distinct(states: list[State]) -> list[State]:
    return [state for at, state in enumerate(states) if not at or state != states[at - 1]]


@given(st.integers(0, 2**32))
@settings(max_examples=18)
def test_a_replay_makes_the_recorded_books_and_the_recorded_doubt(seed: int) -> None:
    rng = Random(seed)
    with TemporaryDirectory() as name:
        story = Story(Path(name), rng)
        for _ in range(40):
            story.step()
        story.recorder.folder.close()
        checked = list(check(Path(name)))
        assert [each.problems for each in checked] == [[]] * len(SYMBOLS)
        assert sum(len(each.gaps) for each in checked) == story.gaps
        feed = open_feed(Path(name), None, {})
        working = {symbol: Instrument(symbol, "0.5", "1") for symbol in SYMBOLS}
        engine = Engine(0, 1)
        for instrument in working.values():
            engine.register(instrument)
        interval = engine.drain()
        made: dict[Symbol, list[State]] = {symbol: [] for symbol in SYMBOLS}
        for number, entry in enumerate(feed.entries(working), 1):
            engine.apply(str(Position(1, number)), raw(fields_of(entry)))
            interval = engine.drain()
            book = engine.snapshot(entry.symbol)
            sides = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in (book.bids, book.asks))
            made[entry.symbol].append((*sides, engine.doubt(entry.symbol) or ""))  # type: ignore[arg-type]
        assert interval.rejected == 0
        assert {symbol: distinct(states) for symbol, states in made.items()} == {
            symbol: distinct(states) for symbol, states in story.expected.items()
        }


def raw(fields: Fields) -> list[tuple[bytes, bytes]]:
    """An input entry as it stands in the log."""
    flat = [part.encode() if isinstance(part, str) else part for part in fields]
    return list(zip(flat[::2], flat[1::2], strict=True))


def read(story: Story, hour: int, delta: Delta, marks: Marks = NO_MARKS) -> None:
    """Record the next entry, of symbol A and in an hour."""
    story.position = Position(9, story.position.n + 1)
    info = encode_info(EntryInfo(1_769_904_000_000_000 + hour * 3_600_000_000, "0-0", 0, 0, 0))
    fields = [(b"_", info), (b"A", encode_delta(delta, marks))]
    entry = story.recorder.readers[0].read(story.position, fields)
    assert entry is not None
    story.recorder.take(0, entry)


def test_a_book_stays_withdrawn_after_a_restart(tmp_path: Path) -> None:
    story = Story(tmp_path, Random(1))
    ended = story.markets[SYMBOLS[0]].listing._replace(withdrawn=True)
    read(story, 0, Delta(0, 20, [], [], 0, 0), to_table(ended))
    story.restart()
    read(story, 0, Delta(20, 70, [], [], 0, 0))
    story.recorder.folder.close()
    found = {row.seq: row.withdrawn for row in rows_of(files_of(tmp_path)["A"])}
    assert found == {10: False, 20: True, 70: True}


def test_files_are_closed_after_the_first_entry_of_an_hour(tmp_path: Path) -> None:
    story = Story(tmp_path, Random(1))
    for hour, seq in enumerate((10, 20, 30, 40)):
        read(story, hour // 2, Delta(seq, seq + 10, [], [], 0, 0))
    story.recorder.folder.close()
    assert [file[:2] for file in files_of(tmp_path)["A"]] == [(10, 20), (20, 40), (40, 50)]


def test_an_empty_book_after_a_gap_is_a_snapshot_and_no_birth(tmp_path: Path) -> None:
    story = Story(tmp_path, Random(1))
    read(story, 0, Delta(10, 20, [], [], 0, 0))
    reader, loaded = story.recorder.readers[0], Snapshot(15, [], [], 0, 1)
    reader.mark_lost("test")
    updates = reader.load(story.position, {"A": (story.position, loaded)})
    story.recorder.take(0, AppliedEntry(story.position, None, updates))
    read(story, 0, Delta(15, 90, [], [], 0, 0))
    story.recorder.folder.close()
    (found, _) = check(tmp_path)
    assert [(gap.after_seq, gap.to_seq) for gap in found.gaps] == [(20, 90)]
