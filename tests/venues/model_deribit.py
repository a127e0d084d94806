"""A model of Deribit: JSON-RPC, books chained by `change_id`, and heartbeats that want an answer. Pure."""

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from tests.venues.faults import Fault
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue, RestAnswer

HEARTBEAT_US: Final = 200_000
PATIENCE_US: Final = 5_000_000
"""After so long without an answer to a `test_request` the venue says nothing more."""


class DeribitVenue:
    """Deribit, with an option whose tick size depends on the price."""

    name = "deribit"
    faults = frozenset(Fault) - {Fault.CHECKSUM}

    def __init__(self, random: Random) -> None:
        self.market = Market(
            [
                ModelBook("BTC-PERPETUAL", random, tick_size="0.5", lot_size="10"),
                ModelBook("BTC-30JUL21-24000-P", random, tick_size="0.0001", lot_size="0.1", mid=500),
            ]
        )
        self.offsets = dict.fromkeys(self.market.books, 33_195_894_164)

    def connect(self, path: str, now: int) -> ModelConnection:
        return _Connection(self)

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path != "/api/v2/public/get_instruments":
            return RestAnswer(404, b"{}")
        instruments = [
            {
                "instrument_name": book.symbol,
                "tick_size": float(book.tick_size),
                "tick_size_steps": [{"above_price": 0.005, "tick_size": 5 * float(book.tick_size)}],
                "contract_size": 10 * float(book.lot_size),
                "min_trade_amount": float(book.lot_size),
                "is_active": True,
                "state": "open",
            }
            for book in self.market.listed.values()
        ]
        return RestAnswer(200, json.dumps({"jsonrpc": "2.0", "result": instruments}).encode())

    def reset(self, symbol: str, now: int) -> None:
        self.offsets[symbol] -= 1_000_000

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None


class _Connection:
    def __init__(self, venue: DeribitVenue) -> None:
        self.venue = venue
        self.sent: dict[str, int] = {}
        """Number of the last change sent of each book."""
        self.beat_at: int | None = None
        self.wanted_at: int | None = None

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        request = json.loads(raw)
        params = request["params"]
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"], "usIn": now, "usOut": now}
        if request["method"] == "public/set_heartbeat":
            self.beat_at = now
            return [_control({**answer, "result": "ok"})]
        if request["method"] == "public/test":
            self.wanted_at = None
            return [_control({**answer, "result": {"version": "1.2.26"}})]
        channels = [channel for channel in params["channels"] if _symbol(channel) in self.venue.market]
        if request["method"] == "public/unsubscribe":
            for channel in channels:
                self.sent.pop(_symbol(channel), None)
            return [_control({**answer, "result": channels})]
        snapshots = []
        for symbol in map(_symbol, channels):
            book = self.venue.market[symbol]
            self.sent[symbol] = book.number
            sides = [[("new", *level) for level in book.top(side)] for side in (0, 1)]
            body = self._body(book, "snapshot", sides, now)
            snapshots.append(Message(json.dumps(body), Kind.SNAPSHOT, symbol))
        return [_control({**answer, "result": channels}), *snapshots]

    def due(self, now: int) -> list[Message]:
        if self.wanted_at is not None and now > self.wanted_at + PATIENCE_US:
            return []
        messages = []
        for symbol, number in self.sent.items():
            book = self.venue.market[symbol]
            sides = [_differences(book, side, number) for side in (0, 1)]
            if any(sides):
                body = self._body(book, "change", sides, now)
                body["params"]["data"]["prev_change_id"] = self.venue.offsets[symbol] + number
                self.sent[symbol] = book.number
                messages.append(Message(json.dumps(body), Kind.BOOK, symbol))
        if self.beat_at is not None and now >= self.beat_at:
            self.beat_at = now + HEARTBEAT_US
            self.wanted_at = self.wanted_at or now
            messages.extend(_heartbeat(kind) for kind in ("heartbeat", "test_request"))
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)

    def _body(
        self, book: ModelBook, kind: str, sides: list[list[tuple[str, int, int]]], now: int
    ) -> dict[str, Any]:
        bids, asks = (
            [
                (action, float(book.price_text(price)), float(book.quantity_text(quantity)))
                for action, price, quantity in side
            ]
            for side in sides
        )
        data = {
            "type": kind,
            "timestamp": now // 1_000,
            "instrument_name": book.symbol,
            "change_id": self.venue.offsets[book.symbol] + book.number,
            "bids": bids,
            "asks": asks,
        }
        params = {"channel": f"book.{book.symbol}.100ms", "data": data}
        return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def _differences(book: ModelBook, side: int, number: int) -> list[tuple[str, int, int]]:
    """Return what is different from the state after change `number`."""
    before, now = dict(book.states[number][side]), book.sides[side]
    changed = [("new" if price not in before else "change", price, lots) for price, lots in now.items()]
    gone = [("delete", price, 0) for price in before if price not in now]
    return [entry for entry in changed if before.get(entry[1]) != entry[2]] + gone


def _symbol(channel: str) -> str:
    return channel.removeprefix("book.").removesuffix(".100ms")


def _heartbeat(kind: str) -> Message:
    return _control({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})


def _control(body: Mapping[str, Any]) -> Message:
    return Message(json.dumps(body), Kind.CONTROL)


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {"deribit": DeribitVenue}
