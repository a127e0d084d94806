"""What the client and the consumer without asyncio have in common."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from depthcast.frames import WithFrames
from depthcast.shared.book import Book
from depthcast.shared.errors import ClientError
from depthcast.shared.sizes import Sizes
from depthcast.sync.loop import LoopThread
from depthcast.updates import BookUpdate, State

T = TypeVar("T")


class AsyncReader(Protocol):
    """What `depthcast.Client` and `depthcast.Consumer` have in common."""

    def book(self, symbol: str) -> Book: ...
    def seq(self, symbol: str) -> int: ...
    def digest(self, symbol: str) -> int: ...
    def state(self, symbol: str) -> State: ...
    def stale_reason(self, symbol: str) -> str | None: ...
    def event_ts(self, symbol: str) -> int | None: ...
    def sizes(self, symbol: str) -> Sizes: ...
    def wait_for(self, symbol: str, seq: int = 0) -> Coroutine[Any, Any, Book]: ...
    def __anext__(self) -> Coroutine[Any, Any, BookUpdate]: ...


R = TypeVar("R", bound=AsyncReader)


class Reader(WithFrames, Generic[R]):
    """A reader of books that runs in a thread of its own, used with `with`; several threads may call it."""

    def __init__(self, reader: R) -> None:
        self._reader = reader
        self._thread: LoopThread | None = None

    def book(self, symbol: str) -> Book:
        """Return a copy of the book of `symbol`; raises `ClientError` if it is not there."""
        return self._ask(lambda: self._reader.book(symbol).copy())

    def seq(self, symbol: str) -> int:
        """Return the sequence number of the book of `symbol`; raises `ClientError` if it is not there."""
        return self._ask(lambda: self._reader.seq(symbol))

    def digest(self, symbol: str) -> int:
        """Return the digest of the book of `symbol`; raises `ClientError` if it is not there."""
        return self._ask(lambda: self._reader.digest(symbol))

    def state(self, symbol: str) -> State:
        """Return whether the book of `symbol` is LIVE or STALE."""
        return self._ask(lambda: self._reader.state(symbol))

    def stale_reason(self, symbol: str) -> str | None:
        """Return why a producer calls the book of `symbol` stale; None if no producer does."""
        return self._ask(lambda: self._reader.stale_reason(symbol))

    def event_ts(self, symbol: str) -> int | None:
        """Return the newest time at the source of what the book of `symbol` includes (µs), None without."""
        return self._ask(lambda: self._reader.event_ts(symbol))

    def sizes(self, symbol: str) -> Sizes:
        """Return tick size and lot size of `symbol` as decimal text, such as `("0.01", "0.001")`."""
        return self._ask(lambda: self._reader.sizes(symbol))

    def wait_for(self, symbol: str, seq: int = 0, timeout_s: float | None = None) -> Book:
        """Wait until the book of `symbol` is at `seq` or later; returns a copy of it.

        From a gateway the book is also live then; from streams, updates read on the way are not delivered.
        Raises `TimeoutError` if it takes longer than `timeout_s`, `ClientError` if the client ends.
        """

        async def waited() -> Book:
            async with asyncio.timeout(timeout_s):
                return (await self._reader.wait_for(symbol, seq)).copy()

        return self._opened().call(waited())

    def next(self, timeout_s: float | None = None) -> BookUpdate | None:
        """Wait for the next update; returns None if none comes within `timeout_s`. Its book is a copy."""

        async def taken() -> BookUpdate | None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    update = await self._reader.__anext__()
                    return update._replace(book=update.book.copy())
            return None

        return self._opened().call(taken())

    def run(self, on_update: Callable[[BookUpdate], object]) -> None:
        """Call `on_update` with each update, in this thread; raises what ends iterating, as `ClientError`."""
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

    @abstractmethod
    async def _open(self) -> None:
        """Connect."""

    @abstractmethod
    async def _close(self) -> None:
        """End what `_open` began."""

    def _ask(self, question: Callable[[], T]) -> T:
        return self._opened().ask(question)

    def _opened(self) -> LoopThread:
        if self._thread is None:
            raise ClientError("closed", "it is not open: use it with `with`, or call `open`")
        return self._thread
