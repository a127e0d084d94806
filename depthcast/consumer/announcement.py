"""Says in Redis how far a consumer with a name is, so that the ingestors' metrics have its lag.

A consumer needs no right to write: without it, it reads all the same and says so once.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.consumer_entry import NAME_RULE, ConsumerEntry, encode_entry, is_name
from depthcast.shared.errors import RedisUnavailable, SettingsError
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import execute
from depthcast.shared.version import VERSION

logger = logging.getLogger(__name__)

LEAVE_S: Final = 0.5


class Announcement:
    """The field of one consumer in the hash `key`. Raises `SettingsError` if `name` is none."""

    def __init__(self, client: Redis, key: str, name: str) -> None:
        if not is_name(name):
            raise SettingsError("name", name, NAME_RULE)
        self._client = client
        self._key = key
        self._name = name
        self._outage = Outage(logger, "this consumer is not listed in Redis; it reads all the same", key=key)

    async def say(
        self,
        now_us: float | None,
        ages_s: Mapping[int, float | None],
        replica_lag_ms: Mapping[int, int | None],
    ) -> None:
        """Say how far the consumer is; nothing while the server's time `now_us` (µs since 1970) is unknown.

        `ages_s`: by partition, the age of the newest entry that it has delivered, None if it is not known.
        `replica_lag_ms`: of those that are read from a replica, how far that is behind, likewise.
        """
        if now_us is None:
            return
        lag_ms = {number: None if age is None else round(age * 1e3) for number, age in ages_s.items()}
        entry = encode_entry(ConsumerEntry(round(now_us), VERSION, lag_ms, replica_lag_ms))
        try:
            await execute(self._client, "HSET", self._key, self._name, entry)
            self._outage.over()
        except RedisUnavailable as error:
            self._outage.note(error)

    async def leave(self) -> None:
        """Remove the field: the consumer ends in order, and is missed by nobody."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await execute(self._client, "HDEL", self._key, self._name)
        except (RedisUnavailable, TimeoutError) as error:
            logger.debug("left without notice", extra={"problem": str(error)})
