"""Price → quantity in 64-bit numbers that lie side by side: what a side's levels are if compiled.

A dict keeps a hash, a pointer to a price and a pointer to a quantity, which are objects elsewhere: a lookup
in a book that no cache holds waits for several lines of memory, and each change makes an object. Here price
and quantity are 16 bytes of one array, mostly found in one line, and compiled code makes no objects of them.

A `LevelTable` is an open-addressing table with linear probing: the array has a power of two of slots, at most
two thirds of them in use. Removing moves later slots back instead of leaving marks. Prices come from
producers, so where a price belongs depends on numbers that differ in each process: without them nobody can
choose prices that all meet in one place, and make each lookup a search. They are made of Python's own secret
for hashes, so `PYTHONHASHSEED` fixes them too.

Without a compiler levels are a plain dict: as Python, a table would be slower.
"""

from array import array
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, Sequence, ValuesView
from contextlib import suppress
from typing import Any, Final

from depthcast.shared.compiled import is_compiled_at

COMPILED: Final = is_compiled_at(__file__)

EMPTY: Final = -(1 << 63)
"""Stands for a free slot in place of a price, so it cannot be one."""

BITS_MIN: Final = 3
"""A table with levels has at least two to the power of this many slots, of 16 bytes each."""

_SLOT: Final = array("q", [EMPTY, 0])
_NO_SLOTS: Final = _SLOT * 2
"""What all empty tables have, which costs nothing: two slots that are never filled."""

_WORD: Final = (1 << 64) - 1
_ALL: Final = _WORD
_MULTIPLIER: Final = hash("depthcast: multiplier of prices") & _WORD | 1
_SUMMAND: Final = hash("depthcast: summand of prices") & _WORD
_SECOND_MULTIPLIER: Final = hash("depthcast: second multiplier of prices") & _WORD | 1

_ABSENT: Final = object()


