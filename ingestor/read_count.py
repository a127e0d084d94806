"""How many input entries to read at once, so that a reply of large entries stays small."""

from typing import Final

BEGIN: Final = 32
"""Entries of the first read, whose sizes are not known."""

BYTES_AIMED_AT: Final = 4 << 20
"""A reply should be about this large."""

GROWTH: Final = 4
"""A read asks for at most this many times as many entries as the one before returned."""


class ReadCount:
    """Adapts the number of entries by the size of the last reply, up to `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = min(BEGIN, most)

    def record(self, entries: int, size: int) -> None:
        """Record a reply of `entries`, `size` bytes long."""
        if entries:
            fitting = BYTES_AIMED_AT * entries // max(size, 1)
            self.count = max(1, min(self.most, fitting, max(self.count, entries * GROWTH)))

    def shrink(self) -> bool:
        """Ask for fewer after a reply that was too large; False if it asked for one entry only."""
        if self.count == 1:
            return False
        self.count = max(1, self.count // 16)
        return True
