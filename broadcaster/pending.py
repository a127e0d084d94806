"""The levels that changed since the last drain, each with its quantity before the first change.

Compiled, they are 64-bit numbers side by side, as levels are (`depthcast.shared.level_table`): a
`PendingTable`; as Python, a dict. Both are read in the order in which they were recorded.
"""

from array import array
from collections.abc import Iterator, MutableMapping
from typing import Final

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.level_table import LevelTable, NumberMap

COMPILED: Final = is_compiled_at(__file__)

GONE: Final = -1
"""Stands in place of the quantity of a price that was removed; quantities are not negative."""

ROOM_MIN: Final = 4

ROOM_KEPT_MIN: Final = 4096
"""A table with less room gives it back when it is cleared: that costs little, and there may be many."""

KEPT_BYTES_MAX: Final = 1 << 26
"""Bytes that all tables of a process keep together, approximately: a table that keeps them may never be
needed again."""

BYTES_A_PAIR: Final = 64
"""What a table takes for each pair that it has room for, with the slots of its places, at most."""

_KEPT_MAX: Final = KEPT_BYTES_MAX
_PAIR_BYTES: Final = BYTES_A_PAIR
_kept_bytes = 0

_PAIR: Final = array("q", [0, 0])
"""The array of a table that has room for nothing: never written."""


class PendingTable(NumberMap):
    """Price → quantity ≥ 0 before the first change, in the order in which they came. Used only if compiled.

    `_places`: price → index of its pair in `_pairs`, which lie in `_array` with room for `_room` of them.
    `_before`: so many were there when it was cleared last. `_kept`: bytes that it then kept.
    """

    __slots__ = ("_array", "_before", "_count", "_kept", "_pairs", "_places", "_room")

    def __init__(self) -> None:
        self._places = LevelTable()
        self._count = self._before = self._kept = 0
        self._use(0, _PAIR)

    def _use(self, room: int, pairs: "array[int]") -> None:
        self._array = pairs
        self._pairs: array[int] = pairs.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        self._room = room

    def __len__(self) -> int:
        return len(self._places)

    def place_of(self, number: int) -> int:
        """The index of the pair of a price, -1 if it is not there."""
        place = self._places.place_of(number)
        return self._places.value_at(place) if place >= 0 else -1

    def fetch(self, number: int) -> None:
        """Have the memory fetched where the search for a price begins, without waiting for it."""
        self._places.fetch(number)

    def value_at(self, place: int) -> int:
        return self._pairs[2 * place + 1]

    def end(self) -> int:
        """Index behind the last pair."""
        return self._count

    def number_at(self, place: int) -> int:
        """The price at an index; its value is `GONE` (negative) if it was removed."""
        return self._pairs[2 * place]

    def note(self, number: int, value: int) -> int:
        """Record the quantity of a price unless there is one; returns 1 if it did.

        Raises `MemoryError` with nothing changed.
        """
        if self._places.place_of(number) >= 0:
            return 0
        self._append(number, value)
        return 1

    def put(self, number: int, value: int) -> int:
        place = self.place_of(number)
        if place < 0:
            return self._append(number, value)
        self._pairs[2 * place + 1] = value
        return 0

    def _append(self, number: int, value: int) -> int:
        if self._count == self._room:
            self._make_room()
        self._places.enter(number, self._count)
        self._pairs[2 * self._count] = number
        self._pairs[2 * self._count + 1] = value
        self._count += 1
        return 0

    def _make_room(self) -> int:
        """Give up the pairs that are gone, and double the room if that is not half of it."""
        if not self._room:
            self._use(ROOM_MIN, _PAIR * ROOM_MIN)
        elif 2 * len(self._places) > self._room:
            self._use(2 * self._room, self._array * 2)
        kept = 0
        for index in range(self._count):
            value = self._pairs[2 * index + 1]
            if value != GONE:
                number = self._pairs[2 * index]
                self._pairs[2 * kept] = number
                self._pairs[2 * kept + 1] = value
                self._places.put(number, kept)
                kept += 1
        self._count = kept
        return 0

    def drop_at(self, place: int) -> int:
        self._places.drop_at(self._places.place_of(self._pairs[2 * place]))
        self._pairs[2 * place + 1] = GONE
        while self._count and self._pairs[2 * self._count - 1] == GONE:
            self._count -= 1
        return 0

    def clear(self) -> None:
        """Remove everything; the memory stays if this interval and the one before it needed much of it.

        Else a table that is filled again and again would grow anew each time, in fresh pages. After a single
        interval with many changes it does not stay, nor where tables keep `KEPT_BYTES_MAX` already.
        """
        usual = min(self._count, self._before)
        self._before = self._count
        self._count = 0
        if self._may_keep(usual):
            self._places.empty()
        else:
            self._places.clear()
            self._use(0, _PAIR)

    def _may_keep(self, usual: int) -> bool:
        """Whether the memory stays where that many prices are usual; counts what is kept."""
        global _kept_bytes  # noqa: PLW0603  # one bound for the process
        size = _PAIR_BYTES * self._room
        needed = self._room >= ROOM_KEPT_MIN and 4 * usual >= self._room
        if not needed or _kept_bytes - self._kept + size > _KEPT_MAX:
            size = 0
        _kept_bytes += size - self._kept
        self._kept = size
        return size > 0

    def __del__(self) -> None:
        global _kept_bytes  # noqa: PLW0603
        _kept_bytes -= self._kept

    def room(self) -> int:
        """So many pairs fit without more memory."""
        return self._room

    def copy(self) -> dict[int, int]:
        """The same in a dict."""
        return dict(self.pairs())

    def pairs(self) -> Iterator[tuple[int, int]]:
        size = len(self._places)
        index = 0
        while index < self._count:
            if self._pairs[2 * index + 1] != GONE:
                yield self._pairs[2 * index], self._pairs[2 * index + 1]
                if len(self._places) != size:
                    raise RuntimeError("pending changes were added or removed during iteration")
            index += 1


def new_pending() -> MutableMapping[int, int]:
    """Nothing pending: a table if compiled, else a dict."""
    return PendingTable() if COMPILED else {}  # type: ignore[return-value]  # registered as one
