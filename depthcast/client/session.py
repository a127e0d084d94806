"""The WebSocket client without its socket: messages in, messages out, updates for the user.

`ClientSession` outlives connections: it knows what is subscribed, holds the books, and asks again by itself when a view is
not continuous. What to send waits in `outbox`, what to tell the user in `updates`. Its shell is `depthcast.client.client`.
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
from depthcast.updates import BookUpdate, Kind, Levels, State, joined

logger = logging.getLogger(__name__)

EVERYTHING: Final = "*"
RESYNCS_MOST: Final = 10
"""So many snapshots in a row that do not lead to a right view: the server, or this program, is wrong."""


@dataclass
class ClientCounters:
    """What happened since the client was made.

    `merged`: broadcasts that were skipped by being merged into others, summed `merged` − 1. `ignored`: repeats, and
    messages of subscriptions already replaced. `resumed`: books that stood after a reconnect without a snapshot.
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
    """Something asked of the gateway. `left`: what it has not answered yet; `internal`: nobody waits for it."""

    message: dict[str, Any]
    left: set[str]
    internal: bool = False
    errors: list[ClientError] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not self.left

    def raise_errors(self) -> None:
        """Raise the first error; the others are notes on it."""
        if self.errors:
            first, *others = self.errors
            for other in others:
                first.add_note(str(other))
            raise first


