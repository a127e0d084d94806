"""The WebSocket client without asyncio. A thread reads all the time, so books are always current."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from depthcast.client import Client as AsyncClient
from depthcast.client import ClientCounters
from depthcast.client import connect as connect_async
from depthcast.frames import WithFrames
from depthcast.shared.book import Book
from depthcast.shared.errors import ClientError
from depthcast.shared.sizes import Sizes
from depthcast.sync.loop import LoopThread
from depthcast.updates import BookUpdate, State

T = TypeVar("T")


def connect(
    url: str,
    encoding: str = "json",
    *,
    token: str | None = None,
    credit_window: int | None = None,
    backoff_s: tuple[float, float] = (0.2, 10.0),
) -> "Client":
    """Make a client for the gateway at `url`; it connects at `with`. Arguments as of `depthcast.connect`."""
    client = connect_async(url, encoding, token=token, credit_window=credit_window, backoff_s=backoff_s)
    return Client(client)


class Client(WithFrames):
    """A connection to a gateway with the books subscribed on it; made by `connect`, used with `with`.

    A thread reads all the time. So `book`, `state` and `frame` are current whenever they are called; updates
    wait for whoever iterates, conflated to at most one per symbol. Errors are those of `depthcast.Client`.
    Several threads may use a client.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._thread: LoopThread | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def counters(self) -> ClientCounters:
        """Counts of messages, gaps, reconnects and so on since the client was made."""
        return self._client.counters

    @property
    def ended(self) -> ClientError | None:
        """The error that ended this client for good, and that every call raises; None while it goes on."""
        return self._client.ended

    def book(self, symbol: str) -> Book:
        """Return a copy of the book, empty until its first snapshot; raises `ClientError`."""
        return self._ask(lambda: self._client.book(symbol).copy())

    def seq(self, symbol: str) -> int:
        """Return the sequence number of the book of `symbol`, 0 before its first snapshot."""
        return self._ask(lambda: self._client.seq(symbol))

    def digest(self, symbol: str) -> int:
        """Return the digest of the book of `symbol`."""
        return self._ask(lambda: self._client.digest(symbol))

    def state(self, symbol: str) -> State:
        """Return whether the book of `symbol` is LIVE or STALE."""
        return self._ask(lambda: self._client.state(symbol))

    def stale_reason(self, symbol: str) -> str | None:
        """Return why a producer calls the book of `symbol` stale; None if no producer does."""
        return self._ask(lambda: self._client.stale_reason(symbol))

    def sizes(self, symbol: str) -> Sizes:
        """Return tick size and lot size of `symbol` as decimal text, such as `("0.01", "0.001")`."""
        return self._ask(lambda: self._client.sizes(symbol))

    def subscribe(self, symbols: str | Collection[str], depth: int = 25, interval_ms: int = 0) -> None:
        """Subscribe to `symbols`, see `depthcast.Client.subscribe`; raises `ClientError`."""
        self._opened().call(self._client.subscribe(symbols, depth, interval_ms))

    def unsubscribe(self, symbols: str | Collection[str]) -> None:
        """End subscriptions; afterwards no update of `symbols` is delivered. Raises `ClientError`."""
        self._opened().call(self._client.unsubscribe(symbols))

    def ping(self) -> float:
        """Return the round trip time to the gateway in seconds."""
        return self._opened().call(self._client.ping())

    def wait_for(self, symbol: str, seq: int = 0, timeout_s: float | None = None) -> Book:
        """Wait until the book of `symbol` is live at `seq` or later; returns a copy of it.

        Raises `TimeoutError` if that takes longer than `timeout_s`, `ClientError` if the client ends.
        """

        async def waited() -> Book:
            async with asyncio.timeout(timeout_s):
                return (await self._client.wait_for(symbol, seq)).copy()

        return self._opened().call(waited())

    def next(self, timeout_s: float | None = None) -> BookUpdate | None:
        """Wait for the next update; returns None if none comes within `timeout_s`. Its book is a copy."""

        async def taken() -> BookUpdate | None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    update = await anext(self._client)
                    return update._replace(book=update.book.copy())
            return None

        return self._opened().call(taken())

    def run(self, on_update: Callable[[BookUpdate], object]) -> None:
        """Call `on_update` with each update, in this thread, until the client ends by a `ClientError`."""
        for update in self:
            on_update(update)

    def __iter__(self) -> Iterator[BookUpdate]:
        return self

    def __next__(self) -> BookUpdate:
        update = self.next()
        assert update is not None, "without a time limit there is one"
        return update

    def open(self) -> Self:
        """Do what `with` does at its beginning, as in a notebook: `close` ends it."""
        if self._client.ended is not None:
            raise self._client.ended
        self._thread = LoopThread()
        try:
            self._thread.call(self._open())
        except BaseException:
            self._thread.close()
            raise
        return self

    def close(self) -> None:
        """End the connections and the thread; repeated calls do nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            thread.call(self._close())
        finally:
            thread.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _open(self) -> None:
        await self._client.__aenter__()
        self._following = asyncio.create_task(self._follow(), name="follow")

    async def _follow(self) -> None:
        with suppress(ClientError):  # every later call raises it
            await self._client.follow()

    async def _close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self._client.__aexit__(None, None, None)

    def _ask(self, question: Callable[[], T]) -> T:
        return self._opened().ask(question)

    def _opened(self) -> LoopThread:
        if self._thread is None:
            raise ClientError("closed", "it is not open: use it with `with`, or call `open`")
        return self._thread
