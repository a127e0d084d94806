"""Models of Coinbase: Advanced Trade, whose connections number their messages, and the Exchange. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from weakref import WeakSet

from tests.venues.faults import ALWAYS, Fault
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue, RestAnswer

HEARTBEAT_US: Final = 200_000
SYMBOLS: Final = ("BTC-USD", "ETH-EUR")


class CoinbaseVenue:
    """Advanced Trade; `connections`: those whose numbers `reset` begins anew."""

    name = "coinbase"
    faults = frozenset(Fault) - {Fault.CHECKSUM}

    def __init__(self, random: Random, symbols: Sequence[str] = SYMBOLS) -> None:
        self.market = Market([ModelBook(symbol, random, lot_size="0.00000001") for symbol in symbols])
        self.connections: WeakSet[_AdvancedTrade] = WeakSet()

    def connect(self, path: str, now: int) -> ModelConnection:
        connection = _AdvancedTrade(self.market, now)
        self.connections.add(connection)
        return connection

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path != "/api/v3/brokerage/market/products":
            return RestAnswer(404, b"{}")
        products = [
            {
                "product_id": book.symbol,
                "price_increment": book.tick_size,
                "base_increment": book.lot_size,
                "quote_increment": "0.001",
                "status": "online",
                "is_disabled": False,
                "trading_disabled": False,
                "view_only": False,
                "alias": "",
            }
            for book in self.market.listed.values()
        ]
        return RestAnswer(200, json.dumps({"products": products, "num_products": len(products)}).encode())

    def reset(self, symbol: str, now: int) -> None:
        for connection in self.connections:
            connection.number = 0

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None


class _AdvancedTrade:
    def __init__(self, market: Market, now: int) -> None:
        self.market = market
        self.sent: dict[str, int] = {}
        self.number = 0
        self.beats = 0
        self.beat_at: int | None = None

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        request = json.loads(raw)
        begins = request["type"] == "subscribe"
        if request["channel"] == "heartbeats":
            self.beat_at = now if begins else None
            return [self._message("subscriptions", now, [{"subscriptions": {"heartbeats": ["heartbeats"]}}])]
        answers = []
        for symbol in request["product_ids"]:
            if symbol not in self.market:
                body = {"type": "error", "message": f"invalid product {symbol}"}
                return [Message(json.dumps(body), Kind.CONTROL)]
            if begins:
                book = self.market[symbol]
                self.sent[symbol] = book.number
                levels = [(side, *level) for side in (0, 1) for level in book.top(side)]
                event = _event(book, "snapshot", levels, now)
                answers.append(self._message("l2_data", now, [event], Kind.SNAPSHOT, symbol))
            else:
                self.sent.pop(symbol, None)
        listed = {"level2": sorted(self.sent)}
        return [*answers, self._message("subscriptions", now, [{"subscriptions": listed}])]

    def due(self, now: int) -> list[Message]:
        messages = []
        for symbol, number in self.sent.items():
            book = self.market[symbol]
            if changes := book.since(number):
                self.sent[symbol] = book.number
                event = _event(book, "update", changes, now)
                messages.append(self._message("l2_data", now, [event], Kind.BOOK, symbol))
        if self.beat_at is not None and now >= self.beat_at:
            self.beat_at = now + HEARTBEAT_US
            self.beats += 1
            event = {"current_time": iso(now), "heartbeat_counter": self.beats}
            messages.append(self._message("heartbeats", now, [event]))
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)

    def _message(
        self, channel: str, now: int, events: list[Any], kind: Kind = Kind.CONTROL, symbol: str = ""
    ) -> Message:
        body = {"channel": channel, "client_id": "", "timestamp": iso(now), "sequence_num": self.number}
        self.number += 1
        return Message(json.dumps({**body, "events": events}), kind, symbol)


class CoinbaseExchangeVenue:
    """The Exchange: nothing is numbered, so no fault of order can be noticed."""

    name = "coinbase-exchange"
    faults = ALWAYS

    def __init__(self, random: Random, symbols: Sequence[str] = SYMBOLS) -> None:
        self.market = Market([ModelBook(symbol, random, lot_size="0.00000001") for symbol in symbols])

    def connect(self, path: str, now: int) -> ModelConnection:
        return _Exchange(self.market, now)

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path != "/products":
            return RestAnswer(404, b"{}")
        products = [
            {
                "id": book.symbol,
                "quote_increment": book.tick_size,
                "base_increment": book.lot_size,
                "status": "online",
                "trading_disabled": False,
            }
            for book in self.market.listed.values()
        ]
        return RestAnswer(200, json.dumps(products).encode())

    def reset(self, symbol: str, now: int) -> None:
        """Do nothing: there are no numbers."""

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None


class _Exchange:
    def __init__(self, market: Market, now: int) -> None:
        self.market = market
        self.sent: dict[str, int] = {}
        self.beat_at = now

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        request = json.loads(raw)
        unknown = [symbol for symbol in request["product_ids"] if symbol not in self.market]
        if unknown:
            reason = f"{unknown[0]} is not a valid product"
            return [_control({"type": "error", "message": "Failed to subscribe", "reason": reason})]
        answers = []
        for symbol in request["product_ids"]:
            if request["type"] == "unsubscribe":
                self.sent.pop(symbol, None)
                continue
            book = self.market[symbol]
            self.sent[symbol] = book.number
            bids, asks = (book.texts(book.top(side)) for side in (0, 1))
            body = {"type": "snapshot", "product_id": symbol, "asks": asks, "bids": bids, "time": iso(now)}
            answers.append(Message(json.dumps(body), Kind.SNAPSHOT, symbol))
        channels = [{"name": name, "product_ids": sorted(self.sent)} for name in request["channels"]]
        return [_control({"type": "subscriptions", "channels": channels}), *answers]

    def due(self, now: int) -> list[Message]:
        messages = []
        for symbol, number in self.sent.items():
            book = self.market[symbol]
            if changes := book.since(number):
                self.sent[symbol] = book.number
                lists = [
                    [("buy", "sell")[side], book.price_text(price), book.quantity_text(quantity)]
                    for side, price, quantity in changes
                ]
                body = {"type": "l2update", "product_id": symbol, "changes": lists, "time": iso(now)}
                messages.append(Message(json.dumps(body), Kind.BOOK, symbol))
        if now >= self.beat_at:
            self.beat_at = now + HEARTBEAT_US
            for symbol in self.sent:
                beat = {"type": "heartbeat", "product_id": symbol, "sequence": 90, "last_trade_id": 20}
                messages.append(_control({**beat, "time": iso(now)}))
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)


def iso(now: int) -> str:
    """Return a time as Coinbase and BitMEX write it."""
    moment = datetime.fromtimestamp(now // 1_000_000, UTC).replace(microsecond=now % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _event(book: ModelBook, kind: str, changes: Sequence[tuple[int, int, int]], now: int) -> dict[str, Any]:
    updates = [
        {
            "side": ("bid", "offer")[side],
            "event_time": iso(now),
            "price_level": book.price_text(price),
            "new_quantity": book.quantity_text(quantity),
        }
        for side, price, quantity in changes
    ]
    return {"type": kind, "product_id": book.symbol, "updates": updates}


def _control(body: Mapping[str, Any]) -> Message:
    return Message(json.dumps(body), Kind.CONTROL)


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "coinbase": CoinbaseVenue,
    "coinbase-exchange": CoinbaseExchangeVenue,
}
