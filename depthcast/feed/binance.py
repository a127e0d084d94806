"""Recordings of Binance's depth streams: `<local ns> <json>` per line, and one REST snapshot among them.

Streams: `@depth` has the first update id U, the last one u and, on futures, the previous u as pu;
`@bookTicker` is the oracle; other streams are skipped. The venue's rules apply ("How to manage a local order
book correctly"): depth messages before the snapshot are buffered, and those with u ≤ its lastUpdateId are
dropped. The first one kept must reach beyond that id, and each later one must follow: pu = previous u on
futures, U = previous u + 1 on spot.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from depthcast.feed.decimals import places_needed, scaled, size_of
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
from depthcast.feed.oracle import BestPrices
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Side, Symbol, is_symbol

VenueMessage = dict[str, Any]

BUFFERED_MOST: Final = 100_000
"""Maximum number of depth messages before the snapshot: after more, the file counts as having none."""

_LINE: Final = re.compile(rb"(\d{16,20}) (\{.*\})\Z")


def instruments(path: str, lines: Iterable[bytes]) -> dict[Symbol, Instrument]:
    """Find every symbol that has depth messages, with the coarsest power-of-ten sizes for its numbers."""
    reader = LineReader(path)
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for _, kind, message in _messages(reader, lines):
        symbol = message.get("symbol", "") if kind == "snapshot" else message.get("s", "")
        try:
            _widen(found[symbol], kind, message)
        except MALFORMED as error:
            raise _malformed(reader, kind, error) from None
    anonymous = found.pop("", None)
    if not found:
        raise FeedError(path, 0, "has no depth message; is it a recording of Binance's depth streams?")
    if anonymous and len(found) == 1:
        sizes = next(iter(found.values()))
        sizes[:] = map(max, sizes, anonymous)
    return {
        _symbol(reader, name): Instrument(Symbol(name), size_of(price), size_of(quantity))
        for name, (price, quantity) in found.items()
    }


def entries(path: str, lines: Iterable[bytes], instruments: Instruments) -> Iterator[FeedEntry]:
    """Yield the snapshot as an entry, then one for each depth message, with the best prices after it."""
    reader = LineReader(path)
    feeds = {symbol: _SymbolFeed(reader, instrument) for symbol, instrument in instruments.items()}
    for at_us, kind, message in _messages(reader, lines):
        feed = _feed_of(reader, feeds, kind, message)
        try:
            found = feed.take(at_us, kind, message)
        except MALFORMED as error:
            raise _malformed(reader, kind, error) from None
        yield from found
    for symbol, feed in feeds.items():
        if feed.last is None:
            raise FeedError(path, 0, f"has no snapshot of {symbol}: a line with lastUpdateId, bids and asks")


FORMAT: Final = Format("binance", "best prices", instruments, entries)


class _SymbolFeed:
    """One symbol: waits for its snapshot, then checks that update ids follow each other."""

    def __init__(self, reader: LineReader, instrument: Instrument) -> None:
        self.reader = reader
        self.symbol = instrument.symbol
        self.price_places, self.quantity_places = places(instrument)
        self.last: int | None = None
        self.first_due = False
        self.buffered: list[tuple[int, int, VenueMessage]] = []
        self.tickers: deque[tuple[int, BestPrices]] = deque()
        self.ticker: BestPrices | None = None

    def take(self, at_us: int, kind: str, message: VenueMessage) -> list[FeedEntry]:
        if kind == "ticker":
            self.tickers.append((message["u"], self._best(message)))
            return []
        if kind == "snapshot":
            return self._snapshot(at_us, message)
        if self.last is None:
            self._buffer(at_us, message)
            return []
        return self._depth(self.reader.line, at_us, message)

    def _buffer(self, at_us: int, message: VenueMessage) -> None:
        if len(self.buffered) >= BUFFERED_MOST:
            raise self.reader.error(f"no snapshot of {self.symbol} in {BUFFERED_MOST} depth messages")
        self.buffered.append((self.reader.line, at_us, message))

    def _snapshot(self, at_us: int, message: VenueMessage) -> list[FeedEntry]:
        if self.last is not None and message["lastUpdateId"] < self.last:
            return []  # older than the book: the recorder requested two snapshots
        self.last = message["lastUpdateId"]
        self.first_due = True
        events = [(CLEAR,), *self._events(message["bids"], message["asks"])]
        ts = _microseconds(message)
        found = [FeedEntry(self.symbol, events, ts, at_us, True, None, self.reader.line)]
        for waiting in self.buffered:
            # Recorded before the snapshot, but sent only now: pacing uses the time of the snapshot.
            found += self._depth(waiting[0], at_us, waiting[2])
        self.buffered.clear()
        return found

    def _depth(self, line: int, at_us: int, message: VenueMessage) -> list[FeedEntry]:
        last, final = self.last, message["u"]
        assert last is not None
        if final <= last:
            return []
        if not self._continues(message, last):
            raise FeedError(
                self.reader.path,
                line,
                f"{self.symbol}: update ids go from {last} to {message['U']}: messages are missing; "
                "record again, or cut the file before this line",
            )
        self.last = final
        self.first_due = False
        events = self._events(message["b"], message["a"])
        oracle = self._oracle(final)
        return [FeedEntry(self.symbol, events, _microseconds(message), at_us, True, oracle, line)]

    def _continues(self, message: VenueMessage, last: int) -> bool:
        if self.first_due:
            return bool(message["U"] <= last + 1 or message.get("pu", last + 1) <= last)
        return bool(message["pu"] == last if "pu" in message else message["U"] == last + 1)

    def _events(self, bids: list[list[str]], asks: list[list[str]]) -> list[Event]:
        price_places, quantity_places = self.price_places, self.quantity_places
        return [
            (UPDATE, int(side), scaled(price, price_places), scaled(quantity, quantity_places))
            for side, levels in ((Side.BID, bids), (Side.ASK, asks))
            for price, quantity in levels
        ]

    def _best(self, message: VenueMessage) -> BestPrices:
        bid, bid_size, ask, ask_size = (message[name] for name in "bBaA")
        return BestPrices(
            (scaled(bid, self.price_places), scaled(bid_size, self.quantity_places)),
            (scaled(ask, self.price_places), scaled(ask_size, self.quantity_places)),
        )

    def _oracle(self, final: int) -> BestPrices | None:
        """Return the latest best prices with an update id up to `final`."""
        while self.tickers and self.tickers[0][0] <= final:
            self.ticker = self.tickers.popleft()[1]
        return self.ticker


def _messages(reader: LineReader, lines: Iterable[bytes]) -> Iterator[tuple[int, str, VenueMessage]]:
    """Yield (time of recording in µs, depth | ticker | snapshot, message) for each relevant line."""
    for line in reader.lines(lines):
        match = _LINE.match(line)
        if match is None:
            raise reader.error("expected `<nanoseconds> <json object>`; is the file cut off or edited?")
        if b"@trade" in line[:80]:
            continue
        message = reader.json(match[2])
        kind, message = _kind(message)
        if kind:
            yield int(match[1]) // 1000, kind, message


def _kind(message: VenueMessage) -> tuple[str, VenueMessage]:
    if "lastUpdateId" in message:
        return "snapshot", message
    stream, data = message.get("stream"), message.get("data")
    if not isinstance(stream, str) or not isinstance(data, dict):
        return "", message
    if "@depth" in stream:
        return "depth", data
    return ("ticker" if stream.endswith("@bookTicker") else ""), data


def _widen(sizes: list[int], kind: str, message: VenueMessage) -> None:
    """Raise the (price, quantity) decimals to those of `message`."""
    if kind == "ticker":
        pairs = [(message["b"], message["B"]), (message["a"], message["A"])]
    else:
        bids, asks = ("bids", "asks") if kind == "snapshot" else ("b", "a")
        pairs = [*message[bids], *message[asks]]
    for price, quantity in pairs:
        sizes[0] = max(sizes[0], places_needed(price))
        sizes[1] = max(sizes[1], places_needed(quantity))


def _feed_of(
    reader: LineReader, feeds: dict[Symbol, _SymbolFeed], kind: str, message: VenueMessage
) -> _SymbolFeed:
    if kind == "snapshot" and "symbol" not in message:
        # A spot snapshot does not name its symbol.
        if len(feeds) > 1:
            raise reader.error("a snapshot without a symbol, in a file of several symbols; split the file")
        return next(iter(feeds.values()))
    name = message.get("symbol" if kind == "snapshot" else "s")
    if not isinstance(name, str) or name not in feeds:
        raise reader.error(f"a {kind} message of {name!r}, which has no depth messages")
    return feeds[Symbol(name)]


def _microseconds(message: VenueMessage) -> int | None:
    """Return the venue's time of the message (E, in ms) in µs; a spot snapshot has none."""
    event_ms = message.get("E")
    return event_ms * 1000 if isinstance(event_ms, int) else None


def _symbol(reader: LineReader, name: str) -> Symbol:
    if not is_symbol(name):
        raise FeedError(reader.path, 0, f"{name!r} is not a valid Depthcast symbol")
    return Symbol(name)


def _malformed(reader: LineReader, kind: str, error: Exception) -> FeedError:
    detail = f"lacks {error}" if isinstance(error, KeyError) else str(error)
    return reader.error(f"malformed {kind} message: {detail}; remove the line, or record again")
