"""The ingestor process: registers the deployment, leads its partitions, polls instruments, serves the admin address."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import click
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from ingestor.runtime.leader import PartitionLeader
from ingestor.runtime.lease import wait_for
from ingestor.runtime.outside import OUTSIDE, Outside
from ingestor.runtime.registry import read_instruments_file, register_deployment, register_instruments
from ingestor.runtime.stats import IngestorStats
from shared.errors import RedisUnavailable
from shared.instruments import Instrument
from shared.keys import DeploymentKeys
from shared.runtime.admin import serve_admin
from shared.runtime.catalog import POLL_S, read_instruments
from shared.settings import IngestorSettings

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class IngestorService:
    """One ingestor process. `run` is its whole life."""

    def __init__(self, settings: IngestorSettings, outside: Outside = OUTSIDE) -> None:
        self.settings = settings
        self.outside = outside
        self.keys = DeploymentKeys(settings.prefix)
        self.stats = IngestorStats()
        self.file = read_instruments_file(settings.instruments)
        self.instruments: Mapping[str, Instrument] = {}
        self.leaders: list[PartitionLeader] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises settings errors at start, `RecoveryError` if the state does not add up."""
        registry = CollectorRegistry()
        registry.register(self.stats)
        admin = None
        if self.settings.admin_port is not None:
            admin, port = await serve_admin(
                self.settings.admin_host, self.settings.admin_port, registry, self._ready
            )
            click.echo(f"admin listening on http://{self.settings.admin_host}:{port}")
        client = self.outside.connect(self.settings.redis_url)
        try:
            partitions = await self._register(client, stop)
            if partitions is not None:
                await self._lead(client, partitions, stop)
        finally:
            await client.aclose()
            if admin is not None:
                await admin.cleanup()

    async def _register(self, client: Redis, stop: asyncio.Event) -> int | None:
        """Create or join the deployment; waits, saying so, while Redis is away. None when `stop` was set first."""
        said = ""
        while not stop.is_set():
            try:
                partitions = await register_deployment(client, self.keys, self.settings.partitions)
                await register_instruments(client, self.keys, self.file)
                self.instruments = await read_instruments(client, self.keys, self.instruments)
            except RedisUnavailable as error:
                if error.problem != said:
                    logger.warning("waiting for Redis", extra={"problem": error.problem})
                    said = error.problem
                await wait_for(stop, RETRY_S)
            else:
                return partitions
        return None

    async def _lead(self, client: Redis, partitions: int, stop: asyncio.Event) -> None:
        self.leaders = [
            PartitionLeader(
                self.settings,
                (number, partitions),
                self.keys.partition(number),
                lambda: self.instruments,
                self.stats.of(number),
                self.outside,
            )
            for number in range(partitions)
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for leader in self.leaders:
                    group.create_task(leader.run(stop))
                group.create_task(self._poll(client, stop))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _poll(self, client: Redis, stop: asyncio.Event) -> None:
        """Read the instruments each second and pass them on."""
        while not await wait_for(stop, POLL_S):
            try:
                self.instruments = await read_instruments(client, self.keys, self.instruments)
            except RedisUnavailable as error:
                logger.warning("instruments not read", extra={"problem": error.problem})
                continue
            for leader in self.leaders:
                leader.refresh()

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        leading = sum(stats.leading for stats in self.stats.partitions.values())
        ready = bool(self.leaders) and leading == len(self.leaders)
        return ready, {"partitions": len(self.leaders), "leading": leading}
