"""One WebSocket connection to a venue: subscribes, reads, stays alive, and gets snapshots for its adapter."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

import aiohttp

from depthcast.feed.venue import (
    Adapter,
    Alive,
    Closing,
    Doubt,
    Output,
    Profile,
    Refresh,
    Refused,
    Reply,
    Request,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.runtime.venue_quiet import QuietBooks
from depthcast.runtime.venue_rest import RequestFailed, VenueRest
from depthcast.shared.backoff import Backoff

logger = logging.getLogger(__name__)

CONNECT_S: Final = 15.0
CLOSE_S: Final = 1.0
MESSAGE_BYTES_MAX: Final = 32 << 20
MESSAGES_AT_ONCE: Final = 64
"""Messages that are taken before other tasks have their turn."""

PINGS_PER_SILENCE: Final = 3
"""A connection without a message is pinged so often before it counts as dead."""

ATTEMPTS_MOST: Final = 3
"""A connection is given up if no symbol has a book after so many subscriptions of one."""

FAILURES_MOST: Final = 6
"""After so many doubts of a book, or subscriptions that brought none, only a new connection may help."""

SNAPSHOT_WAIT_S_MAX: Final = 300.0
"""The wait for a snapshot doubles up to this with each attempt."""

ASK_AGAIN_S: Final = 0.1
"""An adapter that wants no snapshot yet is asked again after this time."""

RECOVERY_S: Final = 0.1
RECOVERY_S_MAX: Final = 10.0
"""First and longest wait before a symbol is subscribed again or its snapshot is requested again; never beyond
`Limits.retry_max_s`."""

CALM_S: Final = 30.0
"""After so long without a doubt, the waits begin with the shortest one again."""


@dataclass
class ConnectionCounts:
    """Counts of all connections of a feed."""

    connects: int = 0
    disconnects: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    failed_requests: int = 0
    resubscriptions: int = 0
    checks: dict[str, int] = field(default_factory=dict)
    last_message_at: float = 0.0


@dataclass(frozen=True)
class Limits:
    """What a connection keeps to, beside the venue's profile; times in seconds.

    - `silence_s`: without anything from the venue for so long, a connection is dead.
    - `quiet_s`: without a message of a book for so long, it is checked; 0: never.
    - `snapshot_wait_s`: a snapshot that was asked for comes within this time, or is asked for again.
    - `retry_max_s`: longest wait between two attempts of one kind.
    """

    silence_s: float
    quiet_s: float
    snapshot_wait_s: float
    lifetime_s: float
    retry_max_s: float


class Receiver(Protocol):
    """What a connection gives its outputs to."""

    def take(self, number: int, output: Snapshot | Update | Doubt) -> bool:
        """Take an output about a book; True: a new snapshot is needed, which the adapter does not know."""
        ...

    def refused(self, number: int, refused: Refused) -> None:
        """Take a refusal of one symbol, or of the connection."""
        ...


class ConnectionEnded(Exception):
    """The connection is over; `reason` in a word, for metrics, `detail` in words."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class SendSchedule:
    """Says when the next message may be sent, so that no second has more than allowed."""

    def __init__(self, per_s: float) -> None:
        self._apart_s = 1.0 / per_s if per_s > 0 else 0.0
        self._next_at = 0.0

    async def until_due(self) -> None:
        """Wait until a message may be sent."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next_at)
        self._next_at = at + self._apart_s
        if at > now:
            await asyncio.sleep(at - now)


class VenueConnection:
    """One connection from dial to end, with an adapter of its own.

    - `number`: higher than that of any connection before.
    - `synced`: symbols whose snapshot came and that are in no doubt since.
    - `closing`: the venue said that it ends the connection soon, or a book wants a new snapshot, or a check,
      that only a new connection brings.
    """

    def __init__(
        self,
        number: int,
        symbols: Sequence[str],
        *,
        profile: Profile,
        adapter: Adapter,
        session: aiohttp.ClientSession,
        ws_url: str,
        rest: VenueRest,
        limits: Limits,
        receiver: Receiver,
        counts: ConnectionCounts,
    ) -> None:
        self.number = number
        self.symbols = list(symbols)
        self.profile = profile
        self.adapter = adapter
        self.rest = rest
        self.limits = limits
        self.counts = counts
        self.synced: set[str] = set()
        self.opened_at: float | None = None
        self.closing = asyncio.Event()
        self._session = session
        self._url = ws_url
        self._receiver = receiver
        self._schedule = SendSchedule(profile.sends_per_s)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._recovering: dict[str, asyncio.Task[None]] = {}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._failures: Counter[str] = Counter()
        self._synced_at: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._quiet = QuietBooks(limits.quiet_s, self)
        self._heard_at = 0.0
        self._failure: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Dial and stay connected; raises `ConnectionEnded` in the end, after one `Doubt` for each book."""
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        try:
            socket = self._socket = await self._dial()
            self.opened_at = self._heard_at = loop.time()
            self.counts.connects += 1
            self._start(self._begin())
            self._start(self._tend())
            self._start(self._quiet.run())
            reading = self._start(self._read(socket))
            await asyncio.wait([reading, self._failure], return_when=asyncio.FIRST_COMPLETED)
            self._failure.result()  # raises, or the reader set it
        finally:
            await self._end()

    def end(self, reason: str, detail: str) -> None:
        """End the connection; the first reason counts."""
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(ConnectionEnded(reason, detail))

    def leave(self, symbol: str) -> None:
        """Ask for nothing of a symbol any more."""
        if symbol in self.symbols:
            self.symbols.remove(symbol)
            self._forget(symbol)
            self._cancel_recovery(symbol)
            self._cancel_refresh(symbol)
            payloads = self.adapter.unsubscribe([symbol])
            if self._socket is not None:
                self._start(self._send(payloads))

    def join(self, symbol: str) -> None:
        """Subscribe to a symbol that had left, or was not here from the beginning."""
        if symbol in self.symbols:
            return
        self.symbols.append(symbol)
        if self._socket is not None:
            self._start(self._subscribe([symbol]))
            self._recover(symbol, subscribed=True)

    def resync(self, symbol: str) -> None:
        """Get a new snapshot of a symbol by a new subscription, if it is subscribed here."""
        if symbol in self.symbols and self._socket is not None:
            self._forget(symbol)
            self._recover(symbol, subscribed=False)

    def is_quiet(self, symbol: str) -> bool:
        """Whether nothing has come of a book for so long that it has to be checked."""
        return symbol in self.synced and self._quiet.is_due(symbol)

    def count_check(self, result: str) -> None:
        """Count a check of a quiet book."""
        self.counts.checks[result] = self.counts.checks.get(result, 0) + 1

    async def _dial(self) -> aiohttp.ClientWebSocketResponse:
        url = self._url + self.adapter.connect_path(self.symbols)
        try:
            async with asyncio.timeout(CONNECT_S):
                return await self._session.ws_connect(
                    url,
                    headers=dict(self.profile.headers),
                    autoping=False,
                    autoclose=True,
                    max_msg_size=MESSAGE_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectionEnded("unreachable", str(error) or type(error).__name__) from error

    async def _end(self) -> None:
        """End all tasks and the socket, and let every book of this connection be in doubt."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for doubt in self.adapter.lost():
            self._receiver.take(self.number, doubt)
        self.synced.clear()
        if self._failure is not None and self._failure.done() and not self._failure.cancelled():
            self._failure.exception()
        if self._socket is not None:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                await self._socket.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do a task of the connection; if the connection is over by it, or it fails, so is the connection.

        No coroutine is around `work`: cancelled before it begins, that would never have awaited it.
        """
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, ConnectionEnded):
            self.end(error.reason, error.detail)
        elif isinstance(error, Exception):
            logger.error("a task of a connection failed", exc_info=error)
            self.end("error", f"{type(error).__name__}: {error}")

    async def _begin(self) -> None:
        await self._subscribe(self.symbols)
        for symbol in list(self.symbols):
            self._recover(symbol, subscribed=True)

    async def _subscribe(self, symbols: Sequence[str]) -> None:
        """Subscribe once it may be sent: what comes before that belongs to no subscription."""
        await self._schedule.until_due()
        if wanted := [symbol for symbol in symbols if symbol in self.symbols]:  # some may have left
            first, *others = self.adapter.subscribe(wanted)
            await self._write(first)
            await self._send(others)

    async def _send(self, payloads: Iterable[str | bytes]) -> None:
        for payload in payloads:
            await self._schedule.until_due()
            await self._write(payload)

    async def _write(self, payload: str | bytes) -> None:
        assert self._socket is not None
        try:
            if isinstance(payload, bytes):
                await self._socket.send_bytes(payload)
            else:
                await self._socket.send_str(payload)
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionEnded("cut", str(error) or type(error).__name__) from error

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        taken = 0
        while True:
            message = await socket.receive()
            self._heard_at = asyncio.get_running_loop().time()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.counts.messages += 1
                self.counts.last_message_at = self._heard_at
                await self.handle(self.adapter.take(message.data, _now_us()))
            elif message.type is aiohttp.WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is not aiohttp.WSMsgType.PONG:
                raise _ending(socket, message)
            taken += 1
            if taken % MESSAGES_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def handle(self, outputs: Iterable[Output]) -> None:
        """Take what the adapter says."""
        for output in outputs:  # `Best` concerns oracles only
            if isinstance(output, Update | Snapshot | Doubt):
                self._quiet.note(output.symbol)
                self._take(output)
            elif isinstance(output, Alive):
                self._quiet.note(output.symbol)
            elif isinstance(output, Reply):
                await self._write(output.payload)
            elif isinstance(output, Refused):
                self._receiver.refused(self.number, output)
            elif isinstance(output, Refresh):
                self._refresh(output.symbol)
            elif isinstance(output, Closing):
                self.closing.set()
            elif isinstance(output, Skipped):
                self.counts.skipped[output.kind] = self.counts.skipped.get(output.kind, 0) + 1

    def _take(self, output: Snapshot | Update | Doubt) -> None:
        symbol = output.symbol
        if symbol not in self.symbols:
            return
        resync = self._receiver.take(self.number, output)
        if isinstance(output, Snapshot) and not resync:
            self.synced.add(symbol)
            self._synced_at[symbol] = asyncio.get_running_loop().time()
            self._changed.set()
        if isinstance(output, Doubt) or resync:
            self._forget(symbol)
            if isinstance(output, Doubt):
                self._note_failure(symbol)
            self._recover(symbol, subscribed=self.profile.snapshot_by_rest and not resync)

    def _forget(self, symbol: str) -> None:
        """Say that a book is not synced; if it had been for long, the waits begin with the shortest one."""
        self.synced.discard(symbol)
        synced_at = self._synced_at.pop(symbol, None)
        if synced_at is not None and asyncio.get_running_loop().time() - synced_at > CALM_S:
            self._backoffs.pop(symbol, None)
            del self._failures[symbol]

    def _note_failure(self, symbol: str) -> None:
        """Have the connection replaced if a book does not come right on it, while others do."""
        self._failures[symbol] += 1
        if self._failures[symbol] >= FAILURES_MOST and self.synced and not self.profile.snapshot_by_rest:
            logger.warning(
                "a book fails again and again, so its connection is replaced", extra={"symbol": symbol}
            )
            self.closing.set()

    def _refresh(self, symbol: str) -> None:
        """Get a snapshot of a book that is right, as its adapter wants one."""
        if not self.profile.snapshot_by_rest:
            self.closing.set()
        elif (request := self.adapter.snapshot_request(symbol)) is not None:
            self._cancel_refresh(symbol)
            self._refreshing[symbol] = self._start(self._request(symbol, request))

    def _cancel_refresh(self, symbol: str) -> None:
        """Want no answer any more: it would be taken for one to a later subscription."""
        if (running := self._refreshing.pop(symbol, None)) is not None:
            running.cancel()

    def _recover(self, symbol: str, *, subscribed: bool) -> None:
        """Get a snapshot; `subscribed`: the subscription stands, and nothing has to be said for it."""
        running = self._recovering.get(symbol)
        if running is not None and not running.done():
            if subscribed:
                return  # that goes on until there is a snapshot
            running.cancel()
        self._recovering[symbol] = self._start(self._recovery(symbol, subscribed))

    def _cancel_recovery(self, symbol: str) -> None:
        if (running := self._recovering.pop(symbol, None)) is not None:
            running.cancel()

    async def _recovery(self, symbol: str, subscribed: bool) -> None:
        most_s = min(RECOVERY_S_MAX, self.limits.retry_max_s)
        backoff = self._backoffs.setdefault(symbol, Backoff(RECOVERY_S, most_s, random.random))
        wait_s = self.limits.snapshot_wait_s
        for attempt in count(1):
            if not subscribed:
                await asyncio.sleep(backoff.next_s())
                if symbol in self.synced:
                    return  # it came after all: to subscribe again would forget it
                self.counts.resubscriptions += 1
                self._cancel_refresh(symbol)
                await self._send(self.adapter.unsubscribe([symbol]))
                await self._subscribe([symbol])
            if await self._snapshot_came(symbol, backoff, wait_s):
                return
            self._note_failure(symbol)
            if attempt >= ATTEMPTS_MOST and not self.synced and not self.profile.snapshot_by_rest:
                raise ConnectionEnded("no-snapshot", f"{attempt} subscriptions brought no snapshot")
            subscribed = False
            wait_s = min(wait_s * 2, SNAPSHOT_WAIT_S_MAX)

    async def _snapshot_came(self, symbol: str, backoff: Backoff, wait_s: float) -> bool:
        """Wait for the snapshot, and request it where the adapter wants that; False if it takes too long."""
        if self.profile.snapshot_by_rest:
            return await self._snapshot_requested(symbol, backoff, wait_s)
        try:
            async with asyncio.timeout(wait_s):
                while symbol not in self.synced:
                    if (request := self.adapter.snapshot_request(symbol)) is not None:
                        await self._fetch(symbol, request)
                        await asyncio.sleep(backoff.next_s())
                    else:
                        await self._changed_soon()
        except TimeoutError:
            return False
        return True

    async def _changed_soon(self) -> None:
        """Wait until a snapshot has come, for `ASK_AGAIN_S` at most."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_AGAIN_S):
                await self._changed.wait()

    async def _snapshot_requested(self, symbol: str, backoff: Backoff, wait_s: float) -> bool:
        """Request a snapshot until it comes; False if its adapter wants none, or proves none, for too long.

        Requests that fail are no reason to subscribe again: the snapshot needs the messages since then. But
        if none that was answered is reached by a message, none may come: the venue accepts subscriptions
        that bring nothing, such as to a symbol that it does not list at that moment.
        """
        now = asyncio.get_running_loop().time
        wanted_at, answered_at = now(), None
        while symbol not in self.synced:
            request = self.adapter.snapshot_request(symbol)
            if request is not None:
                answered = await self._fetch(symbol, request)
                wanted_at = now()
                if answered and answered_at is None:
                    answered_at = wanted_at
            elif now() - wanted_at > wait_s:
                return False
            if symbol not in self.synced and answered_at is not None and now() - answered_at > wait_s:
                return False
            await asyncio.sleep(ASK_AGAIN_S if request is None else backoff.next_s())
        return True

    async def _request(self, symbol: str, request: Request) -> None:
        """Request a snapshot, whatever comes of it."""
        await self._fetch(symbol, request)

    async def _fetch(self, symbol: str, request: Request) -> bool:
        """Request a snapshot once; returns whether it was answered."""
        body = await self.fetched(symbol, request)
        if body is not None:
            await self.handle(self.adapter.take_snapshot(symbol, body, _now_us()))
        return body is not None

    async def fetched(self, symbol: str, request: Request) -> bytes | None:
        """Return the answer to a request about a symbol; None if there is none."""
        await self.rest.wait_for_room(request)
        self.counts.requests += 1
        try:
            body = await self.rest.send(request)
        except RequestFailed as error:
            self.counts.failed_requests += 1
            if self._problems.get(symbol) != error.problem:
                self._problems[symbol] = error.problem
                logger.warning("no snapshot", extra={"symbol": symbol, "problem": error.problem})
            return None
        self._problems.pop(symbol, None)
        return body

    async def _tend(self) -> None:
        """Ping when it is due, and end the connection when nothing is heard any more."""
        loop = asyncio.get_running_loop()
        limit_s = self.limits.silence_s
        own_s = self.profile.ping_every_s
        step_s = min(limit_s / PINGS_PER_SILENCE, own_s or limit_s)
        pinged_at = loop.time()
        while True:
            await asyncio.sleep(step_s / 2)
            now = loop.time()
            silent_s = now - self._heard_at
            if silent_s > limit_s:
                raise ConnectionEnded("silence", f"nothing heard for {silent_s:.1f} s")
            if (own_s and now - pinged_at >= own_s) or silent_s >= step_s:
                pinged_at = now
                await self._ping()

    async def _ping(self) -> None:
        assert self._socket is not None
        payload = self.adapter.ping(_now_us())
        if payload is not None:
            await self._write(payload)  # ahead of all that waits, so that silence is noticed in time
            return
        try:
            await self._socket.ping()
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionEnded("cut", str(error) or type(error).__name__) from error


def _ending(socket: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> ConnectionEnded:
    if message.type is aiohttp.WSMsgType.ERROR:
        return ConnectionEnded("protocol", str(message.data))
    code = socket.close_code
    if code in (None, 1006):
        return ConnectionEnded("cut", "the connection ended without a close frame")
    return ConnectionEnded("closed", f"closed by the venue with {code} {message.extra or ''}".rstrip())


def _now_us() -> int:
    return time.time_ns() // 1000
