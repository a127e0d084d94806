"""Coinbase, by the WebSocket of Advanced Trade: `level2` and `heartbeats`, which need no key.

Of Coinbase's two public feeds it is the one with proof: every message of a connection, whatever its channel,
carries `sequence_num`, one more than the message before ("Advanced Trade WebSocket Overview", sequence
numbers). `level2` of Coinbase Exchange has no numbers, and its unbatched form needs a key
("Exchange WebSocket Authentication"); see `coinbase_exchange`.

`level2` sends a snapshot after each subscription, then updates with absolute quantities; "0" removes a level
("Advanced Trade WebSocket Channels"). Channels close after 60 to 90 silent seconds, `heartbeats` prevents it.

The numbers do not say which book a missing message was for, so a gap puts all books of the connection in
doubt. They do not protect the values in a message: for these, TLS does.
"""

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from depthcast.feed.venue import (
    Best,
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
from depthcast.feed.venues.fields import Object, described, integer, parsed, shown, tables, text, word
from depthcast.feed.venues.kept_books import State
from depthcast.feed.venues.message_adapter import MessageAdapter
from depthcast.feed.venues.text_book import decimal_text
from depthcast.feed.venues.times import from_rfc3339

_SIDES: Final = {"bid": 0, "offer": 1}
_PRODUCT: Final = re.compile(r"\b[A-Z0-9]+(?:-[A-Z0-9]+)+\b")
Event = tuple[str, list[VenueLevel], list[VenueLevel]]
"""What an event says about a symbol: type, bids, asks."""


class CoinbaseAdapter(MessageAdapter):
    """One connection to Advanced Trade."""

    ALIVE = frozenset({"heartbeats", "subscriptions"})
    SKIPPED = frozenset({"ticker_batch", "market_trades", "candles", "status"})

    def __init__(self) -> None:
        super().__init__()
        self._next: int | None = None
        """The `sequence_num` that must come next; None before the first message."""
        self._beats = False

    def subscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        """Subscribe to each symbol by a message of its own, so that a refusal concerns one symbol."""
        self.books.subscribe(symbols)
        messages = [_request("subscribe", "level2", symbol) for symbol in symbols]
        if not self._beats:
            self._beats = True
            messages.insert(0, json.dumps({"type": "subscribe", "channel": "heartbeats"}))
        return [*messages]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str | bytes]:
        self.books.unsubscribe(symbols)
        return [_request("unsubscribe", "level2", symbol) for symbol in symbols]

    def lost(self) -> list[Doubt]:
        self._next = None
        self._beats = False
        return super().lost()

    def read(self, message: Object) -> Iterable[Output]:
        if message.get("type") == "error":
            detail = word(message, "message")
            return [Refused(product_in(detail), detail, final="rate" not in detail.lower())]
        number = integer(message, "sequence_num")
        expected, self._next = self._next, number + 1
        if expected is None or number == expected:
            return self._follow(message, number)
        reason = DoubtReason.GAP if number > expected else DoubtReason.RESET
        doubts = self.books.doubt_all(reason, f"sequence_num {number} after {expected - 1}")
        return [*doubts, Skipped("out of order")]  # not even a snapshot: it may be an old one

    def _follow(self, message: Object, number: int) -> Iterable[Output]:
        channel, time = word(message, "channel"), from_rfc3339(message.get("timestamp"))
        if channel == "ticker":
            return _tickers(message, number, time)
        if channel != "l2_data":
            return self.other_message(channel)
        joined, outputs = self._joined(tables(message, "events"))
        for symbol, (kind, bids, asks) in joined.items():
            book = self.books.named(symbol)
            if book is None or (kind == "update" and book.state is not State.PROVEN):
                outputs.append(Skipped("update without a snapshot"))
            else:
                take = book.replace if kind == "snapshot" else book.change
                outputs.extend(take(bids, asks, ts=time, sequence=number, ordered=False))
        return outputs

    def _joined(self, events: list[Object]) -> tuple[dict[str, Event], list[Output]]:
        """Join what a message says about each symbol: only a whole message is a state of the book."""
        joined: dict[str, Event] = {}
        outputs: list[Output] = []
        for event in events:
            symbol = text(event, "product_id")
            book = self.books.named(symbol)
            if book is None:
                outputs.append(Skipped("no longer subscribed"))
                continue
            try:
                joined[symbol] = _join(joined.get(symbol), _event(event))
            except ValueError as error:
                outputs.extend(book.doubt(DoubtReason.MALFORMED, str(error)))
                joined.pop(symbol, None)
        return joined, outputs


