"""An event loop in a thread of its own, and calls into it from other threads."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from depthcast.shared.errors import ClientError

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for callers in other threads, which wait for their results."""

    def __init__(self) -> None:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # A daemon: a program ends although somebody forgot to close a client.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(_until_stopped(started)), name="depthcast", daemon=True
        )
        self._thread.start()
        self._loop, self._stop = started.result()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and return its result. If the caller is interrupted, as by Ctrl-C, it is cancelled."""
        if not self._thread.is_alive():
            work.close()
            raise ClientError("closed", "it was closed; open a new one")
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        finally:
            running.cancel()  # does nothing to what has ended

    def ask(self, question: Callable[[], T]) -> T:
        """Call a function in the thread, where no coroutine changes anything meanwhile."""

        async def answer() -> T:
            return question()

        return self.call(answer())

    def close(self) -> None:
        """End the thread; what still runs in it is cancelled."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()


async def _until_stopped(started: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]") -> None:
    stop = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()
