"""A book of levels as a venue writes them: ordered by the exact values of the prices, kept as text.

Checksums are taken over the text, and sizes are found out elsewhere, so nothing here is rounded or rewritten.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedDict

from depthcast.feed.venue import VenueLevel

Levels = Sequence[VenueLevel]

_NUMBER: Final = re.compile(r"\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?\Z", re.ASCII)
_TEXT_MOST: Final = 64
_INTEGER_MOST: Final = 10**40


def decimal_text(value: object) -> str:
    """Return a number of `exact_json` as text: quoted or not, with or without an exponent, not negative.

    Raises `ValueError` for anything else.
    """
    if isinstance(value, str) and len(value) <= _TEXT_MOST and _NUMBER.match(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGER_MOST:
        return str(value)
    raise ValueError(f"{str(value)[:_TEXT_MOST]!r} is no price or quantity")


def read_levels(items: Any, width: int = 2) -> list[VenueLevel]:
    """Return levels given as lists that begin with price and quantity, of at least `width` items.

    Raises `ValueError` for others.
    """
    if not isinstance(items, list) or not all(isinstance(item, list) for item in items):
        raise ValueError("levels are not a list of lists")
    if not all(len(item) >= width for item in items):
        raise ValueError(f"a level has less than {width} items")
    return [(decimal_text(item[0]), decimal_text(item[1])) for item in items]


def last_of_each(levels: Iterable[VenueLevel]) -> list[VenueLevel]:
    """Return one level for each price, the last one, in the order of first appearance."""
    return list({Decimal(level[0]): level for level in levels}.values())


class TextBook:
    """A book of a venue's levels. Its methods raise nothing for levels that `read_levels` returned."""

    def __init__(self) -> None:
        self.bids = TextSide(descending=True)
        self.asks = TextSide(descending=False)

    def clear(self) -> None:
        self.bids.clear()
        self.asks.clear()

    def replace(self, bids: Iterable[VenueLevel], asks: Iterable[VenueLevel]) -> None:
        """Forget all levels, then apply these."""
        self.clear()
        self.apply(bids, asks)

    def apply(self, bids: Iterable[VenueLevel], asks: Iterable[VenueLevel]) -> None:
        """Set levels in the order given; quantity 0 removes a level, if it is there."""
        self.bids.apply(bids)
        self.asks.apply(asks)

    def truncate(self, depth: int) -> tuple[list[VenueLevel], list[VenueLevel]]:
        """Remove the levels beyond the best `depth` of each side; return them with quantity 0: bids, asks."""
        return self.bids.truncate(depth), self.asks.truncate(depth)

    def top(self, count: int) -> tuple[list[VenueLevel], list[VenueLevel]]:
        """Return the best levels, best first: bids, asks."""
        return self.bids.top(count), self.asks.top(count)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask: crossed or locked."""
        bid, ask = self.bids.best_price, self.asks.best_price
        return bid is not None and ask is not None and bid >= ask


class TextSide:
    """One side of a `TextBook`."""

    def __init__(self, *, descending: bool) -> None:
        self._descending = descending
        self._levels: SortedDict[Decimal, VenueLevel] = SortedDict()
        """Levels by price, by its negative where the best price is the highest: the best comes first."""

    def __len__(self) -> int:
        return len(self._levels)

    def __contains__(self, price: str) -> bool:
        return self._key(price) in self._levels

    def __iter__(self) -> Iterator[VenueLevel]:
        """All levels, best first."""
        return iter(self._levels.values())

    @property
    def best_price(self) -> Decimal | None:
        return Decimal(self._levels.peekitem(0)[1][0]) if self._levels else None

    def clear(self) -> None:
        self._levels.clear()

    def apply(self, levels: Iterable[VenueLevel]) -> None:
        for level in levels:
            price, quantity = level
            key = self._key(price)
            if Decimal(quantity):
                self._levels[key] = level
            else:
                self._levels.pop(key, None)

    def truncate(self, depth: int) -> list[VenueLevel]:
        fallen = []
        while len(self._levels) > depth:
            price, _ = self._levels.popitem()[1]
            fallen.append((price, "0"))
        return fallen

    def top(self, count: int) -> list[VenueLevel]:
        return list(islice(self._levels.values(), count))

    def _key(self, price: str) -> Decimal:
        exact = Decimal(price)
        return exact.copy_negate() if self._descending else exact  # unlike a minus sign, rounds nothing
