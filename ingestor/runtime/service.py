"""The ingestor process: leads its share of the partitions and stands by for the others.

It registers the deployment, reads instruments, joins the other ingestors, and serves the admin address.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import click
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from depthcast.ingestor.runtime.consumer_lags import ConsumerLags
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT, Environment
from depthcast.ingestor.runtime.leader import PartitionLeader
from depthcast.ingestor.runtime.lease import wait_for
from depthcast.ingestor.runtime.membership import Membership
from depthcast.ingestor.runtime.registry import (
    read_instruments_file,
    register_deployment,
    register_instruments,
    restore,
)
from depthcast.ingestor.runtime.stats import IngestorStats
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime import traces
from depthcast.shared.runtime.admin import serve_admin
from depthcast.shared.runtime.catalog import POLL_S, Catalog
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.runtime.redis import execute
from depthcast.shared.runtime.server_checks import ServerChecks
from depthcast.shared.settings import IngestorSettings

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class IngestorService:
    """One ingestor process, from start to end of `run`."""

    def __init__(self, settings: IngestorSettings, environment: Environment = REAL_ENVIRONMENT) -> None:
        self.settings = settings
        self.environment = environment
        self.keys = DeploymentKeys.at(settings.redis_url, settings.prefix)
        self.stats = IngestorStats(traces=traces.start("ingestor", settings.prefix, settings.trace_share))
        self.file = read_instruments_file(settings.instruments)
        self.name = environment.new_name()
        self.catalog: Catalog | None = None
        self.checks: ServerChecks | None = None
        self.leaders: list[PartitionLeader] = []
        self._reading = asyncio.Lock()

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The registered instruments as last read."""
        return {} if self.catalog is None else self.catalog.instruments

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; raises errors of settings at the start."""
        registry = CollectorRegistry()
        registry.register(self.stats)
        registry.register(ProcessMetrics("ingestor"))
        admin = None
        if self.settings.admin_port is not None:
            admin, port = await serve_admin(
                self.settings.admin_host, self.settings.admin_port, registry, self._ready
            )
            click.echo(f"admin listening on http://{self.settings.admin_host}:{port}")
        client = self.environment.connect(self.settings.redis_url)
        self.catalog = Catalog(client, self.keys, interval_s=self.settings.catalog_interval_s)
        self.stats.consumer_lags = ConsumerLags(client, self.keys.consumers, self.catalog.clock)
        self.checks = self.stats.checks = ServerChecks(
            self.environment.connect, self.settings.redis_url, self.environment.now_us
        )
        checking = asyncio.create_task(self.checks.run())
        try:
            partitions = await self._register(client, stop)
            if partitions is not None:
                await self._lead(client, partitions, stop)
        finally:
            checking.cancel()
            try:
                await asyncio.gather(checking, return_exceptions=True)
                await self.catalog.aclose()
            finally:
                try:
                    await client.aclose()
                finally:
                    if admin is not None:
                        await admin.cleanup()

    async def _register(self, client: Redis, stop: asyncio.Event) -> int | None:
        """Create or join the deployment; waits while Redis is away. Returns None if `stop` was set first."""
        outage = Outage(logger, "waiting for Redis")
        assert self.catalog is not None
        while not stop.is_set():
            try:
                was_there = await execute(client, "EXISTS", self.keys.meta)
                partitions, self.keys = await register_deployment(
                    client, self.keys, self.settings.partitions, self.environment.new_name()
                )
                await register_instruments(client, self.keys, self.file, partitions if was_there else 0)
                await self.catalog.poll(asyncio.get_running_loop().time())
            except RedisUnavailable as error:
                outage.note(error)
                await wait_for(stop, RETRY_S)
            else:
                return partitions
        return None

    async def _lead(self, client: Redis, partitions: int, stop: asyncio.Event) -> None:
        membership = Membership(
            client, self.keys, partitions, self.name, self.settings.lease_ms, self._on_listed
        )
        self.stats.membership = membership
        self.leaders = [
            PartitionLeader(
                self.settings,
                (number, partitions),
                self.keys.partition(number),
                (lambda: self.instruments, self._read_instruments),
                membership,
                self.stats.of(number),
                self.environment,
                checks=self.checks,
            )
            for number in range(partitions)
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for leader in self.leaders:
                    group.create_task(leader.run(stop))
                group.create_task(self._poll(stop))
                group.create_task(membership.run(self._ready_to_join, stop))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _poll(self, stop: asyncio.Event) -> None:
        """Look every second whether the instruments changed, and pass them to the partitions."""
        outage = Outage(logger, "instruments not read")
        lags = None if self.settings.admin_port is None else self.stats.consumer_lags
        while not await wait_for(stop, POLL_S):
            try:
                await self._read_instruments()
                outage.over()
                if self.checks is not None and await self.checks.refusal():
                    for leader in self.leaders:
                        leader.end()
                if lags is not None:
                    await lags.read()
            except RedisUnavailable as error:
                outage.note(error)

    async def _read_instruments(self) -> None:
        """Read the instruments and pass them to the partitions; write again those that Redis lost."""
        catalog = self.catalog
        assert catalog is not None
        async with self._reading:
            for leader in self.leaders:
                leader.begin_read()
            if await catalog.poll(asyncio.get_running_loop().time()):
                name = self.environment.new_name()
                await restore(catalog.client, self.keys, len(self.leaders), name, self.instruments)
                catalog.accept()
                logger.warning("the deployment was written again", extra={"symbols": len(self.instruments)})
        for leader in self.leaders:
            leader.refresh()

    def _on_listed(self) -> None:
        """Let every partition check its assignment after ingestors were listed."""
        for leader in self.leaders:
            leader.on_listed()

    def _ready_to_join(self) -> bool:
        """Whether every partition was read or failed repeatedly; only then can we be assigned partitions."""
        return all(leader.standby.attempted for leader in self.leaders)

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        leading = sum(leader.leadership is not None for leader in self.leaders)
        following = sum(leader.leadership is None and leader.standby.hot for leader in self.leaders)
        ready = bool(self.leaders) and leading + following == len(self.leaders)
        body: dict[str, Any] = {"partitions": len(self.leaders), "leading": leading, "following": following}
        problems = {leader.partition: leader.problem for leader in self.leaders if leader.problem}
        if problems:
            body["problems"] = problems
        if self.checks is not None and (failing := self.checks.failing()):
            body["redis"] = failing
        return ready and not problems, body
