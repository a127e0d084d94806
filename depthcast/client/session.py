"""The WebSocket client without its socket: messages in, messages to send and updates for the user out.

A `ClientSession` outlives connections. It keeps the subscriptions and books, and subscribes again when a view
is not continuous. `depthcast.client.client` sends what is in `outbox` and delivers what is in `updates`.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from depthcast.client.book import ClientBook, Message, Phase, SubscriptionOptions, pairs
from depthcast.shared.errors import ClientError, CodecError
from depthcast.shared.replica import ApplyResult
from depthcast.updates import BookUpdate, Kind, Levels, State, conflate

logger = logging.getLogger(__name__)

EVERYTHING: Final = "*"
RESYNCS_MAX: Final = 10
"""After this many snapshots in a row without a continuous view the user gets an error: there is a bug."""


@dataclass
class ClientCounters:
    """Counts since the client was made.

    - `messages`: all messages received. `snapshots`, `deltas`: how many of them were of that kind.
    - `merged`: broadcasts that came merged into another delta: the sum of `merged` − 1 over all deltas.
    - `ignored`: repeated snapshots and deltas, and those of replaced subscriptions.
    - `gaps`: deltas that did not continue the book. `mismatches`: books that differed from their digest.
      After each of them the client subscribed again.
    - `reconnects`: connections made again. `resumed`: books that then continued without a snapshot.
    """

    messages: int = 0
    snapshots: int = 0
    deltas: int = 0
    merged: int = 0
    ignored: int = 0
    gaps: int = 0
    mismatches: int = 0
    reconnects: int = 0
    resumed: int = 0


@dataclass
class Request:
    """A request to the gateway. `unanswered`: symbols without an answer; `internal`: no user waits for it."""

    message: dict[str, Any]
    unanswered: set[str]
    internal: bool = False
    errors: list[ClientError] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not self.unanswered

    def raise_errors(self) -> None:
        """Raise the first error, with the others as notes; do nothing if there is none."""
        if self.errors:
            first, *others = self.errors
            for other in others:
                first.add_note(str(other))
            raise first


class ClientSession:
    """Subscriptions, books and counters of one client.

    - `credit_window`: maximum number of snapshots and deltas in flight; None leaves the limit to TCP.
    - `wanted`: options of each subscription that the user requested, by symbol.
    - `books`: views by symbol. `updates`: updates that the user has not received yet, at most one per symbol.
    - `outbox`: messages to send. `failures`: errors that do not belong to a waiting request.
    - `welcome`: the gateway's greeting on this connection.
    - `gateway_not_ready`: the gateway has no instruments yet; connect again later.
    """

    def __init__(self, credit_window: int | None = None) -> None:
        self.credit_window = credit_window
        self.wanted: dict[str, SubscriptionOptions] = {}
        self.books: dict[str, ClientBook] = {}
        self.updates: dict[str, BookUpdate] = {}
        self.outbox: deque[dict[str, Any]] = deque()
        self.failures: deque[ClientError] = deque()
        self.counters = ClientCounters()
        self.welcome: Message = {}
        self.gateway_not_ready = False
        self._requests: dict[int, Request] = {}
        self._ids = count(1)
        self._credit_used = 0
        self._handlers: dict[str, Callable[[Message], None]] = {
            "welcome": self._on_welcome,
            "subscribed": self._on_subscribed,
            "unsubscribed": self._on_unsubscribed,
            "snapshot": self._on_snapshot,
            "delta": self._on_delta,
            "status": self._on_status,
            "pong": self._on_pong,
            "error": self._on_error,
        }

    # --- requests of the user

    def subscribe(self, symbols: Collection[str], options: SubscriptionOptions) -> Request:
        """Subscribe, or replace subscriptions; the request is done once every symbol has an answer."""
        for symbol in symbols:
            self.wanted[symbol] = options
            if symbol in self.books:
                self.books[symbol].options = options
        return self._subscribe(symbols, options, internal=False)

    def unsubscribe(self, symbols: Collection[str]) -> Request:
        """End subscriptions; the request is done once every symbol has an answer."""
        for symbol in symbols:
            self.wanted.pop(symbol, None)
        return self._request({"op": "unsubscribe", "symbols": list(symbols)}, set(symbols))

    def ping(self) -> Request:
        """Request a `pong`; the request is done when it arrives."""
        return self._request({"op": "ping"}, {"pong"})

    def credit(self, messages: int) -> None:
        """Allow `messages` more snapshots and deltas; the first call turns on credit mode."""
        self.outbox.append({"op": "credit", "messages": messages})

    # --- events of the connection

    def connected(self) -> None:
        """Subscribe to everything again on a new connection, and offer to resume the views."""
        self.outbox.clear()
        self.gateway_not_ready = False
        self._credit_used = 0
        if self.credit_window is not None:
            self.credit(self.credit_window)
        requested = self._repeat_requests()
        for options in sorted(set(self.wanted.values())):
            again = [s for s, wanted in self.wanted.items() if wanted == options and s not in requested]
            if again:
                self._subscribe(again, options, internal=True, resume=True)

    def disconnected(self) -> None:
        """Mark every book stale: the connection has ended."""
        for symbol, book in self.books.items():
            self._report_state(symbol, book, book.restart)

    def receive(self, message: Message) -> None:
        """Handle a gateway message; raises `ClientError` (`bad_message`). Unknown types are ignored."""
        self.counters.messages += 1
        handler = self._handlers.get(str(message.get("type")))
        if handler is None:
            return
        try:
            handler(message)
        except (CodecError, KeyError, TypeError) as error:
            raise ClientError(
                "bad_message", f"{message.get('type')}: {error}", message.get("symbol")
            ) from error

    def return_credit(self) -> None:
        """Give credit back for messages that were read, half a window at a time."""
        if self.credit_window is not None and self._credit_used * 2 >= self.credit_window:
            self.credit(self._credit_used)
            self._credit_used = 0

    # --- messages

    def _on_welcome(self, message: Message) -> None:
        heartbeat_ms = message.get("heartbeat_ms", 0)
        if type(heartbeat_ms) is not int:
            raise CodecError("welcome message", f"heartbeat_ms is {heartbeat_ms!r}, not a whole number")
        self.welcome = message

    def _on_subscribed(self, message: Message) -> None:
        symbol = message["symbol"]
        self._answered(message, symbol)
        options = self.wanted.get(symbol) or self.wanted.get(EVERYTHING)
        if options is None:
            return  # unsubscribed meanwhile
        book = self.books.setdefault(symbol, ClientBook(options))
        book.options = options
        had_view = book.has_view
        self._report_state(symbol, book, lambda: book.subscribed(message))
        self.counters.resumed += had_view and book.phase is Phase.CONTINUOUS

    def _on_unsubscribed(self, message: Message) -> None:
        symbol = message["symbol"]
        self._answered(message, symbol)
        book = self.books.pop(symbol, None)
        if "reason" in message:
            self.wanted.pop(symbol, None)
            if book is not None:
                self._queue(
                    BookUpdate(symbol, Kind.STATUS, State.REMOVED, book.replica.seq, book.replica.book)
                )
        else:
            self.updates.pop(symbol, None)

    def _on_snapshot(self, message: Message) -> None:
        self.counters.snapshots += 1
        self._data(message, Kind.SNAPSHOT)

    def _on_delta(self, message: Message) -> None:
        self.counters.deltas += 1
        self.counters.merged += max(message.get("merged", 1) - 1, 0)
        self._data(message, Kind.DELTA)

    def _on_status(self, message: Message) -> None:
        symbol = message["symbol"]
        if book := self.books.get(symbol):
            self._report_state(symbol, book, lambda: book.status(message))

    def _on_pong(self, message: Message) -> None:
        request = self._requests.pop(message.get("id", 0), None)
        if request is not None:
            request.unanswered.clear()

    def _on_error(self, message: Message) -> None:
        symbol = message.get("symbol")
        error = ClientError(str(message.get("code")), str(message.get("message")), symbol)
        request = self._requests.get(message.get("id", 0))
        if request is not None and not request.internal:
            request.errors.append(error)
        elif request is not None and error.code == "unavailable":
            self.gateway_not_ready = True
            return
        else:
            self.failures.append(error)
        if request is not None and request.message["op"] == "subscribe":
            self._refused([symbol] if symbol else request.message["symbols"])
        self._answered(message, symbol)

    # --- books

    def _data(self, message: Message, kind: Kind) -> None:
        symbol = message["symbol"]
        self._credit_used += 1
        book = self.books.get(symbol)
        if book is None:
            self.counters.ignored += 1
            return
        before = book.state
        result = book.snapshot(message) if kind is Kind.SNAPSHOT else book.delta(message)
        if result is ApplyResult.APPLIED:
            bids, asks = (pairs(message["bids"]), pairs(message["asks"])) if kind is Kind.DELTA else ((), ())
            self._queue(self._update(symbol, book, kind, bids, asks, message))
        elif result is ApplyResult.ALREADY:
            self.counters.ignored += 1
        else:
            self._resync(symbol, book, result, before)

    def _resync(self, symbol: str, book: ClientBook, result: ApplyResult, before: State) -> None:
        """Subscribe again after a gap or a mismatch."""
        self.counters.gaps += result is ApplyResult.GAP
        self.counters.mismatches += result is ApplyResult.MISMATCH
        book.restart()
        book.resyncs += 1
        logger.warning("subscribing again", extra={"symbol": symbol, "reason": result.value})
        if book.resyncs > RESYNCS_MAX:
            text = f"{RESYNCS_MAX} snapshots in a row did not lead to a continuous book ({result.value})"
            self.failures.append(ClientError("inconsistent", text, symbol))
            book.resyncs = 0
        self._subscribe([symbol], book.options, internal=True)
        if before is not book.state:
            self._queue(self._update(symbol, book, Kind.STATUS))

    def _subscribe(
        self,
        symbols: Iterable[str],
        options: SubscriptionOptions,
        *,
        internal: bool,
        resume: bool = False,
    ) -> Request:
        message: dict[str, Any] = {"op": "subscribe", "symbols": list(symbols), **options._asdict()}
        if resume and (offers := self._resume_offers(message["symbols"])):
            message["resume"] = offers
        request = self._request(message, set(message["symbols"]), internal=internal)
        if EVERYTHING in request.unanswered:
            # The gateway does not say how many symbols `*` stands for; the pong shows that it has answered
            # for all.
            self.outbox.append({"op": "ping", "id": message["id"]})
        return request

    def _resume_offers(self, symbols: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the states to resume from; `*` stands for the symbols that are not subscribed by name."""
        named = [symbol for symbol in symbols if symbol in self.books]
        if EVERYTHING in symbols:
            named += [symbol for symbol in self.books if symbol not in self.wanted]
        return {symbol: offer for symbol in named if (offer := self.books[symbol].resume) is not None}

    # --- requests

    def _request(self, message: dict[str, Any], unanswered: set[str], *, internal: bool = False) -> Request:
        message["id"] = next(self._ids)
        request = Request(message, unanswered, internal)
        if unanswered:
            self._requests[message["id"]] = request
            self.outbox.append(message)
        return request

    def _repeat_requests(self) -> set[str]:
        """Send the users' requests again and forget internal ones; returns the symbols this subscribes."""
        repeated: set[str] = set()
        requests, self._requests = self._requests, {}
        for request in requests.values():
            if request.internal or request.message["op"] == "unsubscribe":
                request.unanswered.clear()  # a new connection has no subscriptions to end
                continue
            self._requests[request.message["id"]] = request
            self.outbox.append(request.message)
            if request.message["op"] == "subscribe":
                repeated.update(request.message["symbols"])
        return repeated

    def _answered(self, message: Message, symbol: str | None) -> None:
        """Record the answer for one symbol of a request, or for the whole request if `symbol` is None."""
        request = self._requests.get(message.get("id", 0))
        if request is None:
            return
        if symbol is None:
            request.unanswered.clear()
        request.unanswered.discard(symbol or "")
        if request.done:
            del self._requests[message["id"]]

    # --- updates

    def _refused(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self.wanted.pop(symbol, None)
            self.books.pop(symbol, None)
            self.updates.pop(symbol, None)

    def _report_state(self, symbol: str, book: ClientBook, change: Callable[[], None]) -> None:
        """Run `change`; queue a STATUS update if a book with a view has another state or reason."""
        before = book.state, book.stale_reason
        change()
        if book.has_view and (book.state, book.stale_reason) != before:
            self._queue(self._update(symbol, book, Kind.STATUS))

    def _update(
        self,
        symbol: str,
        book: ClientBook,
        kind: Kind,
        bids: Levels = (),
        asks: Levels = (),
        message: Message | None = None,
    ) -> BookUpdate:
        replica = book.replica
        merged, ts = (message.get("merged", 0), message.get("ts", 0)) if message else (0, 0)
        return BookUpdate(symbol, kind, book.state, replica.seq, replica.book, bids, asks, merged, ts)

    def _queue(self, update: BookUpdate) -> None:
        """Queue an update for the user; conflate it with a waiting one, so that memory stays bounded."""
        waiting = self.updates.get(update.symbol)
        self.updates[update.symbol] = conflate(waiting, update) if waiting else update
