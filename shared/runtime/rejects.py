"""Reads the `rejects` streams of a deployment, and follows them."""

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import CodecError, RedisUnavailable
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reject_record import RejectRecord, read_reject
from depthcast.shared.runtime.cluster import by_slot
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import (
    BLOCK_MS,
    RawEntry,
    execute,
    last_position,
    parse_entries,
    read_streams,
)

logger = logging.getLogger(__name__)

PAGE: Final = 1_000
"""Entries read at once."""

RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 5.0


async def all_rejects(client: Redis, key: str, since_ms: int = 0) -> AsyncIterator[RejectRecord]:
    """Deliver all records from the time `since_ms` (ms since 1970) on, the oldest first."""
    first = str(since_ms)
    while True:
        entries = parse_entries(await execute(client, "XRANGE", key, first, "+", "COUNT", PAGE))
        for record in _records(entries):
            yield record
        if len(entries) < PAGE:
            return
        first = f"({entries[-1][0]}"


async def tails(client: Redis, keys: Iterable[str]) -> dict[str, Position]:
    """Return the last ID of each stream."""
    return {key: await last_position(client, key) for key in keys}


async def last_rejects(
    client: Redis, ends: dict[str, Position], symbol: str | None, count: int
) -> list[RejectRecord]:
    """Return the last `count` records up to `ends`, of `symbol` or of all, the oldest first."""
    found: list[RejectRecord] = []
    if count:
        for key, end in ends.items():
            found += await _last_of(client, key, end, symbol, count)
    return heapq.nlargest(count, found)[::-1]


async def _last_of(
    client: Redis, key: str, end: Position, symbol: str | None, count: int
) -> list[RejectRecord]:
    found: list[RejectRecord] = []
    last = str(end)
    while len(found) < count:
        entries = parse_entries(await execute(client, "XREVRANGE", key, last, "-", "COUNT", PAGE))
        found += [each for each in _records(entries) if symbol is None or each.symbol == symbol]
        if len(entries) < PAGE:
            break
        last = f"({entries[-1][0]}"
    return found[:count]


class RejectFollower:
    """Follows the `rejects` streams `after` their positions, for ever, and waits while Redis is away.

    `position`: where it is in each stream. Records that were trimmed before they were read are not delivered.
    """

    def __init__(self, client: Redis, after: dict[str, Position]) -> None:
        self.client = client
        self.position = dict(after)
        self._groups = by_slot(client, after)
        self._reading: dict[int, asyncio.Task[dict[str, list[RawEntry]]]] = {}
        self._outage = Outage(logger, "rejects are not read")
        self._backoff = Backoff(RETRY_S, RETRY_S_MAX, no_jitter)

    async def records(self) -> AsyncIterator[list[tuple[str, RejectRecord]]]:
        """Deliver the records as they come, each with its key; an empty list if none came for a while."""
        try:
            while True:
                try:
                    found = await self._read()
                except RedisUnavailable as error:
                    self._outage.note(error)
                    await asyncio.sleep(self._backoff.next_s())
                    continue
                self._outage.over()
                self._backoff.reset()
                yield found
        finally:
            for task in self._reading.values():
                task.cancel()

    async def _read(self) -> list[tuple[str, RejectRecord]]:
        group, streams = await self._next_streams()
        found = []
        for key, entries in streams.items():
            found += [(key, record) for record in _records(entries)]
            self.position[key] = entries[-1][0]
        if not streams:
            await self._check_ends(group)
        return sorted(found, key=lambda pair: pair[1].at)

    async def _next_streams(self) -> tuple[list[str], dict[str, list[RawEntry]]]:
        """Wait for entries: the keys that were read, and what came.

        In a cluster, one read for each slot waits, and the first that ends counts.
        """
        if len(self._groups) == 1:
            return self._groups[0], await self._read_group(self._groups[0])
        for number, keys in enumerate(self._groups):
            if number not in self._reading:
                self._reading[number] = asyncio.create_task(self._read_group(keys))
        await asyncio.wait(self._reading.values(), return_when=asyncio.FIRST_COMPLETED)
        number = next(number for number, task in self._reading.items() if task.done())
        return self._groups[number], await self._reading.pop(number)

    async def _read_group(self, keys: Sequence[str]) -> dict[str, list[RawEntry]]:
        after = {key: self.position[key] for key in keys}
        return await read_streams(self.client, after, count=PAGE, block_ms=BLOCK_MS)

    async def _check_ends(self, keys: Sequence[str]) -> None:
        """Begin again with a stream that ends before our position: Redis has lost data."""
        for key, end in (await tails(self.client, keys)).items():
            if end < self.position[key]:
                self.position[key] = ZERO


def _records(entries: Sequence[RawEntry]) -> list[RejectRecord]:
    records = []
    for at, fields in entries:
        try:
            records.append(read_reject(at, fields))
        except CodecError as error:
            logger.debug("reject left out", extra={"problem": error.problem})
    return records
