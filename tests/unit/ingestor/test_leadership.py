"""What a leadership gives its publisher, without a server."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import msgpack
import pytest

from depthcast.broadcaster import merger
from depthcast.broadcaster.numbering import first_seq
from depthcast.broadcaster.publication import Attachment, Broadcast, Fields, Record
from depthcast.broadcaster.runtime.publisher import Receipt
from depthcast.ingestor import checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.limits import Limits
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.recovery import Republication
from depthcast.ingestor.runtime import leadership as module
from depthcast.ingestor.runtime import state_keeper as keeper_module
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT, Environment
from depthcast.ingestor.runtime.leadership import BIRTHS_MAX, Leadership
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.codec import decode_snapshot
from depthcast.shared.errors import Fenced
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import to_table
from depthcast.shared.order_counts import OrderCounts
from depthcast.shared.position import Position
from depthcast.shared.runtime.stages import Stage
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import EntryInfo, Snapshot, Symbol

EPOCH = 1_767_225_600_001
O = Instrument(Symbol("O"), feed=Feed.ORDERS)  # noqa: E741


class Recorder:
    """A publisher that always succeeds and records what it is given."""

    def __init__(self) -> None:
        self.keys = DeploymentKeys("test").partition(0)
        self.position = Position(EPOCH, 0)
        self.resends = 0
        self.partition = 0
        self.receipt: Receipt | None = None
        self.broadcasts: list[Broadcast] = []
        self.attached: dict[str, Attachment] = {}
        self.stored: list[Attachment] = []
        self.steps: list[tuple[int, Broadcast]] = []

    async def store(self, attachments: Sequence[Attachment]) -> None:
        assert not self.broadcasts, "records come before what says that all are moved"
        self.stored += attachments

    async def move(self, epoch: int, broadcast: Broadcast) -> None:
        assert not self.broadcasts
        assert not self.stored, "a record of an earlier epoch would not count"
        self.steps.append((epoch, broadcast))
        self.position = Position(epoch, 0)

    async def publish(
        self,
        broadcasts: Sequence[Broadcast],
        rejects: Sequence[Fields] = (),
        first: Callable[[Position], list[Attachment]] | None = None,
    ) -> None:
        self.broadcasts += broadcasts
        self.position = Position(self.position.epoch, self.position.n + len(broadcasts))
        for attachment in first(self.position) if first else []:
            self.attached[attachment.key] = attachment


async def entered(recorder: Recorder, *instruments: Instrument, **settings: Any) -> Leadership:
    made: Any = recorder
    leadership = Leadership(
        IngestorSettings(**settings), Engine(0, 1), made, PartitionStats(), REAL_ENVIRONMENT
    )
    await leadership.begin(
        EPOCH, {str(one.symbol): one for one in instruments}, [one.symbol for one in instruments]
    )
    return leadership


def entry(source: int, *events: bytes) -> tuple[Position, list[tuple[bytes, bytes]]]:
    return Position(source, 0), [(b"O", b"[" + b",".join(events) + b"]")]


async def test_a_checkpoint_of_a_newborn_holds_all_input_up_to_the_src_it_names() -> None:
    recorder = Recorder()
    leadership = await entered(recorder, interval_ms=0)
    leadership.engine.register(O)
    await leadership._broadcast_each(
        [entry(5, b'["add","bid",1,1,"x"]'), entry(6, b'["add","bid",1,1,"y"]', b'["delete",0,1,1,"x"]')]
    )
    held = checkpoint.decode(recorder.attached[recorder.keys.checkpoint("O")].value)
    assert (held.position, held.src) == (recorder.position, Position(6, 0))
    assert held.orders.bid_ids == ["y"]
    snapshot = recorder.attached[recorder.keys.snapshots("O")]
    assert snapshot.at == recorder.position
    assert decode_snapshot(snapshot.value).bids == [1, 1]
    assert [[len(delta.bids) for _, delta in one.deltas] for one in recorder.broadcasts[1:]] == [[0], [2], []]


async def test_the_recovery_state_of_a_symbol_listed_twice_in_a_group_is_of_the_public_listing() -> None:
    recorder = Recorder()
    leadership = await entered(recorder, O, interval_ms=0)
    relisted = [
        b'{"relist":{"O":{"listing":%d,"tick_size":"0.%d","feed":"orders"}}}' % (n, n) for n in (2, 3)
    ]
    group = [(Position(6 + n, 0), [(b"_", text)]) for n, text in enumerate(relisted)]
    await leadership._broadcast_each([group[0], entry(6, b'["add","bid",1,1,"x"]'), group[1]])
    published = [delta.seq for one in recorder.broadcasts for symbol, delta in one.deltas if symbol == "O"]
    snapshot = decode_snapshot(recorder.attached[recorder.keys.snapshots("O")].value)
    assert (snapshot.seq, snapshot.bids) == (published[-1], []), "the second listing is born with its state"
    held = checkpoint.decode(recorder.attached[recorder.keys.checkpoint("O")].value)
    assert (held.position, held.orders.bid_ids) == (recorder.position, [])
    assert leadership.engine.births_due() == 0


async def test_a_group_that_ends_an_orders_feed_writes_no_checkpoint_of_it_and_keeps_no_input_for_it() -> (
    None
):
    recorder = Recorder()
    leadership = await entered(recorder, O, interval_ms=0)
    relisted = [
        b'{"relist":{"O":{"listing":%d,"tick_size":"0.%d","feed":"%s"}}}' % (n, n, feed)
        for n, feed in ((2, b"orders"), (3, b"levels"))
    ]
    group = [(Position(6 + n, 0), [(b"_", text)]) for n, text in enumerate(relisted)]
    del recorder.attached[recorder.keys.checkpoint("O")]
    await leadership._broadcast_each([group[0], entry(6, b'["add","bid",1,1,"x"]'), group[1]])
    await leadership._write(leadership._drain())
    assert leadership.engine.listing("O").number == 3
    assert leadership.engine.births_due() == 0
    assert recorder.keys.checkpoint("O") not in recorder.attached
    keeper = leadership.state_keeper
    assert keeper.retention.events_from(Position(9, 0)) == Position(9, 0), "no checkpoint holds input back"


async def test_after_a_publish_that_failed_nothing_else_is_published_or_stored() -> None:
    """Its changes would be missing, and a snapshot would be ahead of the stream."""

    class Failing(Recorder):
        fails = asyncio.Event()
        under_way = asyncio.Event()

        async def publish(self, *publication: Any) -> None:
            self.under_way.set()
            await self.fails.wait()
            raise Fenced(0, self.position, "what a new connection was told")

    recorder = Recorder()
    leadership = await entered(recorder, O)
    made: Any = Failing()
    before = list(recorder.broadcasts), list(recorder.stored)
    leadership.publisher = leadership.state_keeper.publisher = made
    leadership.engine.apply("9-0", [(b"O", b'[["add","bid",1,1,"x"]]')])

    async def broadcast() -> None:
        async with leadership._publishing:
            await leadership._write(leadership._drain())

    failing = asyncio.create_task(broadcast())
    await made.under_way.wait()
    stopping = asyncio.create_task(leadership._stop([failing], None))
    storing = asyncio.create_task(leadership.state_keeper.store(["O"]))
    await asyncio.sleep(0)
    leadership.engine.apply("10-0", [(b"O", b'[["add","bid",2,1,"y"]]')])
    leadership.publisher = leadership.state_keeper.publisher = cast("Any", recorder)
    made.fails.set()
    found = await asyncio.gather(failing, stopping, storing, return_exceptions=True)
    assert [type(each) for each in found] == [Fenced] * 3
    with pytest.raises(Fenced):
        await leadership._broadcast_due()
    assert (recorder.broadcasts, recorder.stored) == before


async def test_consumed_input_is_published_at_once_where_nothing_has_to_wait() -> None:
    recorder = Recorder()
    leadership = await entered(recorder, O, interval_ms=60_000)
    begun = len(recorder.broadcasts)
    await leadership._broadcast_due()
    assert len(recorder.broadcasts) == begun, "nothing changed"

    leadership.engine.apply("9-0", [(b"O", b'[["add","bid",1,1,"x"]]')])
    async with leadership._publishing:
        await leadership._broadcast_due()  # it does not wait for the lock
    assert len(recorder.broadcasts) == begun
    await leadership._broadcast_due()
    assert [broadcast.info.src for broadcast in recorder.broadcasts[begun:]] == ["9-0"]

    leadership.engine.apply("10-0", [(b"O", b'[["add","bid",2,1,"y"]]')])
    await leadership._broadcast_due()
    assert len(recorder.broadcasts) == begun + 1, "the interval is not over"


async def test_what_another_task_publishes_first_is_not_published_at_once_once_more() -> None:
    recorder = Recorder()
    leadership = await entered(recorder, O, interval_ms=60_000)
    begun = len(recorder.broadcasts)
    leadership.engine.apply("9-0", [(b"O", b'[["add","bid",1,1,"x"]]')])

    async def broadcast() -> None:
        async with leadership._publishing:
            await leadership._write(leadership._drain())

    await leadership._publishing.__aenter__()
    waiting = asyncio.create_task(broadcast())
    await asyncio.sleep(0)
    await leadership._publishing.__aexit__(None, None, None)
    assert leadership._publishing.free, "the one who waits has not run yet"
    await leadership._broadcast_due()
    await waiting
    assert len(recorder.broadcasts) == begun + 1


async def test_the_record_has_all_symbols_at_the_beginning_and_then_each_birth() -> None:
    recorder = Recorder()
    leadership = await entered(recorder, O)
    key = recorder.keys.symbols
    assert recorder.attached.pop(key) == Attachment.record(key, ["O"], Record.MORE)
    await leadership._write(leadership._drain())
    assert key not in recorder.attached, "nothing was born"
    leadership.engine.register(Instrument(Symbol("N")))
    await leadership._write(leadership._drain())
    assert recorder.attached[key] == Attachment.record(key, ["N"], Record.MORE)


async def test_what_was_recovered_is_not_changed_by_instruments_that_were_read_before() -> None:
    made: Any = Recorder()
    engine, read = Engine(0, 1), {"A": Instrument(Symbol("A"))}
    engine.restore(Instrument(Symbol("A"), "0.5", listing=2), 7, (), (), 0, None)
    leadership = Leadership(IngestorSettings(), engine, made, PartitionStats(), REAL_ENVIRONMENT)
    await leadership.begin(EPOCH, read, ["A"])
    assert engine.listing("A").number == 2
    relisted = b'{"relist":{"A":{"listing":3,"tick_size":"0.5"}}}'
    engine.apply("9-0", [(b"_", relisted)])
    leadership.update_instruments(read, ["A"], "8-0")
    assert engine.listing("A").number == 3, "they were asked for before that entry was consumed"
    leadership.update_instruments(read, ["A"], "9-0")
    assert engine.listing("A").number == 4


async def test_events_count_in_this_process_and_not_what_was_published_before() -> None:
    made: Any = Recorder()
    engine, stats = Engine(0, 1), PartitionStats()
    engine.resume_counting("8-0", 100, 20, 3)
    leadership = Leadership(IngestorSettings(), engine, made, stats, REAL_ENVIRONMENT)
    await leadership.begin(EPOCH, {"L": Instrument(Symbol("L"))}, ["L"], info=EntryInfo(1, "8-0", 100, 20, 3))
    assert dict(stats.events) == {"applied": 0, "rejected": 0, "ignored": 0}
    for number in (9, 10):
        engine.apply(f"{number}-0", [(b"L", b"[[1,0,1,1],[9]]")])
        await leadership._write(leadership._drain())
    assert (stats.events["applied"], stats.events["rejected"]) == (2, 2)
    assert (stats.applied, stats.rejected) == (102, 22)


@pytest.mark.parametrize("interval_ms", [0, 50])
async def test_times_of_a_batch_are_observed_once(interval_ms: int) -> None:
    made: Any = Recorder()
    seen: list[Stage] = []
    stats = PartitionStats(observe=lambda stage, partition, seconds: seen.append(stage))
    settings = IngestorSettings(interval_ms=interval_ms)
    leadership = Leadership(settings, Engine(0, 1), made, stats, REAL_ENVIRONMENT)
    await leadership.begin(EPOCH, {"L": Instrument(Symbol("L"))}, ["L"])
    assert seen == [], "nothing was consumed"
    level = (b"L", b"[[1,0,1,1]]")
    await leadership._take_input([(Position(n, 0), [level, (b"_", b'{"ts":5}')]) for n in (9, 10)])
    await leadership._write(leadership._drain())
    assert seen == [Stage.SOURCE_TO_CONSUMED, Stage.CONSUMED_TO_PUBLISHED]


async def test_what_is_moved_is_recorded_before_with_the_listings_that_the_record_lacks() -> None:
    """In parts, so that no script takes long."""
    made: Any = Recorder()
    engine, count = Engine(0, 1), keeper_module.RECORDED_MAX + 2
    names = sorted(f"S{number}" for number in range(count))
    for name in names:
        engine.restore(Instrument(Symbol(name)), 7, (), (), 0, None)
    read = {name: Instrument(Symbol(name)) for name in names}
    recorded = {name: engine.listing(name) for name in names[2:]}
    leadership = Leadership(IngestorSettings(), engine, made, PartitionStats(), REAL_ENVIRONMENT)
    await leadership.begin(EPOCH, read, names, recorded=recorded)
    keys = [attachment.key for attachment in made.stored]
    assert keys == [made.keys.symbols, made.keys.symbols, made.keys.listings]
    assert made.stored[0] == Attachment.record(keys[0], names[: count - 2], Record.MORE)
    assert made.stored[1] == Attachment.record(keys[0], names[count - 2 :], Record.MORE)
    assert sorted(msgpack.unpackb(made.stored[2].value)[::2]) == names[:2]
    assert [len(moved.deltas) for _, moved in made.steps] == [module.MOVED_MAX, count - module.MOVED_MAX]
    assert [len(one.deltas) for one in made.broadcasts] == [0]


def recovered(*names: str, orders: Collection[str] = ()) -> tuple[Engine, dict[str, Instrument]]:
    """An engine with published books at seq 7, and the instruments to go on with."""
    engine, empty = Engine(0, 1), OrdersCopy((), (), (), ())
    instruments = {
        name: Instrument(Symbol(name), feed=Feed.ORDERS if name in orders else Feed.LEVELS) for name in names
    }
    for name, instrument in instruments.items():
        limits = Limits.of(IngestorSettings())
        engine.restore(instrument, 7, (), (), 0, empty if name in orders else None, limits)
    engine.resume_counting("8-0", 100, 20, 3)
    return engine, instruments


async def test_more_books_than_one_step_holds_are_moved_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the counts of the leadership before, and numbers of the epoch that the last one reaches."""
    monkeypatch.setattr(module, "MOVED_MAX", 2)
    recorder = Recorder()
    made: Any = recorder
    engine, read = recovered("A", "B", "O", "C", "P", "D", orders="OP")
    engine.restate("P")
    leadership = Leadership(IngestorSettings(), engine, made, PartitionStats(), REAL_ENVIRONMENT)
    before = EntryInfo(
        1, "8-0", 100, 20, 3, event_ts=4, prev="1-1", successor="x", lag_ms=5, entries=9, lost=2
    )
    await leadership.begin(EPOCH, read | {"N": Instrument(Symbol("N"))}, [*read, "N"], info=before)
    steps = recorder.steps
    assert [(epoch, [symbol for symbol, _ in moved.deltas]) for epoch, moved in steps] == [
        (EPOCH + 1, ["A", "B"]),
        (EPOCH + 2, ["O", "C"]),
        (EPOCH + 3, ["D"]),
    ]
    for _, moved in steps:
        assert moved.info == EntryInfo(moved.info.ts, "8-0", 100, 20, 3, entries=9, lost=2)
        assert moved.info.ts > EPOCH * 1000
        for symbol, delta in moved.deltas:
            assert delta == (7, first_seq(EPOCH + 3, 7), [], [], 0, 0)
            counts = {"orders": OrderCounts((), (), 0)} if symbol == "O" else {}
            assert moved.marks[symbol] == to_table(engine.listing(symbol)) | counts
    assert [[symbol for symbol, _ in one.deltas] for one in recorder.broadcasts] == [["P"], ["N"]]
    assert recorder.broadcasts[0].deltas[0][1].seq == first_seq(EPOCH + 3, 7)
    assert recorder.position == Position(EPOCH + 3, 2)
    assert recorder.attached.keys() >= {recorder.keys.snapshots("P"), recorder.keys.checkpoint("P")}
    assert msgpack.unpackb(recorder.stored[0].value) == ["A", "B", "O", "C", "P", "D"]


