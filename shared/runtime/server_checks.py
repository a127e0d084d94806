"""Checks the Redis server at start and every minute, and says what is wrong with it and what to do."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.cluster import each_server
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import Connect, execute, map_errors
from depthcast.shared.server_health import CHECKS, eviction, problems_of

logger = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 60.0

RETRY_S: Final = 1.0
"""Time between checks while the server cannot be asked."""

REFUSAL_EVERY_S: Final = 1.0


CHECK_FAILED: Final = "depthcast_redis_check_failed"
CHECK_TEXT: Final = "1 while a check of the server fails"
"""The metric of both processes."""


class ServerChecks:
    """The state of the server at `redis_url`, as last asked.

    `problems`: for each check its problem, empty if there is none. `now_us`: our clock.
    """

    def __init__(self, connect: Connect, redis_url: str, now_us: Callable[[], int]) -> None:
        self.problems: dict[str, str] = dict.fromkeys(CHECKS, "")
        self.now_us = now_us
        self._client = connect(redis_url)
        self._outage = Outage(logger, "the server is not checked")
        self._refusal = ""
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")

    async def run(self) -> None:
        """Check until cancelled."""
        try:
            while True:
                pause_s = CHECK_EVERY_S if await self.check() else RETRY_S
                await asyncio.sleep(pause_s)
        finally:
            await self.aclose()

    async def check(self) -> bool:
        """Check once, and log what has changed; returns False if a server could not be asked."""
        found = dict.fromkeys(CHECKS, "")
        try:
            for address, server in (await self._servers()).items():
                behind_s = await self._behind_s(server)
                info: Mapping[str, Any] = await execute(server, "INFO")
                for name, problem in problems_of(info, behind_s).items():
                    found[name] = found[name] or _at(address, problem)
        except RedisUnavailable as error:
            self._outage.note(error)
            return getattr(error, "code", "") == "NOPERM"
        self._outage.over()
        for name, problem in found.items():
            before, self.problems[name] = self.problems[name], problem
            if problem and not before:
                logger.warning("the server has a problem", extra={"check": name, "problem": problem})
            elif before and not problem:
                logger.info("the server's problem is solved", extra={"check": name})
        return True

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def refusal(self) -> str:
        """Why no partition may be led: the server may delete any key; else, or if it does not tell, empty."""
        async with self._asking:  # who asks amid another's question waits for its answer
            now = asyncio.get_running_loop().time
            if now() - self._asked_at >= REFUSAL_EVERY_S:
                with suppress(RedisUnavailable):  # `check` says it
                    servers = (await self._servers()).items()
                    found = [
                        _at(each, eviction(await execute(server, "INFO", "memory")))
                        for each, server in servers
                    ]
                    self._refusal = next(filter(None, found), "")
                self._asked_at = now()
            return self._refusal

    def failing(self) -> dict[str, str]:
        """The checks that fail, with their problems."""
        return {name: problem for name, problem in self.problems.items() if problem}

    async def _servers(self) -> Mapping[str, Redis]:
        """All servers that have data: in a cluster, its masters."""
        async with map_errors():
            return await each_server(self._client)

    async def _behind_s(self, server: Redis) -> float:
        asked_us = self.now_us()
        seconds, micros = await execute(server, "TIME")
        answered_us = self.now_us()
        server_us = int(seconds) * 1_000_000 + int(micros)
        if asked_us <= server_us <= answered_us:
            return 0.0
        return (server_us - (asked_us if server_us < asked_us else answered_us)) / 1e6


def _at(address: str, problem: str) -> str:
    """A problem with the server that has it, where there are several."""
    return f"{address}: {problem}" if problem and address else problem
