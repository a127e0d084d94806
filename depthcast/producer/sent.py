"""Remembers what a producer sent, so that its rejects are told from those of others. Pure."""

from bisect import bisect_right
from typing import Final

from depthcast.shared.position import Position

RANGES_MAX: Final = 100_000
"""Appends remembered for each partition, at least."""


class SentIds:
    """The IDs of sent entries of one partition.

    An append is one step of the server, so its IDs in a partition have none of others between them: its first
    and last ID are enough.
    """

    def __init__(self) -> None:
        self.last: Position | None = None
        self._firsts: list[Position] = []
        self._lasts: list[Position] = []

    def add(self, first: Position, last: Position) -> None:
        """Remember an append; they come in the order of their IDs."""
        if self.last is not None and first < self.last:
            self._firsts.clear()  # Redis lost the log: IDs began again
            self._lasts.clear()
        elif len(self._firsts) >= 2 * RANGES_MAX:
            del self._firsts[:RANGES_MAX], self._lasts[:RANGES_MAX]
        self._firsts.append(first)
        self._lasts.append(last)
        self.last = last

    def __contains__(self, position: Position) -> bool:
        at = bisect_right(self._firsts, position)
        return at > 0 and position <= self._lasts[at - 1]
