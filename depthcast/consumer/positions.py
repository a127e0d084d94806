"""A consumer's position in every partition, and text to store it as."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from depthcast.shared.errors import PositionError
from depthcast.shared.position import Position

_PARTITION: Final = re.compile(r"\d{1,9}\Z", re.ASCII)
_NONE: Final[Mapping[int, Position]] = MappingProxyType({})


class Positions(Mapping[int, Position]):
    """How far a consumer has come: partition → position of the last entry that it has delivered.

    `str()` makes text to store, such as `0:1767225600000-17 3:1767225600000-5`, and `parse` reads it.
    """

    __slots__ = ("_positions",)

    def __init__(self, positions: Mapping[int, Position] = _NONE) -> None:
        self._positions = dict(sorted(positions.items()))

    @classmethod
    def parse(cls, text: str) -> "Positions":
        """Read what `str()` has made; raises `PositionError` for anything else."""
        positions = {}
        for word in text.split():
            number, _, position = word.partition(":")
            if not _PARTITION.match(number) or int(number) in positions:
                raise PositionError(text)
            positions[int(number)] = Position.parse(position)
        return cls(positions)

    def __getitem__(self, partition: int) -> Position:
        return self._positions[partition]

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __str__(self) -> str:
        return " ".join(f"{number}:{position}" for number, position in self._positions.items())

    def __repr__(self) -> str:
        return f"Positions({self._positions!r})"
