"""Integers of msgpack as 64-bit numbers. Used only if compiled: as Python, the general decoder is faster."""

from typing import Final

FIXED_ARRAY: Final = 0x90
"""First byte of an array of no items; those of up to 15 items follow."""
ARRAY_16: Final = 0xDC
ARRAY_32: Final = 0xDD


class NumberReader:
    """Reads what is in `raw`, from its beginning on; `at` is the next byte, `failed` what cannot be read."""

    __slots__ = ("at", "failed", "raw", "size")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.size = len(raw)
        self.at = 0
        self.failed = False

    def number(self) -> int:
        """The next integer; fails, with 0, if there is none, or if its form has 64 bits and the first is set.

        So a negative number below −2³¹ is left to the general decoder.
        """
        raw, at = self.raw, self.at
        if at >= self.size:
            self.failed = True
            return 0
        kind = raw[at]
        if kind < 0x80 or kind >= 0xE0:
            self.at = at + 1
            return kind if kind < 0x80 else kind - 256
        width = 1 << (kind & 3)
        if kind < 0xCC or kind > 0xD3 or at + width >= self.size:
            self.failed = True
            return 0
        is_high = raw[at + 1] >= 0x80
        if is_high and width == 8:
            self.failed = True
            return 0
        number = 0
        for place in range(at + 1, at + 1 + width):
            number = number << 8 | raw[place]
        self.at = at + 1 + width
        if is_high and kind >= 0xD0:
            wrap = 1  # of 64 bits
            number -= wrap << 8 * width
        return number
