"""Requests of a WebSocket client, and which of their answers are still to come.

Sending is up to `depthcast.client.client`, which takes messages from the outbox.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from depthcast.shared.errors import ClientError

EVERYTHING: Final = "*"

QUOTED_MAX: Final = 64
"""An error names a symbol by at most this many characters, which is more than a valid one has."""


@dataclass
class Request:
    """A request to the gateway.

    `unanswered`: symbols without an answer. `internal`: no user waits for it. `place`: how many requests were
    sent up to this one. `refused`: symbols that were refused by name.
    """

    message: dict[str, Any]
    unanswered: set[str]
    internal: bool = False
    place: int = 0
    errors: list[ClientError] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    @property
    def done(self) -> bool:
        return not self.unanswered

    @property
    def symbols(self) -> Collection[str]:
        """The symbols that it names; empty for a ping."""
        named: Collection[str] = self.message.get("symbols", ())
        return named

    def concerned(self, symbol: str | None) -> list[str]:
        """Unanswered symbols that an answer with `symbol` is about; without one it is about all."""
        if symbol is None:
            return list(self.unanswered)
        if len(symbol) == QUOTED_MAX:
            return [name for name in self.unanswered if name.startswith(symbol)]
        return [symbol]

    def begin_again(self, symbols: Collection[str]) -> None:
        """Ask on another connection for those of its symbols, answered or not; the others need no answer."""
        self.message["symbols"] = [symbol for symbol in self.symbols if symbol in symbols]
        self.unanswered = set(self.symbols)

    def raise_errors(self) -> None:
        """Raise the first error, with the others as notes; do nothing if there is none."""
        if self.errors:
            first, *others = self.errors
            for other in others:
                first.add_note(str(other))
            raise first


class Requests:
    """The requests of a session without a complete answer, by `id`. `outbox`: messages to send."""

    def __init__(self, outbox: deque[dict[str, Any]]) -> None:
        self._outbox = outbox
        self._pending: dict[int, Request] = {}
        self._ids = count(1)
        self._places = count(1)

    def make(self, op: str, symbols: Iterable[str], *, internal: bool, **fields: Any) -> Request:
        """Send a message about `symbols`; it is done at once if there are none."""
        message: dict[str, Any] = {"op": op, "symbols": list(symbols), **fields, "id": next(self._ids)}
        request = Request(message, set(message["symbols"]), internal)
        if request.unanswered:
            self.send(request)
        return request

    def ping(self) -> Request:
        """Send a ping; it is done when the pong arrives."""
        request = Request({"op": "ping", "id": next(self._ids)}, {"pong"})
        self.send(request)
        return request

    def send(self, request: Request) -> None:
        """Send a request, for the first time or again."""
        request_id = request.message["id"]
        self._pending[request_id] = request
        request.place = next(self._places)
        self._outbox.append(request.message)
        if EVERYTHING in request.unanswered:
            # The gateway does not say how many symbols `*` stands for; the pong shows that it has answered
            # for all.
            self._outbox.append({"op": "ping", "id": request_id})

    def answered_by(self, message: Mapping[str, Any]) -> Request | None:
        """The request that a message answers, None if it answers none."""
        return self._pending.get(message.get("id", 0))

    def note(self, request: Request, symbol: str | None = None) -> None:
        """Record the answer for one symbol of a request, or for the whole request if `symbol` is None."""
        request.unanswered.difference_update(request.concerned(symbol))
        if request.done:
            self._pending.pop(request.message["id"], None)

    def is_awaited(self, symbol: str) -> bool:
        """Whether a subscribe that names `symbol` has no answer for it yet."""
        return any(
            symbol in request.unanswered and request.message["op"] == "subscribe"
            for request in self._pending.values()
        )

    def is_leaving(self, symbol: str) -> bool:
        """Whether an unsubscribe that covers `symbol` has no answer yet."""
        return any(
            request.message["op"] == "unsubscribe"
            and (symbol in request.unanswered or EVERYTHING in request.unanswered)
            for request in self._pending.values()
        )

    def is_replaced(self, symbol: str, place: int) -> bool:
        """Whether a subscribe to `symbol`, or to everything, was sent after `place` and has no answer yet."""
        return any(
            request.place > place
            and request.message["op"] == "subscribe"
            and (symbol in request.unanswered or EVERYTHING in request.unanswered)
            for request in self._pending.values()
        )

    def lost(self, wanted: Collection[str]) -> list[Request]:
        """Forget what was sent on a lost connection; returns what is to be sent again.

        These are the requests that users wait for, with those of their symbols that are still `wanted` and
        that no later request replaces. A new connection has no subscriptions to end.
        """
        pending, self._pending = self._pending, {}
        repeated: list[Request] = []
        left = set(wanted)
        for request in reversed(pending.values()):
            op = request.message["op"]
            if request.internal or op == "unsubscribe":
                request.unanswered.clear()
            elif op == "subscribe":
                request.begin_again(left)
                left = set() if EVERYTHING in request.symbols else left.difference(request.symbols)
            if request.unanswered:
                repeated.append(request)
        return repeated[::-1]
