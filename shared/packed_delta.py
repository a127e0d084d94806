"""A delta in its usual form, read from msgpack into 64-bit numbers, not into objects.

What is not of that form is left to the general decoder (`depthcast.shared.codec`), which alone finds what is
wrong with it.
"""

from array import array
from typing import Final

from depthcast.shared.codec import LARGEST, names_twice
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.packed_numbers import ARRAY_16, FIXED_ARRAY, NumberReader
from depthcast.shared.types import MAX_INTEGER, Delta

COMPILED: Final = is_compiled_at(__file__)

ITEMS: Final = 6
"""Items of a delta without marks."""

_FIXED_ARRAY: Final = FIXED_ARRAY
_ARRAY_16: Final = ARRAY_16
_COMPARED: Final = 16
"""Levels of a side up to which each price is compared with those before it; beyond, by a set."""
_NUMBER: Final = array("q", [0])
_MOST: Final = MAX_INTEGER
_LARGEST: Final = LARGEST


def read_packed_delta(raw: bytes) -> tuple[Delta, int] | None:
    """The delta that `raw` begins with, and where its marks begin: at the end if it has none.

    Its levels are arrays. None if anything before the marks is not of the usual form. Used only if compiled:
    byte by byte, Python is slower than the general decoder.
    """
    reader = _Reader(raw)
    return reader.delta()


class _Reader(NumberReader):
    """Reads one delta."""

    __slots__ = ()

    def delta(self) -> tuple[Delta, int] | None:
        """As `read_packed_delta`."""
        items = self._array_size()
        if items != ITEMS and items != ITEMS + 1:
            return None
        prev_seq, seq = self.number(), self.number()
        bids = self._levels()
        asks = self._levels()
        digest, events = self.number(), self.number()
        if self.failed or prev_seq < 0 or prev_seq >= seq or seq > _LARGEST or digest < 0 or events < 0:
            return None
        if (self.at == self.size) != (items == ITEMS):
            return None
        delta = tuple.__new__(Delta, (prev_seq, seq, bids, asks, digest, events))
        return delta, self.at

    def _array_size(self) -> int:
        """Number of items of the array that begins here; fails if there is none, or a huge one."""
        raw, at = self.raw, self.at
        if at < self.size and raw[at] & 0xF0 == _FIXED_ARRAY:
            self.at = at + 1
            return raw[at] & 0x0F
        if at + 2 < self.size and raw[at] == _ARRAY_16:
            self.at = at + 3
            return raw[at + 1] << 8 | raw[at + 2]
        self.failed = True
        return 0

    def _levels(self) -> "array[int]":
        """The next array of prices and quantities, all in range; fails otherwise."""
        count = self._array_size()
        if count % 2 or count > self.size - self.at:
            self.failed = True
        if self.failed:
            return _NUMBER
        numbers = _NUMBER * count
        items: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        most = _MOST
        levels = count // 2
        for level in range(levels):
            price, quantity = self.number(), self.number()
            if self.failed or price < -most or price > most or quantity < 0 or quantity > most:
                self.failed = True
                break
            for before in range(level if level < _COMPARED else 0):
                if items[2 * before] == price:
                    self.failed = True
            items[2 * level], items[2 * level + 1] = price, quantity
        if levels > _COMPARED and not self.failed and names_twice(numbers):
            self.failed = True
        return numbers
