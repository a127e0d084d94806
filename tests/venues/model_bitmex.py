"""A model of BitMEX: the table `orderBookL2`, whose rows have ids that say nothing about prices. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from random import Random
from typing import Any, Final, NamedTuple

from tests.venues.faults import ALWAYS
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue, RestAnswer
from tests.venues.model_coinbase import iso


class Row(NamedTuple):
    """A change of the table."""

    action: str
    number: int
    side: int
    price: int
    quantity: int


class Table:
    """The ids of a book's levels, and its changes as changes of rows."""

    def __init__(self, book: ModelBook) -> None:
        self.book = book
        self.rows: list[Row] = []
        self.ids: dict[tuple[int, int], int] = {}

    def follow(self) -> list[Row]:
        """Return all changes up to now."""
        if not self.rows and not self.ids:  # not before: its units may be others until it changes
            for side, levels in enumerate(self.book.states[0]):
                for price, _ in sorted(levels):
                    self.ids[side, price] = 8_798_000_000 + len(self.ids)
        for change in self.book.since(len(self.rows)):
            key = change.side, change.price
            if not change.quantity:
                action, number = "delete", self.ids.pop(key)
            elif key in self.ids:
                action, number = "update", self.ids[key]
            else:
                action, number = "insert", self.ids.setdefault(key, 9_000_000_000 + len(self.rows))
            self.rows.append(Row(action, number, *change))
        return self.rows


class BitmexVenue:
    """BitMEX: nothing is numbered, so no fault of order is sure to be noticed."""

    name = "bitmex"
    faults = ALWAYS

    def __init__(self, random: Random, symbols: Sequence[str] = ("XBTUSD", "ETHUSDT")) -> None:
        self.market = Market([ModelBook(symbol, random, tick_size="0.5", lot_size="1") for symbol in symbols])
        self.tables = {symbol: Table(book) for symbol, book in self.market.books.items()}

    def connect(self, path: str, now: int) -> ModelConnection:
        return _Connection(self)

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path != "/api/v1/instrument/active":
            return RestAnswer(404, b"{}")
        listed = [
            {"symbol": book.symbol, "state": "Open", "tickSize": float(book.tick_size), "lotSize": 100}
            for book in self.market.listed.values()
        ]
        return RestAnswer(200, json.dumps([*listed, {"symbol": ".BXBT", "state": "Unlisted"}]).encode())

    def reset(self, symbol: str, now: int) -> None:
        """Do nothing: there are no numbers."""

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None


class _Connection:
    def __init__(self, venue: BitmexVenue) -> None:
        self.venue = venue
        self.sent: dict[str, int] = {}
        self.welcomed = False

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        if raw == "ping":
            return [Message("pong", Kind.CONTROL)]
        request = json.loads(raw)
        answers: list[Message] = []
        for topic in request["args"]:
            name, _, symbol = topic.partition(":")
            if name != "orderBookL2" or symbol not in self.venue.market:
                answers.append(_refusal(f"Unknown or expired symbol {symbol}.", request))
            elif request["op"] == "unsubscribe":
                self.sent.pop(symbol, None)
                answers.append(_control({"success": True, "unsubscribe": topic, "request": request}))
            elif symbol in self.sent:
                answers.append(_refusal(f"You are already subscribed to this topic: {topic}", request))
            else:
                answers.append(_control({"success": True, "subscribe": topic, "request": request}))
                answers.append(self._partial(symbol, now))
        return answers

    def due(self, now: int) -> list[Message]:
        messages = []
        if not self.welcomed:
            self.welcomed = True
            welcome = {"info": "Welcome to the BitMEX Realtime API.", "timestamp": iso(now)}
            messages.append(_control(welcome))
        for symbol, number in self.sent.items():
            table = self.venue.tables[symbol]
            rows = table.follow()[number:]
            self.sent[symbol] = len(table.rows)
            for action, same in groupby(rows, key=lambda row: row.action):
                data = [_row(table.book, row, now) for row in same]
                body = {"table": "orderBookL2", "action": action, "data": data}
                messages.append(Message(json.dumps(body), Kind.BOOK, symbol))
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)

    def _partial(self, symbol: str, now: int) -> Message:
        table = self.venue.tables[symbol]
        self.sent[symbol] = len(table.follow())
        rows = [
            Row("partial", number, side, price, table.book.sides[side][price])
            for (side, price), number in table.ids.items()
        ]
        body = {
            "table": "orderBookL2",
            "action": "partial",
            "keys": ["symbol", "id", "side"],
            "filter": {"symbol": symbol},
            "data": [_row(table.book, row, now) for row in rows],
        }
        return Message(json.dumps(body), Kind.SNAPSHOT, symbol)


def _row(book: ModelBook, row: Row, now: int) -> dict[str, Any]:
    fields = {"symbol": book.symbol, "id": row.number, "side": ("Buy", "Sell")[row.side]}
    size = {} if row.action == "delete" else {"size": int(book.quantity_text(row.quantity))}
    return {**fields, **size, "price": float(book.price_text(row.price)), "timestamp": iso(now)}


def _refusal(error: str, request: Mapping[str, Any]) -> Message:
    return _control({"status": 400, "error": error, "meta": {}, "request": request})


def _control(body: Mapping[str, Any]) -> Message:
    return Message(json.dumps(body), Kind.CONTROL)


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {"bitmex": BitmexVenue}
