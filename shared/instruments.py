"""Instruments: a symbol's sizes and rules, as written in a TOML file and in the `instruments` hash of Redis.

`tick_size` and `lot_size` are decimal text for users; all arithmetic is in integer ticks and lots.
"""

import json
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from depthcast.shared.errors import InstrumentsError
from depthcast.shared.sizes import is_size
from depthcast.shared.types import Symbol, is_symbol


class Feed(StrEnum):
    """How a symbol's input events address the book: by level, or by order."""

    LEVELS = "levels"
    ORDERS = "orders"


class OnCross(StrEnum):
    """What happens to an event that would cross the book."""

    REJECT = "reject"
    EVICT = "evict"


Terms = tuple[str, str, Feed, OnCross]
"""Sizes, `feed` and `on_cross`."""


class Instrument(NamedTuple):
    """One symbol's definition, as somebody wants it; what a book stands for is its listing.

    `listing`: the least number that its listing must have, 0 if any will do
    (`depthcast.shared.listing`).
    """

    symbol: Symbol
    tick_size: str = "1"
    lot_size: str = "1"
    feed: Feed = Feed.LEVELS
    on_cross: OnCross = OnCross.REJECT
    listing: int = 0

    @property
    def terms(self) -> Terms:
        """What never changes within a listing."""
        return self[1:5]


LISTING_WANTED_MAX: Final = 2**31
"""Largest number of a listing that anybody may ask for, so that there are always larger ones."""

_DEFAULTS: Final = {"tick_size": "1", "lot_size": "1", "feed": Feed.LEVELS, "on_cross": OnCross.REJECT}

_FIELDS: Final = frozenset(Instrument._fields) - {"symbol", "listing"}


def parse_toml(text: str) -> dict[Symbol, Instrument]:
    """Read an instruments file, one table per symbol; raises `InstrumentsError`."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number too long for Python raises ValueError
        raise InstrumentsError("", f"not valid TOML: {error}") from error
    instruments = {}
    for symbol, table in tables.items():
        if not isinstance(table, dict):
            raise InstrumentsError(symbol, f'expected a table such as ["{symbol}"], got {table!r}')
        unknown = sorted(set(table) - _FIELDS)
        if unknown:
            raise InstrumentsError(
                symbol, f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}"
            )
        instrument = _checked(symbol, table)
        instruments[instrument.symbol] = instrument
    return instruments


def to_json(instrument: Instrument) -> str:
    """Return the instrument's value in the `instruments` hash."""
    return json.dumps(to_table(instrument), separators=(",", ":"))


def to_table(instrument: Instrument) -> dict[str, str | int]:
    """Return the instrument's value in the `instruments` hash, and in `relist`, before it is encoded."""
    fields: dict[str, str | int] = {
        name: value if isinstance(value, int) else str(value) for name, value in instrument._asdict().items()
    }
    del fields["symbol"]
    if not instrument.listing:
        del fields["listing"]
    return fields


def from_json(symbol: str, raw: bytes | str) -> Instrument:
    """Read a value of the `instruments` hash, ignoring unknown keys; raises `InstrumentsError`."""
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InstrumentsError(symbol, f"not valid JSON: {error}") from error
    if not isinstance(table, dict):
        raise InstrumentsError(symbol, f"expected a JSON object, got {table!r}")
    return from_table(symbol, table)


def from_table(symbol: str, table: Mapping[str, Any]) -> Instrument:
    """Read a decoded value of the hash, ignoring unknown keys; raises `InstrumentsError`."""
    listing = table.get("listing", 0)
    if type(listing) is not int or not 0 <= listing <= LISTING_WANTED_MAX:
        raise InstrumentsError(symbol, f"listing is {listing!r}; it must be a whole number")
    return _checked(symbol, table)._replace(listing=listing)


def _checked(symbol: str, table: Mapping[str, Any]) -> Instrument:
    if not is_symbol(symbol):
        raise InstrumentsError(
            symbol, "a symbol is 1 to 32 of A-Z a-z 0-9 . _ - and begins with a letter or digit"
        )
    named = [table.get(name, default) for name, default in _DEFAULTS.items()]
    if all(isinstance(value, str) for value in named) and (terms := _terms(*named)) is not None:
        return Instrument(Symbol(symbol), *terms)
    sizes = {}
    for name in ("tick_size", "lot_size"):
        size = table.get(name, "1")
        if not is_size(size):
            raise InstrumentsError(
                symbol, f'{name} is {size!r}; write a positive decimal as text, such as "0.01"'
            )
        sizes[name] = size
    return Instrument(
        Symbol(symbol),
        sizes["tick_size"],
        sizes["lot_size"],
        Feed(_choice(symbol, table, "feed", Feed, Feed.LEVELS)),
        OnCross(_choice(symbol, table, "on_cross", OnCross, OnCross.REJECT)),
    )


@lru_cache(maxsize=1024)
def _terms(tick_size: str, lot_size: str, feed: str, on_cross: str) -> Terms | None:
    """The terms with these values, None if one is wrong. Most symbols have the same ones as many others."""
    if not (is_size(tick_size) and is_size(lot_size) and feed in list(Feed) and on_cross in list(OnCross)):
        return None
    return tick_size, lot_size, Feed(feed), OnCross(on_cross)


def _choice(symbol: str, table: Mapping[str, Any], name: str, kind: type[StrEnum], default: StrEnum) -> str:
    value = table.get(name, default)
    if value not in list(kind):
        raise InstrumentsError(symbol, f"{name} is {value!r}; it must be one of {', '.join(kind)}")
    return str(value)
