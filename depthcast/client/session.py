"""The WebSocket client without its socket: messages in, messages to send and updates for the user out.

A `ClientSession` outlives connections. It keeps the subscriptions and books, and subscribes again when a view
is not continuous. `depthcast.client.client` sends what is in `outbox` and delivers what is in `updates`.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from depthcast.client.book import (
    ClientBook,
    Message,
    Phase,
    SubscriptionOptions,
    because_of,
    event_ts_of,
    pairs,
)
from depthcast.client.requests import EVERYTHING, Request, Requests
from depthcast.shared.errors import ClientError, CodecError
from depthcast.shared.replica import ApplyResult
from depthcast.updates import BookUpdate, Kind, Levels, State, conflate

logger = logging.getLogger(__name__)

RESYNCS_MAX: Final = 10
"""After this many snapshots in a row without a continuous view the user gets an error: there is a bug."""


AUTH_ID: Final = "token"
"""The id of messages that present a token: those of other requests are numbers."""


@dataclass
class ClientCounters:
    """Counts since the client was made.

    - `messages`: all messages received. `snapshots`, `deltas`: how many of them were of that kind; each part
      of a snapshot counts.
    - `merged`: broadcasts that came merged into another delta: the sum of `merged` − 1 over all deltas.
    - `ignored`: repeated snapshots and deltas, and those of replaced subscriptions.
    - `gaps`: deltas, and parts of snapshots, that did not continue what was there. `mismatches`: books that
      differed from their digest. After each of them the client subscribed again.
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


