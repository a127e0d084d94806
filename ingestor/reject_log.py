"""The rejects of a partition that wait to be published, and how many there were."""

from collections.abc import Sequence
from typing import Any

from depthcast.ingestor.events import encode_event
from depthcast.ingestor.explanations import explain
from depthcast.ingestor.rejects import (
    DETAIL_CHARS_MAX,
    EVENT_BYTES_MAX,
    NAME_CHARS_MAX,
    REJECTS_PER_ENTRY,
    WHOLE,
    Reason,
    Reject,
)
from depthcast.shared.instruments import Feed


class RejectLog:
    """Records rejects. An entry has at most `REJECTS_PER_ENTRY` single ones, then one for each array's rest.

    `pending`: since the last `take`. `total`: events rejected since the partition began. `by_reason`: those
    of this process.
    """

    def __init__(self) -> None:
        self.pending: list[Reject] = []
        self.total = 0
        self.by_reason: dict[Reason, int] = {}
        self._source = ""
        self._left = 0
        self._has_rest = False

    def begin_entry(self, source: str) -> None:
        """Begin the rejects of the input entry `source`."""
        self._source = source
        self._left = REJECTS_PER_ENTRY

    def begin_array(self) -> None:
        """Begin the rejects of an array, whose rest will be a record of its own."""
        self._has_rest = False

    def take(self) -> list[Reject]:
        """The pending rejects, which are no longer pending then."""
        taken, self.pending = self.pending, []
        return taken

    def add(
        self, name: bytes, reason: Reason, index: int, count: int, event: bytes, detail: str = ""
    ) -> None:
        """Record one reject; `event`, `name` and `detail` are cut."""
        symbol = name.decode(errors="replace")[:NAME_CHARS_MAX]
        recorded = event[:EVENT_BYTES_MAX], detail[:DETAIL_CHARS_MAX]
        self.pending.append(Reject(symbol, reason, self._source, index, count, *recorded))
        self._left -= 1
        self._count(reason, count)

    def add_whole(self, name: bytes, reason: Reason, raw: bytes, count: int = 1, detail: str = "") -> None:
        """Record that a value was rejected as a whole, or an atomic array for how it ended."""
        self.add(name, reason, WHOLE, count, raw, detail)

    def add_event(
        self, name: bytes, raw: bytes, feed: Feed | None, event: Any, index: int, count: int, reason: Reason
    ) -> None:
        """Record that `event` of the array `raw` was rejected; `feed`: of its symbol, None if unknown."""
        self.add(name, reason, index, count, encode_event(event, raw), explain(reason, event, feed))

    def add_events(
        self,
        name: bytes,
        raw: bytes,
        feed: Feed | None,
        events: Sequence[Any],
        first: int,
        refused: Sequence[tuple[int, Reason]],
    ) -> None:
        """Record the refused ones of `events`; `first`: index of `events[0]` in the array."""
        single = max(self._left, 0)
        for index, reason in refused[:single]:
            self.add_event(name, raw, feed, events[index], first + index, 1, reason)
        rest = refused[single:]
        if not rest:
            return
        if not self._has_rest:
            index, reason = rest[0]
            self.add_event(name, raw, feed, events[index], first + index, 1, reason)
            rest, self._has_rest = rest[1:], True
        last = self.pending[-1]
        self.pending[-1] = last._replace(count=last.count + len(rest))
        for _, reason in rest:
            self._count(reason, 1)

    def _count(self, reason: Reason, count: int) -> None:
        self.total += count
        self.by_reason[reason] = self.by_reason.get(reason, 0) + count
