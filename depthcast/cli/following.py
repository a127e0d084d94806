"""Follows books of a gateway for commands that show them: which are live, how old, which are missing."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from depthcast.cli.shown import Shown
from depthcast.client.book import SubscriptionOptions
from depthcast.client.client import HEARTBEAT_MS, Client, connect
from depthcast.client.requests import EVERYTHING
from depthcast.runtime.gateway_token import gateway_token
from depthcast.shared.book import Book
from depthcast.shared.errors import ClientError
from depthcast.shared.redis_url import without_credentials
from depthcast.updates import BookUpdate, Kind, State

T = TypeVar("T")

FRAME_MS: Final = 100
"""Shortest time between two frames, or two lines of a book; the gateway merges what happens in between."""

SILENT_HEARTBEATS: Final = 1.5
"""Books are shown as stale if nothing came for so many heartbeats: the gateway may hang."""

SILENT_S_MIN: Final = 1.0
"""Shorter silence may be due to this machine or to the network."""


class Following:
    """The books that one command shows.

    - `wanted`: symbols as the user named them; `*` stands for all.
    - `address`: of the gateway, without credentials.
    - `group`: ticks in a level; 1 if levels are as they are.
    - `ended`: why a symbol has no subscription any more, or never had one.
    """

    def __init__(
        self,
        client: Client,
        wanted: Sequence[str],
        address: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.wanted = list(dict.fromkeys(wanted))
        self.address = address
        self.group = 1
        self.ended: dict[str, str] = {}
        self._clock = clock
        self._arrived: dict[str, float] = {}
        self._lags_ms: dict[str, float] = {}
        self._heard = 0
        self._heard_at = clock()

    @property
    def symbols(self) -> list[str]:
        """The symbols to show: those that were named, then, in order, those that `*` stands for."""
        named = [symbol for symbol in self.wanted if symbol != EVERYTHING]
        if EVERYTHING not in self.wanted:
            return named
        return named + sorted(self.client.session.books.keys() - set(named))

    @property
    def over(self) -> bool:
        """Whether no subscription is left, so that nothing more can come."""
        return all(symbol in self.ended for symbol in self.wanted)

    @property
    def silence_s(self) -> float:
        """Seconds since something came from the gateway; precise if it is asked for often."""
        heard, now = self.client.counters.messages, self._clock()
        if heard != self._heard:
            self._heard, self._heard_at = heard, now
        return now - self._heard_at

    @property
    def silent(self) -> bool:
        """Whether nothing came for so long that even a heartbeat is missing."""
        heartbeat_s: float = self.client.session.welcome.get("heartbeat_ms", HEARTBEAT_MS) / 1000
        return self.silence_s > max(SILENT_HEARTBEATS * heartbeat_s, SILENT_S_MIN)

    async def subscribe(self, options: SubscriptionOptions) -> None:
        """Subscribe to each symbol by itself, so that one that is refused leaves the others.

        Raises `ClientError` if the connection ended for good.
        """
        self.group = options.group
        requests = (
            self.client.subscribe([symbol], options.depth, options.interval_ms, options.group)
            for symbol in self.wanted
        )
        answers = await asyncio.gather(*requests, return_exceptions=True)
        for symbol, answer in zip(self.wanted, answers, strict=True):
            if isinstance(answer, ClientError) and answer.code != "closed":
                self.ended[symbol] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer

    async def updates(self) -> AsyncGenerator[BookUpdate, None]:
        """Yield updates until no subscription is left; raises `ClientError` if it cannot go on.

        A symbol that was refused has one update, of the state REMOVED.
        """
        for symbol in list(self.ended):
            yield _refusal(symbol)
        while not self.over:
            try:
                update = await anext(self.client)
            except ClientError as error:
                yield _refusal(self._record(error))
                continue
            self._observe(update)
            yield update

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncio.Task[None]]:
        """Take updates in a task during the block; an error that ended it is raised at the end."""

        async def read() -> None:
            async for _ in self.updates():
                pass

        task = asyncio.create_task(read())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def shown(self, symbol: str, depth: int) -> Shown:
        """Return the book of `symbol` as it is now, with up to `depth` levels a side."""
        if (why := self.ended.get(symbol)) is not None:
            return Shown(symbol, State.REMOVED, why)
        if symbol not in self.client.session.books or not self.client.seq(symbol):
            return Shown(symbol)
        state, reason = self.state(symbol)
        book, arrived = self.client.book(symbol), self._arrived.get(symbol)
        return Shown(
            symbol,
            state,
            reason,
            self.client.seq(symbol),
            book.bids.top(depth),
            book.asks.top(depth),
            *self.client.sizes(symbol),
            age_s=None if arrived is None else self._clock() - arrived,
            lag_ms=self._lags_ms.get(symbol) if state is State.LIVE else None,
        )

    def state(self, symbol: str) -> tuple[State, str | None]:
        """Return the state of a subscribed book, and why it is not live, if that is known."""
        if not self.client.connected:
            return State.STALE, "no connection to the gateway"
        if self.silent:
            return State.STALE, "the gateway is silent"
        return self.client.state(symbol), self.client.stale_reason(symbol)

    def undone(self) -> list[str]:
        """Return what was asked for and could not be done, a line each."""
        lines = list(self.ended.values())
        if not self.client.connected:
            lines.append(f"no connection to {self.address}")
        waiting = [symbol for symbol in self.symbols if self.shown(symbol, 1).state is None]
        lines += [f"no book of {symbol} came" for symbol in waiting]
        if not self.symbols and not lines:
            lines.append("no book came")
        return lines

    def _observe(self, update: BookUpdate) -> None:
        symbol = update.symbol
        if update.state is State.REMOVED:
            if symbol in self.wanted:  # of `*`, symbols come and go
                self.ended[symbol] = f"the gateway ended the subscription ({symbol})"
            return
        self.ended.pop(symbol, None)
        if update.kind is not Kind.STATUS:
            self._arrived[symbol] = self._clock()
        if update.kind is Kind.DELTA and update.ts:
            self._lags_ms[symbol] = (time.time_ns() // 1000 - update.ts) / 1000

    def _record(self, error: ClientError) -> str:
        """Note that a subscription could not be made again, and return its symbol; raises other errors."""
        symbol = error.symbol
        if error.code == "closed" or symbol is None or symbol in self.client.session.books:
            raise error
        self.ended[symbol] = str(error)
        return symbol


def _refusal(symbol: str) -> BookUpdate:
    return BookUpdate(symbol, Kind.STATUS, State.REMOVED, 0, Book())


Show = Callable[[Following, asyncio.Event], Awaitable[None]]
"""Shows books until the event is set or nothing more can come; raises `ClientError`."""


async def follow(
    url: str, wanted: Sequence[str], options: SubscriptionOptions, seconds: float | None, show: Show
) -> list[str]:
    """Connect, subscribe and `show`, until SIGINT, SIGTERM or `seconds` have passed.

    Returns what was asked for and could not be done, a line each. Raises `ClientError`.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    address = without_credentials(url)
    async with AsyncExitStack() as stack:
        client = await unless_stopped(stop, stack.enter_async_context(connect(url, token=gateway_token())))
        if client is None:
            return [f"no connection to {address} yet"]
        following = Following(client, wanted, address)
        await unless_stopped(stop, following.subscribe(options))
        if not stop.is_set() and not following.over:
            await show(following, stop)
        return following.undone()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Do `work` and return its result; cancel it and return None if `stop` is set first."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()  # does nothing if it is done
    with suppress(asyncio.CancelledError):
        return await working
    return None