class ClientSession:
    """Subscriptions, books and counters of one client.

    - `credit_window`: maximum number of snapshots and deltas in flight; None leaves the limit to TCP.
    - `wanted`: options of each subscription that the user requested, by symbol.
    - `books`: views by symbol. `updates`: updates that the user has not received yet, at most one per symbol.
    - `outbox`: messages to send. `failures`: errors that do not belong to a waiting request.
    - `welcome`: the gateway's greeting on this connection.
    - `gateway_not_ready`: the gateway has no instruments yet; connect again later.
    - `token_expires`: the gateway has said so of the token of this connection.
    - `token_refused`: why the gateway took no other one in its place, or "".
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
        self.token_expires = False
        self.token_refused = ""
        self._requests = Requests(self.outbox)
        self._without: set[str] = set()  # unsubscribed by name within a subscription to everything
        self._held: set[str] = set()  # symbols that the gateway said are subscribed on this connection
        self._places: dict[str, int] = {}  # of the request that began the book (`Request.place`)
        self._credit_used = 0
        self._handlers: dict[str, Callable[[Message], None]] = {
            "welcome": self._on_welcome,
            "subscribed": self._on_subscribed,
            "unsubscribed": self._on_unsubscribed,
            "snapshot": self._on_snapshot,
            "delta": self._on_delta,
            "status": self._on_status,
            "pong": self._on_pong,
            "expiring": self._on_expiring,
            "error": self._on_error,
        }

    # --- requests of the user

    def subscribe(self, symbols: Collection[str], options: SubscriptionOptions) -> Request:
        """Subscribe, or replace subscriptions; the request is done once every symbol has an answer."""
        for symbol in symbols:
            self.wanted[symbol] = options
        if EVERYTHING in symbols:
            self._without.clear()
        self._without.difference_update(symbols)
        return self._subscribe(symbols, options, internal=False)

    def unsubscribe(self, symbols: Collection[str]) -> Request:
        """End subscriptions; the request is done once every symbol has an answer."""
        if EVERYTHING in symbols:
            self.wanted.clear()
            self._without.clear()
        for symbol in symbols:
            self.wanted.pop(symbol, None)
        if EVERYTHING in self.wanted:
            self._without.update(symbols)
        return self._requests.make("unsubscribe", symbols, internal=False)

    def ping(self) -> Request:
        """Request a `pong`; the request is done when it arrives."""
        return self._requests.ping()

    def credit(self, messages: int) -> None:
        """Allow `messages` more snapshots and deltas; the first call turns on credit mode."""
        self.outbox.append({"op": "credit", "messages": messages})

    # --- events of the connection

    def connected(self) -> None:
        """Subscribe to everything again on a new connection, and offer to resume the views."""
        self.outbox.clear()
        self.gateway_not_ready = False
        self.token_expires = False
        self.token_refused = ""
        self._credit_used = 0
        self._held.clear()
        if self.credit_window is not None:
            self.credit(self.credit_window)
        for symbol in [symbol for symbol in self.books if self._options_of(symbol) is None]:
            self._forget(symbol)  # the answer to its unsubscribe was lost with the connection
        repeated = self._requests.lost(self.wanted)
        requested = {symbol for request in repeated for symbol in request.symbols}
        again = {symbol: options for symbol, options in self.wanted.items() if symbol not in requested}
        if EVERYTHING in requested:
            again.clear()  # a subscribe to everything that was not answered yet replaces them
        if everything := again.pop(EVERYTHING, None):
            # First, because it replaces the subscriptions by name.
            self._subscribe([EVERYTHING], everything, internal=True, resume=True)
        for request in repeated:
            self._requests.send(request)
        if self._without:
            self._requests.make("unsubscribe", sorted(self._without), internal=True)
        for options in sorted(set(again.values())):
            symbols = [symbol for symbol, wanted in again.items() if wanted == options]
            self._subscribe(symbols, options, internal=True, resume=True)

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

    def _on_expiring(self, _message: Message) -> None:
        self.token_expires = True

    def _on_subscribed(self, message: Message) -> None:
        symbol = message["symbol"]
        self._held.add(symbol)
        request = self._answered(message, symbol)
        options = self._options_of(symbol)
        if options is None or self._is_of_another(message, symbol, request, options):
            # It belongs to a subscription that the user has ended or replaced; so does all that follows it.
            self._wait(symbol)
            if request is None:
                self._say_again(symbol, options)
            return
        if request is not None and EVERYTHING in request.symbols:
            self.wanted.pop(symbol, None)  # the subscription to everything has replaced it
            options = self.wanted.get(EVERYTHING, options)
        if message.get("group", 1) != options.group:
            self._not_grouped(symbol, options, request)
            return
        book = self.books.setdefault(symbol, ClientBook(options))
        book.options = options
        if request is not None:
            self._places[symbol] = request.place
        had_view = book.has_view
        self._report_state(symbol, book, lambda: book.subscribed(message))
        self.counters.resumed += had_view and book.phase is Phase.CONTINUOUS

    def _say_again(self, symbol: str, options: SubscriptionOptions | None) -> None:
        """Tell the gateway what is wanted of a symbol if it does something else, and no request ends that."""
        if options is None:
            if not self._requests.is_leaving(symbol):
                self._requests.make("unsubscribe", [symbol], internal=True)
        elif not self._requests.is_replaced(symbol, 0):
            self._subscribe([symbol], options, internal=True)

    def _is_of_another(
        self, message: Message, symbol: str, request: Request | None, options: SubscriptionOptions
    ) -> bool:
        """Whether a `subscribed` is not the answer to the newest subscribe that covers the symbol."""
        if request is not None:
            return self._requests.is_replaced(symbol, request.place)
        # Without a request a subscription begins anew, for a new listing, or everything brings a new symbol.
        said = (message.get("depth"), message.get("group", 1), message.get("orders", False))
        fits = said == (options.depth, options.group, options.orders)
        return not fits or self._requests.is_awaited(symbol)

    def _on_unsubscribed(self, message: Message) -> None:
        symbol = message["symbol"]
        self._held.discard(symbol)
        request = self._answered(message, symbol)
        if request is not None and request.internal:
            self.books.pop(symbol, None)  # what waits for the user may say why
        elif "reason" not in message:
            self._forget(symbol)
        elif self._requests.is_awaited(symbol):
            self._wait(symbol)  # the subscription that is being replaced has ended
        else:
            self.wanted.pop(symbol, None)
            self._remove(symbol)

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
        request = self._answered(message, None)
        if request is None or EVERYTHING not in request.symbols or self.gateway_not_ready:
            return
        if self._requests.is_awaited(EVERYTHING):
            return  # the answer to a later one decides
        # The gateway has named all that there is; what it did not name is gone, what it refused goes on.
        for symbol in [*self.wanted]:
            is_newer = self._places.get(symbol, 0) > request.place or self._requests.is_awaited(symbol)
            if symbol != EVERYTHING and symbol not in request.refused and not is_newer:
                del self.wanted[symbol]
        self._ask_again()

    def _on_error(self, message: Message) -> None:
        if message.get("id") == AUTH_ID:
            self.token_refused = f"{message.get('code')}: {message.get('message')}"
            return
        symbol = message.get("symbol") or None
        error = ClientError(str(message.get("code")), str(message.get("message")), symbol)
        request = self._requests.answered_by(message)
        if request is None:
            self.failures.append(error)
            return
        if not request.internal:
            request.errors.append(error)
        elif error.code == "unavailable":
            self.gateway_not_ready = True
            return
        elif error.code != "not_subscribed":
            self.failures.append(error)
        refused = request.concerned(symbol)
        self._requests.note(request, symbol)
        if request.message["op"] == "subscribe":
            request.refused.update(refused)
            self._refused(refused, request, error)
        else:
            # There was no subscription to end, and so no view of it any more.
            for book in [*self.books] if EVERYTHING in refused else refused:
                if self._options_of(book) is None:
                    self._forget(book)

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
        if result is None:
            return  # further parts of the snapshot come first
        if result is ApplyResult.APPLIED:
            bids, asks = (pairs(message["bids"]), pairs(message["asks"])) if kind is Kind.DELTA else ((), ())
            self._queue(self._update(symbol, book, kind, bids, asks, message))
        elif result is ApplyResult.ALREADY:
            self.counters.ignored += 1
        else:
            self._resync(symbol, book, result, before)

    def _resync(self, symbol: str, book: ClientBook, result: ApplyResult, before: State) -> None:
        """Subscribe again after a gap or a mismatch, unless a subscribe is on its way or the user leaves."""
        self.counters.gaps += result is ApplyResult.GAP
        self.counters.mismatches += result is ApplyResult.MISMATCH
        book.restart()
        book.resyncs += 1
        logger.warning("subscribing again", extra={"symbol": symbol, "reason": result.value})
        if book.resyncs > RESYNCS_MAX:
            text = f"{RESYNCS_MAX} snapshots in a row did not lead to a continuous book ({result.value})"
            self.failures.append(ClientError("inconsistent", text, symbol))
            book.resyncs = 0
        options = self._options_of(symbol)
        # The answer to a subscribe that is on its way replaces it; asking by name would end what that brings.
        if options is not None and not self._requests.is_replaced(symbol, self._places.get(symbol, 0)):
            self._subscribe([symbol], options, internal=True)
        if before is not book.state:
            self._queue(self._update(symbol, book, Kind.STATUS))

    def _ask_again(self) -> None:
        """Once everything is answered: subscribe by name to what has no view, forget what nobody named."""
        if self._requests.is_awaited(EVERYTHING):
            return
        for symbol in sorted({*self.books, *self.wanted, *self._held} - {EVERYTHING}):
            book, options = self.books.get(symbol), self._options_of(symbol)
            has_begun = book is not None and book.phase is not Phase.SUBSCRIBING
            if has_begun or self._requests.is_awaited(symbol):
                continue
            if options is None:
                if not self._requests.is_leaving(symbol):
                    self._forget(symbol)
            elif symbol in self.wanted or symbol in self._held:
                self._subscribe([symbol], options, internal=True)
            else:
                self._remove(symbol)

    def _wait(self, symbol: str) -> None:
        """Let the book, if there is one, wait for the answer to a subscribe; nothing else is for it."""
        if book := self.books.get(symbol):
            self._report_state(symbol, book, book.restart)

    def _forget(self, symbol: str) -> None:
        self.books.pop(symbol, None)
        self._places.pop(symbol, None)
        self.updates.pop(symbol, None)

    def _remove(self, symbol: str) -> None:
        """Forget a book, and tell the user, who did not end its subscription."""
        book = self.books.get(symbol)
        self._forget(symbol)
        if book is not None:
            self._queue(BookUpdate(symbol, Kind.STATUS, State.REMOVED, book.replica.seq, book.replica.book))

    # --- subscriptions

    def _subscribe(
        self,
        symbols: Iterable[str],
        options: SubscriptionOptions,
        *,
        internal: bool,
        resume: bool = False,
    ) -> Request:
        named = list(symbols)
        fields: dict[str, Any] = {**options.fields(), "parts": True}
        if resume and (offers := self._resume_offers(named)):
            fields["resume"] = offers
        return self._requests.make("subscribe", named, internal=internal, **fields)

    def _resume_offers(self, symbols: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the states to resume from; `*` stands for the symbols that are not subscribed by name."""
        named = [symbol for symbol in symbols if symbol in self.books]
        if EVERYTHING in symbols:
            named += [symbol for symbol in self.books if symbol not in self.wanted]
        return {symbol: offer for symbol in named if (offer := self.books[symbol].resume) is not None}

    def _options_of(self, symbol: str) -> SubscriptionOptions | None:
        """Options that the user wants for `symbol`, None if it is to have no subscription."""
        everything = None if symbol in self._without else self.wanted.get(EVERYTHING)
        return self.wanted.get(symbol, everything)

    def _answered(self, message: Message, symbol: str | None) -> Request | None:
        """Record an answer (see `Requests.note`); returns its request, None if it has none."""
        request = self._requests.answered_by(message)
        if request is not None:
            self._requests.note(request, symbol)
        return request

    def _refused(self, symbols: Iterable[str], request: Request, error: ClientError) -> None:
        """The gateway did not subscribe. What was subscribed before goes on."""
        for symbol in symbols:
            if self._requests.is_replaced(symbol, request.place):
                continue  # a newer request is on its way
            if symbol == EVERYTHING:
                self._refused_everything(error)
            elif self._options_of(symbol) is not None and not (
                # Once everything is answered, it is asked for again by name.
                EVERYTHING in request.symbols and symbol in self.wanted
            ):
                self._go_on(symbol)

    def _refused_everything(self, error: ClientError) -> None:
        if error.code == "limit" or EVERYTHING not in self.wanted:
            return  # only some symbols were refused, or the user has left
        if error.code != "rate_limited":
            # With rate_limited, the gateway goes on with what it has answered, and with what is listed later.
            del self.wanted[EVERYTHING]
            for symbol in sorted({*self.books, *self._held} - self.wanted.keys()):
                self._go_on(symbol)
        self._ask_again()

    def _go_on(self, symbol: str) -> None:
        """Go on with the subscription that a refused one was to replace; without a view of it, end it."""
        book = self.books.get(symbol)
        if book is not None and book.phase is not Phase.SUBSCRIBING:
            self.wanted[symbol] = book.options
            return
        self.wanted.pop(symbol, None)
        self._remove(symbol)
        if symbol in self._held:
            self._requests.make("unsubscribe", [symbol], internal=True)

    def _not_grouped(self, symbol: str, options: SubscriptionOptions, request: Request | None) -> None:
        """End a subscription that is not grouped as requested: older gateways ignore `group`.

        The book of another group would pass every check of its digests, so it must not be shown.
        """
        text = f"the gateway does not group levels by {options.group} ticks; its version is too old"
        error = ClientError("not_grouped", text, symbol)
        if request is None or request.internal:
            self.failures.append(error)
        else:
            request.errors.append(error)
        self.wanted.pop(symbol, None)
        if EVERYTHING in self.wanted:
            self._without.add(symbol)
        self._remove(symbol)
        self._requests.make("unsubscribe", [symbol], internal=True)

    # --- updates

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
        update = BookUpdate(symbol, kind, book.state, replica.seq, replica.book, bids, asks)
        if message is None:
            return update
        merged, ts = message.get("merged", 0), message.get("ts", 0)
        return update._replace(
            merged=merged, ts=ts, event_ts=event_ts_of(message), because=because_of(message)
        )

    def _queue(self, update: BookUpdate) -> None:
        """Queue an update for the user; conflate it with a waiting one, so that memory stays bounded."""
        waiting = self.updates.get(update.symbol)
        self.updates[update.symbol] = conflate(waiting, update) if waiting else update
