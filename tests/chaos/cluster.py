"""Several ingestors and gateways as real processes, some behind links that can be cut, slowed or frozen."""

import asyncio
import json
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from depthcast.gateway.runtime.drain import drained_within_s
from depthcast.runtime.child import Child
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.partition import partition_of
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Symbol
from tests.chaos.nodes import NodeServers
from tests.chaos.oracle import Kinds
from tests.chaos.servers import OneServer, WatchedServers
from tests.proxy import FaultProxy
from tests.waiting import eventually

PREFIX: Final = "chaos"
Servers = OneServer | WatchedServers | NodeServers
STOP_S: Final = drained_within_s(GatewaySettings()) + 20
"""A client that never reads its close frame keeps its gateway for the whole time of draining."""
START_S: Final = 60.0

EACH: Final = (("levels", "reject"), ("orders", "reject"), ("levels", "evict"), ("orders", "evict"))


def symbols_of(partitions: int) -> dict[str, tuple[str, str]]:
    """Two symbols in each partition, one of each feed; some evict when they cross."""
    kinds: dict[str, tuple[str, str]] = {}
    for partition in range(partitions):
        for feed, on_cross in EACH[:2] if partition % 2 else EACH[2:]:
            names = (f"{feed[:3].upper()}{number}" for number in range(1000))
            name = next(n for n in names if n not in kinds and partition_of(n, partitions) == partition)
            kinds[name] = (feed, on_cross)
    return kinds


class Process:
    """`python -m ingestor` or `python -m gateway`; its log is kept across restarts."""

    def __init__(self, program: str, label: str, folder: Path, options: Mapping[str, object]) -> None:
        self.program = program
        self.label = label
        self.log = folder / f"{label}.log"
        self._command = [sys.executable, "-m", f"depthcast.{program}"]
        self._command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._child: Child | None = None
        self._began = 0

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as output:
            self._began = output.tell()
            self._child = Child(self._command, output)

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send(number)

    async def kill(self) -> None:
        """Kill -9; it is gone when this returns."""
        self.send(signal.SIGKILL)
        await self._ended()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.send(signal.SIGTERM)
        return await self._ended()

    async def said(self, pattern: str) -> None:
        """Wait until its log has `pattern` since its last start."""
        await eventually(
            lambda: not self.running or re.search(pattern, self._text()),
            timeout_s=START_S,
            message=f"{self.label} says {pattern}",
        )
        assert self.running, f"{self.label} ended: {self._text()[-2000:]}"

    def led(self) -> set[tuple[int, int]]:
        """(partition, epoch) of every leadership it began since its last start."""
        found = set()
        for line in self._text().splitlines():
            if '"leading"' in line and line.startswith("{") and line.endswith("}"):
                entry = json.loads(line)
                found.add((int(entry["partition"]), int(entry["epoch"])))
        return found

    def count(self, text: str) -> int:
        """How often `text` is in its log, across all restarts."""
        return self.log.read_text(encoding="utf-8", errors="replace").count(text)

    def _text(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._began)
            return log.read().decode("utf-8", "replace")

    async def _ended(self) -> int:
        assert self._child is not None
        if not await asyncio.to_thread(self._child.wait, STOP_S):
            raise AssertionError(f"{self.label} did not end within {STOP_S:g} s")
        code = self._child.returncode
        assert code is not None
        return code


class Cluster:
    """All processes. The first ingestor and gateway reach Redis directly, the others through `links`.

    In a cluster of servers all reach it directly.
    """

    def __init__(
        self,
        redis: Servers,
        kinds: Kinds,
        partitions: int,
        settings: Mapping[str, object],
    ) -> None:
        self.redis = redis
        self.kinds = kinds
        self.partitions = partitions
        self.settings = settings
        self.ingestors: list[Process] = []
        self.gateways: list[Process] = []
        self.gateway_urls: list[str] = []
        self.admin_urls: list[str] = []
        self.links: list[FaultProxy] = []

    @property
    def lease_s(self) -> float:
        return int(str(self.settings.get("lease_ms", 2000))) / 1000

    async def aim_links(self) -> None:
        """Point the links to the master, as an address that follows it would."""
        if isinstance(self.redis, NodeServers):
            return
        master = await self.redis.master()
        for link in self.links:
            link.target = master.url

    async def standing_by(self) -> bool:
        """Whether every ingestor leads or follows every partition."""
        async with aiohttp.ClientSession() as http:
            try:
                answers = [await http.get(f"{url}/readyz") for url in self.admin_urls]
            except aiohttp.ClientError:
                return False
            return all(answer.status == 200 for answer in answers)

    def leader(self, partition: int, epoch: int) -> Process | None:
        """The ingestor whose leadership of `partition` began with `epoch`, if it runs."""
        leaders = (process for process in self.ingestors if (partition, epoch) in process.led())
        return next((process for process in leaders if process.running), None)


@asynccontextmanager
async def running_cluster(
    redis: Servers,
    *,
    partitions: int,
    ingestors: int,
    gateways: int,
    settings: Mapping[str, object],
    gateway_settings: Mapping[str, object],
) -> AsyncIterator[Cluster]:
    """Start the processes; end all of them afterwards."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-chaos-")))
        await stack.enter_async_context(redis)
        cluster = Cluster(redis, symbols_of(partitions), partitions, settings)
        table = folder / "instruments.toml"
        table.write_text(to_toml(_instruments(cluster.kinds)), encoding="utf-8")
        common = {"prefix": PREFIX, "partitions": partitions}
        for number in range(ingestors):
            url = await _address(cluster, number, stack)
            admin = free_port()
            options = {
                **common,
                "redis_url": url,
                "instruments": table,
                "admin_host": HOST,
                "admin_port": admin,
                **settings,
            }
            cluster.ingestors.append(Process("ingestor", f"ingestor-{number}", folder, options))
            cluster.admin_urls.append(f"http://{HOST}:{admin}")
        for number in range(gateways):
            url, port = await _address(cluster, number, stack), free_port()
            options = {**common, "redis_url": url, "host": HOST, "port": port, **gateway_settings}
            cluster.gateways.append(Process("gateway", f"gateway-{number}", folder, options))
            cluster.gateway_urls.append(f"http://{HOST}:{port}")
        for process in (*cluster.ingestors, *cluster.gateways):
            process.start()
            stack.push_async_callback(_end, process)
        await asyncio.gather(*(process.said("gateway listening on") for process in cluster.gateways))
        yield cluster


async def _address(cluster: Cluster, number: int, stack: AsyncExitStack) -> str:
    if not number or isinstance(cluster.redis, NodeServers):
        return cluster.redis.url
    link = await stack.enter_async_context(FaultProxy((await cluster.redis.master()).url))
    cluster.links.append(link)
    return link.url


async def _end(process: Process) -> None:
    if process.running:
        process.send(signal.SIGCONT)
        await process.kill()


def _instruments(kinds: Kinds) -> list[Instrument]:
    return [
        Instrument(Symbol(symbol), "0.01", "0.001", Feed(feed), OnCross(on_cross))
        for symbol, (feed, on_cross) in kinds.items()
    ]
