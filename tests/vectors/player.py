"""Plays a conversation to the session of the Python client, and compares what it sends and holds."""

from collections import deque
from typing import Any

from depthcast.client.book import SubscriptionOptions
from depthcast.client.session import ClientSession
from depthcast.shared.close_codes import closing
from depthcast.shared.errors import ClientError
from depthcast.shared.replica import Replica
from depthcast.updates import State
from tests.vectors.lines import Line, Vector

Message = dict[str, Any]

DEFAULTS: Message = {"depth": 25, "interval_ms": 0, "group": 1, "orders": False}
"""What a subscribe means that leaves these out."""


class Player:
    """One conversation with one session. Every method is the meaning of one key of a line.

    `unclaimed`: messages that the session has sent and no line has named; `ids`: placeholder → id.
    """

    def __init__(self, vector: Vector) -> None:
        self.session = ClientSession(vector.head.get("credit_window"))
        self.unclaimed: list[Message] = []
        self.ids: dict[str, Any] = {}
        self.pings: deque[Message] = deque()
        self.credit_left = 0

    def play(self, line: Line) -> None:
        """Play one line; raises `AssertionError` where the session does something else."""
        ((key, value),) = line.items()
        if key in ("user", "connection"):
            assert self.unclaimed == [], "the client has sent what it should not"
        getattr(self, f"play_{key}")(value)
        self._collect()

    def play_user(self, asked: Message) -> None:
        if "subscribe" in asked:
            options = SubscriptionOptions(
                asked["depth"], 0, asked.get("group", 1), asked.get("orders", False)
            )
            self.session.subscribe(asked["subscribe"], options)
        else:
            self.session.unsubscribe(asked["unsubscribe"])

    def play_connection(self, what: Any) -> None:
        if what == "opens":
            self.session.connected()
            return
        assert closing(what["closes"]).reconnect.value == what["reconnect"]
        self.session.disconnected()
        self.session.outbox.clear()
        self.pings.clear()
        self.credit_left = 0

    def play_gateway(self, message: Message) -> None:
        message = dict(message)
        if "id" in message:
            message["id"] = self.ids[message["id"]]
        self.credit_left -= message["type"] in ("snapshot", "delta")
        self.session.receive(message)
        self.session.return_credit()
        self.session.failures.clear()

    def play_lost(self, _: Message) -> None:
        """It does not arrive."""

    def play_pongs(self, _: bool) -> None:
        while self.pings:
            self.session.receive({"type": "pong", "id": self.pings.popleft()["id"], "ts": 1})

    def play_sends(self, expected: Message) -> None:
        assert self.unclaimed, f"the client should have sent {expected}"
        message = self.unclaimed.pop(0)
        assert without_id(message) == without_id(expected)
        assert message.get("parts", False) or not expected.get("parts", False)
        self.ids[expected["id"]] = message["id"]

    def play_credit(self, bounds: Message) -> None:
        assert bounds["least"] <= self.credit_left <= bounds["most"]

    def play_holds(self, held: Message) -> None:
        for symbol, expected in held.items():
            assert self.shown(symbol) == expected, symbol

    def play_not_live(self, symbol: str) -> None:
        book = self.session.books.get(symbol)
        assert book is None or book.state is State.STALE

    def shown(self, symbol: str) -> Message | None:
        """What the client shows of a symbol, in the form of `holds`."""
        book = self.session.books.get(symbol)
        if book is None:
            return None
        replica = book.replica
        return {
            "state": str(book.state),
            "seq": replica.seq,
            "digest": replica.digest,
            **shown_levels(replica),
            "tick_size": book.sizes.tick_size,
            "lot_size": book.sizes.lot_size,
            "reason": book.stale_reason,
        }

    def _collect(self) -> None:
        """Take what the session has sent. Pings may be sent at any time, and credit counts."""
        while self.session.outbox:
            message = self.session.outbox.popleft()
            if message["op"] == "ping":
                self.pings.append(message)
            elif message["op"] == "credit":
                self.credit_left += message["messages"]
            else:
                self.unclaimed.append(message)


def shown_levels(replica: Replica) -> Message:
    """The levels of a book, with the number of orders and its digest if these are known."""
    bids, asks = replica.book.sides
    if replica.orders_digest is None:
        return {"bids": [list(level) for level in bids.top()], "asks": [list(level) for level in asks.top()]}
    return {
        "bids": [list(level) for level in bids.top_orders()],
        "asks": [list(level) for level in asks.top_orders()],
        "orders_digest": replica.orders_digest,
    }


def without_id(message: Message) -> Message:
    """The message in a form that can be compared: with defaults, without id and parts, symbols in order."""
    defaults = DEFAULTS if message["op"] == "subscribe" else {}
    whole = {**defaults, **message, "symbols": sorted(message["symbols"])}
    whole.pop("id", None)
    whole.pop("parts", None)
    return whole


def play(vector: Vector) -> None:
    """Play a whole conversation; raises `AssertionError` with the line where the client differs."""
    player = Player(vector)
    for number, line in enumerate(vector.lines, 2):
        try:
            player.play(line)
        except (AssertionError, ClientError) as error:
            error.add_note(f"{vector.path.name}, line {number}: {line}")
            raise
    assert player.unclaimed == [], "the client has sent what it should not"
