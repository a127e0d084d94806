"""Notices every change of a key, whoever makes it, at the cost of two short commands a look.

The server itself keeps watch (WATCH): a transaction on the watching connection is refused once the key was
written. So it does not matter who writes, and nobody has to count versions. Each look begins the next watch,
on another connection, before it asks the one that has watched since the last look: no change falls between.
"""

import logging
from contextlib import suppress
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from depthcast.shared.errors import RedisRefused, RedisUnavailable, WatchedKeyChanged
from depthcast.shared.runtime.cluster import plain_client
from depthcast.shared.runtime.redis import map_errors, run_pipeline

logger = logging.getLogger(__name__)

REFUSED_LOOKS: Final = 60
"""After the server has refused to watch, so many looks pass before it is asked again."""


class KeyWatch:
    """Watches `key` through `client`, of which it keeps one connection, and a second one during a look."""

    def __init__(self, client: Redis, key: str) -> None:
        self.client = plain_client(client, key)
        self.key = key
        self._watching: Pipeline | None = None
        self._refused = 0

    async def unchanged(self, *commands: tuple[str, ...], sure: bool = True) -> list[Any] | None:
        """The replies to `commands`, all of one moment, if the key was not written since the last look.

        None if it was, if that is not known, or if the caller is not `sure` of what it read after the last
        look: then read the key anew. Every change after the beginning of this call counts for the next look.
        Raises `RedisUnavailable`.
        """
        before, self._watching = self._watching, None
        try:
            self._watching = await self._begin()
            if before is None or not sure or self._watching is None:
                return None
            cast("Any", before).multi()
            for command in commands:
                before.execute_command(*command)
            return await run_pipeline(before)
        except WatchedKeyChanged:
            return None
        finally:
            if before is not None:
                await _end(before)

    async def aclose(self) -> None:
        """Return the connection that watches."""
        pipeline, self._watching = self._watching, None
        if pipeline is not None:
            await _end(pipeline)

    async def _begin(self) -> Pipeline | None:
        """A pipeline whose connection watches from now on; None if the server refuses that."""
        if self._refused:
            self._refused -= 1
            return None
        pipeline = self.client.pipeline(transaction=True)
        try:
            async with map_errors(self.key):
                await pipeline.watch(self.key)
        except RedisRefused as error:
            await _end(pipeline)
            if error.code != "NOPERM":
                raise
            self._refused = REFUSED_LOOKS
            logger.warning(
                "WATCH is refused, so the key is read whole each time; allow it, see depthcast redis-acl",
                extra={"key": self.key, "problem": error.problem},
            )
            return None
        except BaseException:
            await _end(pipeline)
            raise
        return pipeline


async def _end(pipeline: Pipeline) -> None:
    """Return the pipeline's connection, which then watches nothing, or is closed if it is lost.

    If the server refuses to end the watch, the next transaction on that connection may raise
    `WatchedKeyChanged`, which ends it. No error may take the place of a cancellation that is under way.
    """
    with suppress(RedisUnavailable, RedisRefused):
        async with map_errors():
            await cast("Any", pipeline).reset()
