"""Converts the engine's results for publishing: entry info and the fields of a `rejects` entry."""

from depthcast.broadcaster.publication import Broadcast, Fields
from depthcast.ingestor.engine import Interval
from depthcast.ingestor.rejects import Reject
from depthcast.shared.types import EntryInfo


def broadcast_of(interval: Interval, ts: int) -> Broadcast:
    """The broadcast of an interval that closed at `ts` (µs)."""
    info = EntryInfo(
        ts=ts,
        src=interval.src,
        applied=interval.applied,
        rejected=interval.rejected,
        ignored=interval.ignored,
        event_ts=interval.event_ts,
    )
    return Broadcast(info, interval.deltas)


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
