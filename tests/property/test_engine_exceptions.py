"""An exception at any line between an input entry and its publication leaves it unread, or published whole.

It is raised at every line of the way, a few times each. Compiled modules have no lines. So where modules are
compiled, some lines of the others are tried, and the same test runs once more without what was compiled
(`tests/unit/test_pure.py`), at every line.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import pytest

import depthcast.shared.book
from depthcast.broadcaster.publication import Attachment, Broadcast, Fields, place
from depthcast.ingestor import chunks
from depthcast.ingestor import engine as engine_module
from depthcast.ingestor import limits as limits_module
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.runtime import guard as guard_module
from depthcast.ingestor.runtime import leadership as leadership_module
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.leadership import Leadership
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.codec import INFO_FIELD, decode_delta, decode_info
from depthcast.shared.compiled import is_compiled
from depthcast.shared.errors import EngineBroken
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import Symbol
from tests.raising import places, raise_at

EPOCH = 1_767_225_600_001
INSTRUMENTS = {
    "L": Instrument(Symbol("L")),
    "E": Instrument(Symbol("E"), on_cross=OnCross.EVICT),
    "O": Instrument(Symbol("O"), feed=Feed.ORDERS),
    "P": Instrument(Symbol("P"), feed=Feed.ORDERS, on_cross=OnCross.EVICT),
}
ERRORS = [MemoryError, RuntimeError, KeyboardInterrupt, asyncio.CancelledError]

Entry = list[tuple[bytes, bytes]]


def levels(*events: Any) -> bytes:
    return json.dumps(events).encode()


FIRST: Entry = [
    (b"L", levels(["add", "bid", 10, 5], ["add", "ask", 20, 5], ["update", "bid", 9, 4])),
    (b"E", levels(["add", "bid", 10, 5], ["add", "ask", 20, 5])),
    (b"O", levels(["add", "bid", 10, 5, 1], ["add", "bid", 10, 2, 2], ["add", "ask", 20, 5, 3])),
    (b"P", levels(["add", "bid", 10, 5, 1], ["add", "ask", 20, 5, 3])),
]
SINGLE: Entry = [
    (b"_", b'{"ts":5}'),
    (
        b"L",
        levels(["reduce", "bid", 10, 2], ["delete", "ask", 20], ["add", "bid", 8, 1], ["clear", "ask"], []),
    ),
    (b"E", b"\x92\x94\x00\x00\x19\x01\x94\x02\x01\x63\xc0"),
    (
        b"O",
        levels(
            ["reduce", 0, 0, 2, 1],
            ["update", "bid", 11, 2, 2],
            ["delete", 0, 0, 0, 3],
            ["delete", 0, 0, 0, 9],
        ),
    ),
    (b"P", levels(["add", "bid", 25, 1, 4], ["clear"], ["add", "ask", 7, 1, "x"])),
    (b"?", levels(["add", "bid", 25, 1], 5)),
    (b"L", b"\xc1"),
]
ATOMIC: Entry = [
    (b"L", levels(["add", "bid", 12, 5], ["add", "ask", 11, 5])),
    (b"L", levels(["clear", "bid"], ["add", "bid", 3, 1], ["add", "ask", 19, 5])),
    (b"O", levels(["add", "bid", 12, 5, 7], ["update", "bid", 13, 5, 1], ["delete", 0, 0, 0, 77])),
    (b"P", levels(["add", "bid", 30, 1, 5], ["reduce", 0, 0, 9, 1])),
    (b"_", b'{"atomic":true}'),
    (b"_", b"[]"),
]
ENTRIES = [FIRST, SINGLE, ATOMIC]


@pytest.fixture(params=["small", "large"], autouse=True)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With "large", every entry is marked and applied in slices, and chunks have two events."""
    if request.param == "large":
        for module in (chunks, engine_module, limits_module, guard_module):
            monkeypatch.setattr(module, "SMALL_BYTES", 2)
        for runtime in (guard_module, leadership_module):
            monkeypatch.setattr(runtime, "MARKED_BYTES", 60)
        monkeypatch.setattr(chunks, "CHUNK_EVENTS", 2)
    found: str = request.param
    return found


EVERY = 3 if is_compiled(depthcast.shared.book) else 1


def tried(call: Callable[[], object], times: int = 2) -> list[int]:
    """Where to raise: at every line, or every third one where modules are compiled."""
    return list(places(call, times))[::EVERY]


