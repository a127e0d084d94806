"""Decides how long entries wait for those of other partitions, so that one write per client has both.

In a quiet market nothing waits. When entries of another partition follow a flush within the window, the next
flush waits for the window too, and so on until one had entries of a single partition. A flush never begins
earlier than a window after the last one.
"""

from math import inf


class Coalescing:
    """`window_s`: the longest wait."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._gathers = False
        self._waiting = set[int]()
        self._flushed = set[int]()
        self._flushed_at = -inf

    def wait_s(self, partition: int, now: float) -> float:
        """How long a flush of this partition's entry waits, if none is under way."""
        recent = now - self._flushed_at < self.window_s
        if recent and not self._waiting and partition not in self._flushed:
            self._gathers = True
        self._waiting.add(partition)
        if self._gathers:
            return self.window_s
        return self._flushed_at + self.window_s - now if recent else 0.0

    def flush(self, now: float) -> None:
        """Record that what waited has been flushed."""
        if not self._waiting:
            return
        if len(self._waiting) == 1:
            self._gathers = False
        self._flushed, self._waiting = self._waiting, set()
        self._flushed_at = now
