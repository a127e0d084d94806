"""How many entries or snapshots a relay reads at once, so that a reply stays within a limit of bytes.

How large they are is known only once they were read. So it begins with few, reads at most twice as many as
the last time, and assumes that the next ones may each be as large as the largest of the last reply.
"""

from typing import Final

FIRST: Final = 8
"""Items of the first read."""


class Pace:
    """`count`: how many to read now. `limited`: how often `bytes_max` allowed fewer than `count_max`."""

    def __init__(self, bytes_max: int, count_max: int) -> None:
        self.bytes_max = bytes_max
        self.count_max = count_max
        self.count = min(FIRST, count_max)
        self.limited = 0
        self._largest = 0

    def note(self, largest: int) -> None:
        """The reply is there; `largest`: bytes of its largest item, 0 if there was none."""
        if not largest:
            return
        self._largest = max(largest, self._largest // 2)
        fit = max(1, self.bytes_max // self._largest)
        self.limited += fit < self.count_max
        self.count = min(fit, 2 * self.count, self.count_max)

    def too_big(self) -> None:
        """A reply was given up, because it exceeded the limit: read one, however large it is."""
        self.limited += 1
        self.count = 1
