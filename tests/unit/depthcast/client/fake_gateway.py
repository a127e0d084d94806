"""A gateway for one symbol, without a network: answers requests in order and sends its view's changes."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from depthcast.shared.digest import digest_of

Levels = dict[int, int]


class FakeGateway:
    """`sent`: messages in flight to the client. `states`: every published view by seq."""

    def __init__(self, symbol: str = "X") -> None:
        self.symbol = symbol
        self.bids: Levels = {}
        self.asks: Levels = {}
        self.seq = 100
        self.subscribed = False
        self.sent: deque[dict[str, Any]] = deque()
        self.states: dict[int, tuple[Levels, Levels]] = {self.seq: ({}, {})}

    @property
    def digest(self) -> int:
        return digest_of(self.bids.items(), self.asks.items())

    def change(self, side: int, price: int, quantity: int) -> None:
        """Publish a change of one level."""
        levels = (self.bids, self.asks)[side]
        if levels.get(price, 0) == quantity:
            return
        levels[price] = quantity
        if not quantity:
            del levels[price]
        self.seq += 1
        self.states[self.seq] = (dict(self.bids), dict(self.asks))
        if self.subscribed:
            self.sent.append(self.delta(side, price, quantity))

    def delta(self, side: int, price: int, quantity: int) -> dict[str, Any]:
        changed: list[list[list[int]]] = [[], []]
        changed[side].append([price, quantity])
        head = {
            "type": "delta",
            "symbol": self.symbol,
            "prev_seq": self.seq - 1,
            "seq": self.seq,
            "merged": 1,
        }
        return head | {"ts": 1, "bids": changed[0], "asks": changed[1], "digest": self.digest}

    def snapshot(self) -> dict[str, Any]:
        return {
            "type": "snapshot",
            "symbol": self.symbol,
            "seq": self.seq,
            "ts": 1,
            "bids": [[price, self.bids[price]] for price in sorted(self.bids, reverse=True)],
            "asks": [[price, self.asks[price]] for price in sorted(self.asks)],
            "digest": self.digest,
        }

    def take(self, message: Mapping[str, Any]) -> None:
        """Answer a request."""
        if message["op"] == "ping":
            self.sent.append({"type": "pong", "id": message["id"], "ts": 1})
        elif message["op"] == "unsubscribe":
            self.subscribed = False
            self.sent.append({"type": "unsubscribed", "id": message["id"], "symbol": self.symbol})
        elif message["op"] == "subscribe":
            for symbol in message["symbols"]:
                self._subscribe(message, symbol)

    def lose(self) -> None:
        """The connection ends."""
        self.sent.clear()
        self.subscribed = False

    def _subscribe(self, message: Mapping[str, Any], symbol: str) -> None:
        if symbol not in (self.symbol, "*"):
            error = {
                "type": "error",
                "id": message["id"],
                "code": "unknown_symbol",
                "message": "no",
                "symbol": symbol,
            }
            self.sent.append(error)
            return
        self.subscribed = True
        answer = {"type": "subscribed", "id": message["id"], "symbol": self.symbol, "resumed": False}
        offer = message.get("resume", {}).get(self.symbol)
        if offer and offer == {"seq": self.seq, "digest": self.digest}:
            self.sent.append(answer | {"resumed": True, "seq": self.seq})
        else:
            self.sent += [answer, self.snapshot()]
