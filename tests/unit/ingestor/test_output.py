"""From the engine's results to published fields: names and bytes."""

from depthcast.broadcaster.publication import Broadcast
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.output import broadcast_of, marks_of, reject_fields
from depthcast.ingestor.rejects import Reason, Reject
from depthcast.shared.instruments import Instrument
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.types import Delta, EntryInfo, Symbol


def test_an_interval_is_broadcast_with_its_counts() -> None:
    deltas = [(Symbol("A"), Delta(1, 2, [5, 3], [], 77, 4))]
    interval = Interval("7-1", 55, 3, 2, 1, deltas, [], [], {}, [])
    assert broadcast_of(interval, 99) == Broadcast(EntryInfo(99, "7-1", 3, 2, 1, event_ts=55), deltas)


def test_times_of_input_are_said_where_there_are_any() -> None:
    a, b = Symbol("A"), Symbol("B")
    interval = Interval("7-1", 55, 3, 2, 1, [], [], [], {}, [], event_times={a: 44}, inputs=(b,))
    broadcast = broadcast_of(interval, 99)
    assert (broadcast.info.inputs, broadcast.marks) == (("B",), {"A": {"event_ts": 44}})
    listing = Listing(3, Instrument(a))
    marks = marks_of({a: listing}, {}, {a: "gap", b: None}, {a: 1, b: 2})
    assert marks == {
        "A": to_table(listing) | {"stale": "gap", "event_ts": 1}, "B": {"stale": None, "event_ts": 2},
    }  # fmt: skip


def test_a_reject_is_recorded_by_the_contracts_names() -> None:
    reject = Reject("É", Reason.BAD_PRICE, "7-1", -1, 12, b"\xff[1]")
    assert reject_fields(reject) == [
        (b"symbol", "É".encode()),
        (b"reason", b"bad_price"),
        (b"source", b"7-1"),
        (b"index", b"-1"),
        (b"count", b"12"),
        (b"event", b"\xff[1]"),
    ]


def test_a_name_that_cannot_be_written_is_recorded_with_what_can() -> None:
    reject = Reject("a\ud800", Reason.UNKNOWN_SYMBOL, "7-1", 0, 1, b"")
    assert reject_fields(reject)[0] == (b"symbol", b"a?")
