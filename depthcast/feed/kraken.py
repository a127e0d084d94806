"""Recordings of Kraken's WebSocket v1 book channel: `<unix s>: <json>` per line.

Lines that the recorder sent are `wss://… <- …`.

A snapshot has `as` and `bs`, an update `a` or `b`, or both in two maps; `c` is the venue's checksum after it.
Levels are `[price, volume, time]`, with a fourth item "r" for a level that the venue publishes again. The
venue sends nothing for levels that fall out of the subscribed depth; they become deletes here.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from depthcast.feed.decimals import places_needed, places_written, scaled, size_of
from depthcast.feed.entry import (
    CLEAR,
    MALFORMED,
    UPDATE,
    Event,
    FeedEntry,
    Format,
    Instruments,
    LineReader,
    places,
)
from depthcast.feed.oracle import KrakenChecksum
from depthcast.shared.book import Book, BookSide
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol, is_symbol

_LINE: Final = re.compile(rb"(\d{9,11})(?:\.(\d{1,9}))?: (.*)\Z", re.DOTALL)
_CHANNEL: Final = re.compile(r"book-(\d{1,5})\Z", re.ASCII)
_TIME_PLACES: Final = 6


class _BookMessage(NamedTuple):
    """One message of the book channel, with the keys of all its maps in `fields`."""

    at_us: int
    symbol: Symbol
    depth: int
    fields: dict[str, Any]

    def levels(self, side: str) -> list[list[str]]:
        """Return the levels of side "a" or "b" of a snapshot or an update."""
        name = side + "s" if self.snapshot else side
        levels: list[list[str]] = self.fields.get(name, [])
        return levels

    @property
    def snapshot(self) -> bool:
        return "as" in self.fields or "bs" in self.fields


class _Sizes:
    """Decimals that the prices and volumes of one pair need."""

    def __init__(self) -> None:
        self.needed = [0, 0]

    def widen(self, levels: list[list[str]]) -> None:
        for price, volume, *_ in levels:
            self.needed[0] = max(self.needed[0], places_needed(price))
            self.needed[1] = max(self.needed[1], places_needed(volume))


def instruments(path: str, lines: Iterable[bytes]) -> dict[Symbol, Instrument]:
    """Find every pair, named with - for / (`XBT-USD`), with the coarsest sizes that its numbers need."""
    reader = LineReader(path)
    found: dict[Symbol, _Sizes] = defaultdict(_Sizes)
    for message in _messages(reader, lines):
        try:
            for side in "ab":
                found[message.symbol].widen(message.levels(side))
        except MALFORMED as error:
            raise _malformed(reader, error) from None
    if not found:
        raise FeedError(path, 0, "has no book message; is it a recording of Kraken's book channel?")
    return {
        symbol: Instrument(symbol, size_of(sizes.needed[0]), size_of(sizes.needed[1]))
        for symbol, sizes in found.items()
    }


def entries(path: str, lines: Iterable[bytes], instruments: Instruments) -> Iterator[FeedEntry]:
    """Yield an entry for each snapshot and update, with the checksum after it."""
    reader = LineReader(path)
    pairs: dict[Symbol, _Pair] = {}
    for message in _messages(reader, lines):
        pair = pairs.get(message.symbol)
        if pair is None:
            if not message.snapshot:
                continue  # the recording began in the middle of a subscription: there is no book yet
            if message.symbol not in instruments:
                raise reader.unknown(message.symbol)
            pair = pairs[message.symbol] = _Pair(instruments[message.symbol])
        try:
            entry = pair.take(message, reader.line)
        except MALFORMED as error:
            raise _malformed(reader, error) from None
        yield entry


FORMAT: Final = Format("kraken", "checksums", instruments, entries)


class _Pair:
    """One pair; it keeps a book to find levels that fall out of the subscribed depth."""

    def __init__(self, instrument: Instrument) -> None:
        self.price_places, self.quantity_places = places(instrument)
        self.price_factor = self.quantity_factor = 1
        self.book = Book()

    def take(self, message: _BookMessage, line: int) -> FeedEntry:
        events: list[Event] = []
        if message.snapshot:
            self.book.clear()
            events.append((CLEAR,))
            self._learn_factors(message)
        for name, side in (("a", self.book.asks), ("b", self.book.bids)):
            levels = message.levels(name)
            events += [self._update(side, price, volume) for price, volume, *_ in levels]
            events += _truncate(side, message.depth)
        return FeedEntry(
            message.symbol, events, _newest(message), message.at_us, True, self._oracle(message), line
        )

    def _update(self, side: BookSide, price_text: str, volume_text: str) -> Event:
        price, volume = scaled(price_text, self.price_places), scaled(volume_text, self.quantity_places)
        side.set_level(price, volume)
        return (UPDATE, int(side.side), price, volume)

    def _learn_factors(self, message: _BookMessage) -> None:
        for price, volume, *_ in message.levels("a") or message.levels("b"):
            self.price_factor = _factor(price, self.price_places)
            self.quantity_factor = _factor(volume, self.quantity_places)
            return

    def _oracle(self, message: _BookMessage) -> KrakenChecksum | None:
        text = message.fields.get("c")
        if text is None:
            return None
        return KrakenChecksum(int(text), self.price_factor, self.quantity_factor)


def _factor(text: str, places: int) -> int:
    """Return the factor from an integer in `places` decimals to the digits that the venue writes."""
    if (missing := places_written(text) - places) < 0:
        raise ValueError(f"{text} is written with fewer than {places} decimals; register a coarser size")
    return int(10**missing)


def _truncate(side: BookSide, depth: int) -> list[Event]:
    """Remove the levels beyond the subscribed depth; returns the deletes."""
    fallen = [key * side.sign for key in side.index[depth:]] if len(side) > depth else []
    for price in fallen:
        side.set_level(price, 0)
    return [(UPDATE, int(side.side), price, 0) for price in fallen]


def _messages(reader: LineReader, lines: Iterable[bytes]) -> Iterator[_BookMessage]:
    """Yield the messages of the book channel; sent lines, heartbeats and other events are skipped."""
    for line in reader.lines(lines):
        if line.startswith(b"wss://"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise reader.error("expected `<unix seconds>: <json>`; is the file cut off or edited?")
        message = reader.json(match[3])
        if isinstance(message, list):
            yield _book_message(reader, match, message)


def _book_message(reader: LineReader, match: re.Match[bytes], message: list[Any]) -> _BookMessage:
    channel = _CHANNEL.match(message[-2]) if len(message) >= 4 and isinstance(message[-2], str) else None
    maps = message[1:-2]
    if channel is None or not all(isinstance(item, dict) for item in maps):
        raise reader.error(
            "not a message of the book channel; remove the line, or record the book channel only"
        )
    name = str(message[-1]).replace("/", "-")
    if not is_symbol(name):
        raise reader.error(f"{name!r} is not a valid Depthcast symbol")
    at_us = int(match[1]) * 1_000_000 + int((match[2] or b"0")[:_TIME_PLACES].ljust(_TIME_PLACES, b"0"))
    fields = {key: value for item in maps for key, value in item.items()}
    return _BookMessage(at_us, Symbol(name), int(channel[1]), fields)


def _newest(message: _BookMessage) -> int | None:
    """Return the newest time of the message's levels in µs since 1970."""
    times = [level[2] for side in "ab" for level in message.levels(side)]
    return max((scaled(time, _TIME_PLACES) for time in times), default=None)


def _malformed(reader: LineReader, error: Exception) -> FeedError:
    return reader.error(f"malformed book message: {error}; remove the line, or record again")
