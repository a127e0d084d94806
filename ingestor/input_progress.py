"""How far a leader has read its input log: how old the oldest unread entry is, and what was lost unread.

Redis counts the entries that were ever added to a stream. So when a leader has read up to an entry, it knows
how many entries it should have read by then; those missing were deleted before. The counts of the leader go
from one leadership to the next with `src` (`docs/protocol.md`, section 2.2).
"""

from bisect import bisect_right
from typing import NamedTuple

from depthcast.shared.position import ZERO, Position


class Milestone(NamedTuple):
    """The end of the input log at some moment: its last ID, and how many entries were added up to there."""

    end: Position
    added: int


class InputProgress:
    """The progress of one leadership, from `src`, where `entries` were added up to there; None: not known.

    `oldest`: the first entry that was unread when it began, if there was one.

    - `entries`: entries added up to `src`, lost ones included. Those that were lost after `src` are included
      as soon as they are noticed.
    - `lost`: entries deleted unread, since the partition's beginning.
    - `restarted`: whether the last call noticed that the log had begun again, so that nobody knows how many
      entries were lost.
    """

    def __init__(self, src: Position, entries: int | None, lost: int, oldest: Position = ZERO) -> None:
        self.entries = entries
        self.lost = lost
        self.restarted = False
        self._src = src
        self._unpublished: list[Position] = []
        self._read_to = src
        self._clear_ms = oldest.epoch  # no unread entry is older
        self._end = ZERO
        self._milestone: Milestone | None = None

    def begin_read(self) -> Milestone | None:
        """Return what `record_read` needs to know about a read that is about to be sent."""
        return self._milestone

    def record_read(self, ids: list[Position], milestone: Milestone | None) -> int:
        """Record the reply of a read, empty if nothing came; returns how many entries are found lost.

        `milestone`: from `begin_read`. An empty reply shows that nothing is left up to there.
        """
        self.restarted = False
        if ids:
            self._unpublished += ids
            self._read_to = max(self._read_to, ids[-1])
        elif milestone is not None:
            self._read_to = max(self._read_to, milestone.end)
        return self._check()

    def record_end(self, end: Position, added: int, now_ms: int) -> int:
        """Record the log's end, as the server told at `now_ms` by its clock; returns entries found lost."""
        self.restarted = False
        if not self._clear_ms or end <= self._read_to:
            self._clear_ms = now_ms
        self._end = end
        if self._milestone is None or end < self._milestone.end:
            self._milestone = Milestone(end, added)
        return self._check()

    def publish(self, src: Position) -> None:
        """Everything up to `src` is about to be published."""
        count = bisect_right(self._unpublished, src)
        del self._unpublished[:count]
        self._src = max(self._src, src)
        if self.entries is not None:
            self.entries += count

    def lag_ms(self, consumed: Position, now_ms: float) -> int:
        """Age of the oldest entry after `consumed` that is not consumed yet; 0 if none is known.

        If it is not read yet, its ID is not known: the age is at most that of the last entry read, and at
        most the time since there was nothing to read.
        """
        first = bisect_right(self._unpublished, consumed)
        if first < len(self._unpublished):
            added_ms = self._unpublished[first].epoch
        elif self._end > self._read_to:
            added_ms = max(self._read_to.epoch, self._clear_ms)
        else:
            return 0
        return max(int(now_ms) - added_ms, 0)

    def _check(self) -> int:
        """Compare counts once everything up to the milestone is read; returns entries found lost."""
        if self._milestone is None or self._read_to < self._milestone.end:
            return 0
        (end, added), self._milestone = self._milestone, None
        read = bisect_right(self._unpublished, end)
        if self.entries is None:
            self.entries = added - read
        missing = added - read - self.entries
        self.entries += missing
        self.restarted = missing < 0
        self.lost += max(missing, 0)
        return max(missing, 0)
