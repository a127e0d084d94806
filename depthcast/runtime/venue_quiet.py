"""Books of which nothing comes while their connection is alive: quiet, or a subscription that has ended.

A venue may end a subscription without a word, and no message can tell. So the book is compared with the
venue's where the adapter has a request for that. Elsewhere the connection is replaced, and the snapshots of
the new one tell.
"""

import asyncio
import logging
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from depthcast.feed.venue import Adapter, Output, Request

logger = logging.getLogger(__name__)

CHECK_AGAIN_S: Final = 5.0
"""A book that differs from the venue's is compared once more after this time, or after the quiet time."""

LOOKS: Final = 8
"""Looks for quiet books in the time after which they are checked."""


class Connection(Protocol):
    """What is used of a connection (`depthcast.runtime.venue_connection`)."""

    adapter: Adapter
    closing: asyncio.Event

    @property
    def synced(self) -> AbstractSet[str]: ...

    def count_check(self) -> None:
        """Count a check."""
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
        self._quiet_s = quiet_s
        self._connection = connection
        self._heard_at: dict[str, float] = {}

    def note(self, symbol: str) -> None:
        """Say that something came of a book."""
        self._heard_at[symbol] = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Check books when it is time, until the connection has to be replaced."""
        connection, now = self._connection, asyncio.get_running_loop().time
        while self._quiet_s and not connection.closing.is_set():
            await asyncio.sleep(self._quiet_s / LOOKS)
            for symbol in sorted(connection.synced, key=self._heard_at.__getitem__):
                if now() - self._heard_at[symbol] < self._quiet_s or connection.closing.is_set():
                    break
                if symbol in connection.synced:
                    await self._check(symbol)

    async def _check(self, symbol: str) -> None:
        connection = self._connection
        connection.count_check()
        request = connection.adapter.check_request(symbol)
        if request is None:
            logger.info("nothing comes of a book: its connection is replaced", extra={"symbol": symbol})
            connection.closing.set()
        elif await self._differs(symbol, request):
            await asyncio.sleep(min(CHECK_AGAIN_S, self._quiet_s))
            request = connection.adapter.check_request(symbol)
            if symbol in connection.synced and request is not None:
                await self._differs(symbol, request)
        self.note(symbol)

    async def _differs(self, symbol: str, request: Request) -> bool:
        """Ask once; returns whether the venue's book is another one for the first time."""
        body = await self._connection.fetched(symbol, request)
        outputs = [] if body is None else list(self._connection.adapter.take_check(symbol, body))
        await self._connection.handle(outputs)
        return body is not None and not outputs
