"""Oracles: statements about a book in a recording that a correct replay must match."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from depthcast.updates import Levels

LEVELS_MOST: Final = 25
"""No oracle needs more levels per side than this."""


class Oracle(Protocol):
    """A statement that a book can be compared with."""

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        """Return whether the best levels of a book match; pass at least `LEVELS_MOST` per side."""
        ...


class BestPrices(NamedTuple):
    """The venue's best bid and ask as (price in ticks, quantity in lots); None = no quantity is known."""

    bid: tuple[int, int | None]
    ask: tuple[int, int | None]

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        return bool(bids and asks) and _same(bids[0], self.bid) and _same(asks[0], self.ask)


def _same(level: tuple[int, int], expected: tuple[int, int | None]) -> bool:
    return level[0] == expected[0] and expected[1] in (None, level[1])


class TopLevels(NamedTuple):
    """The best `LEVELS_MOST` levels of a book whose checksum was right, as (ticks, lots)."""

    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        return [*bids[:LEVELS_MOST]] == [*self.bids] and [*asks[:LEVELS_MOST]] == [*self.asks]
