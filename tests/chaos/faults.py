"""The faults of chaos, one at a time. Each returns when the fault is over, which is before recovery."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final

from tests.chaos.cluster import Cluster, Process
from tests.chaos.load import Journal
from tests.chaos.nodes import NodeServers
from tests.chaos.report import Report, Takeover
from tests.chaos.servers import WatchedServers
from tests.chaos.watchers import ConsumerWatch
from tests.waiting import eventually

SLOW_S: Final = 0.05
LINK_FAULT_S: Final = (0.5, 3.0)
STOPPED_LEASES: Final = 1.7
SETTLE_S: Final = 30.0


class Faults:
    """The faults, with what they need to know of the cluster."""

    def __init__(
        self, cluster: Cluster, journal: Journal, tap: ConsumerWatch, report: Report, random: Random
    ) -> None:
        self.cluster = cluster
        self.journal = journal
        self.tap = tap
        self.report = report
        self.random = random

    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Every fault by name; failovers only if there is a replica."""
        found: dict[str, Callable[[], Awaitable[None]]] = {
            "ingestor kill -9": self.kill_leader,
            "ingestor SIGSTOP past the lease": self.stop_leader,
            "ingestor SIGTERM": self.end_leader,
            "gateway kill -9": self.kill_gateway,
            "gateway SIGTERM": self.end_gateway,
            "Redis restart with its file": self.restart_redis,
        }
        if isinstance(self.cluster.redis, WatchedServers):
            found["Redis failover by sentinel"] = self.fail_over
        if self.cluster.links:
            found["links cut"] = self.cut_links
            found["links slow"] = self.slow_links
            found["links frozen"] = self.freeze_links
        return found

    async def kill_leader(self) -> None:
        leader = await self._leader()
        led, since = self._led_by(leader), time.monotonic()
        await leader.kill()
        await self._taken_over(led, since, "kill -9")
        leader.start()

    async def stop_leader(self) -> None:
        leader = await self._leader()
        led, since = self._led_by(leader), time.monotonic()
        leader.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.cluster.lease_s * STOPPED_LEASES)
        finally:
            leader.send(signal.SIGCONT)
        awake = time.monotonic()
        await eventually(
            lambda: all(self.tap.heard[partition] > awake for partition in led),
            timeout_s=SETTLE_S,
            message="broadcasts after SIGSTOP",
        )
        # If no ingestor was ready to take over, the stopped one just continues.
        for partition, epoch in led.items():
            took_s = self.tap.took_over_s(partition, epoch, since)
            if took_s is not None:
                self.report.takeovers.append(Takeover("SIGSTOP", partition, took_s))

    async def end_leader(self) -> None:
        leader = await self._leader()
        led, since = self._led_by(leader), time.monotonic()
        status = await leader.terminate()
        self.report.check(status == 0, f"{leader.label} ended with status {status}")
        await self._taken_over(led, since, "SIGTERM")
        leader.start()

    async def kill_gateway(self) -> None:
        gateway = self.random.choice(self.cluster.gateways)
        await gateway.kill()
        gateway.start()
        await gateway.said("gateway listening on")

    async def end_gateway(self) -> None:
        gateway = self.random.choice(self.cluster.gateways)
        status = await gateway.terminate()
        self.report.check(status == 0, f"{gateway.label} ended with status {status}")
        gateway.start()
        await gateway.said("gateway listening on")

    async def restart_redis(self) -> None:
        redis = self.cluster.redis
        assert not isinstance(redis, NodeServers)
        async with self.journal.suspended():
            server = await redis.master()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await self._whole()
        if await redis.master() is not server:  # the sentinels were quicker than the restart
            async with self.journal.suspended():
                pass

    async def fail_over(self) -> None:
        redis = self.cluster.redis
        assert isinstance(redis, WatchedServers)
        async with self.journal.suspended():
            dead = await redis.fail_over()
            await self.cluster.aim_links()
        await asyncio.to_thread(dead.start)
        await self._whole()

    async def cut_links(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            for link in self.cluster.links:
                link.cut()
            await asyncio.sleep(self.random.random() / 5)

    async def slow_links(self) -> None:
        for link in self.cluster.links:
            link.delay_s = SLOW_S
        await asyncio.sleep(self.random.uniform(*LINK_FAULT_S))
        for link in self.cluster.links:
            link.delay_s = 0.0

    async def freeze_links(self) -> None:
        for link in self.cluster.links:
            link.freeze()
        await asyncio.sleep(self.random.uniform(*LINK_FAULT_S))
        for link in self.cluster.links:
            link.thaw()

    async def _leader(self) -> Process:
        """An ingestor that leads some partition now."""

        def found() -> Process | None:
            partitions = list(self.tap.epochs)
            self.random.shuffle(partitions)
            leaders = (self.cluster.leader(number, self.tap.epochs[number]) for number in partitions)
            return next((leader for leader in leaders if leader is not None), None)

        leader = await eventually(found, timeout_s=SETTLE_S, message="an ingestor leads")
        assert leader is not None
        return leader

    def _led_by(self, process: Process) -> dict[int, int]:
        """Partition → epoch of the current leaderships of `process`."""
        return {p: epoch for p, epoch in self.tap.epochs.items() if (p, epoch) in process.led()}

    async def _taken_over(self, led: dict[int, int], since: float, why: str) -> None:
        """Wait until each of these partitions is broadcast again, and record how long that took."""
        for partition, epoch in led.items():
            took_s = await eventually(
                partial(self.tap.took_over_s, partition, epoch, since),
                timeout_s=SETTLE_S,
                message=f"partition {partition} is broadcast again after {why}",
            )
            assert took_s is not None
            self.report.takeovers.append(Takeover(why, partition, took_s))

    async def _whole(self) -> None:
        async def whole() -> bool:
            await self.cluster.aim_links()
            return await self.cluster.redis.whole()

        await eventually(whole, timeout_s=SETTLE_S, message="Redis is whole again")
