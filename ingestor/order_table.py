"""Order ID → price and quantity in 64-bit numbers that lie side by side: a side's orders if compiled.

A dict keeps for each order a hash and pointers to an ID and to a pair, which points to a price and a
quantity: four objects in all. Here an order whose ID is an integer of 64 bits is 24 bytes of one array, and
compiled code makes no objects of it. Orders with other IDs, strings or larger integers, are in a dict.

The table is an open-addressing one, as `depthcast.shared.level_table` says. The ID itself is in the slot, so
two IDs are never taken for each other. Where one belongs depends on numbers that differ in each process.

Without a compiler resting orders are a plain dict.
"""

from array import array
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, Sequence, ValuesView
from contextlib import suppress
from itertools import chain
from typing import Any, Final, overload

from depthcast.shared.compiled import is_compiled_at

COMPILED: Final = is_compiled_at(__file__)

SLOTS_MIN: Final = 8
"""A table with orders has at least so many slots, of 24 bytes each; always a power of two."""

ITEMS: Final = 3
"""Numbers of an order: ID, price, quantity. A quantity of 0 stands for a free slot."""

_SLOT: Final = array("q", [0] * ITEMS)
_NO_SLOTS: Final = _SLOT * 2
"""What all empty tables have, which costs nothing: two slots that are never filled."""

_WORD: Final = (1 << 64) - 1
_MULTIPLIER: Final = hash("depthcast: multiplier of order ids") & _WORD | 1
_SUMMAND: Final = hash("depthcast: summand of order ids") & _WORD
_SECOND_MULTIPLIER: Final = hash("depthcast: second multiplier of order ids") & _WORD | 1

_HALF: Final = 1 << 63

_ABSENT: Final = object()

Order = tuple[int, int]
"""(price, remaining quantity ≥ 1)"""

OrderId = int | str


def _home(order_id: int, mask: int) -> int:
    """The slot where the search for an ID begins.

    The lowest bits of what is mixed are those of a smaller table too. So orders may be put into one in the
    order in which a larger one has them, as an undo does: by the highest bits, all would begin at its first
    slots.
    """
    mixed = order_id
    mixed = (mixed + _SUMMAND) * _MULTIPLIER  # of 64 bits, like all that follows
    mixed ^= mixed >> 32
    mixed *= _SECOND_MULTIPLIER
    return (mixed >> 32) & mask


def _is_number(order_id: int) -> bool:
    """Whether an ID has a slot, because it is an integer of 64 bits."""
    return not (order_id + _HALF) >> 64


