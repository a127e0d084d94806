"""A delta in its usual form, read from msgpack into 64-bit numbers, not into objects.

What is not of that form is left to the general decoder (`depthcast.shared.codec`), which alone finds what is
wrong with it.
"""

from array import array
from typing import Final

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.types import MAX_INTEGER, Delta

COMPILED: Final = is_compiled_at(__file__)

ITEMS: Final = 6
"""Items of a delta without marks."""

_FIXED_ARRAY: Final = 0x90
_ARRAY_16: Final = 0xDC
_NUMBER: Final = array("q", [0])
_MOST: Final = MAX_INTEGER


def read_packed_delta(raw: bytes) -> tuple[Delta, int] | None:
    """The delta that `raw` begins with, and where its marks begin: at the end if it has none.

    Its levels are arrays. None if anything before the marks is not of the usual form. Used only if compiled:
    byte by byte, Python is slower than the general decoder.
    """
    reader = _Reader(raw)
    return reader.delta()


class _Reader:
    """Reads one delta; `_at` is the next byte."""

    __slots__ = ("_at", "_failed", "_raw", "_size")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._size = len(raw)
        self._at = 0
        self._failed = False

    def delta(self) -> tuple[Delta, int] | None:
        """As `read_packed_delta`."""
        items = self._array_size()
        if items != ITEMS and items != ITEMS + 1:
            return None
        prev_seq, seq = self._number(), self._number()
        bids = self._levels()
        asks = self._levels()
        digest, events = self._number(), self._number()
        if self._failed or prev_seq < 0 or prev_seq >= seq or digest < 0 or events < 0:
            return None
        if (self._at == self._size) != (items == ITEMS):
            return None
        delta = tuple.__new__(Delta, (prev_seq, seq, bids, asks, digest, events))
        return delta, self._at

    def _array_size(self) -> int:
        """Number of items of the array that begins here; fails if there is none, or a huge one."""
        raw, at = self._raw, self._at
        if at < self._size and raw[at] & 0xF0 == _FIXED_ARRAY:
            self._at = at + 1
            return raw[at] & 0x0F
        if at + 2 < self._size and raw[at] == _ARRAY_16:
            self._at = at + 3
            return raw[at + 1] << 8 | raw[at + 2]
        self._failed = True
        return 0

    def _levels(self) -> "array[int]":
        """The next array of prices and quantities, all in range; fails otherwise."""
        count = self._array_size()
        if count % 2 or count > self._size - self._at:
            self._failed = True
        if self._failed:
            return _NUMBER
        numbers = _NUMBER * count
        items: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        most = _MOST
        for at in range(0, count, 2):
            price, quantity = self._number(), self._number()
            if self._failed or price < -most or price > most or quantity < 0 or quantity > most:
                self._failed = True
                break
            items[at], items[at + 1] = price, quantity
        return numbers

    def _number(self) -> int:
        """The next integer; fails, with 0, if there is none, or if it has 64 bits and the first is set."""
        raw, at = self._raw, self._at
        if at >= self._size:
            self._failed = True
            return 0
        kind = raw[at]
        if kind < 0x80 or kind >= 0xE0:
            self._at = at + 1
            return kind if kind < 0x80 else kind - 256
        width = 1 << (kind & 3)
        if kind < 0xCC or kind > 0xD3 or at + width >= self._size:
            self._failed = True
            return 0
        is_high = raw[at + 1] >= 0x80
        if is_high and width == 8:
            self._failed = True
            return 0
        number = 0
        for place in range(at + 1, at + 1 + width):
            number = number << 8 | raw[place]
        self._at = at + 1 + width
        if is_high and kind >= 0xD0:
            wrap = 1  # of 64 bits
            number -= wrap << 8 * width
        return number
