"""Turns a fuzzer's bytes into values: the same bytes always make the same values.

When the bytes are used up, every number is 0, every choice is the first, and every list ends. So each input
is finite, and a shorter input makes a simpler case.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgpack

T = TypeVar("T")

EDGES: Final = (
    0, 1, -1, 2, 3, 127, 128, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53,
    2**53 + 1, -(2**53) + 1, -(2**53), 2**63 - 1, 2**63, -(2**63), 2**64 - 1,
)  # fmt: skip
"""Integers at the edges of ranges; all of them fit msgpack."""

STRANGE: Final[Sequence[Any]] = (
    None, True, False, 0.0, 1.5, -0.0, 1e300, "", "x", "é", "*", "_", "\x00", "a" * 65, [], {}, [[]], b"\xff",
)  # fmt: skip
"""Values of types that do not belong where they are put."""


class Material:
    """Bytes that are used from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def byte(self) -> int:
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def chance(self, of_256: int) -> bool:
        """True for `of_256` of 256 bytes; False when nothing is left."""
        return self.left > 0 and self.byte() < of_256

    def below(self, limit: int) -> int:
        return self.byte() % limit

    def choose(self, items: Sequence[T]) -> T:
        return items[self.byte() % len(items)]

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        self.at += len(taken)
        return taken

    def chunk(self) -> bytes:
        """Return up to 63 bytes."""
        return self.take(self.byte() % 64)

    def rest(self) -> bytes:
        return self.take(self.left)

    def text(self) -> str:
        return self.chunk().decode("utf-8", "replace")

    def integer(self) -> int:
        """Return a small integer, one at an edge, or any of 64 bits."""
        kind = self.byte()
        if kind < 160:
            return kind - 80
        if kind < 240:
            return self.choose(EDGES)
        return int.from_bytes(self.take(8), "big", signed=True)

    def items(self, make: Callable[[], T], most: int) -> list[T]:
        """Return up to `most` things; each costs a byte that says whether it is there."""
        made: list[T] = []
        while len(made) < most and self.chance(200):
            made.append(make())
        return made

    def value(self, words: Sequence[str], depth: int = 3) -> Any:
        """Return a value of any type of msgpack; texts are often of `words`."""
        kind = self.below(8)
        if kind < 2:
            return self.integer()
        if kind < 4:
            return self.choose(words)
        if kind == 4:
            return self.choose(STRANGE)
        if kind == 5 or not depth:
            return self.text()
        if kind == 6:
            return self.items(lambda: self.value(words, depth - 1), 8)
        keys = self.items(lambda: self.choose(words) if self.chance(200) else self.text(), 8)
        return {key: self.value(words, depth - 1) for key in keys}

    def packed(self, make: Callable[[], Any]) -> bytes:
        """Return half of the time all that is left as it is, else a value in msgpack."""
        return self.rest() if self.byte() % 2 else packed(make())

    def written(self, make: Callable[[], Any]) -> bytes:
        """Return half of the time all that is left as it is, else a value in JSON."""
        return self.rest() if self.byte() % 2 else written(make())


def packed(value: Any) -> bytes:
    """Return `value` in msgpack."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def written(value: Any) -> bytes:
    """Return `value` in JSON; bytes, which JSON cannot carry, become text."""
    return json.dumps(value, default=repr).encode()
