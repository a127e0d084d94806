"""Leads one partition: lease, recovery, seal, then consuming input and broadcasting until fenced or stopped.

The flow of a leadership is in `PartitionLeader.run`; what happens inside one is `Leadership`'s. All writes to the
partition's streams go through one `Publisher` behind one lock, so that draining, numbering and publishing stay in step.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.asyncio import Redis

from broadcaster.publication import Broadcast
from broadcaster.runtime.publisher import Publisher
from broadcaster.runtime.same_server import SameServer
from ingestor.engine import Engine
from ingestor.recovery import Published
from ingestor.runtime.leadership import Leadership
from ingestor.runtime.lease import Lease, wait_for
from ingestor.runtime.outside import Outside
from ingestor.runtime.recover import recover
from ingestor.runtime.stats import PartitionStats
from shared.errors import Fenced, RecoveryError, RedisUnavailable
from shared.instruments import Instrument
from shared.keys import PartitionKeys
from shared.partition import partition_of
from shared.settings import IngestorSettings
from shared.types import EntryInfo

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
RECOVERY_TRIES: Final = 3
"""An old leader that still writes while we read makes a first attempt inconsistent, not Redis."""

Instruments = Callable[[], Mapping[str, Instrument]]
"""All registered instruments by symbol, as last read."""


class PartitionLeader:
    """Wants to lead one partition, and does so whenever it holds the lease."""

    def __init__(
        self,
        settings: IngestorSettings,
        partition: tuple[int, int],
        keys: PartitionKeys,
        instruments: Instruments,
        stats: PartitionStats,
        outside: Outside,
    ) -> None:
        self.settings = settings
        self.outside = outside
        self.partition, self.partitions = partition
        self.keys = keys
        self.instruments = instruments
        self.stats = stats
        self.leadership: Leadership | None = None

    def refresh(self) -> None:
        """The instruments were read again: pass them on to the leadership, if there is one."""
        if self.leadership is not None:
            self.leadership.update_instruments(self._own_instruments(), self.instruments().keys())

    async def run(self, stop: asyncio.Event) -> None:
        """Lead until `stop` is set, again and again after being fenced; raises `RecoveryError` only."""
        client = self.outside.connect(self.settings.redis_url)
        lease = Lease(client, self.partition, self.keys, self.settings.lease_ms)
        try:
            while await lease.acquire(stop):
                try:
                    await self._lead(lease, stop)
                except (Fenced, RedisUnavailable) as error:
                    self.stats.step_downs += 1
                    logger.warning(
                        "leadership ended", extra={"partition": self.partition, "problem": str(error)}
                    )
                    await wait_for(stop, RETRY_S)
                finally:
                    self.leadership = None
                    self.stats.leading = False
                    await lease.release()
        finally:
            await client.aclose()

    async def _lead(self, lease: Lease, stop: asyncio.Event) -> None:
        # From recovery to the last write on one server: what was read from one says nothing of another.
        client = self.outside.connect(self.settings.redis_url, on_connect=SameServer(self.partition).check)
        keeping = asyncio.create_task(lease.keep())
        beginning = asyncio.create_task(self._begin(client))
        tasks: list[asyncio.Task[Any]] = [keeping, beginning, asyncio.create_task(stop.wait())]
        try:
            # Cutting a beginning off leaves at worst what a crash would, so neither `stop` nor a lost lease waits for it.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                await keeping
            if not beginning.done():
                return
            self.leadership = await beginning
            self.stats.leading = True
            await self.leadership.run(stop, keeping)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.aclose()

    async def _begin(self, client: Redis) -> Leadership:
        """Recover, seal, move every symbol on."""
        own, known = self._own_instruments(), self.instruments().keys()
        engine, published = await self._recover(client, own)
        epoch = await self._epoch_after(published.position.epoch)
        publisher = Publisher(
            client,
            (self.partition, self.keys),
            published.position,
            rejects_max=self.settings.rejects_max,
        )
        info = published.info
        await publisher.seal(epoch, Broadcast(EntryInfo(self.outside.now_us(), info.src, *info[2:5]), ()))
        logger.info("leading", extra={"partition": self.partition, "epoch": epoch, "src": info.src})
        leadership = Leadership(self.settings, engine, publisher, self.stats, self.outside)
        await leadership.enter(epoch, own, known)
        return leadership

    async def _recover(
        self, client: Redis, instruments: Mapping[str, Instrument]
    ) -> tuple[Engine, Published]:
        for attempt in range(RECOVERY_TRIES):
            engine = Engine(self.partition, self.partitions)
            try:
                return engine, await recover(client, self.partition, self.keys, engine, instruments)
            except RecoveryError as error:
                if attempt + 1 == RECOVERY_TRIES:
                    raise
                logger.warning(
                    "recovery tries again", extra={"partition": self.partition, "problem": str(error)}
                )
                await asyncio.sleep(RETRY_S)
        raise AssertionError("unreachable")

    def _own_instruments(self) -> dict[str, Instrument]:
        return {
            symbol: instrument
            for symbol, instrument in self.instruments().items()
            if partition_of(symbol, self.partitions) == self.partition
        }

    async def _epoch_after(self, last: int) -> int:
        """Milliseconds since 1970, once they exceed `last`: raising the number could repeat an epoch after a failover."""
        said = False
        while (epoch := self.outside.now_ms()) <= last:
            if not said:
                logger.warning(
                    "the clock is behind the last epoch, waiting for it",
                    extra={"partition": self.partition, "behind_ms": last - epoch},
                )
                said = True
            await asyncio.sleep(min((last - epoch + 1) / 1000, 1.0))
        return epoch
