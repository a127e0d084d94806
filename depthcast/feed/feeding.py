"""Which symbols of a venue are fed into which books: names, sizes, and what does not fit. Pure."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from depthcast.feed.scale import Scale, common_divisor
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

    @property
    def sizes(self) -> Sizes:
        """The venue's sizes."""
        return Sizes(self.instrument.tick_size, self.instrument.lot_size)

    def with_sizes(self, sizes: Sizes) -> "Feeding":
        """Return it with other sizes of the venue."""
        return self._replace(instrument=_with_sizes(self.instrument, sizes))


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
    return [Feeding(name, _with_sizes(Instrument(symbol), listed[name])) for name, symbol in chosen.items()]


def plain(size: str) -> str:
    """Return a size as instruments write it: without exponent or idle zeros, "1E-7" as "0.0000001"."""
    scale = Scale(size)
    digits = str(scale.units).rjust(scale.places + 1, "0")
    whole, fraction = digits[: len(digits) - scale.places], digits[len(digits) - scale.places :]
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def check_feed(feeding: Feeding, registered: Instrument) -> None:
    """Raise `InstrumentsError` unless the registered instrument takes levels, as a venue's book has them."""
    if registered.feed is not Feed.LEVELS:
        raise InstrumentsError(
            registered.symbol,
            f"is registered with feed {registered.feed!s}, a venue's book is a levels feed; name another "
            f"book with --as {feeding.venue_symbol}=NEW",
        )


def check_registered(feeding: Feeding, registered: Instrument, before: Instrument | None = None) -> None:
    """Raise `InstrumentsError` unless every price and quantity of the venue fits the registered sizes.

    Sizes that the venue had `before` may be registered yet: see `following`.
    """
    check_feed(feeding, registered)
    if before is not None and same_sizes(before, registered):
        return
    for name in ("tick_size", "lot_size"):
        venue_size, size = getattr(feeding.instrument, name), getattr(registered, name)
        try:
            Scale(size).whole(venue_size)
        except ValueError:
            raise InstrumentsError(
                registered.symbol,
                f"is registered with {name} {size}, the venue has {venue_size}, which does not fit; name "
                f"another book with --as {feeding.venue_symbol}=NEW, or begin a new listing: "
                f"{relist_command(feeding.instrument)}",
            ) from None


def sizes_fit(venue: Instrument, registered: Instrument) -> bool:
    """Return whether every multiple of the venue's sizes is one of the registered sizes."""
    return all(
        _fits(venue_size, size) for venue_size, size in zip(_sizes(venue), _sizes(registered), strict=True)
    )


def same_sizes(first: Instrument, second: Instrument) -> bool:
    """Return whether sizes are equal, however they are written."""
    return list(map(plain, _sizes(first))) == list(map(plain, _sizes(second)))


def following(registered: Instrument, before: Instrument | None, now: Instrument) -> Instrument:
    """Return the instrument with the sizes that it should have, as the venue has those of `now`.

    `before`: what the venue's sizes were when the registered ones were last compared with them, None if that
    is unknown. A registered size changes if the venue's does not fit it, or if it was the venue's own. A
    finer one, which somebody has chosen, stays.
    """
    own: tuple[str | None, str | None] = (None, None) if before is None else _sizes(before)
    tick_size, lot_size = (
        size if _fits(venue_size, size) and (was is None or plain(size) != plain(was)) else venue_size
        for size, was, venue_size in zip(_sizes(registered), own, _sizes(now), strict=True)
    )
    wanted = registered._replace(tick_size=tick_size, lot_size=lot_size)
    return registered if same_sizes(wanted, registered) else wanted


def dividing_both(first: Instrument, second: Instrument) -> Instrument:
    """Return the first instrument with the coarsest sizes that every multiple of either's sizes fits."""
    tick_size, lot_size = (
        plain(common_divisor(pair)) for pair in zip(_sizes(first), _sizes(second), strict=True)
    )
    return first._replace(tick_size=tick_size, lot_size=lot_size)


def relist_command(wanted: Instrument, prefix: str = "depthcast") -> str:
    """Return the command that begins a new listing with these sizes."""
    options = f"--tick-size {wanted.tick_size} --lot-size {wanted.lot_size} --relist"
    named = "" if prefix == "depthcast" else f" --prefix {prefix}"
    return f"depthcast instruments set {wanted.symbol} {options}{named}"


def _with_sizes(instrument: Instrument, sizes: Sizes) -> Instrument:
    return instrument._replace(tick_size=plain(sizes.tick_size), lot_size=plain(sizes.lot_size))


def _sizes(instrument: Instrument) -> tuple[str, str]:
    return instrument.tick_size, instrument.lot_size


def _fits(venue_size: str, size: str) -> bool:
    return Scale(size).divides(1, Scale(venue_size))
