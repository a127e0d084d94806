"""Binance as `depthcast.feed.venues.binance` knows it: spot, and futures with `pu`. Pure.

A change of a book gets the next update id; on futures ids have holes, and a snapshot's id may lie in one.
A stream's first message may begin before the subscription, because its interval had begun.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.venues.faults import Fault
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue, RestAnswer

FIRST_IDS: Final = tuple(int(10 ** (15 - resets)) for resets in range(11))
"""Where ids begin, at first and after each reset; more resets than these change nothing."""

HOLE: Final = 3


class BinanceModel:
    """One market; `futures`: messages have `pu`, and ids have holes."""

    def __init__(self, random: Random, name: str, symbols: Sequence[str], *, futures: bool) -> None:
        self.name = name
        self.random = random
        self.futures = futures
        self.market = Market([ModelBook(symbol, random) for symbol in symbols])
        self.faults = frozenset(Fault) - {Fault.CHECKSUM}
        self._resets = dict.fromkeys(symbols, 0)
        self._ids = dict.fromkeys(symbols, (FIRST_IDS[0], 0))

    def connect(self, path: str, now: int) -> ModelConnection:
        return _Connection(self, parse_qs(urlsplit(path).query).get("streams", [""])[0])

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path.endswith("/exchangeInfo"):
            return _answer({"symbols": [_listed(book) for book in self.market.listed.values()]})
        if not path.endswith("/depth"):
            return RestAnswer(404, b"{}")
        if query.get("symbol") not in self.market:
            return _answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        return _answer(self.snapshot(query["symbol"], int(query["limit"]), now))

    def reset(self, symbol: str, now: int) -> None:
        if self._resets[symbol] + 1 == len(FIRST_IDS):
            return
        self._resets[symbol] += 1
        self._ids[symbol] = (FIRST_IDS[self._resets[symbol]], self.market[symbol].number)

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None

    def id(self, symbol: str, number: int) -> int:
        """Return the update id of a change."""
        first, at = self._ids[symbol]
        return first + (number - at) * (HOLE if self.futures else 1)

    def snapshot(self, symbol: str, limit: int, now: int) -> dict[str, Any]:
        book = self.market[symbol]
        last = self.id(symbol, book.number)
        sides = {"bids": book.texts(book.top(0, limit)), "asks": book.texts(book.top(1, limit))}
        if not self.futures:
            return {"lastUpdateId": last, **sides}
        last += self.random.randrange(HOLE)
        return {"lastUpdateId": last, "E": now // 1000, "T": now // 1000, "symbol": symbol, **sides}

    def update(self, symbol: str, number: int, now: int) -> dict[str, Any] | None:
        """Return the changes after change `number` as a message; None if there are none."""
        book = self.market[symbol]
        changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for side, price, quantity in book.since(number):
            changed[side][price] = quantity
        if not changed[0] and not changed[1]:
            return None
        b, a = (book.texts(list(levels.items())) for levels in changed)
        ids = {"U": self.id(symbol, number + 1), "u": self.id(symbol, book.number)}
        if self.futures:
            ids["U"] -= self.random.randrange(HOLE)
            ids["pu"] = self.id(symbol, number)
        return {"e": "depthUpdate", "E": now // 1000, "s": symbol, **ids, "b": b, "a": a}


class _Connection:
    def __init__(self, venue: BinanceModel, streams: str) -> None:
        self.venue = venue
        self.sent: dict[str, int] = {}
        self._subscribe([stream for stream in streams.split("/") if stream])

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        request = json.loads(raw)
        if request["method"] == "LIST_SUBSCRIPTIONS":
            return [_control({"result": [_stream(symbol) for symbol in self.sent], "id": request["id"]})]
        if request["method"] == "SUBSCRIBE":
            self._subscribe(request["params"])
        elif request["method"] == "UNSUBSCRIBE":
            for symbol in [name for name in self.sent if _stream(name) in request["params"]]:
                del self.sent[symbol]
        else:
            error = {"code": 2, "msg": f"Invalid request: unknown variant {request['method']}"}
            return [_control({"error": error, "id": request["id"]})]
        return [_control({"result": None, "id": request["id"]})]

    def due(self, now: int) -> list[Message]:
        messages = []
        for symbol, number in self.sent.items():
            if (update := self.venue.update(symbol, number, now)) is not None:
                body = json.dumps({"stream": _stream(symbol), "data": update}, ensure_ascii=False)
                messages.append(Message(body, Kind.BOOK, symbol))
                self.sent[symbol] = self.venue.market[symbol].number
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)

    def _subscribe(self, streams: Sequence[str]) -> None:
        """Unknown names are accepted, and nothing ever comes, as at the venue."""
        for symbol, book in self.venue.market.listed.items():
            if _stream(symbol) in streams:
                begun = book.number - self.venue.random.randrange(4)
                self.sent.setdefault(symbol, max(begun, 0))


def _stream(symbol: str) -> str:
    return f"{symbol.lower()}@depth@100ms"


def _listed(book: ModelBook) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": book.tick_size},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000", "stepSize": book.lot_size},
    ]
    return {"symbol": book.symbol, "status": "TRADING", "filters": filters}


def _control(body: Mapping[str, Any]) -> Message:
    return Message(json.dumps(body), Kind.CONTROL)


def _answer(body: Mapping[str, Any], status: int = 200) -> RestAnswer:
    return RestAnswer(status, json.dumps(body).encode())


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "binance": lambda random: BinanceModel(random, "binance", ("BTCUSDT", "ETHUSDT"), futures=False),
    "binance-usdm": lambda random: BinanceModel(random, "binance-usdm", ("BTCUSDT", "ETHUSDT"), futures=True),
    "binance-coinm": lambda random: BinanceModel(
        random, "binance-coinm", ("BTCUSD_PERP", "ETHUSD_PERP"), futures=True
    ),
}
