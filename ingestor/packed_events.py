"""Events of a levels feed in their usual form, read from msgpack into 64-bit numbers, not into objects.

What is not of that form is left to the general decoder, which alone finds the reason for a reject.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.types import MAX_INTEGER

ITEMS: Final = 4
"""Numbers of an event: op, side, price, quantity."""
OPS: Final = 5
"""Ops are numbered from 0."""

_FIXED_ARRAY: Final = 0x90
_ARRAY_16: Final = 0xDC
_ARRAY_32: Final = 0xDD

COMPILED: Final = is_compiled_at(__file__)


class PackedEvents(Sequence[list[int]]):
    """An array of events, each a list of four numbers in range, made when it is asked for."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: "array[int]") -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers) // ITEMS

    def __iter__(self) -> Iterator[list[int]]:
        numbers = self.numbers
        return iter([numbers[at : at + ITEMS].tolist() for at in range(0, len(numbers), ITEMS)])

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        begin = range(0, len(self.numbers), ITEMS)[index]
        return self.numbers[begin : begin + ITEMS].tolist()

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment] # it equals lists


def read_packed(raw: bytes) -> PackedEvents | None:
    """The events in `raw`, if all of it is msgpack of the usual form; None if anything is otherwise.

    Used only if compiled: byte by byte, Python is slower than the general decoder.
    """
    reader = _Reader(raw)
    count = reader.begin()
    numbers = array("q", bytes(8 * ITEMS * count))
    if not reader.fill(numbers, count):
        return None
    return PackedEvents(numbers)


class _Reader:
    """Reads one array; `_at` is the next byte."""

    __slots__ = ("_at", "_failed", "_raw", "_size")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._size = len(raw)
        self._at = 0
        self._failed = False

    def begin(self) -> int:
        """Number of events; 0 if it is no array, or has more than there are bytes for."""
        raw, count = self._raw, -1
        if self._size and raw[0] & 0xF0 == _FIXED_ARRAY:
            count, self._at = raw[0] & 0x0F, 1
        elif self._size > 2 and raw[0] == _ARRAY_16:
            count, self._at = raw[1] << 8 | raw[2], 3
        elif self._size > 4 and raw[0] == _ARRAY_32:
            count, self._at = raw[1] << 24 | raw[2] << 16 | raw[3] << 8 | raw[4], 5
        self._failed = count < 0 or count * (ITEMS + 1) > self._size - self._at
        return 0 if self._failed else count

    def fill(self, numbers: "array[int]", count: int) -> bool:
        """Read so many events into `numbers`; False unless they are all there is, and of the usual form."""
        if self._failed:
            return False
        items = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        raw = self._raw
        step, begin, ops, most = ITEMS, _FIXED_ARRAY + ITEMS, OPS, MAX_INTEGER  # C numbers
        for event in range(count):
            at = event * step
            if self._at >= self._size or raw[self._at] != begin:
                return False
            self._at += 1
            op, side, price, quantity = self._number(), self._number(), self._number(), self._number()
            if self._failed or op < 0 or op >= ops or side < 0 or side > 1 or quantity < 0:
                return False
            if quantity > most or price > most or price < -most:
                return False
            items[at], items[at + 1], items[at + 2], items[at + 3] = op, side, price, quantity
        return self._at == self._size

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
