"""Follows a partition that another ingestor leads, so that it can take over at once."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis

from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.recover import Recovered, Recovery, emptied_tail
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.errors import RecoveryError, RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import ZERO
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import BLOCK_MS, last_position

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.2
RETRY_S_MAX: Final = 5.0

RECOVERY_TRIES: Final = 3
"""Attempts to recover: the first may be inconsistent, because the old leader still writes while we read."""


class Standby:
    """Keeps the published state of one partition while another ingestor leads it.

    `hot`: a state is followed. `attempted`: the state was read once, or reading failed several times.
    `outage`: why it waits. `on_offer` is called when a leader that ends names us as its successor.
    """

    def __init__(
        self,
        partition: tuple[int, int],
        keys: PartitionKeys,
        instruments: Callable[[], Mapping[str, Instrument]],
        environment: Environment,
        stats: PartitionStats,
        name: str,
        on_offer: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.keys = keys
        self.instruments = instruments
        self.environment = environment
        self.stats = stats
        self.name = name
        self.on_offer = on_offer
        self.attempted = False
        self._recovery: Recovery | None = None
        self._retry_s = RETRY_S
        self._failures = 0
        self.outage = Outage(logger, "standby waits for Redis", partition=partition[0])

    @property
    def hot(self) -> bool:
        """Whether a state is followed."""
        return self._recovery is not None

    async def follow(self, client: Redis) -> None:
        """Load the state and follow the stream until cancelled; start again after any failure."""
        while True:
            try:
                await self._follow(client)
            except RedisUnavailable as error:
                self._failures += 1
                self.outage.note(error)
            except (RecoveryError, MemoryError) as error:
                if isinstance(error, RecoveryError) and await self._keeps_state(client):
                    continue
                self._recovery = None
                self.stats.standby_losses += 1
                self._failures += 1
                logger.info("standby starts again", extra=self._about(error))
            self.attempted = self.attempted or self._failures >= RECOVERY_TRIES
            self.stats.following = self.hot
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)

    async def _follow(self, client: Redis) -> None:
        if self._recovery is None:
            self._recovery = await self._loaded(client)
        self.attempted = self.stats.following = True
        self._failures = 0
        recovery = self._recovery
        while True:
            if not recovery.follow(self.instruments()):
                raise RecoveryError(self.partition[0], "an instrument was withdrawn or changed")
            if await recovery.advance(client, BLOCK_MS):
                self.outage.over()
                self._retry_s = RETRY_S
                if recovery.info.successor == self.name:
                    self.on_offer()
                continue
            tail = await last_position(client, self.keys.deltas)
            self.outage.over()
            if ZERO < tail < recovery.position:
                raise RecoveryError(
                    self.partition[0], f"the stream ends at {tail}, behind {recovery.position}"
                )

    async def take_over(self, client: Redis) -> Recovered:
        """The state at the end of the stream: the followed state if it continues, otherwise read again.

        Raises `RecoveryError` when that fails repeatedly, and `RedisUnavailable`.
        """
        recovery, self._recovery = self._recovery, None
        self.stats.following = False
        if recovery is not None:
            try:
                recovered = await self._finish(client, recovery)
                self.stats.warm_takeovers += 1
            except RecoveryError as error:
                logger.info("followed state cannot be used, reading it again", extra=self._about(error))
            except BaseException:
                self._recovery = recovery  # nothing of it was handed over yet
                raise
            else:
                return recovered
        return await self._cold(client)

    async def _keeps_state(self, client: Redis) -> bool:
        """Whether the stream was emptied after we had read it, so that our state must be kept."""
        if self._recovery is None or not self._recovery.is_published_state:
            return False
        with suppress(RedisUnavailable):
            if await emptied_tail(client, self.keys) is None:
                return False
        await asyncio.sleep(RETRY_S)
        return True

    async def _finish(self, client: Redis, recovery: Recovery) -> Recovered:
        tail = await emptied_tail(client, self.keys) if recovery.position > ZERO else None
        if tail is not None:
            return await recovery.finish_emptied(client, self.instruments(), tail)
        return await recovery.finish(client, self.instruments())

    async def _cold(self, client: Redis) -> Recovered:
        for attempt in range(RECOVERY_TRIES):
            try:
                return await (await self._loaded(client)).finish(client, self.instruments())
            except RecoveryError as error:
                if attempt + 1 == RECOVERY_TRIES:
                    raise
                logger.warning("recovery tries again", extra=self._about(error))
                await asyncio.sleep(RETRY_S)
        raise AssertionError("unreachable")

    async def _loaded(self, client: Redis) -> Recovery:
        recovery = Recovery(self.partition, self.keys, self.instruments(), self.environment)
        await recovery.load(client)
        return recovery

    def _about(self, error: Exception) -> dict[str, object]:
        return {"partition": self.partition[0], "problem": str(error)}
