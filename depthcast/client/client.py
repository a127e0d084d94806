"""The WebSocket client: books that stay correct through gaps, slow readers and lost connections.

    async with connect("http://127.0.0.1:8080") as client:
        await client.subscribe(["BTC-USD"], depth=10)
        async for update in client:
            print(update.symbol, update.seq, update.book.bids.best(), update.book.asks.best())

Every snapshot and delta is checked against its digest. After a gap or a mismatch the client subscribes again.
After a lost connection it connects again, with growing, jittered waits, and resumes its books. Until then the
books stay readable and are marked stale.

The client reads only while somebody awaits it. A user who iterates slowly leaves messages in the socket, so
the gateway notices and sends merged ones. Updates that arrive during another call, such as `subscribe` or
`follow`, are conflated to at most one per symbol.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Self

from depthcast.client.book import ClientBook, SubscriptionOptions
from depthcast.client.requests import Request
from depthcast.client.session import AUTH_ID, ClientCounters, ClientSession
from depthcast.client.token import Token, current
from depthcast.client.transport import ConnectionLost, Dial, Transport
from depthcast.client.websocket import dialer
from depthcast.frames import WithFrames
from depthcast.shared.backoff import Backoff
from depthcast.shared.book import Book
from depthcast.shared.close_codes import CloseCode, Reconnect
from depthcast.shared.errors import ClientError
from depthcast.shared.sizes import Sizes
from depthcast.updates import BookUpdate, OnUpdate, State, deliver, names_of

logger = logging.getLogger(__name__)

HEARTBEATS_MISSED: Final = 3
"""A connection counts as dead after this many heartbeat intervals of silence."""

HEARTBEAT_MS: Final = 5000
"""Heartbeat interval assumed until `welcome` names the gateway's."""

REFRESH_AGAIN_S: Final = 1.0
"""Wait before another token is asked for, after one that was refused, or none."""

BEFORE_SERVICE: Final = ("welcome", "authenticated", "expiring", "error")
"""Messages that do not count as success: an overloaded gateway accepts a connection and closes it again."""


def connect(
    url: str,
    encoding: str = "json",
    *,
    token: Token = None,
    ssl: SSLContext | None = None,
    credit_window: int | None = None,
    backoff_s: tuple[float, float] = (0.2, 10.0),
    wrap_transport: Callable[[Transport], Transport] | None = None,
) -> "Client":
    """Make a client for the gateway at `url`; it connects at `async with`.

    Args:
        url: Address of the gateway: `http://host:port`, `https://…`, or a full `ws://…/v1/ws`.
        encoding: `json` or `msgpack`.
        token: Presented as `Authorization: Bearer`. A function, or a coroutine function, is called for each
            connection, and before the token expires.
        ssl: For `https://`: whom to trust, and the certificate of a client that needs one, such as
            `ssl.create_default_context(cafile="ca.pem")`. None trusts whom the system trusts.
        credit_window: Maximum number of snapshots and deltas in flight. None leaves the limit to TCP, which
            does not limit anything behind a proxy that buffers.
        backoff_s: First and longest wait before connecting again, in seconds; waits double in between.
        wrap_transport: For tests: gets each connection and returns the one to use instead.

    Raises:
        ClientError: `bad_url` or `bad_encoding` here; at `async with`, `unreachable` or the code of the
            gateway's answer to the handshake. `depthcast.shared.error_codes` lists all codes.
    """
    dial = dialer(url, encoding, token, ssl)

    async def dial_wrapped() -> Transport:
        transport = await dial()
        return wrap_transport(transport) if wrap_transport else transport

    return Client(dial_wrapped, ClientSession(credit_window), Backoff(*backoff_s, random.random), token)


