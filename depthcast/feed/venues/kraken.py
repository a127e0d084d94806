"""Kraken's spot books: the `book` channel of WebSocket v2.

Rules, from Kraken's pages "Spot Websockets (v2) Book Checksum", "Book (Level 2)" and "Instruments":

- All levels of a message are applied first; quantity 0 removes a level.
- Then the client drops the levels beyond the subscribed depth: the venue sends nothing for them.
- Then the CRC32 of the best ten asks, best first, and the best ten bids is the message's checksum. Its text
  is each price and quantity without the decimal point and without leading zeros. Numbers are written with all
  their decimals; for one that is not, the `instrument` channel says how many it has.
- Messages have no numbers, but times that do not go back. Only the checksum notices a loss, and only once it
  changes the best ten. So a book of ten levels is proven with each message, a deeper one in its best ten.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, Final
from zlib import crc32

from depthcast.feed import exact_json
from depthcast.feed.decimals import size_of
from depthcast.feed.venue import (
    Adapter,
    Alive,
    Doubt,
    DoubtReason,
    Output,
    Profile,
    Quality,
    Refused,
    Request,
    Sizes,
    Skipped,
    VenueLevel,
)
from depthcast.feed.venues.kept_books import KeptBooks, State, SubscribingAdapter
from depthcast.feed.venues.text_book import TextBook, decimal_text
from depthcast.feed.venues.times import from_rfc3339, whole_number

CHECKED_LEVELS: Final = 10
SYMBOLS_PER_MESSAGE: Final = 50
EXECUTION_VENUE: Final = "international"
"""Whose books a subscription has that names none."""
_FINAL: Final = ("pair", "supported", "invalid", "malformed", "depth")
"""Words in errors after which trying again is useless; after any other it may succeed."""

Precision = tuple[int, int]
"""Decimals of prices and of quantities."""


class KrakenAdapter(SubscribingAdapter):
    """Adapter of one connection with books of `depth` levels per side."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self._precisions: dict[str, Precision] = {}
        self._asks_precisions = True
        self._channels: dict[str, Callable[[dict[str, Any]], list[Output]]] = {
            "book": self._take_books,
            "heartbeat": lambda _: [Alive()],
            "instrument": self._take_instruments,
            "status": self._take_status,
        }

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.subscribe(symbols)
        messages = self._requests("subscribe", symbols, {"snapshot": True})
        if self._asks_precisions:
            self._asks_precisions = False
            messages.insert(0, json.dumps({"method": "subscribe", "params": {"channel": "instrument"}}))
        return messages

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return self._requests("unsubscribe", symbols, {})

    def ping(self, now: int) -> str:  # noqa: ARG002 - it names no time
        return '{"method":"ping"}'

    def take(self, raw: str | bytes, now: int) -> list[Output]:  # noqa: ARG002 - no rule depends on the clock
        try:
            message = exact_json.loads(raw)
        except ValueError as error:
            return self.books.malformed(None, f"no JSON: {error}")
        if not isinstance(message, dict):
            return self.books.malformed(None, "no JSON object")
        channel = message.get("channel")
        if channel is None and ("method" in message or "error" in message):
            return [answer(message, message.get("symbol"))]
        take = self._channels.get(channel) if isinstance(channel, str) else None
        return [Skipped(str(channel)[:40])] if take is None else take(message)

    def lost(self) -> list[Doubt]:
        self._asks_precisions = True
        return super().lost()

    def _requests(self, method: str, symbols: Sequence[str], extra: dict[str, Any]) -> list[str | bytes]:
        params = {"channel": "book", "depth": self.depth, **extra}
        return [
            json.dumps({"method": method, "params": {**params, "symbol": list(some)}})
            for some in batches(symbols)
        ]

    def _take_books(self, message: dict[str, Any]) -> list[Output]:
        data, kind = message.get("data"), message.get("type")
        if not isinstance(data, list) or not data or not all(isinstance(entry, dict) for entry in data):
            return self.books.malformed(None, "a book message without its data")
        return list(chain.from_iterable(self._take_book(entry, kind) for entry in data))

    def _take_book(self, entry: dict[str, Any], kind: object) -> list[Output]:
        symbol = entry.get("symbol")
        if not isinstance(symbol, str):
            return self.books.malformed(None, "a book without its symbol")
        book = self.books.get(symbol)
        if book is None:
            return [Skipped("book that is not subscribed")]
        try:
            bids, asks = _levels(entry.get("bids")), _levels(entry.get("asks"))
        except ValueError as error:
            return self.books.malformed(symbol, str(error))
        checksum = whole_number(entry.get("checksum"))
        if kind not in ("snapshot", "update"):
            return self.books.malformed(symbol, "a book without its type")
        if not checksum:
            return self.books.malformed(symbol, "a book without a checksum, which alone proves it")
        if kind == "update" and book.state is not State.PROVEN:
            return [Skipped("update before a snapshot")]
        take = book.replace if kind == "snapshot" else book.change
        return take(
            bids,
            asks,
            ts=from_rfc3339(entry.get("timestamp")),
            checksum=lambda levels: agrees(levels, checksum, self._precisions.get(symbol)),
            depth=self.depth,
        )

    def _take_instruments(self, message: dict[str, Any]) -> list[Output]:
        data = message.get("data")
        pairs = data.get("pairs") if isinstance(data, dict) else None
        for pair in pairs if isinstance(pairs, list) else ():
            if not isinstance(pair, dict) or not isinstance(pair.get("symbol"), str):
                continue
            price, quantity = pair.get("price_precision"), pair.get("qty_precision")
            if isinstance(price, int) and isinstance(quantity, int) and 0 <= min(price, quantity) <= 40:
                self._precisions[pair["symbol"]] = (price, quantity)
        return [Alive()]

    def _take_status(self, message: dict[str, Any]) -> list[Output]:
        data = message.get("data")
        first = data[0] if isinstance(data, list) and data else None
        system = first.get("system") if isinstance(first, dict) else None
        return status(self.books, system)