class OrderTable:  # noqa: PLW1641  # not hashable, like a dict
    """Order ID → (price, quantity), in no particular order. Used only if compiled.

    `_slots`: ID, price and quantity of each slot; they lie in `_array`, which nobody else has. `_mask`: one
    less than there are slots. `_changes` counts orders that came or went, so that an iteration notices.

    It offers what a dict does. IDs are found by equality, so 1.0 is 1. `others`: the orders whose ID is no
    integer of 64 bits.
    """

    __slots__ = ("_array", "_changes", "_mask", "_size", "_slots", "others")

    def __init__(self) -> None:
        self._use(2, _NO_SLOTS)
        self._size = 0
        self._changes = 0
        self.others: dict[OrderId, Order] = {}

    def _use(self, count: int, slots: "array[int]") -> None:
        self._array = slots
        self._slots: array[int] = slots.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        self._mask = count - 1

    # In numbers.

    def place_of(self, order_id: int) -> int:
        """The slot of an order, -1 if it is not there."""
        slots, mask = self._slots, self._mask
        at = _home(order_id, mask)
        while slots[3 * at + 2]:
            if slots[3 * at] == order_id:
                return at
            at = (at + 1) & mask
        return -1

    def id_at(self, place: int) -> int:
        """The ID of the order in a slot that `place_of` has found."""
        return self._slots[3 * place]

    def price_at(self, place: int) -> int:
        """Its price."""
        return self._slots[3 * place + 1]

    def quantity_at(self, place: int) -> int:
        """Its quantity."""
        return self._slots[3 * place + 2]

    def set_at(self, place: int, price: int, quantity: int) -> None:
        """Change it; `quantity` ≥ 1."""
        self._slots[3 * place + 1] = price
        self._slots[3 * place + 2] = quantity

    def enter(self, order_id: int, price: int, quantity: int) -> int:
        """Add an order that is not there, `quantity` ≥ 1; raises `MemoryError` with nothing changed."""
        if 3 * (self._size + 1) > 2 * (self._mask + 1) or self._mask == 1:
            self._resize(max(2 * (self._mask + 1), SLOTS_MIN))
        slots, mask = self._slots, self._mask
        at = _home(order_id, mask)
        while slots[3 * at + 2]:
            at = (at + 1) & mask
        slots[3 * at] = order_id
        slots[3 * at + 1] = price
        slots[3 * at + 2] = quantity
        self._size += 1
        self._changes += 1
        return 0

    def drop_at(self, place: int) -> int:
        """Free a slot, and move back those behind it that no search would find otherwise."""
        slots, mask = self._slots, self._mask
        gap = place
        at = (gap + 1) & mask
        while slots[3 * at + 2]:
            home = _home(slots[3 * at], mask)
            if (at - home) & mask >= (at - gap) & mask:
                slots[3 * gap] = slots[3 * at]
                slots[3 * gap + 1] = slots[3 * at + 1]
                slots[3 * gap + 2] = slots[3 * at + 2]
                gap = at
            at = (at + 1) & mask
        slots[3 * gap + 2] = 0
        self._size -= 1
        self._changes += 1
        if 16 * self._size < mask >= SLOTS_MIN:
            self._shrink()
        return 0

    def _shrink(self) -> None:
        # What was removed is removed: without memory the table stays larger than it needs to be.
        with suppress(MemoryError):
            self._resize((self._mask + 1) // 2)

    def _resize(self, room: int) -> int:
        old, count = self._array, self._mask + 1
        slots = self._slots
        made = _SLOT * room
        self._use(room, made)
        into, mask = self._slots, self._mask
        for place in range(count):
            if slots[3 * place + 2]:
                at = _home(slots[3 * place], mask)
                while into[3 * at + 2]:
                    at = (at + 1) & mask
                into[3 * at] = slots[3 * place]
                into[3 * at + 1] = slots[3 * place + 1]
                into[3 * at + 2] = slots[3 * place + 2]
        del old  # was needed until here: `slots` lie in it
        return 0

    def taken(self) -> "array[int]":
        """ID, price and quantity of all orders but `others`, in a new array."""
        numbers = _SLOT * self._size
        into: Any = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        slots, kept = self._slots, 0
        for place in range(self._mask + 1):
            if slots[3 * place + 2]:
                into[kept] = slots[3 * place]
                into[kept + 1] = slots[3 * place + 1]
                into[kept + 2] = slots[3 * place + 2]
                kept += 3
        return numbers

    def longest_search(self) -> int:
        """So many slots are read at most to find an order that is there."""
        longest = 0
        for place in range(self._mask + 1):
            if self._slots[3 * place + 2]:
                distance = (place - _home(self._slots[3 * place], self._mask)) & self._mask
                longest = max(longest, distance + 1)
        return longest

    # As a dict.

    def _place_of_key(self, key: Any) -> int:
        """The slot of any object, as an ID; -1 if it has none, and may be in `others`."""
        if type(key) is not int:
            if type(key) is str:
                return -1
            hash(key)  # raises what a dict would
            try:
                whole = int(key)
            except (TypeError, ValueError, OverflowError):
                return -1
            if whole != key:
                return -1
            key = whole
        try:
            number = key  # of 64 bits
        except OverflowError:
            return -1
        return self.place_of(number)

    def get(self, key: Any, default: Any = None) -> Any:
        """The order with this ID, else `default`."""
        place = self._place_of_key(key)
        if place >= 0:
            return self._slots[3 * place + 1], self._slots[3 * place + 2]
        return self.others.get(key, default) if self.others else default

    def __contains__(self, key: Any) -> bool:
        return self._place_of_key(key) >= 0 or key in self.others

    def __getitem__(self, key: Any) -> Order:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found  # type: ignore[no-any-return]

    def __setitem__(self, key: OrderId, order: Order) -> None:
        """Raises `TypeError` or `ValueError` for what is no order."""
        if len(order) != 2 or type(order[0]) is not int or type(order[1]) is not int:
            raise TypeError(f"{order!r} are no price and quantity")
        if not -_HALF <= order[0] < _HALF or not 1 <= order[1] < _HALF:
            raise ValueError(f"an order of {order[1]} at {order[0]} is out of range")
        self._put(key, order)

    def _put(self, key: OrderId, order: Order) -> None:
        price, quantity = order  # of 64 bits
        if type(key) is not int or not _is_number(key):
            self.others[key] = order
            self._changes += 1
            return
        number = key  # of 64 bits
        place = self.place_of(number)
        if place >= 0:
            self.set_at(place, price, quantity)
        else:
            self.enter(number, price, quantity)

    def __delitem__(self, key: Any) -> None:
        place = self._place_of_key(key)
        if place >= 0:
            self.drop_at(place)
        else:
            del self.others[key]
            self._changes += 1

    def pop(self, key: Any, default: Any = _ABSENT) -> Any:
        """Remove the order and return it, else `default`; without one raises `KeyError`."""
        found = self.get(key)
        if found is not None:
            del self[key]
            return found
        if default is _ABSENT:
            raise KeyError(key)
        return default

    def clear(self) -> None:
        """Remove all orders."""
        self._use(2, _NO_SLOTS)
        self._size = 0
        self._changes += 1
        self.others.clear()

    def fill(self, ids: Sequence[OrderId], pairs: Sequence[Sequence[int]]) -> None:
        """Set the orders with these IDs, each a pair of price and quantity; raises as setting one does."""
        for key, (price, quantity) in zip(ids, pairs, strict=True):
            self[key] = (price, quantity)

    def update(self, other: Any = ()) -> None:
        """Set the orders of a mapping or of an iterable of pairs."""
        for key, order in other.items() if isinstance(other, Mapping) else other:
            self[key] = order

    def __len__(self) -> int:
        return self._size + len(self.others)

    def __iter__(self) -> Iterator[OrderId]:
        changes, place = self._changes, 0
        while place <= self._mask:
            if self._slots[3 * place + 2]:
                yield self._slots[3 * place]
                if self._changes != changes:
                    raise RuntimeError("orders were added or removed during iteration")
            place += 1
        yield from self.others

    def keys(self) -> KeysView[OrderId]:
        """The IDs, as of a dict."""
        return KeysView(self)

    def values(self) -> ValuesView[Order]:
        """The orders, as of a dict."""
        return ValuesView(self)

    def items(self) -> ItemsView[OrderId, Order]:
        """Both, as of a dict."""
        return ItemsView(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and all(other.get(key) == self[key] for key in self)

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def columns(self) -> tuple[Sequence[OrderId], Sequence[Sequence[int]]]:
        """IDs and, in the same order, orders as they are now: copied as numbers, made when asked for."""
        numbers = self.taken()
        return OrderColumn(numbers, list(self.others), 0), OrderColumn(numbers, list(self.others.values()), 1)


MutableMapping.register(OrderTable)


class OrderColumn(Sequence[Any]):
    """The IDs (`kind` 0) or the pairs of price and quantity (1) of the orders of a side; never changed.

    `others` come behind those of `numbers`.
    """

    __slots__ = ("_count", "_kind", "_numbers", "_others")

    def __init__(self, numbers: "array[int]", others: list[Any], kind: int) -> None:
        self._numbers = numbers
        self._others = others
        self._kind = kind
        self._count = len(numbers) // ITEMS

    def __len__(self) -> int:
        return self._count + len(self._others)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            place = range(len(self))[index]
            return self._between(place, place + 1)[0]
        start, stop, step = index.indices(len(self))
        if step == 1:
            return self._between(start, stop)
        return [self[place] for place in range(start, stop, step)]

    def _between(self, start: int, stop: int) -> list[Any]:
        """The items from index `start` to before `stop`."""
        some = self._numbers[ITEMS * start : ITEMS * min(stop, self._count)]
        others = self._others[max(start - self._count, 0) : max(stop - self._count, 0)]
        if self._kind:
            return [*zip(some[1::ITEMS], some[2::ITEMS], strict=True), *others]
        return [*some[::ITEMS], *others]

    def __iter__(self) -> Iterator[Any]:
        step = 1_000
        return chain.from_iterable(self._between(at, at + step) for at in range(0, len(self), step))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment] # it equals lists


def new_orders() -> MutableMapping[OrderId, Order]:
    """No resting orders: a table if compiled, else a dict."""
    return OrderTable() if COMPILED else {}  # type: ignore[return-value]  # registered above


def orders_from(ids: Sequence[OrderId], pairs: Sequence[Sequence[int]]) -> MutableMapping[OrderId, Order]:
    """The orders with these IDs; compiled, raises `TypeError` or `ValueError` for what is no order."""
    if not COMPILED:
        return {order_id: (price, quantity) for order_id, (price, quantity) in zip(ids, pairs, strict=True)}
    made = OrderTable()
    made.fill(ids, pairs)
    return made  # type: ignore[return-value]  # registered above


def columns_of(orders: Any) -> tuple[Sequence[OrderId], Sequence[Sequence[int]]]:
    """The IDs of orders and, in the same order, the orders, as they are now."""
    return orders.columns() if COMPILED else (list(orders), list(orders.values()))