class Outcome(NamedTuple):
    """Everything that an interval says; the text of rejected events aside, which may be left out."""

    src: str
    counts: tuple[int, int, int]
    event_ts: int | None
    books: dict[str, Any]
    rejects: list[Any]


def made(entries: Sequence[Entry]) -> Engine:
    """An engine that has published `entries`. It has no lock: a tracer can raise before one is released."""
    engine = Engine(0, 1, lock=nullcontext())
    for instrument in INSTRUMENTS.values():
        engine.register(instrument)
    engine.begin_epoch(EPOCH)
    engine.drain()
    for number, entry in enumerate(entries, 1):
        engine.apply(f"{number}-0", entry)
    engine.drain()
    return engine


def outcome(engine: Engine, interval: Interval) -> Outcome:
    books = {symbol: engine.snapshot(symbol)[1:4] for symbol in INSTRUMENTS}
    return Outcome(
        interval.src, interval[2:5], interval.event_ts, books, [reject[:5] for reject in interval.rejects]
    )


@pytest.mark.parametrize("entry", [SINGLE, ATOMIC], ids=["single", "atomic"])
def test_an_entry_is_applied_whole_or_not_at_all(entry: Entry) -> None:
    def apply(engine: Engine) -> None:
        engine.apply("2-0", entry)

    before, after = made([FIRST]), made([FIRST])
    after.apply("2-0", entry)
    possible = [outcome(engine, engine.drain()) for engine in (before, after)]
    assert possible[0] != possible[1]
    met: set[int | str] = set()
    for number in tried(partial(apply, made([FIRST]))):
        engine = made([FIRST])
        raised = raise_at(number, ERRORS[number % len(ERRORS)](), partial(apply, engine))
        if engine.whole:
            found = possible.index(outcome(engine, engine.drain()))
            assert raised or found == 1, "what seems to be applied must be"
            met.add(found)
        else:
            assert raised
            for use in (engine.drain, partial(engine.snapshot, "L"), partial(engine.apply, "3-0", [])):
                with pytest.raises(EngineBroken):
                    use()
            met.add("broken")
    assert {0, "broken"} <= met


def test_a_drain_takes_all_or_nothing() -> None:
    def pending() -> Engine:
        engine = made([FIRST])
        engine.apply("2-0", SINGLE)
        return engine

    engine = pending()
    expected = engine.drain(["O"])
    for number in tried(partial(pending().drain, ["O"])):
        engine = pending()
        assert raise_at(number, ERRORS[number % len(ERRORS)](), partial(engine.drain, ["O"]))
        if engine.whole:
            again = engine.drain(["O"])
            # Either nothing was taken, or everything was, and the caller must not go on with this engine.
            assert again == expected or (again.src == expected.src and not again.deltas)
        else:
            with pytest.raises(EngineBroken):
                engine.drain()


# --- with a leadership ------------------------------------------------------------------------------------


class Stream:
    """A publisher that appends to a stream in memory: all of a publish or nothing."""

    def __init__(self) -> None:
        self.keys = DeploymentKeys("test").partition(0)
        self.partition = 0
        self.position = Position(EPOCH, 0)
        self.resends = 0
        self.outage = self.receipt = None
        self.entries: list[tuple[Position, Fields]] = []
        self.rejects: list[Fields] = []
        self.marks: list[bytes] = []

    async def publish(
        self,
        broadcasts: Sequence[Broadcast],
        rejects: Sequence[Fields] = (),
        attach: Callable[[Position], list[Attachment]] | None = None,
    ) -> None:
        placed = place(self.position, self.position.next(), broadcasts)
        if attach:
            attach(placed[-1][0])
        self._append(placed, rejects)

    async def store(self, attachments: Sequence[Attachment]) -> None:
        self.marks += [item.value for item in attachments]

    def _append(self, placed: list[tuple[Position, Fields]], rejects: Sequence[Fields]) -> None:
        at_once = (placed[-1][0], self.entries + placed, [*self.rejects, *rejects])
        self.position, self.entries, self.rejects = at_once

    def replicas(self) -> dict[str, Replica]:
        replicas: dict[str, Replica] = {}
        for _, fields in self.entries:
            for name, raw in fields[1:]:
                outcome, _ = replicas.setdefault(name.decode(), Replica()).apply(decode_delta(raw))
                assert outcome is ApplyResult.APPLIED
        return replicas

    def published(self) -> Outcome:
        """What readers see."""
        replicas = self.replicas()
        info = decode_info(dict(self.entries[-1][1])[INFO_FIELD])
        books = {
            symbol: (replica.book.bids.flat(), replica.book.asks.flat(), replica.digest)
            for symbol, replica in replicas.items()
        }
        rejects = [tuple(value for _, value in fields[:5]) for fields in self.rejects]
        return Outcome(info.src, (info.applied, info.rejected, info.ignored), None, books, rejects)


