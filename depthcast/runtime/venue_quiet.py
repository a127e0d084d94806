"""Books of which nothing comes while their connection is alive: quiet, or a subscription that has ended.

A venue may end a subscription without a word, and no message can tell. So the book is compared with the
venue's where the adapter has a request for that. Elsewhere the connection is replaced, and the snapshots of
the new one tell.
"""

import asyncio
import logging
import random
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final, Protocol

from depthcast.feed.venue import Adapter, Alive, Doubt, Output, Request

logger = logging.getLogger(__name__)

CHECK_AGAIN_S: Final = 5.0
"""Books that differ from the venue's are compared once more after this time, or after the quiet time."""

LOOKS: Final = 8
"""Looks for quiet books in the time after which they are checked."""

SPREAD: Final = 0.1
"""The quiet time of a connection is so much shorter or longer, so that not all are replaced together."""


class Result(StrEnum):
    """What came of a check, for metrics."""

    EQUAL = "equal"
    """The venue's book is the same, or a message came meanwhile."""
    DIFFERENT = "different"
    """It differs twice: the book is in doubt."""
    UNKNOWN = "unknown"
    """The request failed, or its answer cannot be read."""
    REPLACED = "replaced"
    """Only a new connection tells."""


class Connection(Protocol):
    """What is used of a connection (`depthcast.runtime.venue_connection`)."""

    adapter: Adapter
    closing: asyncio.Event

    @property
    def synced(self) -> AbstractSet[str]: ...

    def count_check(self, result: str) -> None:
        """Count a check by its `Result`."""
        ...

    def resync(self, symbol: str) -> None:
        """Get a new snapshot of a symbol by a new subscription."""
        ...

    async def fetched(self, symbol: str, request: Request) -> bytes | None:
        """Return the answer to a request about a symbol; None if there is none."""
        ...

    async def handle(self, outputs: Iterable[Output]) -> None:
        """Take what the adapter says."""
        ...


class QuietBooks:
    """Checks the books of one connection of which nothing has come for `quiet_s`; 0: never."""

    def __init__(self, quiet_s: float, connection: Connection) -> None:
        self._quiet_s = quiet_s * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - no secret
        self._connection = connection
        self._heard_at: dict[str, float] = {}

    def note(self, symbol: str) -> None:
        """Say that something came of a book."""
        self._heard_at[symbol] = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Check books when it is time, until the connection has to be replaced."""
        closing = self._connection.closing
        while self._quiet_s and not closing.is_set():
            await asyncio.sleep(self._quiet_s / LOOKS)
            if different := await self._different(self._due()):
                await asyncio.sleep(min(CHECK_AGAIN_S, self._quiet_s))
                for symbol in await self._different(different):
                    self.note(symbol)

    def is_due(self, symbol: str) -> bool:
        """Whether nothing has come of a book for too long."""
        before = asyncio.get_running_loop().time() - self._quiet_s
        return bool(self._quiet_s) and self._heard_at[symbol] <= before

    def _due(self) -> list[str]:
        return [symbol for symbol in sorted(self._connection.synced) if self.is_due(symbol)]

    async def _different(self, symbols: Iterable[str]) -> list[str]:
        """Check books; returns those that differ for the first time."""
        different = []
        for symbol in symbols:
            if symbol not in self._connection.synced:
                continue  # in doubt, or of no interest any more
            request = self._connection.adapter.check_request(symbol)
            if request is None:
                logger.info("nothing comes of a book: its connection is replaced", extra={"symbol": symbol})
                self._connection.count_check(Result.REPLACED)
                self._connection.closing.set()
                break
            result = await self._check(symbol, request)
            if result is None:
                different.append(symbol)
            else:
                self._connection.count_check(result)
                self.note(symbol)
        return different

    async def _check(self, symbol: str, request: Request) -> Result | None:
        """Ask once; None if the book differs for the first time."""
        body = await self._connection.fetched(symbol, request)
        if body is None:
            return Result.UNKNOWN
        outputs = list(self._connection.adapter.take_check(symbol, body))
        await self._connection.handle(outputs)
        if any(isinstance(output, Doubt) for output in outputs):
            self._connection.resync(symbol)  # its subscription is gone, so no message would prove a snapshot
            return Result.DIFFERENT
        if not outputs:
            return None
        return Result.EQUAL if any(isinstance(output, Alive) for output in outputs) else Result.UNKNOWN
