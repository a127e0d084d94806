"""The WebSocket client: books that stay right through gaps, slow readers and lost connections.

    async with connect("http://127.0.0.1:8080") as client:
        await client.subscribe(["BTC-USD"], depth=10)
        async for update in client:
            print(update.symbol, update.seq, update.book.bids.best(), update.book.asks.best())

Every snapshot and delta is checked against its digest. After a gap or a mismatch the client subscribes again; after a
lost connection it comes back with growing, jittered waits and resumes where its books stand. Meanwhile the books are
still there, marked stale.

It is driven by whoever awaits it, and reads nothing in between: a user who iterates slowly leaves messages in the
socket, so that the gateway notices and sends merged ones. Updates that arrive while only a call such as `subscribe` is
awaited are kept merged, at most one a symbol.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Final, Self

from depthcast.client.book import ClientBook, SubscriptionOptions
from depthcast.client.session import ClientCounters, ClientSession, Request
from depthcast.client.transport import ConnectionLost, Dial, Transport
from depthcast.client.websocket import dialer
from depthcast.shared.backoff import Backoff
from depthcast.shared.book import Book
from depthcast.shared.close_codes import CloseCode, Reconnect
from depthcast.shared.errors import ClientError
from depthcast.updates import BookUpdate, State

logger = logging.getLogger(__name__)

HEARTBEATS_MISSED: Final = 3
"""So many heartbeat intervals of silence mean a dead connection."""

HEARTBEAT_MS: Final = 5000

BEFORE_SERVICE: Final = ("welcome", "error")
"""A connection that brings only these is no success yet: an overloaded gateway accepts and closes again."""


def connect(
    url: str,
    encoding: str = "json",
    *,
    token: str | None = None,
    credit_window: int | None = None,
    backoff_s: tuple[float, float] = (0.2, 10.0),
    tap: Callable[[Transport], Transport] | None = None,
) -> "Client":
    """A client of the gateway at `url` (`http://host:port`, or a full `ws://…/v1/ws`), to be used with `async with`.

    Args:
        url: Where the gateway is.
        encoding: `json` or `msgpack`.
        token: Sent as `Authorization: Bearer`.
        credit_window: Snapshots and deltas that may be on their way at once; None leaves the limit to TCP, which
            proxies on the way defeat.
        backoff_s: First and longest wait before connecting again.
        tap: Wraps every connection made, for tests.

    Raises:
        ClientError: At `async with`, when the gateway cannot be reached or refuses; `code` says why.
    """
    dial = dialer(url, encoding, token)

    async def tapped() -> Transport:
        transport = await dial()
        return tap(transport) if tap else transport

    return Client(tapped, ClientSession(credit_window), Backoff(*backoff_s, random.random))


class Client:
    """See `connect`. One reader at a time is enough, but several tasks may await it."""

    def __init__(self, dial: Dial, session: ClientSession, backoff: Backoff) -> None:
        self.session = session
        self._dial = dial
        self._backoff = backoff
        self._transport: Transport | None = None
        self._wait_least_s = 0.0
        self._reading = asyncio.Lock()
        self._ended: ClientError | None = None

    @property
    def counters(self) -> ClientCounters:
        """What happened so far."""
        return self.session.counters

    def book(self, symbol: str) -> Book:
        """The view of `symbol` now; empty until its first snapshot. Raises `ClientError` when not subscribed."""
        return self._held(symbol).replica.book

    def seq(self, symbol: str) -> int:
        """The state the view of `symbol` is at, 0 before its first snapshot."""
        return self._held(symbol).replica.seq

    def digest(self, symbol: str) -> int:
        """The digest of the view of `symbol`."""
        return self._held(symbol).replica.digest

    def state(self, symbol: str) -> State:
        """Whether the view of `symbol` is live or stale."""
        return self._held(symbol).state

    def sizes(self, symbol: str) -> tuple[str, str]:
        """Tick and lot size of `symbol` as decimal text. Raises `ClientError` when not subscribed."""
        held = self._held(symbol)
        return held.tick_size, held.lot_size

    async def subscribe(self, symbols: Collection[str], depth: int = 25, interval_ms: int = 0) -> None:
        """Subscribe to `symbols` (`["*"]`: all, later ones too); returns when the gateway has answered for each.

        Raises `ClientError` for the first symbol refused, with the others as notes; the rest are subscribed.
        """
        await self._settled(self.session.subscribe(symbols, SubscriptionOptions(depth, interval_ms)))

    async def unsubscribe(self, symbols: Collection[str]) -> None:
        """End subscriptions; nothing of `symbols` comes after it. Raises `ClientError`."""
        await self._settled(self.session.unsubscribe(symbols))

    async def credit(self, messages: int) -> None:
        """Allow so many more snapshots and deltas. By hand, instead of `credit_window`."""
        self.session.credit(messages)
        await self._flush()

    async def ping(self) -> float:
        """Round trip to the gateway in seconds."""
        begun = time.perf_counter()
        await self._settled(self.session.ping())
        return time.perf_counter() - begun

    async def wait_for(self, symbol: str, seq: int = 0) -> Book:
        """Read until `symbol` is live at `seq` or later; returns its book. Use `asyncio.timeout` for a deadline."""

        def there() -> bool:
            book = self.session.books.get(symbol)
            return book is not None and book.state is State.LIVE and book.replica.seq >= max(seq, 1)

        await self._until(there)
        return self.book(symbol)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BookUpdate:
        updates = self.session.updates
        await self._until(lambda: bool(updates))
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
        if self._transport is not None:
            await self._transport.close()

    def _held(self, symbol: str) -> ClientBook:
        book = self.session.books.get(symbol)
        if book is None:
            raise ClientError("not_subscribed", "there is no subscription", symbol)
        return book

    async def _settled(self, request: Request) -> None:
        await self._flush()
        await self._until(lambda: request.done)
        request.raise_errors()

    async def _until(self, done: Callable[[], bool]) -> None:
        """Read until `done`. Whoever waits reads for all; the lock passes the work on in order."""
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
            self.session.pay_credit()
            await self._flush()
            message = await self._received(self._transport)
            self.session.receive(message)
            if message.get("type") not in BEFORE_SERVICE:
                self._backoff.reset()
        except ConnectionLost as lost:
            await self._lose(lost)
        await self._flush()
        if self.session.try_later:
            await self._lose(ConnectionLost(CloseCode.OVERLOADED, "the gateway knows no instruments yet"))
        if self.session.failures:
            raise self.session.failures.popleft()

    async def _received(self, transport: Transport) -> Mapping[str, Any]:
        heartbeat_ms = self.session.welcome.get("heartbeat_ms", HEARTBEAT_MS)
        silence_s = HEARTBEATS_MISSED * max(heartbeat_ms, 1000) / 1000
        try:
            async with asyncio.timeout(silence_s):
                return await transport.receive()
        except TimeoutError:
            raise ConnectionLost(CloseCode.LOST, f"nothing came for {silence_s:g} s") from None

    async def _flush(self) -> None:
        """Send what waits. A lost connection shows to whoever reads."""
        outbox, transport = self.session.outbox, self._transport
        try:
            while outbox and transport is not None and transport is self._transport:
                await transport.send(outbox.popleft())
        except ConnectionLost as lost:
            logger.debug("could not send", extra={"reason": str(lost)})

    async def _lose(self, lost: ConnectionLost) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            self.session.lost()
            await transport.close()
        if lost.closing.reconnect is Reconnect.NEVER:
            self._ended = ClientError("closed", str(lost))
            raise self._ended from lost
        self._wait_least_s = 0.0 if lost.closing.reconnect is Reconnect.AT_ONCE else self._backoff.first_s
        logger.warning("connecting again", extra={"reason": str(lost)})

    async def _reconnect(self) -> None:
        await asyncio.sleep(self._wait_least_s + self._backoff.next_s())
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
