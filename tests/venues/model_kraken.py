"""Kraken's WebSocket v2 as its documentation describes it. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final
from zlib import crc32

from tests.venues.faults import ALWAYS, Fault
from tests.venues.market import ModelBook
from tests.venues.model import Message, ModelVenue
from tests.venues.stream import StreamConnection, StreamVenue, Texts, control, whole

SYMBOLS: Final = ("BTC/USD", "DOGE/EUR")


class KrakenModel(StreamVenue):
    """The venue, with books of `depth` levels. A loss is noticed for sure only if the checksum covers all."""

    def __init__(
        self, random: Random, name: str = "kraken", depth: int = 10, symbols: Sequence[str] = SYMBOLS
    ) -> None:
        super().__init__(random, symbols, depth=depth)
        self.name = name
        self.faults = ALWAYS | {Fault.DUPLICATE, Fault.CHECKSUM}
        if depth == 10:
            self.faults |= {Fault.GAP, Fault.REORDER}

    def connection(self, now: int) -> StreamConnection:
        return _Connection(self.market, now)

    def spoil(self, message: Message, random: Random) -> Message | None:
        body = json.loads(message.raw)
        body["data"][0]["checksum"] ^= 1 << random.randrange(32)
        return message._replace(raw=json.dumps(body))

    def instruments(self, path: str, query: Mapping[str, str]) -> bytes | None:
        if path != "/0/public/AssetPairs":
            return None
        old = {"BTC": "XBT", "DOGE": "XDG"}
        pairs = {}
        for symbol, book in self.market.listed.items():
            name = "/".join(old.get(asset, asset) for asset in symbol.split("/"))
            pairs[name.replace("/", "")] = {
                "wsname": name,
                "pair_decimals": places(book.tick_size),
                "lot_decimals": places(book.lot_size),
                "tick_size": book.tick_size,
                "status": "online",
            }
        return json.dumps({"error": [], "result": pairs}).encode()


class _Connection(StreamConnection):
    def answers(self, raw: str | bytes) -> list[Message]:
        request = json.loads(raw)
        method, params = request["method"], request.get("params", {})
        if method == "ping":
            return [control('{"method":"pong"}')]
        if params.get("channel") == "instrument":
            return [control(self._instruments())]
        answers = []
        for symbol in params["symbol"]:
            error = self._error(method, symbol)
            body = {"method": method, "success": error is None, "symbol": symbol, "error": error}
            if error is None:
                body = {"method": method, "success": True, "result": {"channel": "book", "symbol": symbol}}
            answers.append(control(json.dumps(body)))
            if error is None and method == "subscribe":
                answers.append(self.begin(symbol))
        return answers

    def snapshot(self, book: ModelBook) -> str:
        return _message("snapshot", book, *whole(book), self.now)

    def update(self, book: ModelBook, bids: Texts, asks: Texts) -> str:
        return _message("update", book, bids, asks, self.now)

    def beats(self) -> list[str]:
        return ['{"channel":"heartbeat"}']

    def _error(self, method: str, symbol: str) -> str | None:
        if symbol not in self.market:
            return f"Currency pair not supported {symbol}"
        if method == "unsubscribe":
            return None if self.sent.pop(symbol, None) is not None else "Subscription Not Found"
        return "Already subscribed" if symbol in self.sent else None

    def _instruments(self) -> str:
        pairs = [
            {
                "symbol": symbol,
                "price_precision": places(book.tick_size),
                "qty_precision": places(book.lot_size),
            }
            for symbol, book in self.market.listed.items()
        ]
        return json.dumps(
            {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": pairs}}
        )


def places(size: str) -> int:
    """Count the decimals of a size."""
    return len(size.partition(".")[2])


def checksum(book: ModelBook) -> int:
    """Return the CRC32 of the best ten, from ticks and lots: digits without a point are just that."""
    best = [*book.top(1, 10), *book.top(0, 10)]
    return crc32("".join(f"{price}{quantity}" for price, quantity in best).encode())


def _message(kind: str, book: ModelBook, bids: Texts, asks: Texts, now: int) -> str:
    at = datetime.fromtimestamp(now / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    sides = [
        ",".join(f'{{"price":{price},"qty":{quantity}}}' for price, quantity in side) for side in (bids, asks)
    ]
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{book.symbol}","bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{checksum(book)},"timestamp":"{at}"}}]}}'
    )


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "kraken": KrakenModel,
    "kraken-1000": lambda random: KrakenModel(random, "kraken-1000", 1000),
}
