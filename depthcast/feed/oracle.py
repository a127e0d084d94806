"""Oracles: statements about a book in a recording that a correct replay must match."""

from itertools import chain
from typing import Final, NamedTuple, Protocol
from zlib import crc32

from depthcast.updates import Levels

LEVELS_MOST: Final = 10
"""No oracle needs more levels per side than this."""


class Oracle(Protocol):
    """A statement that a book can be compared with."""

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        """Return whether the best levels of a book match; pass at least `LEVELS_MOST` per side."""
        ...


class BestPrices(NamedTuple):
    """The venue's best bid and ask as (price in ticks, quantity in lots)."""

    bid: tuple[int, int]
    ask: tuple[int, int]

    def agrees(self, bids: Levels, asks: Levels) -> bool:
        return bool(bids and asks) and bids[0] == self.bid and asks[0] == self.ask


class KrakenChecksum(NamedTuple):
    """Kraken's CRC32 of the best ten levels per side.

    It is taken over each level's price and volume as the venue writes them, without the decimal point and
    leading zeros, asks first and best first. The factors turn ticks and lots into those digits: if the tick
    has one decimal and the venue writes five, the factor is 10⁴. Source: Kraken WebSockets v1, "Book
    checksum".
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
