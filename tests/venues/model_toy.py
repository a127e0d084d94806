"""The simplest venue there could be: an example of a model, and a venue for tests of the feed itself.

It numbers changes, adds a checksum, sends a snapshot after each subscription and answers to
`{"op": "ping"}`. By HTTP it lists its instruments at /instruments and gives snapshots at /book?symbol=….
`by_rest`: subscriptions bring no snapshot. Pure.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from tests.venues.faults import Fault
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, ModelVenue, RestAnswer

HEARTBEAT_US: Final = 200_000


class ToyVenue:
    """The model.

    `sizes`: those that its list names in place of the books' own. `refusals`: so many subscriptions are
    refused next, whatever the list says.
    """

    name = "toy"
    faults = frozenset(Fault)

    def __init__(
        self, random: Random, symbols: Sequence[str] = ("AAA/USD", "BBB/USD"), *, by_rest: bool = False
    ):
        self.by_rest = by_rest
        self.market = Market([ModelBook(symbol, random) for symbol in symbols])
        self.offsets = dict.fromkeys(symbols, 1_000)
        self.sizes: dict[str, tuple[str, str]] = {}
        self.refusals = 0

    def connect(self, path: str, now: int) -> ModelConnection:
        return _ToyConnection(self, now)

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        if path == "/instruments":
            own = {symbol: (book.tick_size, book.lot_size) for symbol, book in self.market.listed.items()}
            listed = {
                symbol: {"tick": tick, "lot": lot} for symbol, (tick, lot) in (own | self.sizes).items()
            }
            return RestAnswer(200, json.dumps(listed).encode())
        if path == "/book" and query.get("symbol") in self.market:
            return RestAnswer(200, json.dumps(self.snapshot(query["symbol"])).encode())
        return RestAnswer(404, b"{}")

    def reset(self, symbol: str, now: int) -> None:
        self.offsets[symbol] = -self.market[symbol].number

    def spoil(self, message: Message, random: Random) -> Message | None:
        body = json.loads(message.raw)
        body["crc"] = (body["crc"] + 1) % 2**32
        return message._replace(raw=json.dumps(body))

    def snapshot(self, symbol: str) -> dict[str, Any]:
        """Return the whole book as a message."""
        book = self.market[symbol]
        sides = {"b": book.texts(book.top(0)), "a": book.texts(book.top(1))}
        return {"s": symbol, "kind": "snapshot", "to": self.offsets[symbol] + book.number, **sides}

    def update(self, symbol: str, number: int) -> dict[str, Any] | None:
        """Return the changes after change `number` as a message."""
        book = self.market[symbol]
        changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for side, price, quantity in book.since(number):
            changed[side][price] = quantity
        if not changed[0] and not changed[1]:
            return None
        offset = self.offsets[symbol]
        b, a = (book.texts(list(levels.items())) for levels in changed)
        numbers = {"from": offset + number, "to": offset + book.number}
        return {"s": symbol, "kind": "update", **numbers, "b": b, "a": a, "crc": crc(b, a)}


def crc(bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> int:
    """Return the toy's checksum: of the message's levels."""
    return zlib.crc32(json.dumps([[*map(list, bids)], [*map(list, asks)]]).encode())


class _ToyConnection:
    def __init__(self, venue: ToyVenue, now: int) -> None:
        self.venue = venue
        self.sent: dict[str, int] = {}
        self.heartbeat_at = now + HEARTBEAT_US

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        request = json.loads(raw)
        if request["op"] == "ping":
            return [_control({"pong": now})]
        answers = []
        for symbol in request["symbols"]:
            if symbol not in self.venue.market:
                answers.append(_control({"s": symbol, "kind": "refused"}))
            elif request["op"] == "unsubscribe":
                self.sent.pop(symbol, None)
            elif self.venue.refusals:
                self.venue.refusals -= 1
                answers.append(_control({"s": symbol, "kind": "refused"}))
            else:
                self.sent[symbol] = self.venue.market[symbol].number
                answers.append(_control({"s": symbol, "kind": "subscribed"}))
                if not self.venue.by_rest:
                    raw_snapshot = json.dumps(self.venue.snapshot(symbol))
                    answers.append(Message(raw_snapshot, Kind.SNAPSHOT, symbol))
        return answers

    def due(self, now: int) -> list[Message]:
        messages = []
        for symbol, number in self.sent.items():
            if (update := self.venue.update(symbol, number)) is not None:
                messages.append(Message(json.dumps(update), Kind.BOOK, symbol))
                self.sent[symbol] = self.venue.market[symbol].number
        if now >= self.heartbeat_at:
            self.heartbeat_at = now + HEARTBEAT_US
            messages.append(_control({"kind": "heartbeat"}))
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)


def _control(body: Mapping[str, Any]) -> Message:
    return Message(json.dumps(body), Kind.CONTROL)


MODELS: Final[Mapping[str, Callable[[Random], ModelVenue]]] = {
    "toy": ToyVenue,
    "toy-rest": lambda random: ToyVenue(random, by_rest=True),
}
"""Models by the names of their venues; `tests.venues.models` collects those of every `model_…` module."""
