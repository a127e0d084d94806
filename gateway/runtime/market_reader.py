"""Reads the market: the catalog, one follower per partition, and the ticks that send new entries."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from redis.asyncio import Redis

from depthcast.gateway.delivery.coalescing import Coalescing
from depthcast.gateway.delivery.core import Core
from depthcast.gateway.market.market import Upstream
from depthcast.gateway.runtime.entry_times import EntryTimes
from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.catalog import POLL_S, Catalog, wait_for_deployed
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import Connect, connect
from depthcast.shared.runtime.replicas import ReadingClient, reading_client, watched
from depthcast.shared.runtime.stages import ObserveStage, ignore

if TYPE_CHECKING:
    from depthcast.shared.runtime.open_telemetry import Traces

logger = logging.getLogger(__name__)

COALESCE_S: Final = 0.002
"""Entries of several partitions that arrive within this time are sent in one write per client."""

STATUS_PERIOD_S_MAX: Final = 0.25

REST_LOOK_S_MAX: Final = 1.0

TAKEN_UP_AT_ONCE_MAX: Final = 5_000
"""Symbols of a partition that are taken up together; further ones wait."""

TRY_AGAIN_FIRST_S: Final = 0.02
TRY_AGAIN_MOST_S: Final = 1.0
"""Waits before symbols are taken up once more, because Redis is away or the partition is being loaded."""


class MarketReader:
    """Reads Redis into `core` until cancelled. `followers`: by partition, once the deployment is known.

    `observe` is called with the duration of each flush in seconds, `observe_stage` with the times of entries.
    `traces`: None if nothing is traced.
    """

    def __init__(
        self,
        core: Core,
        observe: Callable[[float], None],
        connect_redis: Connect = connect,
        observe_stage: ObserveStage = ignore,
        traces: "Traces | None" = None,
    ) -> None:
        self.core = core
        self.observe = observe
        self.entry_times = EntryTimes(observe_stage, core.clock_us, traces)
        self.connect = connect_redis
        self.settings = core.settings
        self.keys = DeploymentKeys.at(core.settings.redis_url, core.settings.prefix)
        self.followers: dict[int, Follower] = {}
        self.gaps = 0
        self.mismatches = 0
        self._loop = asyncio.get_running_loop()
        self._next_tick: asyncio.Handle | None = None
        self._coalescing = Coalescing(COALESCE_S)
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._asked: list[asyncio.Event] = []
        self._noted: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Wait for the deployment, then follow it. Raises `DeploymentMismatch`."""
        client = self.connect(self.settings.redis_url)
        try:
            partitions, self.keys = await wait_for_deployed(client, self.keys, self.settings.partitions)
            self.core.market.set_partitions(partitions)
            self._asked = [asyncio.Event() for _ in range(partitions)]
            self.core.market.demand.on_asked = self._wake
            async with asyncio.TaskGroup() as tasks:
                listed = asyncio.Event()
                tasks.create_task(self._poll_catalog(client, listed))
                await listed.wait()
                for number, upstream in enumerate(self.core.market.upstreams):
                    tasks.create_task(self._follow(number, upstream))
                tasks.create_task(self._update_statuses())
                await self._failed
        finally:
            if self._next_tick is not None:
                self._next_tick.cancel()
            await client.aclose()

    async def _poll_catalog(self, client: Redis, listed: asyncio.Event) -> None:
        catalog = Catalog(client, self.keys, self.core.market.clock, self.settings.catalog_interval_s)
        outage = Outage(logger, "the catalog waits for Redis")
        try:
            while True:
                try:
                    await catalog.poll(self._loop.time())
                    outage.over()
                    self._list(catalog.instruments)
                    listed.set()
                except RedisUnavailable as error:
                    outage.note(error)
                await asyncio.sleep(POLL_S)
        finally:
            await catalog.aclose()

    @property
    def replica_clients(self) -> dict[int, ReadingClient]:
        """What reads from replicas, by partition; empty where `read_from` is `primary`."""
        clients = {number: follower.client for number, follower in sorted(self.followers.items())}
        return {number: client for number, client in clients.items() if isinstance(client, ReadingClient)}

    def _list(self, instruments: Mapping[str, Instrument]) -> None:
        added, removed = self.core.list_instruments(instruments)
        if added or removed:
            logger.info("instruments changed", extra={"added": len(added), "removed": len(removed)})

    async def _follow(self, number: int, upstream: Upstream) -> None:
        settings = self.settings
        client = reading_client(
            settings.redis_url,
            self.keys.partition(number).deltas,
            settings.read_from,
            settings.replica_lag_max_ms,
            self.connect,
        )
        try:
            async with watched(client), asyncio.TaskGroup() as tasks:
                follower = self._follower(client, number, upstream)
                tasks.create_task(self._read(number, upstream, follower))
                if not self.core.market.demand.everything:
                    tasks.create_task(self._take_up(number, follower))
        finally:
            await client.aclose()

    def _follower(self, client: Redis, number: int, upstream: Upstream) -> Follower:
        keys = self.keys.partition(number)

        def symbols() -> Collection[str]:
            return upstream.symbols

        follower = Follower(
            client,
            keys,
            upstream.reader,
            symbols,
            past_s=self.settings.book_history_s,
            rest_look_s=None if self.core.market.demand.everything else self._rest_look_s(),
        )
        self.followers[number] = follower
        return follower

    def _rest_look_s(self) -> float:
        """How often to look whether a partition without followed symbols lives: in time to find it fresh."""
        return min(REST_LOOK_S_MAX, self.settings.stale_ms / 4000)

    async def _read(self, number: int, upstream: Upstream, follower: Follower) -> None:
        # One entry at a time, because its effect on a view is computed from the book right after it.
        async for entry in follower.entries():
            if entry is not None:
                now, read_at = self._loop.time(), time.perf_counter()
                self.core.apply(upstream, entry, now)
                self.entry_times.read(number, entry, upstream.freshness.age_s(now), read_at)
            if upstream.reader.missing:
                self._count_missing(upstream)
            changes = entry is not None and bool(entry.updates)
            self._tick_soon(number if changes else None, more=follower.more)

    async def _take_up(self, number: int, follower: Follower) -> None:
        """Take up the symbols of a partition that were asked for, all that wait together."""
        market, backoff = self.core.market, Backoff(TRY_AGAIN_FIRST_S, TRY_AGAIN_MOST_S, no_jitter)
        asked, event = market.demand.asked[number], self._asked[number]
        while True:
            await event.wait()
            some = dict(islice(asked.items(), TAKEN_UP_AT_ONCE_MAX))
            if not some:
                event.clear()
                continue
            taken = None
            with suppress(RedisUnavailable):  # the follower logs it
                taken = await follower.take_up(list(some), market.note_earlier, past=any(some.values()))
            if taken is None:
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self.core.adopt(number, taken.beside, taken.symbols, self._loop.time(), taken.written)
            self._tick()
            market.demand.wake()

    def _wake(self, number: int) -> None:
        self._asked[number].set()

    def _count_missing(self, upstream: Upstream) -> None:
        """Count each gap and mismatch once, when it is first seen for a symbol."""
        for missing in upstream.reader.missing.items():
            if missing not in self._noted:
                self._noted.add(missing)
                self.gaps += missing[1].startswith("gap")
                self.mismatches += missing[1].startswith("digest")
        if len(self._noted) > 10_000:
            self._noted.clear()

    def _tick_soon(self, partition: int | None = None, *, more: bool = True) -> None:
        """Flush soon after entries arrive, when all entries of one read have been applied.

        A callback costs less than waking a task. It is short, never waits, and runs for every broadcast.
        `partition`: which has changes. `more`: whether more follows in this turn of the event loop; if not, a
        single partition's changes are flushed before its next read is sent.
        """
        wait_s = 0.0
        if len(self.core.market.upstreams) > 1:
            if partition is not None:
                wait_s = self._coalescing.wait_s(partition, self._loop.time())
        elif not more:
            self._tick()
            return
        if self._next_tick is None:
            self._next_tick = (
                self._loop.call_later(wait_s, self._tick) if wait_s > 0 else self._loop.call_soon(self._tick)
            )

    def _tick(self) -> None:
        if self._next_tick is not None:
            self._next_tick.cancel()
            self._next_tick = None
        began, now = time.perf_counter(), self._loop.time()
        self._coalescing.flush(now)
        try:
            if self.core.tick(now):
                self.observe(time.perf_counter() - began)
            self.entry_times.flush()
        except Exception as error:  # noqa: BLE001  # it ends `run`, as a task would
            if not self._failed.done():
                self._failed.set_exception(error)

    async def _update_statuses(self) -> None:
        """Also tick when no entries arrive, because silence makes books stale."""
        period_s = min(self.settings.stale_ms / 10_000, STATUS_PERIOD_S_MAX)
        while True:
            await asyncio.sleep(period_s)
            self._tick_soon()
