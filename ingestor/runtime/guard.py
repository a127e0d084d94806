"""Guards a partition against an input entry that ends its ingestor again and again.

Before a large entry is applied, its ID is written to Redis. The mark needs no removal: it counts only
while the entry that it names is unread. A leader that begins and finds such a mark knows that its predecessor
did not survive the entry, and rejects it as `poison`.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis

from depthcast.broadcaster.publication import Attachment
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.ingestor.limits import SMALL_BYTES
from depthcast.ingestor.rejects import Reason
from depthcast.shared.errors import DepthcastError, PositionError, RedisUnavailable
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute

logger = logging.getLogger(__name__)

MARKED_BYTES: Final = 1 << 18
"""Entries from this size on are marked before they are applied; what a smaller one costs is small anyway."""

RETRY_S: Final = 0.2
CLEAR_S: Final = 0.5


class EntryGuard:
    """Marks the large entries of one leadership, and knows which entries it must not apply.

    `suspect`: the unread entry that a predecessor did not survive. `stubs`: entries of which only the
    beginning was read, because they exceed every limit. `marked`: the value last written.
    """

    def __init__(self, publisher: Publisher, suspect: Position | None = None) -> None:
        self.publisher = publisher
        self.suspect = suspect
        self.stubs: set[Position] = set()
        self.marked = b""

    def watches(self, position: Position, size: int) -> bool:
        """Whether an entry is to be applied in slices, marked or rejected."""
        return size > SMALL_BYTES or position == self.suspect or position in self.stubs

    def refusal(self, position: Position) -> Reason | None:
        """The reason to reject an entry without looking into it; None: apply it."""
        if position in self.stubs:
            self.stubs.discard(position)
            return Reason.TOO_BIG
        return Reason.POISON if position == self.suspect else None

    async def mark(self, position: Position, size: int) -> None:
        """Write that the entry is about to be applied, if it is large; waits while Redis is away."""
        if size >= MARKED_BYTES:
            # A script keeps the newer of two values by the first position in it: this leadership's.
            await self._write(f"{self.publisher.position} {position}".encode())

    async def clear(self) -> None:
        """Remove the mark, if there is time: its entry was given up before it could do harm."""
        if self.marked:
            with suppress(DepthcastError, TimeoutError):
                async with asyncio.timeout(CLEAR_S):
                    await self._write(f"{self.publisher.position} 0-0".encode())

    async def _write(self, value: bytes) -> None:
        while True:
            try:
                await self.publisher.store([Attachment(self.publisher.keys.applying, value, None)])
            except RedisUnavailable as error:
                logger.warning("the mark of an entry waits for Redis", extra={"problem": error.problem})
                await asyncio.sleep(RETRY_S)
            else:
                self.marked = value
                return


async def read_mark(client: Redis, keys: PartitionKeys) -> tuple[bytes, Position | None]:
    """The mark in Redis, and the entry that it names; empty and None if there is none."""
    raw: bytes = await execute(client, "GET", keys.applying) or b""
    try:
        return raw, Position.parse(raw.decode().partition(" ")[2])
    except (PositionError, UnicodeDecodeError):
        return raw, None
