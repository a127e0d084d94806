"""Events in their usual form, read from msgpack into 64-bit numbers, not into objects.

What is not of that form is left to the general decoder, which alone finds the reason for a reject.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.packed_numbers import ARRAY_16, ARRAY_32, FIXED_ARRAY, NumberReader
from depthcast.shared.types import MAX_INTEGER

ITEMS: Final = 4
"""Numbers of an event: op, side, price, quantity."""
ORDER_ITEMS: Final = 5
"""Numbers of an event of an orders feed: the same, and the order ID, which is an integer."""
NO_NUMBER: Final = -(1 << 63)
"""Stands for a side, price or quantity that an event of an orders feed leaves out: nil."""
OPS: Final = 5
"""Ops are numbered from 0."""

_FIXED_ARRAY: Final = FIXED_ARRAY
_NIL: Final = 0xC0
_NONE: Final = NO_NUMBER
_ARRAY_16: Final = ARRAY_16
_ARRAY_32: Final = ARRAY_32

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


class _Reader(NumberReader):
    """Reads one array."""

    __slots__ = ()

    def begin(self) -> int:
        """Number of events; 0 if it is no array, or has more than there are bytes for."""
        raw, count = self.raw, -1
        if self.size and raw[0] & 0xF0 == _FIXED_ARRAY:
            count, self.at = raw[0] & 0x0F, 1
        elif self.size > 2 and raw[0] == _ARRAY_16:
            count, self.at = raw[1] << 8 | raw[2], 3
        elif self.size > 4 and raw[0] == _ARRAY_32:
            count, self.at = raw[1] << 24 | raw[2] << 16 | raw[3] << 8 | raw[4], 5
        self.failed = count < 0 or count * (ITEMS + 1) > self.size - self.at
        return 0 if self.failed else count

    def items(self) -> int:
        """Number of items of the first event; 0 if there is none, or if it is no short array."""
        raw = self.raw
        if self.failed or self.at >= self.size:
            return 0
        kind = raw[self.at]
        return kind & 0x0F if kind & 0xF0 == _FIXED_ARRAY else 0

    def fill(self, numbers: "array[int]", count: int) -> bool:
        """Read so many events into `numbers`; False unless they are all there is, and of the usual form."""
        if self.failed:
            return False
        items = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        raw = self.raw
        step, begin, ops, most = ITEMS, _FIXED_ARRAY + ITEMS, OPS, MAX_INTEGER  # C numbers
        for event in range(count):
            at = event * step
            if self.at >= self.size or raw[self.at] != begin:
                return False
            self.at += 1
            op, side, price, quantity = self.number(), self.number(), self.number(), self.number()
            if self.failed or op < 0 or op >= ops or side < 0 or side > 1 or quantity < 0:
                return False
            if quantity > most or price > most or price < -most:
                return False
            items[at], items[at + 1], items[at + 2], items[at + 3] = op, side, price, quantity
        return self.at == self.size

    def fill_orders(self, numbers: "array[int]", count: int) -> bool:
        """The same for events of an orders feed; what they leave out is `NO_NUMBER`."""
        items = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        raw = self.raw
        step, begin, ops, most, none = ORDER_ITEMS, _FIXED_ARRAY + ORDER_ITEMS, OPS, MAX_INTEGER, _NONE
        for event in range(count):
            at = event * step
            if self.at >= self.size or raw[self.at] != begin:
                return False
            self.at += 1
            op, side, price, quantity = self.number(), self._optional(), self._optional(), self._optional()
            order_id = self.number()
            if self.failed or op < 0 or op >= ops:
                return False
            if side != none and (side < 0 or side > 1):
                return False
            if price != none and (price > most or price < -most):
                return False
            if quantity != none and (quantity < 0 or quantity > most):
                return False
            items[at], items[at + 1], items[at + 2], items[at + 3] = op, side, price, quantity
            items[at + 4] = order_id
        return self.at == self.size

    def _optional(self) -> int:
        """The next integer, or `NO_NUMBER` for nil."""
        raw = self.raw
        if self.at < self.size and raw[self.at] == _NIL:
            self.at += 1
            return _NONE
        return self.number()
