"""OKX's public WebSocket as its documentation describes it. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from tests.venues.faults import ALWAYS, Fault
from tests.venues.interleaved import interleaved_checksum
from tests.venues.market import ModelBook
from tests.venues.model import Message, ModelVenue, RestAnswer
from tests.venues.stream import StreamConnection, StreamVenue, Texts, control, whole

SYMBOLS: Final = ("BTC-USDT", "ETH-USDT-SWAP")


class OkxModel(StreamVenue):
    """The venue. `old`: as before 2023, with checksums and without numbers.

    `snapshots` False: a subscription brings none, as the venue has announced.
    """

    name = "okx"
    faults = ALWAYS | {Fault.GAP, Fault.DUPLICATE, Fault.REORDER, Fault.RESET}

    def __init__(
        self,
        random: Random,
        symbols: Sequence[str] = SYMBOLS,
        *,
        old: bool = False,
        snapshots: bool = True,
    ) -> None:
        super().__init__(random, symbols, levels_max=25 if old else 40)
        self.random = random
        self.old = old
        self.snapshots = snapshots
        self.firsts = {symbol: place for place, symbol in enumerate(symbols)}
        """Numbers of two symbols never agree: they leave different rests after division by 7."""
        self.offsets = {symbol: 1_000_006 + first for symbol, first in self.firsts.items()}

    def connection(self, now: int) -> StreamConnection:
        return _Connection(self, now)

    def number(self, book: ModelBook) -> int:
        """Return the `seqId` of the book as it is now."""
        return self.offsets[book.symbol] + 7 * book.number

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path != "/api/v5/market/books":
            return super().rest(path, query, now)
        if query["instId"] not in self.market:
            body: dict[str, Any] = {"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []}
            return RestAnswer(200, json.dumps(body).encode())
        book = self.market[query["instId"]]
        number = max(0, book.number - self.random.randrange(3))  # the venue answers from a cache
        bids, asks = (
            [[*level, "0", "1"] for level in book.texts(sorted(side, reverse=place == 0)[: int(query["sz"])])]
            for place, side in enumerate(book.states[number])
        )
        sequence = self.number(book) - 7 * (book.number - number)
        entry = {"asks": asks, "bids": bids, "ts": str(now // 1_000), "seqId": sequence}
        return RestAnswer(200, json.dumps({"code": "0", "msg": "", "data": [entry]}).encode())

    def reset(self, symbol: str, now: int) -> None:
        self.offsets[symbol] = self.firsts[symbol] - 7 * self.market[symbol].number

    def instruments(self, path: str, query: Mapping[str, str]) -> bytes | None:
        if path != "/api/v5/public/instruments":
            return None
        listed = [
            {"instId": symbol, "tickSz": book.tick_size, "lotSz": book.lot_size, "state": "live"}
            for symbol, book in self.market.listed.items()
            if symbol.endswith("-SWAP") == (query["instType"] == "SWAP")
        ]
        return json.dumps({"code": "0", "msg": "", "data": listed}).encode()


class _Connection(StreamConnection):
    def __init__(self, venue: OkxModel, now: int) -> None:
        super().__init__(venue.market, now)
        self.venue = venue
        self.last: dict[str, int] = {}

    def answers(self, raw: str | bytes) -> list[Message]:
        if raw == "ping":
            return [control("pong")]
        request = json.loads(raw)
        answers = []
        for arg in request["args"]:
            symbol = arg["instId"]
            if symbol not in self.market:
                message = f"Wrong URL or channel:books,instId:{symbol} doesn't exist."
                error = {"event": "error", "code": "60018", "msg": message, "connId": "a4d3ae55"}
                answers.append(control(json.dumps(error)))
                continue
            answers.append(control(json.dumps({"event": request["op"], "arg": arg, "connId": "a4d3ae55"})))
            if request["op"] == "subscribe" and not self.venue.snapshots:
                self.sent[symbol] = self.market[symbol].number
                self.last[symbol] = self.venue.number(self.market[symbol])
            elif request["op"] == "subscribe":
                answers.append(self.begin(symbol))
            else:
                self.sent.pop(symbol, None)
        return answers

    def snapshot(self, book: ModelBook) -> str:
        self.last[book.symbol] = -1
        return self._message("snapshot", book, *whole(book))

    def update(self, book: ModelBook, bids: Texts, asks: Texts) -> str:
        return self._message("update", book, bids, asks)

    def beats(self) -> list[str]:
        if self.venue.old:
            return []
        return [
            self._text("update", symbol, [], [], {"prevSeqId": self.last[symbol], "seqId": self.last[symbol]})
            for symbol in self.sent
        ]

    def _message(self, action: str, book: ModelBook, bids: Texts, asks: Texts) -> str:
        if self.venue.old:
            return self._text(action, book.symbol, bids, asks, {"checksum": interleaved_checksum(book)})
        previous = self.last[book.symbol]
        self.last[book.symbol] = number = self.venue.number(book)
        numbers = {"checksum": 0, "prevSeqId": previous, "seqId": number}
        return self._text(action, book.symbol, bids, asks, numbers)

    def _text(self, action: str, symbol: str, bids: Texts, asks: Texts, numbers: dict[str, Any]) -> str:
        rows = {
            name: [[*level, "0", "1"] for level in side] for name, side in (("asks", asks), ("bids", bids))
        }
        arg = {"channel": "books", "instId": symbol}
        return json.dumps(
            {"arg": arg, "action": action, "data": [{**rows, "ts": str(self.now // 1_000), **numbers}]}
        )


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "okx": OkxModel,
    "okx-without-snapshots": lambda random: OkxModel(random, snapshots=False),
}
