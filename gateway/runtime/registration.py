"""Shows this gateway in the sorted set `gateways` of Redis, for `depthcast status` and `depthcast doctor`.

A gateway needs no right to write: without it, or at a replica, it serves all the same and says so once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.gateway_entry import FORGET_MS, GatewayEntry, encode_entry
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import Connect, execute
from depthcast.shared.settings import GatewaySettings

logger = logging.getLogger(__name__)

PERIOD_S: Final = 2.0

RETRY_S_MAX: Final = 60.0
"""Longest wait after a refusal: a missing right is rarely given while we wait."""

LEAVE_S: Final = 0.5

FORMER_MAX: Final = 8
"""Earlier entries of ours that may still be there because no reply came."""

_REFRESH: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]))
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
if ARGV[3] == '' then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local over = math.max(0, redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[2]))
if over > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1) end
return over
"""
"""KEYS: the set. A score is the time when the gateway was last heard of (ms), by the server's clock.

ARGV: the age in ms at which entries are removed, and the set with the last of them; how many are kept; our
entry, empty when we leave; our former entries. Replies with the number of entries that were too many.
"""


class Registration:
    """Our entry, which `describe` makes.

    `failures`: attempts that failed. `left_out`: entries of other gateways that we removed because there were
    more than `settings.gateways_max`.
    """

    def __init__(
        self, connect: Connect, settings: GatewaySettings, describe: Callable[[], GatewayEntry]
    ) -> None:
        self.settings = settings
        self.describe = describe
        self.failures = 0
        self.left_out = 0
        self._client = connect(settings.redis_url)
        self._key = DeploymentKeys.at(settings.redis_url, settings.prefix).gateways
        self._former: list[str] = []
        self._backoff = Backoff(PERIOD_S, RETRY_S_MAX, no_jitter)
        self._outage = Outage(logger, "this gateway is not listed in Redis; it serves all the same")

    async def run(self) -> None:
        """Refresh the entry until cancelled, then remove it."""
        try:
            while True:
                wait_s = await self.refresh()
                await asyncio.sleep(wait_s)
        finally:
            try:
                await self._leave()
            finally:
                await self._client.aclose()

    async def refresh(self) -> float:
        """Write the entry; returns the seconds until the next time."""
        try:
            self.left_out += await self._write(encode_entry(self.describe()))
        except RedisUnavailable as error:
            self.failures += 1
            self._outage.note(error)
            return self._backoff.next_s()
        self._outage.over()
        self._backoff.reset()
        return PERIOD_S

    async def _write(self, entry: str) -> int:
        former = [each for each in self._former if each != entry]
        if entry:
            self._former = [*self._former, entry][-FORMER_MAX:]  # it may be there even if no reply comes
        words: list[str | int] = [FORGET_MS, self.settings.gateways_max, entry, *former]
        over: int = await execute(self._client, "EVAL", _REFRESH, 1, self._key, *words)
        self._former = [entry]
        return over

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._write("")
        except (RedisUnavailable, TimeoutError) as error:
            logger.debug("left without notice", extra={"problem": str(error)})
