"""Sizes: what a tick and a lot are worth, and prices and quantities as people write them.

All arithmetic of books is in integer ticks and lots. For people they become exact decimals, or the floats
that are nearest to those.
"""

import re
from collections.abc import Iterable
from decimal import Context, Decimal
from functools import lru_cache
from typing import Final, NamedTuple, TypeGuard

from depthcast.shared.errors import CodecError

_SIZE: Final = re.compile(r"\d{1,20}(\.\d{1,20})?\Z", re.ASCII)

_EXACT: Final = Context(prec=60)
"""Enough digits for the largest price, of 16, times the longest size, of 40."""


class Sizes(NamedTuple):
    """Tick size and lot size of a symbol, as decimal text such as `"0.01"`."""

    tick_size: str
    lot_size: str

    @property
    def places(self) -> tuple[int, int]:
        """Number of decimals of prices and of quantities."""
        return _places(self.tick_size), _places(self.lot_size)


class Prices(NamedTuple):
    """Levels of a book as (price, quantity) in exact decimals."""

    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]


class FloatPrices(NamedTuple):
    """Levels of a book as (price, quantity) in floats."""

    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


def is_size(value: object) -> TypeGuard[str]:
    """Whether `value` can be a tick or lot size: the text of a positive decimal, without exponent."""
    return isinstance(value, str) and _SIZE.match(value) is not None and value.strip("0.") != ""


def exact(levels: Iterable[tuple[int, int]], sizes: Sizes) -> list[tuple[Decimal, Decimal]]:
    """Return levels in ticks and lots as decimals: 6500010 of "0.01" is 65000.10. Raises `CodecError`."""
    tick, lot = _decimals(sizes)
    multiply = _EXACT.multiply
    return [(multiply(tick, price), multiply(lot, quantity)) for price, quantity in levels]


def nearest(levels: Iterable[tuple[int, int]], sizes: Sizes) -> list[tuple[float, float]]:
    """Return levels in ticks and lots as floats, each the nearest to its decimal. Raises `CodecError`."""
    (tick, per_price), (lot, per_quantity) = _ratios(sizes)
    return [(price * tick / per_price, quantity * lot / per_quantity) for price, quantity in levels]


def checked(sizes: Sizes | None) -> Sizes:
    """Return sizes by which numbers can be converted; raises `CodecError` for any other."""
    if sizes is None:
        raise CodecError("book", "nobody has said what its ticks and lots are worth")
    for name, size in sizes._asdict().items():
        if not is_size(size):
            raise CodecError("book", f'its {name} is {size!r:.60}, not a positive decimal such as "0.01"')
    return sizes


@lru_cache(maxsize=4096)
def _decimals(sizes: Sizes) -> tuple[Decimal, Decimal]:
    tick_size, lot_size = checked(sizes)
    return Decimal(tick_size), Decimal(lot_size)


@lru_cache(maxsize=4096)
def _ratios(sizes: Sizes) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tick and lot as numerator and denominator: a division of integers is rounded only once."""
    tick_size, lot_size = checked(sizes)
    return _ratio(tick_size), _ratio(lot_size)


def _ratio(size: str) -> tuple[int, int]:
    return int(size.replace(".", "")), 10 ** _places(size)


def _places(size: str) -> int:
    return len(size.partition(".")[2])
