"""Listings: the definition of a symbol that its book stands for, with a number that only grows.

Sizes, `feed` and `on_cross` never change within a listing. A change of them, and a return after a withdrawal,
begin a new listing with an empty book (`docs/protocol.md`, section 2.2.3). The leader decides on listings;
readers find them in births, moves and snapshots. Reading and writing their forms on the wire is here; what
begins a new listing is in `depthcast.ingestor.engine`.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from depthcast.shared.errors import CodecError, InstrumentsError
from depthcast.shared.instruments import Instrument, from_table
from depthcast.shared.types import MAX_INTEGER

NUMBER: Final = "listing"
WITHDRAWN: Final = "withdrawn"
AFTER: Final = "after"
"""Key of the last input entry before a listing began or ended; births and withdrawals have it."""


class Listing(NamedTuple):
    """A listing of a symbol. `number`: 1 for the first. `withdrawn`: it has ended, and its book is empty."""

    number: int
    instrument: Instrument
    withdrawn: bool = False

    def stands_for(self, wanted: Instrument) -> bool:
        """Whether sizes, `feed` and `on_cross` are those of `wanted`."""
        return self.instrument.terms == wanted.terms


def to_table(listing: Listing) -> dict[str, Any]:
    """The map that names a listing in `deltas`, snapshots and the leader's record."""
    instrument = listing.instrument
    table: dict[str, Any] = {NUMBER: listing.number}
    table.update(
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        feed=str(instrument.feed),
        on_cross=str(instrument.on_cross),
    )
    if listing.withdrawn:
        table[WITHDRAWN] = True
    return table


def of_table(symbol: str, table: object) -> Listing | None:
    """The listing that a map names, None if it names none; raises `CodecError`."""
    if not isinstance(table, Mapping) or NUMBER not in table:
        return None
    number, withdrawn = table[NUMBER], table.get(WITHDRAWN, False)
    if not is_number(number) or type(withdrawn) is not bool:
        raise CodecError("listing", f"of {symbol} has the number {number!r}, withdrawn {withdrawn!r}")
    try:
        instrument = from_table(symbol, {**table, NUMBER: 0})
    except InstrumentsError as error:
        raise CodecError("listing", f"of {symbol}: {error.problem}") from error
    return Listing(number, instrument, withdrawn)


def is_number(value: object) -> TypeGuard[int]:
    """Whether `value` can be the number of a listing."""
    return type(value) is int and 1 <= value <= MAX_INTEGER
