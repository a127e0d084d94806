"""Events in their usual form, read from msgpack into 64-bit numbers, not into objects.

What is not of that form is left to the general decoder, which alone finds the reason for a reject.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.types import MAX_INTEGER

ITEMS: Final = 4
"""Numbers of an event: op, side, price, quantity."""
ORDER_ITEMS: Final = 5
"""Numbers of an event of an orders feed: the same, and the order ID, which is an integer."""
NO_NUMBER: Final = -(1 << 63)
"""Stands for a side, price or quantity that an event of an orders feed leaves out: nil."""
OPS: Final = 5
"""Ops are numbered from 0."""

_FIXED_ARRAY: Final = 0x90
_NIL: Final = 0xC0
_NONE: Final = NO_NUMBER
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


def order_event(numbers: list[int]) -> list[int | None]:
    """The five items of an event of an orders feed, as they were before they were numbers."""
    event: list[int | None] = list(numbers)
    for place in (1, 2, 3):  # side, price, quantity
        if numbers[place] == NO_NUMBER:
            event[place] = None
    return event


class PackedOrders(Sequence[list[int | None]]):
    """An array of events of an orders feed, each a list of its five items, made when it is asked for."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: "array[int]") -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers) // ORDER_ITEMS

    def __iter__(self) -> Iterator[list[int | None]]:
        return iter([self._event(at) for at in range(0, len(self.numbers), ORDER_ITEMS)])

    @overload
    def __getitem__(self, index: int) -> list[int | None]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int | None]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self._event(range(0, len(self.numbers), ORDER_ITEMS)[index])

    def _event(self, at: int) -> list[int | None]:
        return order_event(self.numbers[at : at + ORDER_ITEMS].tolist())

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment] # it equals lists


def read_packed(raw: bytes) -> PackedEvents | PackedOrders | None:
    """The events in `raw`, if all of it is msgpack of the usual form; None if anything is otherwise.

    Used only if compiled: byte by byte, Python is slower than the general decoder.
    """
    reader = _Reader(raw)
    count = reader.begin()
    if reader.items() == ORDER_ITEMS:
        numbers = array("q", bytes(8 * ORDER_ITEMS * count))
        return PackedOrders(numbers) if reader.fill_orders(numbers, count) else None
    numbers = array("q", bytes(8 * ITEMS * count))
    return PackedEvents(numbers) if reader.fill(numbers, count) else None


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

    def items(self) -> int:
        """Number of items of the first event; 0 if there is none, or if it is no short array."""
        raw = self._raw
        if self._failed or self._at >= self._size:
            return 0
        kind = raw[self._at]
        return kind & 0x0F if kind & 0xF0 == _FIXED_ARRAY else 0

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

    def fill_orders(self, numbers: "array[int]", count: int) -> bool:
        """The same for events of an orders feed; what they leave out is `NO_NUMBER`."""
        items = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        raw = self._raw
        step, begin, ops, most, none = ORDER_ITEMS, _FIXED_ARRAY + ORDER_ITEMS, OPS, MAX_INTEGER, _NONE
        for event in range(count):
            at = event * step
            if self._at >= self._size or raw[self._at] != begin:
                return False
            self._at += 1
            op, side, price, quantity = self._number(), self._optional(), self._optional(), self._optional()
            order_id = self._number()
            if self._failed or op < 0 or op >= ops:
                return False
            if side != none and (side < 0 or side > 1):
                return False
            if price != none and (price > most or price < -most):
                return False
            if quantity != none and (quantity < 0 or quantity > most):
                return False
            items[at], items[at + 1], items[at + 2], items[at + 3] = op, side, price, quantity
            items[at + 4] = order_id
        return self._at == self._size

    def _optional(self) -> int:
        """The next integer, or `NO_NUMBER` for nil."""
        raw = self._raw
        if self._at < self._size and raw[self._at] == _NIL:
            self._at += 1
            return _NONE
        return self._number()

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
