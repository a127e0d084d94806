"""The sorted index of a side with thousands of levels and more, as Python: 64-bit numbers in short arrays.

A list of a million integers is a million objects all over the memory, so that a search and a shift wait for
it. Here the numbers themselves lie side by side: a search reads a few lines of the processor's cache, and a
change moves a kilobyte or two.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

CHUNK_MAX: Final = 128
"""Numbers in an array; one that gets more is split into two."""
CHUNK_LOADED: Final = 96
"""Numbers in an array at first: there is room for some more."""
CHUNK_MIN: Final = 24
"""An array with fewer is joined with its neighbour."""


class DeepRanks:
    """Distinct integers of at most 64 bits with their signs, in ascending order.

    `_chunks`: arrays of them, none empty; `_greatest`: the last number of each. Without a number, there is no
    array.
    """

    __slots__ = ("_chunks", "_greatest", "_size")

    def __init__(self, ranks: Sequence[int]) -> None:
        """`ranks` are in ascending order."""
        starts = range(0, len(ranks), CHUNK_LOADED)
        self._chunks = [array("q", ranks[start : start + CHUNK_LOADED]) for start in starts]
        self._greatest = array("q", [chunk[-1] for chunk in self._chunks])
        self._size = len(ranks)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._chunks)

    def __reversed__(self) -> Iterator[int]:
        return chain.from_iterable(map(reversed, reversed(self._chunks)))

    def tolist(self) -> list[int]:
        """All of them, in a list of its own."""
        return list(chain.from_iterable([chunk.tolist() for chunk in self._chunks]))

    def __getitem__(self, index: int) -> int:
        """The one at an index counted from the end, -1 the last; raises `IndexError` if there are fewer."""
        left = index
        for chunk in reversed(self._chunks) if index < 0 else ():
            if left + len(chunk) >= 0:
                return chunk[left]
            left += len(chunk)
        raise IndexError(index)

    def add(self, rank: int) -> None:
        """Add one that is not among them."""
        chunks, greatest = self._chunks, self._greatest
        self._size += 1
        if not chunks:
            chunks.append(array("q", [rank]))
            greatest.append(rank)
            return
        at = bisect_left(greatest, rank)
        if at == len(chunks):
            at -= 1
            greatest[at] = rank
        chunk = chunks[at]
        chunk.insert(bisect_left(chunk, rank), rank)
        if len(chunk) > CHUNK_MAX:
            self._split(at)

    def remove(self, rank: int) -> None:
        """Remove one; raises `ValueError`, with nothing done, if it is not among them."""
        chunks, greatest = self._chunks, self._greatest
        at = bisect_left(greatest, rank)
        if at == len(chunks):
            raise ValueError(rank)
        chunk = chunks[at]
        within = bisect_left(chunk, rank)
        if chunk[within] != rank:
            raise ValueError(rank)
        self._size -= 1
        del chunk[within]
        size = len(chunk)
        if size < CHUNK_MIN:
            self._join(at)
        elif within == size:
            greatest[at] = chunk[size - 1]

    def descending(self, below: int | None, least: int | None) -> Iterator[int]:
        """Those below `below` down to `least`, in descending order; None = no bound."""
        last = len(self._chunks) if below is None else bisect_left(self._greatest, below) + 1
        for chunk in reversed(self._chunks[:last]):
            end = len(chunk) if below is None else bisect_left(chunk, below)
            start = 0 if least is None else bisect_left(chunk, least)
            yield from reversed(chunk[start:end])
            if start:
                return

    def _split(self, at: int) -> None:
        chunk = self._chunks[at]
        upper = chunk[len(chunk) // 2 :]
        del chunk[len(chunk) // 2 :]
        self._chunks.insert(at + 1, upper)
        self._greatest[at] = chunk[-1]
        self._greatest.insert(at + 1, upper[-1])

    def _join(self, at: int) -> None:
        """Join a chunk that has become short with a neighbour; the last one goes when it is empty."""
        chunks, greatest = self._chunks, self._greatest
        if len(chunks) == 1:
            if not chunks[0]:
                del chunks[0], greatest[0]
            else:
                greatest[0] = chunks[0][-1]
            return
        first = max(at - 1, 0)
        chunks[first].extend(chunks[first + 1])
        del chunks[first + 1], greatest[first]
        greatest[first] = chunks[first][-1]
        if len(chunks[first]) > CHUNK_MAX:
            self._split(first)
