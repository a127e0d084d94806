"""Reads how far the consumers are that name themselves. Only metrics need it; nothing waits for it."""

import asyncio
import logging

from redis.asyncio import Redis

from depthcast.shared.consumer_entry import CONSUMERS_MAX, decode_entry, is_name
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.freshness import ServerClock
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import read_hash

logger = logging.getLogger(__name__)


class ConsumerLags:
    """The hash `key`, as last read, by name of the consumer and partition.

    `seconds`: the lag. `replica_seconds`: how far the replica is behind that it reads from, if it does.
    """

    def __init__(self, client: Redis, key: str, clock: ServerClock) -> None:
        self.seconds: dict[tuple[str, int], float] = {}
        self.replica_seconds: dict[tuple[str, int], float] = {}
        self._client = client
        self._key = key
        self._clock = clock
        self._outage = Outage(logger, "the lag of consumers is not read", key=key)

    async def read(self) -> None:
        """Read it once; keeps what was read before if Redis is away, or if nothing says what time it is."""
        try:
            found = await read_hash(self._client, self._key)
        except RedisUnavailable as error:
            self._outage.note(error)
            return
        self._outage.over()
        now_us = self._clock.now_us(asyncio.get_running_loop().time())
        if now_us is None:
            return
        named = sorted((name.decode("utf-8", "replace"), raw) for name, raw in found.items())
        entries = [
            (name, entry)
            for name, raw in named[:CONSUMERS_MAX]
            if is_name(name) and (entry := decode_entry(raw)) is not None
        ]
        self.seconds = {
            (name, partition): lag_s
            for name, entry in entries
            for partition, lag_s in entry.lags_s(now_us).items()
        }
        self.replica_seconds = {
            (name, partition): lag_s
            for name, entry in entries
            for partition, lag_s in entry.replica_lags_s(now_us).items()
        }
