"""What the engine says of its input's times: of each book, in the broadcast that its changes are in."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from depthcast.ingestor import engine as engine_module
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.input_times import InputTimes
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.recovery import restore_times
from depthcast.shared.input_times import input_ts_of, to_marks
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.replica import Replica
from depthcast.shared.types import MAX_INTEGER, Symbol

A, B, C = Symbol("A"), Symbol("B"), Symbol("C")


def bid(quantity: int) -> str:
    return f'[["update","bid",5,{quantity}]]'


NOTHING = "[]"
REJECTED = '[["update","bid",5.5,1]]'
IGNORED = '[["delete","ask",9]]'


@pytest.fixture(params=[False, True], ids=["whole", "slices"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param:
        monkeypatch.setattr(engine_module, "SMALL_BYTES", 0)
    engine = Engine(0, 1)
    engine.register(Instrument(A))
    engine.register(Instrument(B))
    engine.drain()
    return engine


def apply(
    engine: Engine, source: str, arrays: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> None:
    fields = [(name.encode(), array.encode()) for name, array in arrays.items()]
    if options is not None:
        fields.append((b"_", json.dumps(options).encode()))
    engine.apply(source, fields)


def said(interval: Interval) -> tuple[dict[Symbol, int], tuple[Symbol, ...]]:
    return dict(interval.event_times), interval.inputs


def test_each_symbol_has_the_newest_time_of_its_own_events(engine: Engine) -> None:
    apply(engine, "7-0", {"A": bid(1), "B": bid(1)}, {"ts": 90})
    apply(engine, "7-1", {"A": bid(2)}, {"ts": 80})
    apply(engine, "7-2", {"B": bid(2)}, {"ts": 95})
    apply(engine, "7-3", {"A": bid(3)})
    assert said(engine.drain()) == ({A: 90, B: 95}, ())
    apply(engine, "8-0", {"A": bid(4)}, {"ts": 70})
    apply(engine, "8-1", {"B": bid(3)})
    assert said(engine.drain()) == ({A: 70}, ()), "what was drained is forgotten"
    assert (engine.times("A"), engine.times("B")) == ((70, 8_000), (95, 8_000))


def test_only_applied_events_have_a_time_and_only_changes_say_it(engine: Engine) -> None:
    apply(engine, "7-0", {"A": IGNORED, "B": bid(1)}, {"ts": 90})
    assert said(engine.drain()) == ({B: 90}, (A,))
    apply(engine, "8-0", {"B": bid(2)}, {"ts": 91})
    apply(engine, "8-1", {"B": bid(1)}, {"ts": 92})
    assert said(engine.drain()) == ({}, (B,)), "it changed back"
    apply(engine, "9-0", {"B": bid(3)})
    assert said(engine.drain()) == ({}, ()), "and its time is not that of what comes later"
    assert engine.times("B") == (90, 9_000)


@pytest.mark.parametrize(
    ("array", "options", "counts"),
    [
        (NOTHING, None, True),
        (NOTHING, {"live": True}, True),
        (NOTHING, {"stale": "gap"}, False),
        (IGNORED, None, True),
        (IGNORED, {"stale": "gap"}, False),
        (bid(1), {"stale": "gap"}, True),
        (REJECTED, None, False),
        (REJECTED, {"atomic": True}, False),
        ('[["update","bid",5.5,1],["delete","ask",9]]', None, True),
        ("{}", None, False),
        ("7", None, False),
        (bid(1), {"listing": 7}, False),
    ],
)
def test_what_counts_as_input(
    engine: Engine, array: str, options: Mapping[str, Any] | None, *, counts: bool
) -> None:
    apply(engine, "7-0", {"A": array}, options)
    interval = engine.drain()
    changed = any(delta.events for _, delta in interval.deltas)
    assert (changed or interval.inputs == (A,)) is counts
    assert engine.times("A")[1] == (7_000 if counts else 0)


def test_a_delta_without_events_is_no_input_and_leaves_the_symbol_named(engine: Engine) -> None:
    apply(engine, "7-0", {"A": NOTHING}, {"stale": "gap"})
    assert said(engine.drain()) == ({}, ())
    apply(engine, "8-0", {"A": NOTHING}, {"live": True})
    interval = engine.drain()
    assert [delta.events for _, delta in interval.deltas] == [0]
    assert interval.inputs == (A,)


def test_input_of_a_newborn_symbol_is_said_with_its_changes(engine: Engine) -> None:
    engine.register(Instrument(C))
    apply(engine, "7-0", {"A": bid(1), "C": bid(1)}, {"ts": 90})
    assert said(engine.drain()) == ({A: 90}, ())
    assert engine.times("C") == (None, 0)
    assert said(engine.drain()) == ({C: 90}, ())
    assert engine.times("C") == (90, 7_000)


def test_a_new_listing_begins_without_times(engine: Engine) -> None:
    apply(engine, "7-0", {"A": bid(1)}, {"ts": 90})
    engine.drain()
    apply(engine, "8-0", {"A": bid(2)}, {"ts": 91})
    engine.withdraw("A")
    assert said(engine.drain()) == ({}, ())
    assert engine.times("A") == (None, 0)


def test_a_new_leader_takes_over_what_was_published() -> None:
    engine = Engine(0, 1)
    replicas = {symbol: Replica() for symbol in ("A", "B", "Z")}
    replicas["A"].event_ts, replicas["A"].input_ts = 90, 7_000
    replicas["Z"].event_ts = 5
    for symbol in (A, B):
        engine.restore(Instrument(symbol), 5, [], [], 0, None)
    restore_times(engine, replicas)
    assert [engine.times(symbol) for symbol in ("A", "B", "Z")] == [(90, 7_000), (None, 0), (None, 0)]
    assert not engine.dirty()
    engine.restore(Instrument(A), 6, [], [], 0, None)
    assert engine.times("A") == (None, 0)


def test_a_replay_says_nothing() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(B, feed=Feed.ORDERS))
    engine.drain()
    engine.replay("7-1", [(b"_", b'{"ts":90}'), (b"B", b'[["add","bid",5,3,1]]')], ["B"])
    assert said(engine.drain()) == ({}, ())


def test_what_is_held_back_stays_for_the_next_drain() -> None:
    times = InputTimes()
    times.note(A, 90)
    times.note(B, None)
    times.note(C, 95)
    assert times.drain([A, B], [C], "7-0") == ({C: 95}, ())
    assert times.drain([], [A], "8-0") == ({A: 90}, (B,))
    assert times.input_ts == {A: 8_000, B: 8_000, C: 7_000}
    assert times.drain([], [], "9-0") == ({}, ())


@pytest.mark.parametrize(
    ("src", "ts"),
    [
        ("1769904000100-7", 1_769_904_000_100_000),
        ("0-0", 0),
        ("5", 5_000),
        ("", 0),
        ("-5", 0),
        ("x-1", 0),
        ("²-0", 0),
        (f"{MAX_INTEGER // 1000}-0", MAX_INTEGER // 1000 * 1000),
        (f"{MAX_INTEGER}-0", 0),
        (f"{2**64 - 1}-{2**64 - 1}", 0),
        (f"{'9' * 400}-0", 0),
    ],
)
def test_an_id_that_is_no_time_says_nothing(src: str, ts: int) -> None:
    assert input_ts_of(src) == ts


def test_marks_of_a_snapshot_leave_out_what_is_not_known() -> None:
    assert [to_marks(None, 0), to_marks(0, 0), to_marks(None, 5), to_marks(4, 5)] == [
        {}, {"event_ts": 0}, {"input_ts": 5}, {"event_ts": 4, "input_ts": 5},
    ]  # fmt: skip