def status(books: KeptBooks, system: object) -> list[Output]:
    """Return what the venue's state means: in maintenance, books are not published."""
    if system == "maintenance":
        return [*books.doubt_all(DoubtReason.SUSPENDED, "the venue is in maintenance"), Alive()]
    return [Alive()]


def answer(message: dict[str, Any], symbol: object) -> Output:
    """Return what the answer to a request means: confirmed, or refused. Ends of subscriptions may fail."""
    error = message.get("error", message.get("errorMessage"))
    if error is None:
        return Alive()
    detail = str(error)[:200]
    if message.get("method") == "unsubscribe" or "not found" in detail.lower():
        return Skipped("refused end of a subscription")
    final = any(word in detail.lower() for word in _FINAL)
    return Refused(symbol if isinstance(symbol, str) else None, detail, final)


def batches(symbols: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield the symbols of each request."""
    for start in range(0, len(symbols), SYMBOLS_PER_MESSAGE):
        yield symbols[start : start + SYMBOLS_PER_MESSAGE]


def agrees(levels: TextBook, checksum: int, precision: Precision | None = None) -> bool:
    """Return whether the checksum is that of the best ten, as written or with all decimals."""
    bids, asks = levels.top(CHECKED_LEVELS)
    best = [*asks, *bids]
    if crc32("".join(_written(text) for level in best for text in level).encode()) == checksum:
        return True
    if precision is None:
        return False
    whole = "".join(
        _padded(text, places) for level in best for text, places in zip(level, precision, strict=True)
    )
    return crc32(whole.encode()) == checksum


def _written(text: str) -> str:
    return text.replace(".", "").lstrip("0")


def _padded(text: str, places: int) -> str:
    whole, _, fraction = f"{Decimal(text):f}".partition(".")
    return (whole + fraction.rstrip("0").ljust(places, "0")).lstrip("0")


def _levels(items: object) -> list[VenueLevel]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("levels are not a list of objects")
    return [(decimal_text(item.get("price")), decimal_text(item.get("qty"))) for item in items]


class KrakenVenue:
    """Kraken with books of `depth` levels per side: 10, 25, 100, 500 or 1000.

    - `names`: assets that the venue's WebSocket names otherwise than its list of pairs does.
    """

    names: Mapping[str, str] = {"XBT": "BTC", "XDG": "DOGE"}
    ws_url = "wss://ws.kraken.com/v2"

    def __init__(self, name: str, title: str, depth: int) -> None:
        self.depth = depth
        self.profile = Profile(
            name=name,
            title=title,
            ws_url=self.ws_url,
            rest_url="https://api.kraken.com",
            quality=Quality(
                "the checksum after each message"
                if depth == CHECKED_LEVELS
                else "the checksum, in the best 10",
                "CRC32 of the best 10",
                f"the best {depth}",
            ),
            symbols_per_connection=100,
            sends_per_s=5.0,
            request_weight_per_min=20,
            ping_every_s=20.0,
            silence_s=30.0,
        )

    def adapter(self) -> Adapter:
        return KrakenAdapter(self.depth)

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:  # noqa: ARG002 - it lists all
        return (Request("/0/public/AssetPairs"),)

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read the answer that the page "Get Tradable Asset Pairs" describes."""
        found: dict[str, Sizes] = {}
        for raw in answers:
            body = exact_json.loads(raw)
            pairs = body.get("result") if isinstance(body, dict) else None
            if not isinstance(pairs, dict) or body.get("error"):
                raise ValueError(f"no list of pairs: {raw[:100]!r}")
            for pair in pairs.values():
                if (sizes := _sizes(pair)) is not None:
                    found["/".join(self.names.get(asset, asset) for asset in pair["wsname"].split("/"))] = (
                        sizes
                    )
        return found


def _sizes(pair: Any) -> Sizes | None:
    """Return a pair's sizes; None for one that WebSocket does not have, or of another execution venue."""
    if not isinstance(pair, dict) or not isinstance(pair.get("wsname"), str):
        return None
    if pair.get("execution_venue", EXECUTION_VENUE) != EXECUTION_VENUE:
        return None
    places = whole_number(pair.get("lot_decimals"))
    try:
        tick = decimal_text(pair.get("tick_size"))
    except ValueError:
        return None
    if places is None or not 0 <= places <= 20:
        return None
    return Sizes(tick, size_of(places), pair.get("status") == "online")


VENUE: Final = KrakenVenue("kraken", "Kraken spot, 10 levels", depth=CHECKED_LEVELS)
DEEP: Final = KrakenVenue("kraken-1000", "Kraken spot, 1000 levels", depth=1000)
"""A thousand levels: a loss is noticed once it changes the best ten, not before."""