class Client(WithFrames):
    """A connection to a gateway with the books subscribed on it; made by `connect`, used with `async with`.

    `async for` delivers a `BookUpdate` for each snapshot, delta and change of state, and never ends by
    itself. It raises `ClientError`. The code `closed` means that the connection ended for good or the client
    was closed; every later call raises it too. Other codes concern one message or symbol; iterate again to
    continue.

    Several tasks may await the client at the same time; one is enough to read.
    """

    def __init__(self, dial: Dial, session: ClientSession, backoff: Backoff, token: Token = None) -> None:
        self.session = session
        self._dial = dial
        self._backoff = backoff
        self._token = token
        self._refreshing: asyncio.Task[None] | None = None
        self._wait_min_s = 0.0
        self._reconnect_at: float | None = None
        self._transport: Transport | None = None
        self._reading = asyncio.Lock()
        self._ended: ClientError | None = None

    @property
    def counters(self) -> ClientCounters:
        """Counts of messages, gaps, reconnects and so on since the client was made."""
        return self.session.counters

    @property
    def connected(self) -> bool:
        """Whether there is a connection now; without one, all books are stale."""
        return self._transport is not None

    @property
    def ended(self) -> ClientError | None:
        """The error that ended this client for good, and that every call raises; None while it goes on."""
        return self._ended

    def book(self, symbol: str) -> Book:
        """Return the book, empty until its first snapshot; raises `ClientError` (`not_subscribed`)."""
        return self._subscribed_book(symbol).replica.book

    def seq(self, symbol: str) -> int:
        """Return the sequence number of the book of `symbol`, 0 before its first snapshot."""
        return self._subscribed_book(symbol).replica.seq

    def digest(self, symbol: str) -> int:
        """Return the digest of the book of `symbol` (`docs/protocol.md`, section 1.2)."""
        return self._subscribed_book(symbol).replica.digest

    def state(self, symbol: str) -> State:
        """Return whether the book of `symbol` is LIVE or STALE."""
        return self._subscribed_book(symbol).state

    def stale_reason(self, symbol: str) -> str | None:
        """Return why a producer calls the book of `symbol` stale; None if no producer does."""
        return self._subscribed_book(symbol).stale_reason

    def event_ts(self, symbol: str) -> int | None:
        """Return the newest time at the source of what the book of `symbol` includes, µs since 1970.

        None if the producer names none. Levels beyond the subscribed depth do not count.
        """
        return self._subscribed_book(symbol).replica.event_ts

    def input_age_ms(self, symbol: str) -> int | None:
        """Return how old the last input of `symbol` was when the gateway called its book stale for that.

        None if that is not why it is stale, as where the gateway's `input_age_max_ms` is not set.
        """
        return self._subscribed_book(symbol).input_age_ms

    def sizes(self, symbol: str) -> Sizes:
        """Return tick size and lot size of `symbol` as decimal text, such as `("0.01", "0.001")`."""
        return self._subscribed_book(symbol).sizes

    async def subscribe(
        self,
        symbols: str | Collection[str],
        depth: int = 25,
        interval_ms: int = 0,
        group: int = 1,
        *,
        orders: bool = False,
    ) -> None:
        """Subscribe to `symbols`; returns when the gateway has answered for each.

        Args:
            symbols: A name, several, or `"*"` for all instruments, including later ones. A symbol that is
                already subscribed gets the new options.
            depth: Levels per side: 1, 5, 10, 25, 50, 100, 500, 1000, or 0 for the full book.
            interval_ms: Least time between two deltas of a symbol, in milliseconds; 0 sends every delta.
            group: Ticks per level: the gateway rounds bids down and asks up to multiples of it, and sums
                their quantities. `depth` counts these levels. 1 leaves the book as it is.
            orders: With the number of orders at each level: `book.bids.top_orders(depth)`, or
                `book.bids.orders` by price. An update may then have levels whose quantity is as before. Only
                of symbols whose feed names orders; others are refused (`no_orders`).

        Raises:
            ClientError: For the first symbol refused (`unknown_symbol`, `limit`, …); further refusals are
                notes on it. All other symbols are subscribed. `not_grouped`: the gateway is too old to
                know `group`.
        """
        options = SubscriptionOptions(depth, interval_ms, group, orders)
        await self._complete(self.session.subscribe(names_of(symbols), options))

    async def unsubscribe(self, symbols: str | Collection[str]) -> None:
        """End subscriptions; afterwards no update of `symbols` is delivered. Raises `ClientError`."""
        await self._complete(self.session.unsubscribe(names_of(symbols)))

    async def credit(self, messages: int) -> None:
        """Allow `messages` more snapshots and deltas. Use either this or `credit_window`."""
        self.session.credit(messages)
        await self._flush()

    async def ping(self) -> float:
        """Return the round trip time to the gateway in seconds."""
        begun = time.perf_counter()
        await self._complete(self.session.ping())
        return time.perf_counter() - begun

    async def wait_for(self, symbol: str, seq: int = 0) -> Book:
        """Read until the book of `symbol` is live at `seq` or later; returns the book.

        There is no time limit: use `asyncio.timeout` to set one.
        """

        def reached() -> bool:
            book = self.session.books.get(symbol)
            return book is not None and book.state is State.LIVE and book.replica.seq >= max(seq, 1)

        await self._read_until(reached)
        return self.book(symbol)

    async def follow(self) -> None:
        """Keep the books up to date until the client ends, then raise what ended it; run it as a task.

        It takes no updates: whoever iterates gets them, at most one per symbol. Errors that concern one
        message or symbol are logged.
        """
        while True:
            try:
                await self._read_until(lambda: False)
            except ClientError as error:
                if self._ended is not None:
                    raise
                logger.warning("going on after an error", extra={"code": error.code, "reason": str(error)})

    async def run(self, on_update: OnUpdate) -> None:
        """Call `on_update` with each update until the client ends.

        Raises `ClientError`, as iterating does, and whatever `on_update` raises; run it again to continue.
        """
        await deliver(self, on_update)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BookUpdate:
        updates = self.session.updates
        await self._read_until(lambda: bool(updates))
        return updates.pop(next(iter(updates)))

    async def __aenter__(self) -> Self:
        try:
            await self._connect()
        except ConnectionLost as lost:
            raise ClientError("unreachable", str(lost.reason or lost)) from lost
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = self._ended or ClientError("closed", "the client was closed")
        self._stop_refreshing()
        if self._transport is not None:
            await self._transport.close()

    def _subscribed_book(self, symbol: str) -> ClientBook:
        book = self.session.books.get(symbol)
        if book is None:
            raise ClientError("not_subscribed", "there is no subscription", symbol)
        return book

    async def _complete(self, request: Request) -> None:
        """Send a request and read until it is answered; raises its errors."""
        await self._flush()
        await self._read_until(lambda: request.done)
        request.raise_errors()

    async def _read_until(self, done: Callable[[], bool]) -> None:
        """Read until `done`. One task reads for all that wait; the lock passes the turn on in order."""
        while not done():
            async with self._reading:
                if not done():
                    await self._step()

    async def _step(self) -> None:
        """Read one message, or make one attempt to connect again."""
        if self._ended is not None:
            raise self._ended
        try:
            if self._transport is None:
                await self._reconnect()
                return
            self.session.return_credit()
            await self._flush()
            message = await self._receive(self._transport)
            self.session.receive(message)
            self._begin_to_refresh(self._transport)
            if message.get("type") not in BEFORE_SERVICE:
                self._backoff.reset()
        except ConnectionLost as lost:
            await self._disconnect(lost)
        await self._flush()
        if self.session.gateway_not_ready:
            await self._disconnect(
                ConnectionLost(CloseCode.OVERLOADED, "the gateway knows no instruments yet")
            )
        if self.session.failures:
            failure = self.session.failures.popleft()
            if failure.code != "unauthorized" or not callable(self._token):
                raise failure
            logger.warning("the token was refused", extra={"reason": str(failure)})

    async def _receive(self, transport: Transport) -> Mapping[str, Any]:
        """Return the next message; after `HEARTBEATS_MISSED` silent heartbeats the connection is lost."""
        heartbeat_ms = self.session.welcome.get("heartbeat_ms", HEARTBEAT_MS)
        silence_s = HEARTBEATS_MISSED * max(heartbeat_ms, 1000) / 1000
        try:
            async with asyncio.timeout(silence_s):
                return await transport.receive()
        except TimeoutError:
            raise ConnectionLost(CloseCode.LOST, f"nothing came for {silence_s:g} s") from None

    async def _flush(self) -> None:
        """Send the session's outgoing messages. If the connection is lost, the reading task notices."""
        outbox, transport = self.session.outbox, self._transport
        try:
            while outbox and transport is not None and transport is self._transport:
                await transport.send(outbox.popleft())
        except ConnectionLost as lost:
            logger.debug("could not send", extra={"reason": str(lost)})

    async def _disconnect(self, lost: ConnectionLost) -> None:
        """Give up the connection; raises `ClientError` if its close code says not to connect again."""
        transport, self._transport = self._transport, None
        # Decided before anything is awaited, because the reading task may be cancelled.
        self._wait_min_s = 0.0 if lost.closing.reconnect is Reconnect.AT_ONCE else self._backoff.first_s
        self._reconnect_at = None
        if lost.closing.reconnect is Reconnect.NEVER and not self._another_token_may_do(lost):
            self._ended = ClientError("closed", str(lost))
        if transport is not None:
            self._stop_refreshing()
            self.session.disconnected()
            await transport.close()
        if self._ended is not None:
            raise self._ended from lost
        logger.warning("connecting again", extra={"reason": str(lost)})

    def _another_token_may_do(self, lost: ConnectionLost) -> bool:
        """Whether the connection ended for its token, and the user gives fresh ones."""
        return lost.code == CloseCode.UNAUTHORIZED and callable(self._token)

    def _begin_to_refresh(self, transport: Transport) -> None:
        """Present a fresh token if the gateway wants one, after a while if it did not take another."""
        expires, refused = self.session.token_expires, self.session.token_refused
        if not (expires or refused) or self._refreshing is not None or not callable(self._token):
            return
        if refused:
            logger.warning("the token was refused", extra={"reason": refused})
        wait_s = REFRESH_AGAIN_S if refused else 0.0
        self._refreshing = asyncio.create_task(self._refresh(transport, wait_s), name="refresh")

    async def _refresh(self, transport: Transport, wait_s: float) -> None:
        """Present a fresh token on the connection that is open, as soon as there is one."""
        self.session.token_expires, self.session.token_refused = False, ""
        try:
            token = None
            while not token:
                await asyncio.sleep(wait_s)
                token, wait_s = await self._fresh(), REFRESH_AGAIN_S
        finally:
            if self._refreshing is asyncio.current_task():
                self._refreshing = None
        if transport is self._transport:
            self.session.outbox.append({"op": "auth", "id": AUTH_ID, "token": token})
            await self._flush()

    async def _fresh(self) -> str | None:
        try:
            return await current(self._token)
        except Exception as error:  # noqa: BLE001  # of the user
            logger.warning("no fresh token could be had", extra={"reason": type(error).__name__})
            return None

    def _stop_refreshing(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None

    async def _reconnect(self) -> None:
        """Wait and connect again. A cancelled wait continues later: users' timeouts may be short."""
        now = asyncio.get_running_loop().time()
        if self._reconnect_at is None:
            wait_s = self._wait_min_s + self._backoff.next_s()
            self._reconnect_at = now + wait_s
        else:
            wait_s = max(self._reconnect_at - now, 0.0)
        await asyncio.sleep(wait_s)
        await self._connect()
        self.counters.reconnects += 1

    async def _connect(self) -> None:
        try:
            self._transport = await self._dial()
        except ClientError as error:
            self._ended = error
            raise
        self.session.connected()
        await self._flush()