class ClientSession:
    """Subscriptions, books and counters of one client.

    `credit_window`: snapshots and deltas that may be on their way, None = as many as TCP takes.
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
        self.try_later = False
        """The gateway has nothing yet: the connection is to be given up and made anew."""
        self._requests: dict[int, Request] = {}
        self._ids = count(1)
        self._spent = 0
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

    # --- what the user asks for

    def subscribe(self, symbols: Collection[str], subscription: SubscriptionOptions) -> Request:
        """Subscribe, or replace subscriptions; done when each symbol was answered."""
        for symbol in symbols:
            self.wanted[symbol] = subscription
            if symbol in self.books:
                self.books[symbol].subscription = subscription
        return self._subscribe(symbols, subscription, internal=False)

    def unsubscribe(self, symbols: Collection[str]) -> Request:
        """End subscriptions; done when each symbol was answered."""
        for symbol in symbols:
            self.wanted.pop(symbol, None)
        return self._ask({"op": "unsubscribe", "symbols": list(symbols)}, set(symbols))

    def ping(self) -> Request:
        """Done when the gateway has answered."""
        return self._ask({"op": "ping"}, {"pong"})

    def credit(self, messages: int) -> None:
        """Allow so many more snapshots and deltas; the first call turns credit on for the connection."""
        self.outbox.append({"op": "credit", "messages": messages})

    # --- what the connection does

    def connected(self) -> None:
        """A new connection stands: subscribe to everything again, offering to resume what is shown."""
        self.outbox.clear()
        self.try_later = False
        self._spent = 0
        if self.credit_window is not None:
            self.credit(self.credit_window)
        waiting = self._forget_requests()
        for subscription in sorted(set(self.wanted.values())):
            again = [s for s, held in self.wanted.items() if held == subscription and s not in waiting]
            if again:
                self._subscribe(again, subscription, internal=True, resume=True)

    def lost(self) -> None:
        """The connection has ended: every book is stale until it is known to stand."""
        for symbol, book in self.books.items():
            self._watched(symbol, book, book.ask)

    def receive(self, message: Message) -> None:
        """Take one message of the gateway; unknown types are ignored. Raises `ClientError` for one without sense."""
        self.counters.messages += 1
        handler = self._handlers.get(str(message.get("type")))
        if handler is None:
            return
        try:
            handler(message)
        except (CodecError, KeyError) as error:
            raise ClientError(
                "bad_message", f"{message.get('type')}: {error}", message.get("symbol")
            ) from error

    def pay_credit(self) -> None:
        """Give back the credit of what was read, half a window at a time."""
        if self.credit_window is not None and self._spent * 2 >= self.credit_window:
            self.credit(self._spent)
            self._spent = 0

    # --- messages

    def _on_welcome(self, message: Message) -> None:
        self.welcome = message

    def _on_subscribed(self, message: Message) -> None:
        symbol = message["symbol"]
        self._answered(message, symbol)
        subscription = self.wanted.get(symbol) or self.wanted.get(EVERYTHING)
        if subscription is None:
            return  # unsubscribed meanwhile
        book = self.books.setdefault(symbol, ClientBook(subscription))
        book.subscription = subscription
        was_shown = book.shows
        self._watched(symbol, book, lambda: book.subscribed(message))
        self.counters.resumed += was_shown and book.phase is Phase.FOLLOWING

    def _on_unsubscribed(self, message: Message) -> None:
        symbol = message["symbol"]
        self._answered(message, symbol)
        book = self.books.pop(symbol, None)
        if "reason" in message:
            self.wanted.pop(symbol, None)
            if book is not None:
                self._tell(
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
            self._watched(symbol, book, lambda: book.status(message))

    def _on_pong(self, message: Message) -> None:
        request = self._requests.pop(message.get("id", 0), None)
        if request is not None:
            request.left.clear()

    def _on_error(self, message: Message) -> None:
        symbol = message.get("symbol")
        error = ClientError(str(message.get("code")), str(message.get("message")), symbol)
        request = self._requests.get(message.get("id", 0))
        if request is not None and not request.internal:
            request.errors.append(error)
        elif request is not None and error.code == "unavailable":
            self.try_later = True
            return
        else:
            self.failures.append(error)
        if request is not None and request.message["op"] == "subscribe":
            self._refused([symbol] if symbol else request.message["symbols"])
        self._answered(message, symbol)

    # --- parts

    def _data(self, message: Message, kind: Kind) -> None:
        symbol = message["symbol"]
        self._spent += 1
        book = self.books.get(symbol)
        if book is None:
            self.counters.ignored += 1
            return
        before = book.state
        outcome = book.snapshot(message) if kind is Kind.SNAPSHOT else book.delta(message)
        if outcome is ApplyResult.APPLIED:
            bids, asks = (pairs(message["bids"]), pairs(message["asks"])) if kind is Kind.DELTA else ((), ())
            self._tell(self._update(symbol, book, kind, bids, asks, message))
        elif outcome is ApplyResult.ALREADY:
            self.counters.ignored += 1
        else:
            self._resync(symbol, book, outcome, before)

    def _resync(self, symbol: str, book: ClientBook, outcome: ApplyResult, before: State) -> None:
        self.counters.gaps += outcome is ApplyResult.GAP
        self.counters.mismatches += outcome is ApplyResult.MISMATCH
        book.ask()
        book.resyncs += 1
        logger.warning("taking a snapshot", extra={"symbol": symbol, "reason": outcome.value})
        if book.resyncs > RESYNCS_MOST:
            text = f"{RESYNCS_MOST} snapshots in a row did not lead to a continuous book ({outcome.value})"
            self.failures.append(ClientError("inconsistent", text, symbol))
            book.resyncs = 0
        self._subscribe([symbol], book.subscription, internal=True)
        if before is not book.state:
            self._tell(self._update(symbol, book, Kind.STATUS))

    def _subscribe(
        self,
        symbols: Iterable[str],
        subscription: SubscriptionOptions,
        *,
        internal: bool,
        resume: bool = False,
    ) -> Request:
        message: dict[str, Any] = {"op": "subscribe", "symbols": list(symbols), **subscription._asdict()}
        if resume and (offers := self._offers(message["symbols"])):
            message["resume"] = offers
        request = self._ask(message, set(message["symbols"]), internal=internal)
        if EVERYTHING in request.left:
            # How many symbols `*` stands for is not said: a ping behind it tells when all were answered.
            self.outbox.append({"op": "ping", "id": message["id"]})
        return request

    def _offers(self, symbols: Collection[str]) -> dict[str, dict[str, int]]:
        """States to resume from; `*` stands for the symbols that are not subscribed by name."""
        named = [symbol for symbol in symbols if symbol in self.books]
        if EVERYTHING in symbols:
            named += [symbol for symbol in self.books if symbol not in self.wanted]
        return {symbol: offer for symbol in named if (offer := self.books[symbol].resume) is not None}

    def _ask(self, message: dict[str, Any], left: set[str], *, internal: bool = False) -> Request:
        message["id"] = next(self._ids)
        request = Request(message, left, internal)
        if left:
            self._requests[message["id"]] = request
            self.outbox.append(message)
        return request

    def _forget_requests(self) -> set[str]:
        """Send again what somebody waits for, forget the rest; returns the symbols asked for by it."""
        waiting: set[str] = set()
        requests, self._requests = self._requests, {}
        for request in requests.values():
            if request.internal or request.message["op"] == "unsubscribe":
                request.left.clear()  # a new connection has no subscriptions to end
                continue
            self._requests[request.message["id"]] = request
            self.outbox.append(request.message)
            if request.message["op"] == "subscribe":
                waiting.update(request.message["symbols"])
        return waiting

    def _answered(self, message: Message, symbol: str | None) -> None:
        """One symbol of a request is settled, or all of it when `symbol` is None."""
        request = self._requests.get(message.get("id", 0))
        if request is None:
            return
        if symbol is None:
            request.left.clear()
        request.left.discard(symbol or "")
        if request.done:
            del self._requests[message["id"]]

    def _refused(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self.wanted.pop(symbol, None)
            self.books.pop(symbol, None)
            self.updates.pop(symbol, None)

    def _watched(self, symbol: str, book: ClientBook, change: Callable[[], None]) -> None:
        """Make a change, and tell the user if it changed the state of a book that shows."""
        before = book.state
        change()
        if book.shows and book.state is not before:
            self._tell(self._update(symbol, book, Kind.STATUS))

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

    def _tell(self, update: BookUpdate) -> None:
        """Keep an update for the user. Nobody reads it for long: it is merged, so that memory is bounded."""
        waiting = self.updates.get(update.symbol)
        self.updates[update.symbol] = joined(waiting, update) if waiting else update
