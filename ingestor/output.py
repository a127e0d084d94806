"""Converts the engine's results for publishing: entry info and the fields of a `rejects` entry."""

from collections.abc import Mapping

from depthcast.broadcaster.publication import Broadcast, Fields
from depthcast.ingestor.interval import NO_COUNTS, NO_DOUBTS, NO_TIMES, Interval
from depthcast.ingestor.rejects import Reject
from depthcast.shared.codec import NO_MARKS, Marks
from depthcast.shared.doubt import STALE
from depthcast.shared.input_times import EVENT_TS
from depthcast.shared.listing import AFTER, Listing, to_table
from depthcast.shared.order_counts import ORDERS, OrderCounts
from depthcast.shared.types import EntryInfo, Symbol


def broadcast_of(interval: Interval, ts: int) -> Broadcast:
    """The broadcast of an interval that closed at `ts` (µs)."""
    info = EntryInfo(
        ts=ts,
        src=interval.src,
        applied=interval.applied,
        rejected=interval.rejected,
        ignored=interval.ignored,
        event_ts=interval.event_ts,
        inputs=interval.inputs or None,
    )
    marks = marks_of(
        interval.listings, interval.after, interval.doubts, interval.event_times, interval.counts
    )
    return Broadcast(info, interval.deltas, marks)


def marks_of(
    listings: Mapping[Symbol, Listing],
    after: Mapping[Symbol, str],
    doubts: Mapping[Symbol, str | None] = NO_DOUBTS,
    event_times: Mapping[Symbol, int] = NO_TIMES,
    counts: Mapping[Symbol, OrderCounts] = NO_COUNTS,
) -> Mapping[str, Marks]:
    """What deltas say of their books: the listings, the last input before them, the doubt, the source time.

    Births, moves and withdrawals say listings; the first or last delta of a doubt says that.
    Every delta of an orders feed says the number of orders at its levels.
    """
    marks: dict[str, Marks] = {
        symbol: to_table(listing) | ({AFTER: after[symbol]} if symbol in after else {})
        for symbol, listing in listings.items()
    }
    for symbol, reason in doubts.items():
        marks[symbol] = {**marks.get(symbol, NO_MARKS), STALE: reason}
    for symbol, ts in event_times.items():
        marks[symbol] = {**marks[symbol], EVENT_TS: ts} if symbol in marks else {EVENT_TS: ts}
    for symbol, counted in counts.items():
        marks[symbol] = {**marks[symbol], ORDERS: counted} if symbol in marks else {ORDERS: counted}
    return marks


def reject_fields(reject: Reject) -> Fields:
    """Fields of one entry of the `rejects` stream; all but `event` are text, and `detail` may be absent."""
    detail = [(b"detail", reject.detail.encode("utf-8", "replace"))] if reject.detail else []
    return [
        (b"symbol", reject.symbol.encode("utf-8", "replace")),
        (b"reason", reject.reason.encode()),
        (b"source", reject.source.encode()),
        (b"index", b"%d" % reject.index),
        (b"count", b"%d" % reject.count),
        (b"event", reject.event),
        *detail,
    ]
