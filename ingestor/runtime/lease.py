"""The lease: decides which ingestor leads a partition.

It only ensures that somebody leads. Safety comes from the compare-and-append of the publish script.
"""

import asyncio
import logging
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import LockError

from depthcast.shared.errors import Fenced, RedisUnavailable, WrongKey
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import execute, map_errors

logger = logging.getLogger(__name__)

RELEASE_S: Final = 1.0
"""Giving the lease back may take this long; it expires by itself anyway."""


NEVER_EXPIRES: Final = -1
"""What PTTL replies for a key without a time to live."""


class Lease:
    """The lease of one partition: a lock of the Redis library.

    It is a key with the name of its holder that expires after `lease_ms`. `outage`: why it is not renewed.
    """

    def __init__(self, client: Redis, partition: int, keys: PartitionKeys, lease_ms: int, name: str) -> None:
        self.client = client
        self.partition = partition
        self.key = keys.leader
        self.lease_s = lease_ms / 1000
        self.name = name
        self.outage = Outage(logger, "lease not renewed", partition=partition)
        self._lock = client.lock(keys.leader, timeout=self.lease_s, thread_local=False)

    async def acquire(self) -> bool:
        """Take the lease if it is free, or already ours after a lost reply; raises `RedisUnavailable`."""
        async with map_errors(self.key):
            if await self._lock.acquire(blocking=False, token=self.name):
                return True
        if await self.holder() != self.name:
            return False
        self._lock.local.token = self.name.encode()
        try:
            async with map_errors(self.key):
                return await self._lock.reacquire()
        except LockError:
            return False

    async def seize(self) -> None:
        """Take the lease from its holder, which finds out when it renews it; raises `RedisUnavailable`."""
        await execute(self.client, "SET", self.key, self.name, "PX", round(self.lease_s * 1000))
        self._lock.local.token = self.name.encode()

    async def holder(self) -> str | None:
        """The name of the holder, None if the lease is free.

        Raises `RedisUnavailable`, and `WrongKey` if the key never expires, because no ingestor wrote it then.
        """
        held = await execute(self.client, "GET", self.key)
        if held is None:
            return None
        if await execute(self.client, "PTTL", self.key) == NEVER_EXPIRES:
            raise WrongKey(self.key, f"{self.key} holds a lease that never expires")
        return str(held.decode("utf-8", "replace"))

    async def keep(self) -> None:
        """Renew the lease until cancelled; raises `Fenced` once another ingestor holds it.

        While Redis is away, nobody can renew or publish, so it keeps trying.
        """
        while True:
            await asyncio.sleep(self.lease_s / 3)
            try:
                async with map_errors(self.key):
                    await self._renew()
                self.outage.over()
            except RedisUnavailable as error:
                self.outage.note(error)

    async def release(self) -> None:
        """Give the lease back, so that the next leader need not wait for it to expire."""
        try:
            async with asyncio.timeout(RELEASE_S), map_errors():
                await self._lock.release()
        except (LockError, RedisUnavailable, TimeoutError) as error:
            logger.debug("lease not handed back", extra={"partition": self.partition, "problem": str(error)})

    async def _renew(self) -> None:
        try:
            await self._lock.reacquire()
        except LockError:
            # It expired while this process or Redis was suspended. If it is free, take it again; otherwise
            # step down.
            if not await self._lock.acquire(blocking=False, token=self.name):
                raise Fenced(self.partition, "our lease", "another ingestor's") from None


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until `event` is set, at most `timeout_s`; returns whether it is set."""
    try:
        async with asyncio.timeout(max(timeout_s, 0)):
            await event.wait()
    except TimeoutError:
        return False
    return True