async def led(stream: Stream, engine: Engine, epoch: int = EPOCH) -> Leadership:
    publisher: Any = stream
    leadership = Leadership(
        IngestorSettings(interval_ms=1), engine, publisher, PartitionStats(), REAL_ENVIRONMENT
    )
    await leadership.begin(epoch, INSTRUMENTS, INSTRUMENTS)
    return leadership


async def take(leadership: Leadership, first: int = 1) -> None:
    """Read the entries from the given one on, as one batch, and publish."""
    batch = [(Position(number, 0), entry) for number, entry in enumerate(ENTRIES, 1) if number >= first]
    await leadership._take_input(batch)
    async with leadership._publishing:
        await leadership._write(leadership._drain())


def recovered(stream: Stream) -> Engine:
    """The engine as recovery makes it: from what was published and the input up to its `src`."""
    info = decode_info(dict(stream.entries[-1][1])[INFO_FIELD])
    engine = Engine(0, 1, lock=nullcontext())
    for instrument in INSTRUMENTS.values():
        engine.register(instrument)
    engine.begin_epoch(EPOCH)
    engine.drain()
    consumed = Position.parse(info.src).epoch
    for number, entry in enumerate(ENTRIES[:consumed], 1):
        engine.replay(f"{number}-0", entry, list(INSTRUMENTS))
    books = stream.published().books
    for symbol, replica in stream.replicas().items():
        engine.set_seq(symbol, replica.seq)
        assert engine.snapshot(symbol)[1:4] == books[symbol], "recovery would find a wrong digest"
    engine.resume_counting(info.src, info.applied, info.rejected, info.ignored)
    return engine


@pytest.mark.timeout(600)
def test_every_entry_is_published_whole_and_once_whatever_is_raised() -> None:
    expected: dict[str, Outcome] = {}
    with asyncio.Runner() as runner:

        def run(call: Any) -> Any:
            return runner.run(call)

        async def stepwise() -> Stream:
            stream = Stream()
            leadership = await led(stream, Engine(0, 1, lock=nullcontext()))
            expected["0-0"] = stream.published()
            for number, entry in enumerate(ENTRIES, 1):
                await leadership._take_input([(Position(number, 0), entry)])
                async with leadership._publishing:
                    await leadership._write(leadership._drain())
                expected[f"{number}-0"] = stream.published()
            return stream

        run(stepwise())
        last = f"{len(ENTRIES)}-0"

        def fresh() -> tuple[Stream, Leadership]:
            stream = Stream()
            return stream, run(led(stream, Engine(0, 1, lock=nullcontext())))

        def by_hand(leadership: Leadership) -> None:
            """Run in one step of the loop: nothing here really waits."""
            step = take(leadership)
            try:
                while True:
                    step.send(None)
            except StopIteration:
                return

        async def interrupted(number: int, leadership: Leadership) -> bool:
            return raise_at(number, ERRORS[number % len(ERRORS)](), partial(by_hand, leadership))

        async def all_places(leadership: Leadership) -> list[int]:
            return tried(partial(by_hand, leadership), times=1)

        ends = set()
        for number in run(all_places(fresh()[1])):
            stream, leadership = fresh()
            raised = run(interrupted(number, leadership))
            seen = stream.published()
            assert seen == expected[seen.src], "what is published is an entry's whole outcome"
            assert raised or seen.src == last
            ends.add(seen.src)
            if raised and leadership.retained_state() is None:
                ends.add("broken")
            # The next leadership begins from what was published, and reads on.
            engine = recovered(stream)
            stream.position = Position(EPOCH + 1, 0)
            again = run(led(stream, engine, EPOCH + 1))
            run(take(again, Position.parse(seen.src).epoch + 1))
            assert stream.published() == expected[last]
        assert {"0-0", "broken"} <= ends
