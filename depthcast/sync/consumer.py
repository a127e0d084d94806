"""The stream consumer without asyncio. It reads only while an update is waited for, and delivers each."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from depthcast.consumer import Consumer as AsyncConsumer
from depthcast.consumer import Positions
from depthcast.frames import WithFrames
from depthcast.shared.book import Book
from depthcast.shared.errors import ClientError
from depthcast.shared.listing import Listing
from depthcast.shared.sizes import Sizes
from depthcast.sync.loop import LoopThread
from depthcast.updates import BookUpdate, State

T = TypeVar("T")


class Consumer(WithFrames):
    """A reader of a deployment's books, used with `with`.

    Arguments and errors are those of `depthcast.Consumer`. Books change only while an update is waited for.
    For books that are always current, use a gateway and `depthcast.sync.connect`.
    """

    def __init__(
        self,
        redis_url: str,
        symbols: str | Collection[str] | None = None,
        *,
        prefix: str = "depthcast",
        partitions: int | None = None,
        stale_ms: int = 5000,
        input_lag_max_ms: int = 5000,
        since: Positions | str | None = None,
    ) -> None:
        self._consumer = AsyncConsumer(
            redis_url,
            symbols,
            prefix=prefix,
            partitions=partitions,
            stale_ms=stale_ms,
            input_lag_max_ms=input_lag_max_ms,
            since=since,
        )
        self._thread: LoopThread | None = None

    @property
    def resyncs(self) -> int:
        """Number of times that books were loaded again after the first load."""
        return self._ask(lambda: self._consumer.resyncs)

    @property
    def position(self) -> Positions:
        """How far updates were delivered, see `depthcast.Consumer.position`."""
        return self._ask(lambda: self._consumer.position)

    def book(self, symbol: str) -> Book:
        """Return a copy of the book of `symbol`; raises `ClientError` (`no_book`) while there is none."""
        return self._ask(lambda: self._consumer.book(symbol).copy())

    def seq(self, symbol: str) -> int:
        """Return the sequence number of the book of `symbol`; raises `ClientError` while there is none."""
        return self._ask(lambda: self._consumer.seq(symbol))

    def digest(self, symbol: str) -> int:
        """Return the digest of the book of `symbol`; raises `ClientError` while there is none."""
        return self._ask(lambda: self._consumer.digest(symbol))

    def sizes(self, symbol: str) -> Sizes:
        """Return tick size and lot size of `symbol` as decimal text; raises `ClientError`."""
        return self._ask(lambda: self._consumer.sizes(symbol))

    def listing(self, symbol: str) -> Listing | None:
        """Return what the book of `symbol` stands for; raises `ClientError` while there is no book."""
        return self._ask(lambda: self._consumer.listing(symbol))

    def state(self, symbol: str) -> State:
        """Return whether the book of `symbol` is LIVE or STALE."""
        return self._ask(lambda: self._consumer.state(symbol))

    def stale_reason(self, symbol: str) -> str | None:
        """Return why a producer calls the book of `symbol` stale; raises `ClientError` without one."""
        return self._ask(lambda: self._consumer.stale_reason(symbol))

    def age_s(self, symbol: str) -> float | None:
        """Return the age of the newest entry that the book of `symbol` includes, None if it is not known."""
        return self._ask(lambda: self._consumer.age_s(symbol))

    def wait_for(self, symbol: str, seq: int = 0, timeout_s: float | None = None) -> Book:
        """Read until the book of `symbol` is at `seq` or later; returns a copy of it.

        Updates read on the way are not delivered. Raises `TimeoutError` after `timeout_s`.
        """

        async def waited() -> Book:
            async with asyncio.timeout(timeout_s):
                return (await self._consumer.wait_for(symbol, seq)).copy()

        return self._opened().call(waited())

    def next(self, timeout_s: float | None = None) -> BookUpdate | None:
        """Wait for the next update; returns None if none comes within `timeout_s`. Its book is a copy."""

        async def taken() -> BookUpdate | None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    update = await anext(self._consumer)
                    return update._replace(book=update.book.copy())
            return None

        return self._opened().call(taken())

    def run(self, on_update: Callable[[BookUpdate], object]) -> None:
        """Call `on_update` with each update, in this thread, for ever."""
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
        self._thread = LoopThread()
        try:
            self._thread.call(self._consumer.__aenter__())
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
            thread.call(self._consumer.__aexit__(None, None, None))
        finally:
            thread.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Callable[[], T]) -> T:
        return self._opened().ask(question)

    def _opened(self) -> LoopThread:
        if self._thread is None:
            raise ClientError("closed", "it is not open: use it with `with`, or call `open`")
        return self._thread
