"""Bitget's public WebSocket of the unified account (v3), and the older v1. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from tests.venues.faults import ALWAYS, Fault
from tests.venues.interleaved import interleaved_checksum
from tests.venues.market import ModelBook
from tests.venues.model import Message, ModelVenue
from tests.venues.stream import StreamConnection, StreamVenue, Texts, control, whole

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")


class BitgetModel(StreamVenue):
    """One market of the venue. `old`: v1, with checksums and without numbers."""

    faults = ALWAYS | {Fault.GAP, Fault.DUPLICATE, Fault.REORDER, Fault.RESET}

    def __init__(
        self,
        random: Random,
        name: str = "bitget",
        market: str = "spot",
        symbols: Sequence[str] = SYMBOLS,
        *,
        old: bool = False,
    ) -> None:
        super().__init__(random, symbols, levels_max=25 if old else 40)
        self.name = name
        self.kind = market
        self.old = old
        self.firsts = {symbol: place + 1 for place, symbol in enumerate(symbols)}
        """Numbers of two symbols never agree: they leave different rests after division by 3."""
        self.offsets = {symbol: 1_300_000_000_000_000_001 + first for symbol, first in self.firsts.items()}
        self.resets = dict.fromkeys(symbols, 0)

    def connection(self, now: int) -> StreamConnection:
        return _Connection(self, now)

    def number(self, book: ModelBook) -> int:
        """Return the `seq` of the book as it is now."""
        return self.offsets[book.symbol] + 3 * book.number

    def reset(self, symbol: str, now: int) -> None:
        self.offsets[symbol] = self.firsts[symbol] - 3 * self.market[symbol].number
        self.resets[symbol] += 1

    def instruments(self, path: str, query: Mapping[str, str]) -> bytes | None:
        if path != "/api/v3/market/instruments" or query.get("category") != self.kind.upper():
            return None
        listed = [
            {
                "symbol": symbol,
                "category": self.kind.upper(),
                "priceMultiplier": book.tick_size,
                "quantityMultiplier": book.lot_size,
                "status": "online",
            }
            for symbol, book in self.market.listed.items()
        ]
        return json.dumps({"code": "00000", "msg": "success", "data": listed}).encode()


class _Connection(StreamConnection):
    def __init__(self, venue: BitgetModel, now: int) -> None:
        super().__init__(venue.market, now)
        self.venue = venue
        self.last: dict[str, int] = {}
        self.resets: dict[str, int] = {}

    def answers(self, raw: str | bytes) -> list[Message]:
        if raw == "ping":
            return [control("pong")]
        request = json.loads(raw)
        answers = []
        for arg in request["args"]:
            symbol = arg["symbol"]
            if symbol not in self.market or arg["instType"] != self.venue.kind:
                error = {"event": "error", "arg": arg, "code": "30001", "msg": "Parameter does not exist"}
                answers.append(control(json.dumps(error)))
                continue
            answers.append(control(json.dumps({"event": request["op"], "arg": arg})))
            if request["op"] == "subscribe":
                answers.append(self.begin(symbol))
            else:
                self.sent.pop(symbol, None)
        return answers

    def snapshot(self, book: ModelBook) -> str:
        self.last[book.symbol] = 0
        self.resets[book.symbol] = self.venue.resets[book.symbol]
        return self._message("snapshot", book, *whole(book))

    def update(self, book: ModelBook, bids: Texts, asks: Texts) -> str:
        return self._message("update", book, bids, asks)

    def _message(self, action: str, book: ModelBook, bids: Texts, asks: Texts) -> str:
        arg = {"instType": self.venue.kind, "topic": "books", "symbol": book.symbol}
        if self.venue.old:
            arg = {"instType": "sp", "channel": "books", "instId": book.symbol}
            data: dict[str, Any] = {"asks": asks, "bids": bids, "checksum": interleaved_checksum(book)}
        else:
            was_reset = self.resets[book.symbol] != self.venue.resets[book.symbol]
            self.resets[book.symbol] = self.venue.resets[book.symbol]
            previous = 0 if was_reset else self.last[book.symbol]
            self.last[book.symbol] = number = self.venue.number(book)
            data = {"a": asks, "b": bids, "checksum": 0, "pseq": previous, "seq": number}
        return json.dumps({"action": action, "arg": arg, "data": [{**data, "ts": str(self.now // 1_000)}]})


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "bitget": BitgetModel,
    "bitget-usdt-futures": lambda random: BitgetModel(random, "bitget-usdt-futures", "usdt-futures"),
    "bitget-coin-futures": lambda random: BitgetModel(random, "bitget-coin-futures", "coin-futures"),
}
