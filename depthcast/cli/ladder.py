"""Makes the rows that `depthcast watch` shows from a book: prices, quantities and bars."""

from typing import Final, NamedTuple

from depthcast.shared.book import Book, BookSide
from depthcast.shared.types import Side

BAR_CHARACTERS: Final = " ▏▎▍▌▋▊▉█"
BAR_CELLS: Final = 20


class Row(NamedTuple):
    """One level: its side, price and quantity as text in units of the instrument, and a bar for its share."""

    side: Side
    price: str
    quantity: str
    bar: str


def rows(book: Book, depth: int, tick_size: str, lot_size: str) -> list[Row]:
    """Return the best `depth` levels per side in ladder order: worst ask first, worst bid last."""
    asks, bids = book.asks.top(depth), book.bids.top(depth)
    largest = max((quantity for _, quantity in asks + bids), default=1)
    shown = [(Side.ASK, *level) for level in reversed(asks)] + [(Side.BID, *level) for level in bids]
    return [
        Row(side, decimal(price, tick_size), decimal(quantity, lot_size), bar(quantity / largest))
        for side, price, quantity in shown
    ]


def decimal(number: int, size: str) -> str:
    """Return `number` × `size` (decimal text) exactly: 6500010 × "0.01" is 65000.10."""
    whole, _, fraction = size.partition(".")
    scaled = abs(number) * int(whole + fraction)
    digits = str(scaled).rjust(len(fraction) + 1, "0")
    text = f"{digits[: -len(fraction)]}.{digits[-len(fraction) :]}" if fraction else digits
    return f"-{text}" if number < 0 else text


def bar(share: float) -> str:
    """Return a bar for a share of 0 to 1: up to `BAR_CELLS` cells, in steps of an eighth of a cell."""
    full, eighths = divmod(round(share * BAR_CELLS * 8), 8)
    return BAR_CHARACTERS[-1] * full + BAR_CHARACTERS[eighths].strip()


def best_line(book: Book, tick_size: str, lot_size: str) -> str:
    """Return `65000.10 x 0.5 | 65000.12 x 1.2`, with a dash for an empty side."""
    return " | ".join(_best(side, tick_size, lot_size) for side in book.sides)


def _best(side: BookSide, tick_size: str, lot_size: str) -> str:
    best = side.best()
    if best is None:
        return "-"
    return f"{decimal(best, tick_size)} x {decimal(side.levels[best], lot_size)}"
