"""Checks the Redis server at start and every minute, and says what is wrong with it and what to do."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import Connect, execute
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
        """Check once, and log what has changed; returns False if the server could not be asked."""
        try:
            behind_s = await self._behind_s()
            info = await self._info()
        except RedisUnavailable as error:
            self._outage.note(error)
            return getattr(error, "code", "") == "NOPERM"
        self._outage.over()
        for name, problem in problems_of(info, behind_s).items():
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
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= REFUSAL_EVERY_S:
            self._asked_at = now
            with suppress(RedisUnavailable):  # `check` says it
                self._refusal = eviction(await self._info("memory"))
        return self._refusal

    def failing(self) -> dict[str, str]:
        """The checks that fail, with their problems."""
        return {name: problem for name, problem in self.problems.items() if problem}

    async def _info(self, *sections: str) -> Mapping[str, Any]:
        info: Mapping[str, Any] = await execute(self._client, "INFO", *sections)
        return info

    async def _behind_s(self) -> float:
        asked_us = self.now_us()
        seconds, micros = await execute(self._client, "TIME")
        answered_us = self.now_us()
        server_us = int(seconds) * 1_000_000 + int(micros)
        if asked_us <= server_us <= answered_us:
            return 0.0
        return (server_us - (asked_us if server_us < asked_us else answered_us)) / 1e6
