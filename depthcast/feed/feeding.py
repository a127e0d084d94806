"""Which symbols of a venue are fed into which books: names, sizes, and what does not fit. Pure."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from depthcast.feed.scale import Scale
from depthcast.feed.venue import Sizes
from depthcast.shared.errors import DepthcastError, InstrumentsError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol, is_symbol


class FeedRefused(DepthcastError):
    """The live feed cannot do what was asked for, or was refused for good by the venue or the deployment."""


class Feeding(NamedTuple):
    """One symbol: its name at the venue, its instrument here with the venue's sizes."""

    venue_symbol: str
    instrument: Instrument

    @property
    def symbol(self) -> Symbol:
        return self.instrument.symbol


def book_name(venue_symbol: str) -> str:
    """Return the default name of a venue's symbol here: signs that no symbol may have become `-`."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", venue_symbol)


def choose(venue: str, symbols: Sequence[str], renames: Mapping[str, str]) -> dict[str, Symbol]:
    """Return the names here of the venue's symbols; raises `FeedRefused` for names that do not do."""
    wanted = list(dict.fromkeys(symbols))
    given = dict(renames)
    if "" in given:
        if len(wanted) != 1:
            raise FeedRefused("--as NEW needs exactly one symbol; use --as OLD=NEW")
        given[wanted[0]] = given.pop("")
    if strange := sorted(set(given) - set(wanted)):
        raise FeedRefused(f"--as names {strange[0]!r}, which is not among the symbols {', '.join(wanted)}")
    chosen: dict[str, Symbol] = {}
    for venue_symbol in wanted:
        name = given.get(venue_symbol, book_name(venue_symbol))
        if not is_symbol(name):
            raise FeedRefused(
                f"{venue_symbol!r} of {venue} would be the book {name!r}, which is no symbol here; "
                f"name it with --as {venue_symbol}=NEW"
            )
        if name in chosen.values():
            raise FeedRefused(f"two symbols would be the book {name}; name one of them with --as OLD=NEW")
        chosen[venue_symbol] = Symbol(name)
    return chosen


def feedings(venue: str, chosen: Mapping[str, Symbol], listed: Mapping[str, Sizes]) -> list[Feeding]:
    """Return what is to be fed, with the venue's sizes; raises `FeedRefused` for symbols it does not list."""
    unknown = [name for name in chosen if name not in listed]
    if unknown:
        close = difflib.get_close_matches(unknown[0].upper(), listed, n=5, cutoff=0.4)
        hint = f"; similar: {', '.join(close)}" if close else ""
        raise FeedRefused(f"{venue} lists no {', '.join(unknown)}{hint}")
    return [
        Feeding(name, Instrument(symbol, plain(listed[name].tick_size), plain(listed[name].lot_size)))
        for name, symbol in chosen.items()
    ]


def plain(size: str) -> str:
    """Return a size as instruments write it: without exponent or idle zeros, "1E-7" as "0.0000001"."""
    scale = Scale(size)
    digits = str(scale.units).rjust(scale.places + 1, "0")
    whole, fraction = digits[: len(digits) - scale.places], digits[len(digits) - scale.places :]
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def check_registered(feeding: Feeding, registered: Instrument) -> None:
    """Raise `InstrumentsError` unless every price and quantity of the venue fits the registered sizes."""
    if registered.feed is not Feed.LEVELS:
        raise InstrumentsError(
            registered.symbol,
            f"is registered with feed {registered.feed!s}, a venue's book is a levels feed; name another "
            f"book with --as {feeding.venue_symbol}=NEW",
        )
    for name in ("tick_size", "lot_size"):
        venue_size, size = getattr(feeding.instrument, name), getattr(registered, name)
        try:
            Scale(size).whole(venue_size)
        except ValueError:
            raise InstrumentsError(
                registered.symbol,
                f"is registered with {name} {size}, the venue has {venue_size}, which does not fit; name "
                f"another book with --as {feeding.venue_symbol}=NEW, or change the listing",
            ) from None
