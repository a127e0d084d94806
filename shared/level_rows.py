"""What changed on one side of a book in 64-bit numbers that lie side by side: a gateway's rows if compiled.

A list of tuples is five objects for each changed level, made anew for each broadcast; here a side is one
array. Without a compiler changes are lists of tuples.
"""

import marshal
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast, overload

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.types import LevelChange

COMPILED: Final = is_compiled_at(__file__)

ITEMS: Final = 3
"""Numbers of a row: price, new quantity, old quantity."""

_ITEMS: Final = ITEMS
ROW_BYTES: Final = 8 * ITEMS
_ROW: Final = array("q", bytes(ROW_BYTES))

Rows = Sequence[tuple[int, ...]]
"""Changed levels of one side: price, new and old quantity, and in counted ones more."""

_pack: Final = cast("Callable[[object, int], bytes]", marshal.dumps)
_unpack: Final = marshal.loads
_MARSHAL_VERSION: Final = 1
"""Writes numbers only, without looking for objects that occur twice: half the time."""
_NUMBERS: Final = b"#"
"""Packed arrays begin with it. What `marshal` writes of a list or a tuple begins otherwise."""


class LevelRows:  # noqa: PLW1641  # not hashable, like a list
    """The changed levels of one side: (price, new quantity, old quantity) each, tuples made on demand.

    It equals a list of the same rows. Used only if compiled. `numbers` has all of them, and must not change.
    """

    __slots__ = ("items", "numbers", "size")

    def __init__(self, numbers: "array[int]") -> None:
        if numbers.typecode != "q":
            raise TypeError(f"an array of {numbers.typecode!r} has no numbers of 64 bits")
        self.use(numbers)

    def use(self, numbers: "array[int]") -> None:
        """Have the rows in `numbers`."""
        self.numbers = numbers
        self.items: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        self.size = len(numbers) // _ITEMS

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[LevelChange]:
        return iter([self._row(at) for at in range(self.size)])

    @overload
    def __getitem__(self, index: int) -> LevelChange: ...
    @overload
    def __getitem__(self, index: slice) -> list[LevelChange]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._row(at) for at in range(*index.indices(self.size))]
        return self._row(range(self.size)[index])

    def _row(self, at: int) -> LevelChange:
        rows = self.items
        return rows[_ITEMS * at], rows[_ITEMS * at + 1], rows[_ITEMS * at + 2]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | LevelRows) else NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))


Sequence.register(LevelRows)


def numbers_for(count: int) -> "array[int]":
    """An array with room for so many rows."""
    return _ROW * count


def rows_of(numbers: "array[int]") -> LevelRows:
    """The rows in an array of prices, new and old quantities."""
    made = LevelRows.__new__(LevelRows)
    made.use(numbers)
    return made


def packed_rows(bids: Rows, asks: Rows) -> bytes:
    """The rows of both sides as bytes, of any width."""
    if isinstance(bids, LevelRows) and isinstance(asks, LevelRows):
        return b"".join((_NUMBERS, bids.numbers, asks.numbers))
    if not COMPILED:
        return _pack((bids, asks), _MARSHAL_VERSION)
    plain = [list(rows) if isinstance(rows, LevelRows) else rows for rows in (bids, asks)]
    return _pack(plain, _MARSHAL_VERSION)


def unpacked_rows(packed: bytes | memoryview, bids: int) -> tuple[Rows, Rows]:
    """Inverse of `packed_rows`; `bids`: how many rows of bids there are."""
    if packed[:1] != _NUMBERS:
        bid_rows, ask_rows = _unpack(packed)
        return bid_rows, ask_rows
    asks_at = 1 + bids * ROW_BYTES
    return _from_bytes(packed[1:asks_at]), _from_bytes(packed[asks_at:])


def _from_bytes(packed: bytes | memoryview) -> Rows:
    numbers = array("q")
    numbers.frombytes(packed)
    return LevelRows(numbers)  # type: ignore[return-value]  # registered as a sequence
