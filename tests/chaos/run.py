"""A run of chaos: a cluster under load, faults in turn. `tests.chaos.reconciliation` checks the result."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from depthcast.shared.partition import partition_of
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Faults
from tests.chaos.load import Journal, Producer
from tests.chaos.node_faults import ClusterFaults
from tests.chaos.nodes import NodeServers
from tests.chaos.report import Report
from tests.chaos.watchers import ClientWatch, ConsumerWatch, MismatchCount, audience
from tests.waiting import eventually

CALM_S: Final = (0.2, 1.2)
BEGUN_S: Final = 60.0


class Chaos:
    """A running cluster under load; made by `chaos`."""

    def __init__(self, cluster: Cluster, seed: int, calm_s: tuple[float, float]) -> None:
        self.cluster = cluster
        self.calm_s = calm_s
        self.random = Random(seed)
        self.report = Report()
        untrimmed = isinstance(cluster.redis, NodeServers)
        self.journal = Journal(cluster.redis.url, cluster.partitions, untrimmed=untrimmed)
        self.tap, self.clients = audience(cluster)
        self.producers = [self._producer(number) for number in range(cluster.partitions)]
        kind = ClusterFaults if isinstance(cluster.redis, NodeServers) else Faults
        self.faults = kind(cluster, self.journal, self.tap, self.report, self.random)
        self.mismatches = MismatchCount()
        self._loads: list[asyncio.Task[None]] = []
        self._watches: list[asyncio.Task[None]] = []

    @property
    def watches(self) -> list[ConsumerWatch | ClientWatch]:
        """Every reader."""
        return [self.tap, *self.clients]

    async def begin(self) -> None:
        """Start readers and producers; returns when all partitions broadcast and all clients have books."""
        logging.getLogger("depthcast.shared.runtime.follow").addHandler(self.mismatches)
        kinds = self.cluster.kinds
        self._watches = [asyncio.create_task(watch.run(kinds)) for watch in self.watches]
        self._loads = [asyncio.create_task(producer.run()) for producer in self.producers]
        self._loads.append(asyncio.create_task(self.journal.run()))
        await eventually(
            lambda: (
                all(self.tap.epochs.values()) and all(len(w.watch.seqs) == len(kinds) for w in self.clients)
            ),
            timeout_s=BEGUN_S,
            message="everything is broadcast and seen",
        )

    async def go_on(self, name: str) -> None:
        """Cause one fault by name, then wait for a moment."""
        self.report.faults[name] += 1
        await self.faults.all()[name]()
        await asyncio.sleep(self.random.uniform(*self.calm_s))

    async def for_faults(self, count: int, say: Callable[[str], None]) -> None:
        """So many faults at random; each kind comes before any comes again."""
        names = list[str]()
        for _ in range(count):
            if not names:
                names = list(self.faults.all())
                self.random.shuffle(names)
            say(names[-1])
            await self.go_on(names.pop())

    async def for_seconds(self, seconds: float, say: Callable[[str], None]) -> None:
        """Faults at random; each kind comes before any comes again."""
        deadline, names = time.monotonic() + seconds, list[str]()
        while time.monotonic() < deadline:
            if not names:
                names = list(self.faults.all())
                self.random.shuffle(names)
            say(names[-1])
            await self.go_on(names.pop())

    async def kills(self, count: int, say: Callable[[str], None]) -> None:
        """Kill -9 of a leader, `count` times, each with all other ingestors standing by."""
        for number in range(count):
            await eventually(
                self.cluster.standing_by, timeout_s=BEGUN_S, message="every ingestor leads or follows"
            )
            await self.go_on("ingestor kill -9")
            say(f"kill {number + 1}: {self.report.takeovers[-1].took_s:.2f} s")

    async def quiet(self) -> None:
        """End the load."""
        await _cancel(self._loads)

    async def end(self) -> None:
        """Stop whatever still runs here."""
        await _cancel([*self._loads, *self._watches])
        logging.getLogger("depthcast.shared.runtime.follow").removeHandler(self.mismatches)

    def _producer(self, partition: int) -> Producer:
        symbols = [s for s in self.cluster.kinds if partition_of(s, self.cluster.partitions) == partition]
        return Producer(
            self.cluster.redis.url, self.journal.keys, partition, symbols, Random(self.random.random())
        )


@asynccontextmanager
async def chaos(cluster: Cluster, seed: int, calm_s: tuple[float, float] = CALM_S) -> AsyncIterator[Chaos]:
    """Readers and producers on a running cluster, which gets a pause (least, most) after each fault."""
    run = Chaos(cluster, seed, calm_s)
    try:
        await run.begin()
        yield run
    finally:
        await run.end()


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
