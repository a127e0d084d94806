"""What the changes of an atomic array replaced, as 64-bit numbers if compiled; as Python, in a list.

Three numbers for each change: side, price and old quantity (0 = no level).
"""

from array import array
from typing import Final

from depthcast.shared.compiled import is_compiled_at

COMPILED: Final = is_compiled_at(__file__)

_NUMBERS: Final = array("q", bytes(8 * 96))


class UndoLog:
    """Numbers in the order in which they came; `_count` of them, with room for `_room`."""

    __slots__ = ("_array", "_count", "_numbers", "_room")

    def __init__(self) -> None:
        self._count = 0
        self._use(_NUMBERS[:])

    def _use(self, numbers: "array[int]") -> None:
        self._array = numbers
        self._numbers: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined]  # as Cython sees it
        self._room = len(numbers)

    def push(self, side: int, price: int, old: int) -> int:
        """Append a change; raises `MemoryError` with nothing changed."""
        at = self._count
        if at + 3 > self._room:
            self._use(self._array * 2)
        self._numbers[at] = side
        self._numbers[at + 1] = price
        self._numbers[at + 2] = old
        self._count = at + 3
        return 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        """The number at an index from 0; raises `IndexError` if there are fewer."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._numbers[index]


def new_log() -> list[int] | UndoLog:
    """A log without changes."""
    return UndoLog() if COMPILED else []
