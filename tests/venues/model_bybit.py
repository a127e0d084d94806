"""Bybit as `depthcast.feed.venues.bybit` knows it: a snapshot, then deltas whose u goes up by one. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from tests.venues.faults import Fault
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue, RestAnswer

FIRST_SEQ: Final = 7_961_638_000


class BybitModel:
    """One market; subscribers see the best 15 levels of each side, so that levels fall out of the depth."""

    def __init__(self, random: Random, name: str, symbols: Sequence[str]) -> None:
        self.name = name
        self.random = random
        self.market = Market([ModelBook(symbol, random, depth=15) for symbol in symbols])
        self.faults = frozenset(Fault) - {Fault.CHECKSUM}
        self.restarts = dict.fromkeys(symbols, 0)

    def connect(self, path: str, now: int) -> ModelConnection:
        return _Connection(self)

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path != "/v5/market/instruments-info":
            return RestAnswer(404, b"{}")
        asked = query.get("symbol")
        if asked is not None and asked not in self.market:
            body: dict[str, Any] = {"retCode": 10001, "retMsg": "params error: Symbol Invalid", "result": {}}
            return RestAnswer(200, json.dumps(body).encode())
        step = "basePrecision" if query.get("category") == "spot" else "qtyStep"
        listed = [
            {
                "symbol": book.symbol,
                "status": "Trading",
                "priceFilter": {"tickSize": book.tick_size},
                "lotSizeFilter": {step: book.lot_size, "minOrderQty": book.lot_size},
            }
            for book in self.market.listed.values()
            if asked in (None, book.symbol)
        ]
        body = {"retCode": 0, "retMsg": "OK", "result": {"category": query.get("category"), "list": listed}}
        return RestAnswer(200, json.dumps(body).encode())

    def reset(self, symbol: str, now: int) -> None:
        """Restart: every subscriber gets a snapshot with u = 1."""
        self.restarts[symbol] += 1

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None


class _Stream:
    """One subscription: what was sent last."""

    def __init__(self, book: ModelBook, u: int, restarts: int) -> None:
        self.book = book
        self.u = u
        self.restarts = restarts
        self.sent = book.number

    def message(self, kind: str, now: int) -> Message:
        book = self.book
        sides = [sorted(side) for side in book.states[-1]]
        if kind == "delta":
            before, after = book.states[self.sent], book.states[-1]
            sides = [_changes(dict(old), dict(new)) for old, new in zip(before, after, strict=True)]
        self.sent = book.number
        b, a = (book.texts(side) for side in sides)
        data = {"s": book.symbol, "b": b, "a": a, "u": self.u, "seq": FIRST_SEQ + book.number * 7}
        body = {"topic": f"orderbook.1000.{book.symbol}", "type": kind, "ts": now // 1000, "data": data}
        message = json.dumps({**body, "cts": now // 1000 - 3})
        return Message(message, Kind.BOOK if kind == "delta" else Kind.SNAPSHOT, book.symbol)


class _Connection:
    def __init__(self, venue: BybitModel) -> None:
        self.venue = venue
        self.streams: dict[str, _Stream] = {}

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        request = json.loads(raw)
        answer = {"success": True, "ret_msg": "", "conn_id": "c", "op": request["op"]}
        if request["op"] == "ping":
            return [_control({**answer, "ret_msg": "pong"})]
        answer["req_id"] = request["req_id"]
        symbols = [topic.removeprefix("orderbook.1000.") for topic in request["args"]]
        unknown = [symbol for symbol in symbols if symbol not in self.venue.market]
        if unknown:
            refusal = f"error:handler not found,topic:orderbook.1000.{unknown[0]}"
            return [_control({**answer, "success": False, "ret_msg": refusal})]
        if request["op"] == "unsubscribe":
            for symbol in symbols:
                self.streams.pop(symbol, None)
            return [_control(answer)]
        return [_control(answer), *(self._begin(symbol, now) for symbol in symbols)]

    def due(self, now: int) -> list[Message]:
        messages = []
        for symbol, stream in self.streams.items():
            restarts = self.venue.restarts[symbol]
            if stream.restarts != restarts:
                stream.u, stream.restarts = 1, restarts
                messages.append(stream.message("snapshot", now))
            elif stream.book.number > stream.sent:
                stream.u += 1
                messages.append(stream.message("delta", now))
        return messages

    def end(self, symbol: str) -> None:
        self.streams.pop(symbol, None)

    def _begin(self, symbol: str, now: int) -> Message:
        u = self.venue.random.randrange(10**6, 10**8)
        self.streams[symbol] = _Stream(self.venue.market[symbol], u, self.venue.restarts[symbol])
        return self.streams[symbol].message("snapshot", now)


def _changes(old: dict[int, int], new: dict[int, int]) -> list[tuple[int, int]]:
    gone = [(price, 0) for price in old if price not in new]
    return [*gone, *((price, quantity) for price, quantity in new.items() if old.get(price) != quantity)]


def _control(body: Mapping[str, Any]) -> Message:
    return Message(json.dumps(body), Kind.CONTROL)


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "bybit": lambda random: BybitModel(random, "bybit", ("BTCUSDT", "ETHUSDT")),
    "bybit-linear": lambda random: BybitModel(random, "bybit-linear", ("BTCUSDT", "BTC-26DEC26")),
    "bybit-inverse": lambda random: BybitModel(random, "bybit-inverse", ("BTCUSD", "ETHUSDZ26")),
}
