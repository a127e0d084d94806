"""The messages of one connection to Binance: told apart, read, and given to the book that they concern.

Sources: "Web Socket Streams" (Binance Spot API documentation), "Websocket Market Streams" and "Diff. Book
Depth Streams" (USDⓈ-M and COIN-M Futures documentation). Of each book only `<symbol>@depth@100ms` is
subscribed to; `@bookTicker` is read where a recording has it. A request for the list of subscriptions serves
as ping, so that a quiet market and a dead connection are told apart.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from depthcast.feed.exact_json import loads
from depthcast.feed.venue import (
    Alive,
    Best,
    Closing,
    Doubt,
    DoubtReason,
    Output,
    Refused,
    Request,
    Skipped,
    VenueLevel,
)
from depthcast.feed.venues.binance_book import CHECKED_LEVELS, BinanceBook, Depth, RestBook
from depthcast.feed.venues.fields import batches, integer, shown, text
from depthcast.feed.venues.text_book import decimal_text, last_of_each, read_levels
from depthcast.feed.venues.times import from_ms

STREAMS_PER_REQUEST: Final = 100
CHECK_WEIGHT: Final = 5
UNKNOWN_SYMBOL: Final = -1121
TICKER_FIELDS: Final = frozenset("usbBaA")
_LIMIT: Final = re.compile(r"limit=\d+")


class BinanceAdapter:
    """One connection; see `depthcast.feed.venue.Adapter`.

    - `depth`: the request of a snapshot, to whose path the symbol is added; `depth_limit`: its levels.
    - `chained`: depth messages name the previous one as pu, as on futures.
    """

    def __init__(self, *, depth: Request, depth_limit: int, chained: bool) -> None:
        self._depth_request = depth
        self._depth_limit = depth_limit
        self._chained = chained
        self._books: dict[str, BinanceBook] = {}
        self._names: dict[str, str] = {}
        """Symbols by their name in streams, which is in lower case."""
        self._requests: dict[int, Sequence[str]] = {}
        """Symbols of each request that is not answered."""
        self._asked: dict[str, int] = {}
        """The last request to subscribe to each symbol."""
        self._id = 0

    def connect_path(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - of the interface
        return ""

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        for symbol in symbols:
            self._books[symbol] = BinanceBook(symbol)
            self._names[symbol.lower()] = symbol
        return self._request("SUBSCRIBE", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        for symbol in symbols:
            self._books.pop(symbol, None)
            self._names.pop(symbol.lower(), None)
        return self._request("UNSUBSCRIBE", symbols)

    def ping(self, now: int) -> str | bytes | None:  # noqa: ARG002 - of the interface
        self._id += 1
        return json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": self._id})

    def take(self, raw: str | bytes, now: int) -> list[Output]:  # noqa: ARG002 - of the interface
        try:
            message = loads(raw)
        except ValueError as error:
            return self._all_malformed(f"no JSON: {error}")
        if isinstance(message, list):
            return [Skipped("list")]
        if not isinstance(message, dict):
            return self._all_malformed(f"a message is {shown(message)}")
        stream = message.get("stream")
        if "data" not in message and stream is None:
            return self._raw(message)
        if not isinstance(stream, str):
            return self._raw(message.get("data"))
        name, _, channel = stream.partition("@")
        if channel == "depth" or channel.startswith("depth@"):
            return self._depth(name, message.get("data"))
        if channel == "bookTicker":
            return self._ticker(message.get("data"))
        return [Skipped(channel or stream)]

    def take_snapshot(self, symbol: str, raw: bytes, now: int) -> list[Output]:
        book = self._books.get(symbol)
        if book is None:
            return [Skipped("snapshot of another symbol")]
        try:
            answer = loads(raw)
            if isinstance(answer, dict) and "code" in answer:
                return [_refused(symbol, answer)]
            snapshot = _rest_book(symbol, answer)
        except ValueError as error:
            detail = f"malformed snapshot: {error}"
            if book.live:
                return [Skipped(detail)]  # the messages still prove the book
            return [Doubt(symbol, DoubtReason.MALFORMED, detail)]
        return book.take_snapshot(snapshot, now)

    def snapshot_request(self, symbol: str) -> Request | None:
        book = self._books.get(symbol)
        if book is None or not book.wants_snapshot():
            return None
        book.limit = self._depth_limit
        return self._depth_request._replace(path=self._depth_request.path + quote(symbol, safe=""))

    def check_request(self, symbol: str) -> Request | None:
        book = self._books.get(symbol)
        if book is None or not book.live:
            return None
        book.begin_check()
        path = _LIMIT.sub(f"limit={CHECKED_LEVELS}", self._depth_request.path)
        return Request(path + quote(symbol, safe=""), CHECK_WEIGHT)

    def take_check(self, symbol: str, raw: bytes) -> list[Output]:
        book = self._books.get(symbol)
        if book is None:
            return [Skipped("check of another symbol")]
        try:
            answer = loads(raw)
            if isinstance(answer, dict) and "code" in answer:
                return [_refused(symbol, answer)]
            return book.check(_rest_book(symbol, answer), counted=not self._chained)
        except ValueError as error:
            return [Skipped(f"malformed check: {error}"[:100])]

    def lost(self) -> list[Doubt]:
        self._requests.clear()
        for book in self._books.values():
            book.forget()
        return [Doubt(symbol, DoubtReason.DISCONNECTED, "the connection ended") for symbol in self._books]

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        book = self._books.get(symbol)
        return book.book.top(count) if book is not None and book.live else None

    def _request(self, method: str, symbols: Sequence[str]) -> list[str | bytes]:
        messages: list[str | bytes] = []
        for batch in batches(symbols, STREAMS_PER_REQUEST):
            self._id += 1
            if method == "SUBSCRIBE":
                self._requests[self._id] = batch
                self._asked.update(dict.fromkeys(batch, self._id))
            params = [f"{symbol.lower()}@depth@100ms" for symbol in batch]
            request = {"method": method, "params": params, "id": self._id}
            messages.append(json.dumps(request, ensure_ascii=False))
        return messages

    def _raw(self, data: Any) -> list[Output]:
        """Take a message that names no stream: an event of a raw stream, or the answer to a request."""
        if not isinstance(data, dict):
            return self._all_malformed(f"a message without a stream has data {shown(data)}")
        event = data.get("e")
        if event == "depthUpdate" or ("U" in data and not isinstance(event, str)):
            return self._depth("", data)
        if event == "bookTicker" or (event is None and data.keys() >= TICKER_FIELDS):
            return self._ticker(data)
        if event == "serverShutdown":
            return [Closing("serverShutdown")]
        if isinstance(event, str):
            return [Skipped(event)]
        if "lastUpdateId" in data:
            return [Skipped("partial depth")]
        if data.keys() & {"result", "error", "code"}:
            return self._answer(data)
        return self._all_malformed(f"unknown message with {shown(sorted(data))}")

    def _answer(self, message: dict[str, Any]) -> list[Output]:
        id_ = message.get("id")
        symbols = self._requests.pop(id_, ()) if isinstance(id_, int) else ()
        error = message.get("error", message)
        if "result" not in message:
            return [_refused(symbol, error) for symbol in symbols] or [_refused(None, error)]
        for symbol in symbols:
            # An earlier subscription has ended meanwhile.
            if symbol in self._books and self._asked[symbol] == id_:
                self._books[symbol].attached = True
        return [Alive()]

    def _depth(self, name: str, data: Any) -> list[Output]:
        symbol = data.get("s") if isinstance(data, dict) else None
        named = [self._names[name]] if name in self._names else []
        if not isinstance(symbol, str) or (name and symbol.lower() != name):
            meant = {*named, symbol} & self._books.keys() if isinstance(symbol, str) else {*named}
            if not meant and name:
                return [Skipped("another symbol")]
            return self._malformed(sorted(meant) or list(self._books), f"s is {shown(symbol)} in {name!r}")
        book = self._books.get(symbol)
        if book is None:
            return [Skipped("another symbol")]
        try:
            return book.take_depth(_depth(data, chained=self._chained))
        except ValueError as error:
            return book.malformed(str(error))

    def _ticker(self, data: Any) -> list[Output]:
        try:
            return [_best(data)] if data["s"] in self._books else [Skipped("another symbol")]
        except (ValueError, TypeError, KeyError) as error:
            return [Skipped(f"malformed bookTicker: {error}"[:100])]

    def _malformed(self, symbols: Sequence[str], detail: str) -> list[Output]:
        return [output for symbol in symbols for output in self._books[symbol].malformed(detail)]

    def _all_malformed(self, detail: str) -> list[Output]:
        return self._malformed(list(self._books), detail)


def _depth(data: dict[str, Any], *, chained: bool) -> Depth:
    if data.get("e") != "depthUpdate":
        raise ValueError(f"e is {shown(data.get('e'))}, not depthUpdate")
    first, final = integer(data, "U"), integer(data, "u")
    if first > final:
        raise ValueError(f"U {first} is beyond u {final}")
    previous = integer(data, "pu") if chained else None
    bids, asks = (last_of_each(read_levels(data.get(side))) for side in "ba")
    return Depth(first, final, previous, bids, asks, from_ms(data.get("E")))


def _rest_book(symbol: str, answer: Any) -> RestBook:
    if not isinstance(answer, dict):
        raise ValueError(f"it is {shown(answer)}")
    if answer.get("symbol", symbol) != symbol:
        raise ValueError(f"it is of {shown(answer['symbol'])}")
    bids, asks = (_whole_side(answer.get(side)) for side in ("bids", "asks"))
    return RestBook(integer(answer, "lastUpdateId"), bids, asks, from_ms(answer.get("E")))


def _whole_side(items: Any) -> list[VenueLevel]:
    levels = read_levels(items)
    if len(last_of_each(levels)) != len(levels):
        raise ValueError("a price comes twice")
    return [level for level in levels if Decimal(level[1])]


def _best(data: dict[str, Any]) -> Best:
    bid, bid_size, ask, ask_size = (decimal_text(data.get(name)) for name in "bBaA")
    ts = from_ms(data.get("E"))
    return Best(text(data, "s"), (bid, bid_size), (ask, ask_size), integer(data, "u"), ts)


def _refused(symbol: str | None, error: Any) -> Refused:
    """Return the venue's refusal, given as `code` and `msg`; only an unknown symbol is final."""
    code, detail = (error.get("code"), error.get("msg")) if isinstance(error, dict) else (None, error)
    return Refused(symbol, f"{shown(detail)} (code {shown(code)})", final=code == UNKNOWN_SYMBOL)
