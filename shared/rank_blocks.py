"""The sorted index of a side if compiled: ranks as 64-bit numbers, in short blocks of one array.

A search reads numbers of the machine, and a change moves some of them within a kilobyte; no objects are made.
Without a compiler the index is a list, or `depthcast.shared.deep_ranks`: as Python, this would be slower.
"""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from depthcast.shared.compiled import is_compiled_at

COMPILED: Final = is_compiled_at(__file__)

STRIDE: Final = 128
"""Numbers from one block to the next: first its size, then room for so many in ascending order."""
LINE: Final = 8
"""Numbers that a processor fetches at once."""
BLOCK_MAX: Final = 127
BLOCK_LOADED: Final = 96
"""Numbers in a block at first: there is room for some more."""
BLOCK_MIN: Final = 24
"""A block with fewer is joined with a neighbour, if both have no more than `BLOCK_LOADED`."""

_NOTHING: Final = array("q", [0])


class RankBlocks:
    """Distinct integers of 64 bits in ascending order. Used only if compiled.

    `_numbers`: the blocks, in any order; `_ids`: which of them come one after another; `_greatest`: the last
    number of each of these. There are `_count` of them, and room for `_room`; `_free` begins the chain of the
    blocks that are not in use, each of which has the next one in place of its size.
    """

    __slots__ = (
        "_count", "_free", "_greatest", "_greatest_array", "_ids", "_ids_array", "_numbers", "_numbers_array",
        "_room", "_size",
    )  # fmt: skip

    def __init__(self, ranks: Sequence[int] = ()) -> None:
        """`ranks` are in ascending order."""
        self._count = self._size = 0
        self._use(0, _NOTHING, _NOTHING, _NOTHING)
        self._free = -1
        blocks = (len(ranks) + BLOCK_LOADED - 1) // BLOCK_LOADED
        if blocks:
            self._make_room(blocks)
        self._append_all(ranks)

    def _use(self, room: int, numbers: "array[int]", greatest: "array[int]", ids: "array[int]") -> None:
        self._room = room
        self._numbers_array, self._greatest_array, self._ids_array = numbers, greatest, ids
        # As Cython sees an array.
        self._numbers: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined]
        self._greatest: array[int] = greatest.data.as_longlongs  # type: ignore[attr-defined]
        self._ids: array[int] = ids.data.as_longlongs  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self._size

    def _make_room(self, room: int) -> int:
        """Have room for so many blocks; raises `MemoryError` with nothing changed."""
        old = self._room
        more = room - old
        numbers: array[int] = clone(_NOTHING, room * STRIDE, zero=False)  # type: ignore[name-defined]  # noqa: F821  # in C
        into = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        use_large_pages(into, room * STRIDE)  # type: ignore[name-defined]  # noqa: F821  # in C
        for place in range(old * STRIDE):
            into[place] = self._numbers[place]
        if old:
            self._use(
                room, numbers, self._greatest_array + _NOTHING * more, self._ids_array + _NOTHING * more
            )
        else:
            self._use(room, numbers, _NOTHING * room, _NOTHING * room)
        for block in range(room - 1, old - 1, -1):
            self._numbers[block * STRIDE] = self._free
            self._free = block
        return 0

    def _append_all(self, ranks: Sequence[int]) -> int:
        """Append so many that follow one another, to blocks for which there is room."""
        base = left = 0
        for rank in ranks:
            if not left:
                base, left = self._open(self._count), BLOCK_LOADED
            left -= 1
            self._numbers[base] = BLOCK_LOADED - left
            self._numbers[base + BLOCK_LOADED - left] = rank
            self._greatest[self._count - 1] = rank
            self._size += 1
        return 0

    def _open(self, at: int) -> int:
        """Take an empty block as the one at `at`, for which there is room; returns where it begins."""
        block = self._free
        base = block * STRIDE
        self._free = self._numbers[base]
        self._numbers[base] = 0
        for place in range(self._count, at, -1):
            self._ids[place] = self._ids[place - 1]
            self._greatest[place] = self._greatest[place - 1]
        self._ids[at] = block
        self._count += 1
        return base

    def _close(self, at: int) -> int:
        """Give back the block at `at`."""
        block = self._ids[at]
        self._numbers[block * STRIDE] = self._free
        self._free = block
        self._count -= 1
        for place in range(at, self._count):
            self._ids[place] = self._ids[place + 1]
            self._greatest[place] = self._greatest[place + 1]
        return 0

    def add(self, rank: int) -> int:
        """Add one that is not among them; raises `MemoryError` with nothing changed."""
        if self._free < 0:
            self._make_room(2 * self._room if self._room else 1)
        if not self._count:
            self._open(0)
        at = min(place_of(self._greatest, 0, self._count, rank), self._count - 1)
        numbers = self._numbers
        base = self._ids[at] * STRIDE
        if numbers[base] == BLOCK_MAX:
            self._split(at)
            at += rank > self._greatest[at]
            base = self._ids[at] * STRIDE
        count = numbers[base]
        within = place_of(numbers, base + 1, count, rank)
        for place in range(base + 1 + count, base + 1 + within, -1):
            numbers[place] = numbers[place - 1]
        numbers[base + 1 + within] = rank
        numbers[base] = count + 1
        if within == count:
            self._greatest[at] = rank
        self._size += 1
        return 0

    def fetch(self, rank: int) -> None:
        """Have the memory of the block fetched where a number belongs, without waiting for it."""
        if self._count:
            at = min(place_of(self._greatest, 0, self._count, rank), self._count - 1)
            base = self._ids[at] * STRIDE
            place, end = base, base + STRIDE
            while place < end:
                fetch_line(self._numbers, place)  # type: ignore[name-defined]  # noqa: F821  # in C
                place += LINE

    def _split(self, at: int) -> int:
        """Move the upper half of a full block to one of its own, for which there is room."""
        base = self._ids[at] * STRIDE
        upper = self._open(at + 1)
        numbers = self._numbers
        kept = BLOCK_MAX // 2
        moved = BLOCK_MAX - kept
        for place in range(1, moved + 1):
            numbers[upper + place] = numbers[base + kept + place]
        numbers[base], numbers[upper] = kept, moved
        self._greatest[at + 1] = self._greatest[at]
        self._greatest[at] = numbers[base + kept]
        return 0

    def remove(self, rank: int) -> int:
        """Remove one; raises `ValueError`, with nothing done, if it is not among them."""
        at = place_of(self._greatest, 0, self._count, rank)
        if at == self._count:
            raise ValueError(rank)
        numbers = self._numbers
        base = self._ids[at] * STRIDE
        count = numbers[base]
        within = place_of(numbers, base + 1, count, rank)
        if numbers[base + 1 + within] != rank:
            raise ValueError(rank)
        count -= 1
        for place in range(base + 1 + within, base + 1 + count):
            numbers[place] = numbers[place + 1]
        numbers[base] = count
        self._size -= 1
        if not count:
            self._close(at)
            self._release()
            return 0
        if within == count:
            self._greatest[at] = numbers[base + count]
        if count < BLOCK_MIN:
            self._join(at)
        return 0

    def _join(self, at: int) -> int:
        """Join a block that has become short with a neighbour that is short enough."""
        numbers = self._numbers
        size = numbers[self._ids[at] * STRIDE]
        if at + 1 < self._count and size + numbers[self._ids[at + 1] * STRIDE] <= BLOCK_LOADED:
            first = at
        elif at and size + numbers[self._ids[at - 1] * STRIDE] <= BLOCK_LOADED:
            first = at - 1
        else:
            return 0
        lower, upper = self._ids[first] * STRIDE, self._ids[first + 1] * STRIDE
        size = numbers[lower]
        for place in range(1, numbers[upper] + 1):
            numbers[lower + size + place] = numbers[upper + place]
        numbers[lower] = size + numbers[upper]
        self._greatest[first] = self._greatest[first + 1]
        self._close(first + 1)
        self._release()
        return 0

    def _release(self) -> None:
        """Give back memory if an eighth would do; what cannot be had for that leaves all as it is."""
        if 8 * self._count < self._room:
            with suppress(MemoryError):
                self._take(RankBlocks(self.tolist()))

    def _take(self, other: "RankBlocks") -> None:
        """Have the blocks of another one, which nobody else has."""
        numbers, greatest, ids = other._numbers_array, other._greatest_array, other._ids_array  # noqa: SLF001
        self._use(other._room, numbers, greatest, ids)  # noqa: SLF001
        self._count, self._free = other._count, other._free  # noqa: SLF001

    def __getitem__(self, index: int) -> int:
        """The one at an index counted from the end, -1 the last; raises `IndexError` if there are fewer."""
        if not -self._size <= index < 0:
            raise IndexError(index)
        return self.from_end(-1 - index)

    def from_end(self, index: int) -> int:
        """The one at an index counted from the end, 0 the last; there must be so many."""
        numbers, left = self._numbers, index
        for at in range(self._count - 1, -1, -1):
            base = self._ids[at] * STRIDE
            if left < numbers[base]:
                return numbers[base + numbers[base] - left]
            left -= numbers[base]
        return 0

    def descending(self, below: int | None, least: int | None, most: int = -1) -> list[int]:
        """Those below `below` down to `least`, in descending order, `most` at most; None or -1 = no bound."""
        found: list[int] = []
        lowest = -(1 << 63) if least is None else least
        highest, last, left = 0, self._count - 1, most
        if below is not None:
            highest = below
            last = min(place_of(self._greatest, 0, self._count, highest), last)
        for at in range(last, -1, -1):
            base = self._ids[at] * STRIDE
            count = self._numbers[base]
            if below is not None and at == last:
                count = place_of(self._numbers, base + 1, count, highest)
            for place in range(base + count, base, -1):
                if left == 0 or self._numbers[place] < lowest:
                    return found
                found.append(self._numbers[place])
                left -= 1
        return found

    def tolist(self) -> list[int]:
        """All of them, ascending, in a list of its own."""
        found: list[int] = []
        for at in range(self._count):
            base = self._ids[at] * STRIDE
            for place in range(base + 1, base + 1 + self._numbers[base]):
                found.append(self._numbers[place])  # noqa: PERF401  # typed, this is the fast way
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __reversed__(self) -> Iterator[int]:
        return iter(self.descending(None, None))


def place_of(numbers: Any, start: int, count: int, number: int) -> int:
    """Index, from `start`, where `number` belongs among `count` ascending ones; without a branch for each.

    If `count` is 0, it is 0.
    """
    low, size = start, count
    while size > 1:
        half = size >> 1
        low += half * (numbers[low + half - 1] < number)
        size -= half
    return low - start + (size and numbers[low] < number)