class NumberMap:  # noqa: PLW1641  # not hashable, like a dict
    """What a mapping of 64-bit numbers offers beyond its own way of keeping them: all that a dict does.

    Keys are found by equality as in a dict: 1.0 and True are 1. Anything else is not in it; what is stored
    must be an integer of 64 bits.
    """

    __slots__ = ()

    # Of each kind of mapping: its typed part.

    def place_of(self, number: int) -> int:  # noqa: ARG002
        """Where a key is, -1 if it is not there."""
        return -1

    def value_at(self, place: int) -> int:  # noqa: ARG002
        """The value at a place that `place_of` has found."""
        return 0

    def put(self, number: int, value: int) -> int:
        """Set the value of a key, new or not; raises `MemoryError` with nothing changed."""
        raise NotImplementedError

    def drop_at(self, place: int) -> int:
        """Remove the key at a place that `place_of` has found."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove everything."""
        raise NotImplementedError

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Keys and values; raises `RuntimeError` if keys come or go meanwhile."""
        raise NotImplementedError

    def _place_of_key(self, key: Any) -> int:
        """Where any object is, as a key; raises `TypeError` if it cannot be hashed."""
        if type(key) is not int:
            hash(key)
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
        return -1 if number == EMPTY else self.place_of(number)

    # Of all of them.

    def __contains__(self, key: Any) -> bool:
        return self._place_of_key(key) >= 0

    def __getitem__(self, key: Any) -> int:
        place = self._place_of_key(key)
        if place < 0:
            raise KeyError(key)
        return self.value_at(place)

    def __setitem__(self, key: int, value: int) -> None:
        if not (isinstance(key, int) and isinstance(value, int)):
            raise TypeError(f"{key!r}: {value!r} are not integers")
        number = key  # of 64 bits, or it raises `OverflowError`
        if number == EMPTY:
            raise OverflowError(f"{key} is reserved")
        self.put(number, value)

    def __delitem__(self, key: Any) -> None:
        place = self._place_of_key(key)
        if place < 0:
            raise KeyError(key)
        self.drop_at(place)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of `key`, else `default`."""
        place = self._place_of_key(key)
        return default if place < 0 else self.value_at(place)

    def setdefault(self, key: int, default: int) -> int:
        """The value of `key`, which becomes `default` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: Any, default: Any = _ABSENT) -> Any:
        """Remove `key` and return its value, else `default`; without one raises `KeyError`."""
        place = self._place_of_key(key)
        if place >= 0:
            value = self.value_at(place)
            self.drop_at(place)
            return value
        if default is _ABSENT:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[int, int]:
        """Remove some key and return it with its value; raises `KeyError` if there is none."""
        for pair in self.pairs():
            del self[pair[0]]
            return pair
        raise KeyError("popitem(): mapping is empty")

    def update(self, other: Any = ()) -> None:
        """Set the values of a mapping or of an iterable of pairs."""
        for key, value in other.items() if isinstance(other, Mapping) else other:
            self[key] = value

    def __iter__(self) -> Iterator[int]:
        return (key for key, _ in self.pairs())

    def keys(self) -> KeysView[int]:
        """The keys, as of a dict."""
        return _Keys(self)

    def values(self) -> ValuesView[int]:
        """The values, as of a dict."""
        return _Values(self)

    def items(self) -> ItemsView[int, int]:
        """Keys and values, as of a dict."""
        return _Items(self)

    def __len__(self) -> int:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        return all(other.get(key, _ABSENT) == value for key, value in self.pairs())

    def __or__(self, other: Any) -> dict[Any, Any]:
        return dict(self.pairs()) | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return dict(other) | dict(self.pairs()) if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return repr(dict(self.pairs()))

    def __reduce__(self) -> Any:
        return _filled, (type(self), dict(self.pairs()))


MutableMapping.register(NumberMap)


class _Keys(KeysView[int]):
    """Reads keys without a second iterator around the first."""

    def __init__(self, mapping: NumberMap) -> None:
        super().__init__(mapping)
        self._of = mapping

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)


class _Items(ItemsView[int, int]):
    """Reads pairs in one pass, where the base would look up each key."""

    def __init__(self, mapping: NumberMap) -> None:
        super().__init__(mapping)
        self._of = mapping

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return self._of.pairs()


class _Values(ValuesView[int]):
    """Likewise."""

    def __init__(self, mapping: NumberMap) -> None:
        super().__init__(mapping)
        self._of = mapping

    def __iter__(self) -> Iterator[int]:
        return (value for _, value in self._of.pairs())


def _filled(kind: type[NumberMap], values: dict[int, int]) -> NumberMap:
    made = kind()
    made.update(values)
    return made


def _home(number: int, shift: int) -> int:
    """The slot where the search for a price begins.

    The lowest bits of what is mixed are those of a smaller table too. So prices may be put into one in the
    order in which a larger one has them: by the highest bits, all would begin at its first slots.
    """
    mixed = number
    mixed = (mixed + _SUMMAND) * _MULTIPLIER  # of 64 bits, like all that follows
    mixed ^= mixed >> 32
    mixed *= _SECOND_MULTIPLIER
    return (mixed >> 32) & (_ALL >> shift)


def _free_slots(count: int) -> "array[int]":
    """So many slots, all of them free; raises `MemoryError`."""
    made: array[int] = clone(_SLOT, 2 * count, zero=False)  # type: ignore[name-defined]  # noqa: F821  # in C
    slots, free = made.data.as_longlongs, EMPTY  # type: ignore[attr-defined] # as Cython sees an array
    use_large_pages(slots, 2 * count)  # type: ignore[name-defined]  # noqa: F821  # in C
    for place in range(count):
        slots[2 * place] = free
        slots[2 * place + 1] = 0
    return made


def _search(slots: "array[int]", mask: int, shift: int, number: int) -> int:
    """The slot of a price, -1 if it is not there."""
    free = EMPTY
    at = _home(number, shift)
    while True:
        found = slots[2 * at]
        if found == number:
            return at
        if found == free:
            return -1
        at = (at + 1) & mask


class LevelTable(NumberMap):
    """Price → quantity; its order says nothing. Used only if compiled.

    `_slots`: price and quantity of each slot, `EMPTY` and 0 where it is free; they lie in `_array`, which
    nobody else has. `_shift`: what is left of 64 bits after this shift is as many as number the slots.
    `_changes` counts prices that came or went, so that an iteration notices.
    """

    __slots__ = ("_array", "_changes", "_mask", "_shift", "_size", "_slots")

    def __init__(self) -> None:
        self._use(1, _NO_SLOTS)
        self._size = 0
        self._changes = 0

    def _use(self, bits: int, slots: "array[int]") -> None:
        self._array = slots
        self._slots: array[int] = slots.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        self._mask = (1 << bits) - 1
        self._shift = 64 - bits

    def __len__(self) -> int:
        return self._size

    def fetch(self, number: int) -> None:
        """Have the memory fetched where the search for a price begins, without waiting for it."""
        fetch_line(self._slots, 2 * _home(number, self._shift))  # type: ignore[name-defined]  # noqa: F821  # in C

    def place_of(self, number: int) -> int:
        """The slot of a price, -1 if it is not there."""
        return _search(self._slots, self._mask, self._shift, number)

    def value_at(self, place: int) -> int:
        return self._slots[2 * place + 1]

    def set_at(self, place: int, value: int) -> None:
        """Set the quantity in a slot that `place_of` has found."""
        self._slots[2 * place + 1] = value

    def held(self, number: int) -> int:
        """The quantity at a price, 0 if there is none."""
        at = _search(self._slots, self._mask, self._shift, number)
        return self._slots[2 * at + 1] if at >= 0 else 0

    def put(self, number: int, value: int) -> int:
        """Set the quantity at a price, new or not; raises `MemoryError` with nothing changed."""
        at = _search(self._slots, self._mask, self._shift, number)
        if at >= 0:
            self._slots[2 * at + 1] = value
            return 0
        return self.enter(number, value)

    def enter(self, number: int, value: int) -> int:
        """Add a price that is not there; raises `MemoryError` with nothing changed."""
        if 3 * (self._size + 1) > 2 * (self._mask + 1) or self._mask == 1:
            self._resize(max(64 - self._shift + 1, BITS_MIN))
        slots, mask, free = self._slots, self._mask, EMPTY
        at = _home(number, self._shift)
        while slots[2 * at] != free:
            at = (at + 1) & mask
        slots[2 * at] = number
        slots[2 * at + 1] = value
        self._size += 1
        self._changes += 1
        return 0

    def drop_at(self, place: int) -> int:
        """Free a slot, and move back those behind it that no search would find otherwise."""
        slots, mask, free = self._slots, self._mask, EMPTY
        shift = self._shift
        gap = place
        at = (gap + 1) & mask
        while slots[2 * at] != free:
            home = _home(slots[2 * at], shift)
            if (at - home) & mask >= (at - gap) & mask:
                slots[2 * gap] = slots[2 * at]
                slots[2 * gap + 1] = slots[2 * at + 1]
                gap = at
            at = (at + 1) & mask
        slots[2 * gap] = free
        self._size -= 1
        self._changes += 1
        if 16 * self._size < mask and 64 - self._shift > BITS_MIN:
            self._shrink()
        return 0

    def drop(self, number: int) -> int:
        """Remove a price, if it is there."""
        at = _search(self._slots, self._mask, self._shift, number)
        if at >= 0:
            self.drop_at(at)
        return 0

    def _shrink(self) -> None:
        # What was removed is removed: without memory the table stays larger than it needs to be.
        with suppress(MemoryError):
            self._resize(64 - self._shift - 1)

    def _resize(self, bits: int) -> int:
        old, count, free = self._array, self._mask + 1, EMPTY
        slots = self._slots
        made = _free_slots(1 << bits)
        self._use(bits, made)
        into, mask = self._slots, self._mask
        for place in range(count):
            number = slots[2 * place]
            if number != free:
                at = _home(number, self._shift)
                while into[2 * at] != free:
                    at = (at + 1) & mask
                into[2 * at] = number
                into[2 * at + 1] = slots[2 * place + 1]
        del old  # was needed until here: `slots` lie in it
        return 0

    def fill(self, flat: Sequence[int]) -> None:
        """Have the levels of flat `[price, quantity, …]` alone; raises `ValueError` for half a level."""
        self.clear()
        bits, count = BITS_MIN, len(flat)
        if count % 2:
            raise ValueError(f"{count} numbers are no pairs of price and quantity")
        while 2 << bits < 3 * (count // 2):
            bits += 1
        if count:
            self._resize(bits)
        for at in range(0, count, 2):
            self.put(flat[at], flat[at + 1])

    def clear(self) -> None:
        self._use(1, _NO_SLOTS)
        self._size = 0
        self._changes += 1

    def empty(self) -> None:
        """Remove everything, and keep the memory for as much again."""
        slots, free = self._slots, EMPTY
        if self._size:
            for place in range(self._mask + 1):
                slots[2 * place] = free
        self._size = 0
        self._changes += 1

    def longest_search(self) -> int:
        """So many slots are read at most to find a price that is there."""
        longest = 0
        for place in range(self._mask + 1):
            if self._slots[2 * place] != EMPTY:
                distance = (place - _home(self._slots[2 * place], self._shift)) & self._mask
                longest = max(longest, distance + 1)
        return longest

    def copy(self) -> "LevelTable":
        """A table of the same levels, which does not change with this one."""
        made = LevelTable()
        if self._size:
            made._use(64 - self._shift, self._array[:])
        made._size = self._size
        return made

    def __iter__(self) -> Iterator[int]:
        changes, place = self._changes, 0
        while place <= self._mask:
            if self._slots[2 * place] != EMPTY:
                yield self._slots[2 * place]
                if self._changes != changes:
                    raise RuntimeError("levels were added or removed during iteration")
            place += 1

    def pairs(self) -> Iterator[tuple[int, int]]:
        changes, place = self._changes, 0
        while place <= self._mask:
            if self._slots[2 * place] != EMPTY:
                yield self._slots[2 * place], self._slots[2 * place + 1]
                if self._changes != changes:
                    raise RuntimeError("levels were added or removed during iteration")
            place += 1


def new_levels() -> MutableMapping[int, int]:
    """Levels of an empty side: a table if compiled, else a dict."""
    return LevelTable() if COMPILED else {}  # type: ignore[return-value]  # registered above


def copy_of(levels: MutableMapping[int, int]) -> MutableMapping[int, int]:
    """The same levels once more."""
    return levels.copy()  # type: ignore[attr-defined,no-any-return]  # both kinds have it
