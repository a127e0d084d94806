"""Makes text of levels: prices and quantities in units of the instrument, and bars."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from depthcast.shared.types import Side
from depthcast.updates import Levels

BAR_CHARACTERS: Final = " ▏▎▍▌▋▊▉█"


class Row(NamedTuple):
    """One level: its side, price and quantity as text in units of the instrument.

    `share`: its quantity in parts of the largest one shown, above 0 and up to 1.
    """

    side: Side
    price: str
    quantity: str
    share: float


def rows(bids: Levels, asks: Levels, tick_size: str, lot_size: str) -> list[Row]:
    """Return levels, given best first, in ladder order: worst ask first, worst bid last."""
    largest = max((quantity for _, quantity in (*asks, *bids)), default=1)
    shown = [(Side.ASK, *level) for level in reversed(asks)] + [(Side.BID, *level) for level in bids]
    return [
        Row(side, decimal(price, tick_size), decimal(quantity, lot_size), quantity / largest)
        for side, price, quantity in shown
    ]


def decimal(number: int, size: str) -> str:
    """Return `number` × `size` (decimal text) exactly: 6500010 × "0.01" is 65000.10."""
    whole, _, fraction = size.partition(".")
    scaled = abs(number) * int(whole + fraction)
    digits = str(scaled).rjust(len(fraction) + 1, "0")
    text = f"{digits[: -len(fraction)]}.{digits[-len(fraction) :]}" if fraction else digits
    return f"-{text}" if number < 0 else text


def decimals(levels: Levels, tick_size: str, lot_size: str) -> list[tuple[str, str]]:
    """Return levels as (price, quantity) in units of the instrument, as exact decimal text."""
    return [(decimal(price, tick_size), decimal(quantity, lot_size)) for price, quantity in levels]


def mid(bid: int, ask: int, tick_size: str) -> str:
    """Return the price halfway between two prices in ticks, exactly, as decimal text."""
    whole, _, fraction = tick_size.partition(".")
    if (bid + ask) % 2 == 0:
        return decimal((bid + ask) // 2, tick_size)
    tenth = f"0{whole}"
    return decimal((bid + ask) * 5, f"{tenth[:-1]}.{tenth[-1]}{fraction}")


def bar(share: float, cells: int) -> str:
    """Return a bar for a share of 0 to 1: up to `cells` cells, in steps of an eighth of a cell."""
    full, eighths = divmod(round(share * cells * 8), 8)
    return BAR_CHARACTERS[-1] * full + BAR_CHARACTERS[eighths].strip()


def best_line(bids: Levels, asks: Levels, tick_size: str, lot_size: str) -> str:
    """Return `65000.10 x 0.5 | 65000.12 x 1.2`, with a dash for an empty side; the best levels come first."""
    return " | ".join(_best(levels, tick_size, lot_size) for levels in (bids, asks))


def _best(levels: Sequence[tuple[int, int]], tick_size: str, lot_size: str) -> str:
    if not levels:
        return "-"
    (price, quantity), *_ = levels
    return f"{decimal(price, tick_size)} x {decimal(quantity, lot_size)}"
