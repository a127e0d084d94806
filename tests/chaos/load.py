"""Producers that never stop, and a journal of the input log: what of their input survived in `events`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import RawEntry, connect, execute, parse_entries
from depthcast.shared.slots import spread_tags
from tests.chaos.cluster import PREFIX
from tests.chaos.oracle import Kinds, Oracle
from tests.random_events import encode, random_array
from tests.waiting import eventually

PAUSE_S: Final = 0.02
"""Mean time between a producer's entries."""

COPY_S: Final = 0.1
COPY_COUNT: Final = 5000


def keys_at(redis_url: str, partitions: int) -> DeploymentKeys:
    """The keys of the deployment at an address; in a cluster, with the tags of a new one."""
    keys = DeploymentKeys.at(redis_url, PREFIX)
    return keys.deployed(partitions, spread_tags(PREFIX, partitions)) if keys.clustered else keys


@dataclass
class Producer:
    """Writes random entries, valid and invalid, to one partition; `acknowledged` has the replied IDs."""

    redis_url: str
    keys: DeploymentKeys
    partition: int
    symbols: list[str]
    random: Random
    acknowledged: list[Position] = field(default_factory=list)
    unknown: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        client = connect(self.redis_url)
        try:
            while True:
                await self._send(client)
                await asyncio.sleep(self.random.expovariate(1 / PAUSE_S))
        finally:
            await client.aclose()

    async def _send(self, client: Redis) -> None:
        words: list[str | bytes] = []
        for _ in range(self.random.randint(1, 3)):
            words += [
                self.random.choice(self.symbols),
                encode(random_array(self.random), self.random.random() < 0.5),
            ]
        if self.random.random() < 0.3:
            words += ["_", encode({"atomic": True}, self.random.random() < 0.5)]
        try:
            reply = await execute(client, "XADD", self.keys.partition(self.partition).events, "*", *words)
            self.acknowledged.append(Position.parse(reply))
        except RedisUnavailable:
            self.unknown += 1


class Journal:
    """A copy of every partition's `events`, kept up while they are trimmed.

    `lost`: entries that Redis had and lost, by a failover to a replica that had not received them yet.

    `untrimmed`: nothing is ever trimmed, so one copy at the end is enough. In a cluster, what a server says
    while it does not know yet that it was replaced would spoil a copy that is kept up.
    """

    def __init__(self, redis_url: str, partitions: int, *, untrimmed: bool = False) -> None:
        self.untrimmed = untrimmed
        self.redis_url = redis_url
        self.keys = keys_at(redis_url, partitions)
        self.copies: list[dict[Position, list[tuple[bytes, bytes]]]] = [{} for _ in range(partitions)]
        self.lost: list[set[Position]] = [set() for _ in range(partitions)]
        self._copying = asyncio.Lock()

    async def run(self) -> None:
        """Copy until cancelled."""
        if self.untrimmed:
            return
        client = connect(self.redis_url)
        try:
            while True:
                async with self._copying:
                    await self._copy(client)
                await asyncio.sleep(COPY_S)
        finally:
            await client.aclose()

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """Copy nothing during the block, in which Redis may lose entries; then strike those out."""
        async with self._copying:
            yield
            if self.untrimmed:
                return
            client = connect(self.redis_url)
            try:
                for partition in range(len(self.copies)):
                    self._strike_out(partition, await self._surviving(client, partition))
            finally:
                await client.aclose()

    async def complete(self) -> None:
        """Copy what there is now. Raises `RedisUnavailable`."""
        async with self._copying, connect(self.redis_url) as client:
            for partition in range(len(self.copies)):
                while await self._copy_one(client, partition):
                    pass

    def last(self, partition: int) -> Position:
        """ID of the newest entry, `0-0` for none."""
        return max(self.copies[partition], default=ZERO)

    def oracle(self, partition: int, kinds: Kinds) -> Oracle:
        """The result that a partition's surviving input leads to."""
        own = {s: kind for s, kind in kinds.items() if partition_of(s, len(self.copies)) == partition}
        return Oracle.of(own, sorted(self.copies[partition].items()))

    async def _copy(self, client: Redis) -> None:
        try:
            for partition in range(len(self.copies)):
                await self._copy_one(client, partition)
        except RedisUnavailable:
            pass  # the next time

    async def _copy_one(self, client: Redis, partition: int) -> bool:
        first = str(self.last(partition).next())
        key = self.keys.partition(partition).events
        found = parse_entries(await execute(client, "XRANGE", key, first, "+", "COUNT", COPY_COUNT))
        self.copies[partition].update(found)
        return bool(found)

    async def _surviving(self, client: Redis, partition: int) -> list[RawEntry]:
        async def read() -> list[RawEntry] | None:
            try:
                return parse_entries(
                    await execute(client, "XRANGE", self.keys.partition(partition).events, "-", "+")
                )
            except RedisUnavailable:
                return None

        return await eventually(read, timeout_s=30, message="Redis is back") or []

    def _strike_out(self, partition: int, surviving: list[RawEntry]) -> None:
        held = dict(surviving)
        first = min(held, default=ZERO)
        gone = {position for position in self.copies[partition] if position >= first and position not in held}
        self.lost[partition] |= gone
        for position in gone:
            del self.copies[partition][position]