@pytest.mark.parametrize("reason", ["a clock that stands still", "restated", "few"])
async def test_books_are_moved_in_one_step(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """The clock is not in the last epoch that the steps need; or Redis lost books; or there are few."""
    monkeypatch.setattr(module, "MOVED_MAX", 3 if reason == "few" else 2)
    recorder = Recorder()
    made: Any = recorder
    engine, read = recovered("A", "B", "C")
    stands_still = Environment(now_us=lambda: (EPOCH + 1) * 1000 + 999)
    environment = stands_still if reason == "a clock that stands still" else REAL_ENVIRONMENT
    leadership = Leadership(IngestorSettings(), engine, made, PartitionStats(), environment)
    again = Republication() if reason == "restated" else None
    await leadership.begin(EPOCH, read, list(read), again, EntryInfo(1, "8-0", 100, 20, 3))
    assert recorder.steps == []
    assert [[delta.seq for _, delta in one.deltas] for one in recorder.broadcasts] == [
        [first_seq(EPOCH, 7)] * 3
    ]
    assert recorder.position == Position(EPOCH, 1)


async def test_steps_wait_until_their_last_epoch_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOVED_MAX", 1)
    recorder = Recorder()
    made: Any = recorder
    engine, read = recovered("A", "B", "C")
    recorder.position = Position(REAL_ENVIRONMENT.now_ms(), 0)
    sealed = recorder.position.epoch
    leadership = Leadership(IngestorSettings(), engine, made, PartitionStats(), REAL_ENVIRONMENT)
    await leadership.begin(sealed, read, list(read), info=EntryInfo(1, "8-0", 100, 20, 3))
    assert [epoch for epoch, _ in recorder.steps] == [sealed + 1, sealed + 2, sealed + 3]
    assert min(moved.info.ts for _, moved in recorder.steps) >= (sealed + 3) * 1000


async def test_a_leadership_without_symbols_empties_the_record() -> None:
    recorder = Recorder()
    await entered(recorder)
    assert recorder.stored == [Attachment.record(recorder.keys.symbols, [], Record.WHOLE)]
    assert not recorder.attached


async def test_births_are_spread_and_those_with_input_come_first() -> None:
    recorder = Recorder()
    names = [f"S{number:04}" for number in range(3 * BIRTHS_MAX)]
    leadership = await entered(recorder, *(Instrument(Symbol(name)) for name in names))
    assert [symbol for symbol, _ in recorder.broadcasts[-1].deltas] == names[:BIRTHS_MAX]
    last = names[-1]
    leadership.engine.apply("5-0", [(last.encode(), b'[["update","bid",1,1]]')])
    await leadership._write(leadership._drain())
    births, changes = recorder.broadcasts[-2:]
    assert births.deltas[0][0] == last
    assert [(symbol, delta.bids) for symbol, delta in changes.deltas] == [(last, [1, 1])]
    assert changes.info.src == "5-0", "the input is covered, and so is its result"
    assert recorder.keys.snapshots(last) in recorder.attached
    while leadership.engine.births_due():
        await leadership._write(leadership._drain())
    born = [symbol for one in recorder.broadcasts for symbol, delta in one.deltas if not delta.prev_seq]
    assert sorted(born) == names
    assert max(len(one.deltas) for one in recorder.broadcasts) == BIRTHS_MAX + 1


async def test_a_checkpoint_that_is_due_holds_all_input_up_to_the_src_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    leadership = await entered(recorder, O, interval_ms=0)
    monkeypatch.setattr(leadership.state_keeper, "checkpoints_due", lambda: ["O"])
    await leadership._broadcast_each([entry(5, b'["add","bid",1,1,"x"]'), entry(6, b'["add","bid",1,1,"y"]')])
    held = leadership.state_keeper.pending_checkpoints["O"]
    assert (held.position, held.src) == (recorder.position, Position(6, 0))
    assert held.orders.bid_ids == ["x", "y"]
    assert leadership.state_keeper.src == Position(6, 0)


async def test_a_heartbeat_amid_a_long_interval_says_nothing_of_what_is_pending() -> None:
    recorder = Recorder()
    leadership = await entered(recorder, O, interval_ms=60_000)
    leadership.engine.apply("9-0", [(b"O", b"[[0,0,1,1,7],[9]]"), (b"_", b'{"ts":5}')])
    await leadership._write_heartbeat()
    info = recorder.broadcasts[-1].info
    assert (info.src, info.applied, info.rejected, info.event_ts) == ("0-0", 0, 0, None)
    assert recorder.broadcasts[-1].deltas == ()
    await leadership._write(leadership._drain())
    info = recorder.broadcasts[-1].info
    assert (info.src, info.applied, info.rejected, info.event_ts) == ("9-0", 1, 1, 5)


async def test_a_large_book_is_copied_at_once_and_sorted_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "SLICE_LEVELS", 3)
    monkeypatch.setattr(merger, "SLICE_LEVELS", 2)
    leadership = await entered(Recorder(), Instrument(Symbol("L")), Instrument(Symbol("S")))
    engine, keeper = leadership.engine, leadership.state_keeper
    levels = (b"L", b"[[1,0,1,1],[1,0,2,1],[1,1,4,1],[1,1,5,1]]")
    engine.apply("9-0", [levels, (b"S", b"[[1,0,1,1]]"), (b"_", b'{"ts":5}')])
    engine.drain()
    expected, now = engine.snapshot("L"), REAL_ENVIRONMENT.now_us()
    copied = keeper._copied("L")
    assert isinstance(copied, keeper_module.LargeBook)
    engine.apply("10-0", [(b"L", b'[["clear"]]')])
    engine.drain()
    snapshot = await copied.snapshot()
    marks = to_table(engine.listing("L")) | {"event_ts": 5, "input_ts": 9_000}
    assert snapshot == expected._replace(ts=snapshot.ts, marks=marks)
    assert snapshot.ts >= now
    assert isinstance(keeper._copied("S"), Snapshot)


def test_input_in_groups_of_a_size_that_one_script_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 100)
    monkeypatch.setattr(module, "GROUP_FIELDS", 5)
    sizes = [(1, 90), (1, 20), (1, 10), (3, 0), (2, 1), (7, 1), (1, 500), (1, 1), (4, 1), (1, 1)]
    batch = [
        (Position(place, 0), [(b"O", b"x" * (size // count))] * count)
        for place, (count, size) in enumerate(sizes)
    ]
    groups = list(module._groups(batch, lambda position, size: False))
    assert [[position.epoch for position, _ in group] for group in groups] == [
        [0],
        [1, 2, 3],
        [4],
        [5],
        [6],
        [7, 8],
        [9],
    ]
    assert list(module._groups([], lambda position, size: True)) == []
    alone = module._groups(batch, lambda position, size: position.epoch in (1, 2, 9) and size < 500)
    assert [[position.epoch for position, _ in group] for group in alone] == [
        [0],
        [1],
        [2],
        [3, 4],
        [5],
        [6],
        [7, 8],
        [9],
    ]
