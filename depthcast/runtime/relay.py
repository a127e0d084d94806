"""The process `depthcast relay`: copies deployments of other servers into one, for as long as it runs."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import click
from prometheus_client import CollectorRegistry

from depthcast.relay.sources import Source, one_source, parse_sources, password_files
from depthcast.runtime.relay_catalog import CatalogCopier
from depthcast.runtime.relay_partition import NAME_PREFIX, PartitionRelay
from depthcast.runtime.relay_stats import RelayStats
from depthcast.shared.errors import RedisUnavailable, SettingsError
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.admin import serve_admin
from depthcast.shared.runtime.catalog import POLL_S
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.runtime.redis import Connect, connect
from depthcast.shared.settings import RelaySettings, variable

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
FIRST_S: Final = 0.1
"""The catalog is looked at so often until the copy has it: readers wait for it."""
LEAVE_S: Final = 0.5


def read_sources(settings: RelaySettings) -> list[Source]:
    """Return what a relay copies; raises `SettingsError`."""
    if not settings.sources:
        return [one_source(settings)]
    text = _text_of(settings.sources, variable("sources"))
    passwords = {
        path: _text_of(path, "password_file").rstrip("\r\n") for path in password_files(settings, text)
    }
    return parse_sources(settings, text, passwords)


def _text_of(path: str, name: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(name, path, f"cannot be read: {type(error).__name__}") from None


class DeploymentRelay:
    """The copy of one deployment. `problem`: why it is not copied; empty while it is."""

    def __init__(
        self, source: Source, settings: RelaySettings, name: str, connect_to: Connect = connect
    ) -> None:
        self.source = source
        self.settings = settings
        self.name = name
        self.problem = "not begun"
        self.partitions: list[PartitionRelay] = []
        self._connect = connect_to
        self._addresses = source.settings.redis_url, settings.redis_url
        self._clients = connect_to(self._addresses[0]), connect_to(self._addresses[1])
        keys = (
            DeploymentKeys.at(source.settings.redis_url, source.settings.prefix),
            DeploymentKeys.at(settings.redis_url, source.prefix),
        )
        self.catalog = CatalogCopier(source.name, self._clients, keys, settings.catalog_interval_s)

    async def run(self) -> None:
        """Copy until cancelled. Raises `CopyError` if the target is not to be written to."""
        try:
            partitions = await self._find()
            self.partitions = [self._partition(number) for number in range(partitions)]
            async with asyncio.TaskGroup() as tasks:
                await self._listed()
                for partition in self.partitions:
                    tasks.create_task(partition.run())
                tasks.create_task(self._poll())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            await self._close()

    def failures(self) -> Counter[str]:
        """Attempts that failed, by side."""
        return sum((each.failures for each in self.partitions), Counter(self.catalog.failures))

    def values(self) -> Mapping[int, Mapping[str, float | None]]:
        """By partition, what the metrics show."""
        now = asyncio.get_running_loop().time()
        return {
            each.number: {
                "following": float(each.follows),
                "lag_seconds": each.lag_s(now),
                "delay_seconds": each.delay_s,
                "entries": float(each.entries),
                "bytes": float(each.bytes),
                "read_bytes": float(each.read_bytes),
                "limited": float(each.limited),
                "snapshots": float(each.snapshots.snapshots),
                "replaced": float(each.replaced),
            }
            for each in self.partitions
        }

    def lag_ms(self) -> dict[int, int | None]:
        """By partition that is copied here, the age of the newest entry in the copy."""
        now = asyncio.get_running_loop().time()
        lags = {each.number: each.lag_s(now) for each in self.partitions if each.follows}
        return {number: None if lag is None else round(lag * 1e3) for number, lag in lags.items()}

    def state(self) -> dict[str, Any]:
        """What `/readyz` shows."""
        problems = {
            each.number: problem
            for each in self.partitions
            if (problem := each.problem or each.snapshots_problem) and not each.standing_by
        }
        following = sum(each.follows for each in self.partitions)
        found: dict[str, Any] = {
            "source": self.source.name,
            "partitions": len(self.partitions),
            "following": following,
        }
        if self.problem:
            found["problem"] = self.problem
        return {**found, "problems": problems} if problems else found

    @property
    def ready(self) -> bool:
        """Whether every partition is copied, snapshots too, here or by another relay that we stand by for."""
        return (
            bool(self.partitions)
            and not self.problem
            and all(
                each.standing_by or (each.follows and not each.snapshots_problem) for each in self.partitions
            )
        )

    def _partition(self, number: int) -> PartitionRelay:
        catalog = self.catalog
        return PartitionRelay(
            number,
            (catalog.source_keys.partition(number), catalog.target_keys.partition(number)),
            self._addresses,
            self.settings,
            self.name,
            catalog.clock,
            symbols=lambda: self._symbols(number),
            connect=self._connect,
        )

    def _symbols(self, number: int) -> list[str]:
        count = len(self.partitions)
        return [symbol for symbol in self.catalog.symbols if partition_of(symbol, count) == number]

    async def _find(self) -> int:
        """Wait until there is something to copy; returns the number of partitions."""
        outage = Outage(logger, "the relay waits", prefix=self.source.prefix)
        while True:
            try:
                partitions = await self.catalog.find()
            except RedisUnavailable as error:
                outage.note(error)
            else:
                if partitions is not None:
                    outage.over()
                    return partitions
                outage.note(RedisUnavailable(f"no ingestor has created {self.source.name} yet"))
            self.problem = outage.problem
            await asyncio.sleep(RETRY_S)

    async def _listed(self) -> None:
        """Wait until the instruments were read, whose snapshots come first."""
        while not self.catalog.symbols:
            await self._poll_once()
            if not self.problem:
                return
            await asyncio.sleep(RETRY_S)

    async def _poll(self) -> None:
        """Copy the catalog each second, and say how far we are."""
        while True:
            await asyncio.sleep(POLL_S if self.catalog.written else FIRST_S)
            await self._poll_once()
            with suppress(RedisUnavailable):
                problem = self.problem or "; ".join(self.state().get("problems", {}).values())
                await self.catalog.say(self.name, self.lag_ms(), problem)

    async def _poll_once(self) -> None:
        # Two relays of one copy may see two servers; who copies the first partition copies the catalog.
        writes = self.partitions[0].follows
        try:
            await self.catalog.poll(write=writes)
            self.problem = ""
        except RedisUnavailable as error:
            self.problem = error.problem

    async def _close(self) -> None:
        with suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.catalog.leave(self.name)
        await self.catalog.close()
        await asyncio.gather(*(each.close() for each in self.partitions))
        for client in self._clients:
            await client.aclose()


class RelayService:
    """One process, from start to end of `run`. `deployments`: what it copies."""

    def __init__(self, settings: RelaySettings, connect_to: Connect = connect) -> None:
        self.settings = settings
        self.name = f"{NAME_PREFIX}{socket.gethostname()}-{uuid4().hex[:8]}"
        self.deployments = [
            DeploymentRelay(source, settings, self.name, connect_to) for source in read_sources(settings)
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; raises errors of settings, and `CopyError` if a target is not ours."""
        registry = CollectorRegistry()
        registry.register(RelayStats(lambda: self.deployments))
        registry.register(ProcessMetrics("relay"))
        admin = None
        if self.settings.admin_port is not None:
            admin, port = await serve_admin(
                self.settings.admin_host, self.settings.admin_port, registry, self._ready
            )
            click.echo(f"admin listening on http://{self.settings.admin_host}:{port}")
        copying = asyncio.gather(*(deployment.run() for deployment in self.deployments))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((copying, stopped), return_when=asyncio.FIRST_COMPLETED)
            if copying.done():
                await copying
        finally:
            stopped.cancel()
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)
            if admin is not None:
                await admin.cleanup()

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        states: Sequence[dict[str, Any]] = [deployment.state() for deployment in self.deployments]
        return all(deployment.ready for deployment in self.deployments), {"copies": states}
