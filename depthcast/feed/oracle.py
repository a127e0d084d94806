"""Independent statements about a book, found in recordings: what a right replay must agree with."""

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple, Protocol
from zlib import crc32

Levels = Sequence[tuple[int, int]]
"""(price, quantity) of one side, best first."""

LEVELS_MOST: Final = 10
"""So many levels a side are enough for every oracle."""


class Oracle(Protocol):
    """Something that a book can be compared with."""

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        """Whether the best `LEVELS_MOST` levels of a book (or all) are what the oracle says."""
        ...


class BestPrices(NamedTuple):
    """The venue's best bid and ask as (price in ticks, quantity in lots)."""

    bid: tuple[int, int]
    ask: tuple[int, int]

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        return bool(bids and asks) and bids[0] == self.bid and asks[0] == self.ask


class KrakenChecksum(NamedTuple):
    """Kraken's CRC32 of the best ten levels a side.

    Its text is, asks first and best first, each level's price and volume as written by the venue, without the decimal
    point and leading zeros. The factors turn ticks and lots into those written digits: a price written with five
    decimals where the tick has one has the factor 10⁴. Source: Kraken WebSockets v1, "Book checksum".
    """

    value: int
    price_factor: int
    quantity_factor: int

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        levels = chain(asks[:LEVELS_MOST], bids[:LEVELS_MOST])
        text = "".join(
            f"{price * self.price_factor}{quantity * self.quantity_factor}" for price, quantity in levels
        )
        return crc32(text.encode()) == self.value