class Coinbase:
    """The venue Coinbase, by Advanced Trade."""

    profile = Profile(
        name="coinbase",
        title="Coinbase (Advanced Trade)",
        ws_url="wss://advanced-trade-ws.coinbase.com",
        rest_url="https://api.coinbase.com",
        quality=Quality(
            continuity="sequence_num = previous sequence_num + 1, over all messages of a connection",
            checksum="",
            depth="all levels",
        ),
        symbols_per_connection=30,
        sends_per_s=4.0,  # 8 a second for each address ("Advanced Trade WebSocket Rate Limits")
        request_weight_per_min=300,  # 10 a second for public endpoints
        silence_s=10.0,  # a heartbeat comes every second
        numbers_by_connection=True,
    )

    def adapter(self) -> CoinbaseAdapter:
        return CoinbaseAdapter()

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        query = urlencode([("product_ids", symbol) for symbol in symbols])
        return [Request(f"/api/v3/brokerage/market/products?{query}")]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Read "List Public Products", without aliases.

        `level2` answers to a product such as BTC-USDC under the name that is its alias, BTC-USD.
        """
        products = (product for answer in answers for product in tables(parsed(answer), "products"))
        return described(products, _sizes)


def product_in(detail: str) -> str | None:
    """Return the one product that an error names, subscribed or not; None if there is none, or several."""
    named = set(_PRODUCT.findall(detail))
    return named.pop() if len(named) == 1 else None


def _request(kind: str, channel: str, symbol: str) -> str:
    return json.dumps({"type": kind, "channel": channel, "product_ids": [symbol]})


def _sizes(product: Object) -> tuple[str, Sizes] | None:
    if product.get("alias"):
        return None
    closed = any(product.get(flag) for flag in ("is_disabled", "trading_disabled", "view_only"))
    tick, lot = decimal_text(product.get("price_increment")), decimal_text(product.get("base_increment"))
    return text(product, "product_id"), Sizes(tick, lot, trading=not closed)


def _event(event: Object) -> Event:
    """Read an event; a level of a snapshot that has no quantity is none."""
    kind = word(event, "type")
    if kind not in {"snapshot", "update"}:
        raise ValueError(f"the type of an event is {shown(kind)}")
    sides: tuple[list[VenueLevel], list[VenueLevel]] = ([], [])
    for change in tables(event, "updates"):
        side = _SIDES.get(word(change, "side"))
        if side is None:
            raise ValueError(f"the side of an update is {shown(change.get('side'))}")
        level = decimal_text(change.get("price_level")), decimal_text(change.get("new_quantity"))
        if kind == "update" or Decimal(level[1]):
            sides[side].append(level)
    return kind, *sides


def _join(before: Event | None, event: Event) -> Event:
    if before is None or event[0] == "snapshot":
        return event
    if before[0] == "snapshot":  # levels of a snapshot are named once each
        raise ValueError("an update is in the same message as its snapshot")
    return "update", before[1] + event[1], before[2] + event[2]


def _tickers(message: Object, number: int, time: int | None) -> list[Output]:
    try:
        tickers = [ticker for event in tables(message, "events") for ticker in tables(event, "tickers")]
        return [_best(ticker, number, time) for ticker in tickers]
    except ValueError:
        return [Skipped("ticker")]


def _best(ticker: Object, number: int, time: int | None) -> Best:
    bid, ask = (
        (decimal_text(ticker.get(f"best_{side}")), decimal_text(ticker.get(f"best_{side}_quantity")))
        for side in ("bid", "ask")
    )
    if not Decimal(bid[1]) or not Decimal(ask[1]):
        raise ValueError("a side is empty")
    return Best(text(ticker, "product_id"), bid, ask, number, time)


VENUE: Final = Coinbase()
