"""The rejects of a partition that wait to be published, and how many there were."""

from collections.abc import Sequence
from typing import Any

from depthcast.ingestor.events import encode_event
from depthcast.ingestor.rejects import (
    EVENT_BYTES_MAX,
    NAME_CHARS_MAX,
    REJECTS_PER_ENTRY,
    WHOLE,
    Reason,
    Reject,
)


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

    def add(self, name: bytes, reason: Reason, index: int, count: int, event: bytes) -> None:
        """Record one reject; `event` and `name` are cut."""
        symbol = name.decode(errors="replace")[:NAME_CHARS_MAX]
        self.pending.append(Reject(symbol, reason, self._source, index, count, event[:EVENT_BYTES_MAX]))
        self._left -= 1
        self._count(reason, count)

    def add_whole(self, name: bytes, reason: Reason, raw: bytes, count: int = 1) -> None:
        """Record that a value was rejected as a whole, or an atomic array for how it ended."""
        self.add(name, reason, WHOLE, count, raw)

    def add_events(
        self,
        name: bytes,
        raw: bytes,
        events: Sequence[Any],
        first: int,
        refused: Sequence[tuple[int, Reason]],
    ) -> None:
        """Record the refused ones of `events`; `first`: index of `events[0]` in the array."""
        single = max(self._left, 0)
        for index, reason in refused[:single]:
            self.add(name, reason, first + index, 1, encode_event(events[index], raw))
        rest = refused[single:]
        if not rest:
            return
        if not self._has_rest:
            index, reason = rest[0]
            self.add(name, reason, first + index, 1, encode_event(events[index], raw))
            rest, self._has_rest = rest[1:], True
        last = self.pending[-1]
        self.pending[-1] = last._replace(count=last.count + len(rest))
        for _, reason in rest:
            self._count(reason, 1)

    def _count(self, reason: Reason, count: int) -> None:
        self.total += count
        self.by_reason[reason] = self.by_reason.get(reason, 0) + count
