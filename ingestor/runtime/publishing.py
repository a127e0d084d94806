"""The lock of a leadership's publishes: one at a time, and none after one that failed.

What a failed publish was to write is drained from the engine, and in no stream. So a later entry would lack
its changes, and a later snapshot would be ahead of the stream. Redis need not refuse those: the check of a
new connection also fails if an error reply takes the place of its answer.
"""

import asyncio
from types import TracebackType

from depthcast.shared.errors import RedisUnavailable


class PublishingLock:
    """Held from a drain until its result is written. After its block has raised, so does entering it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._failed: BaseException | None = None

    @property
    def free(self) -> bool:
        """Whether nobody holds it; somebody may wait all the same, and gets it first."""
        return not self._lock.locked()

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        if self._failed is not None:
            self._lock.release()
            if isinstance(self._failed, Exception):
                raise self._failed
            raise RedisUnavailable("a publish of this leadership was given up")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._failed is None:
            self._failed = error
        self._lock.release()
