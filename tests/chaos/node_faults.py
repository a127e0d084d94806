"""The faults of chaos in a Redis cluster: of its nodes, and of slots that move, one at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from depthcast.runtime.embedded import EmbeddedServer
from tests.chaos.faults import Faults
from tests.chaos.nodes import NodeServers

KILLED: Final = "node kill -9"
PARTED: Final = "node SIGSTOP until it was replaced"
NODE_LOSSES: Final = (KILLED, PARTED)
"""After these, what the promoted replica had not received is lost."""

KEYS_AT_ONCE: Final = (1, 1, 10)


class ClusterFaults(Faults):
    """Those of processes, and those of a cluster. Each ends with six servers that know each other."""

    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Every fault by name."""
        found = super().all()
        del found["Redis restart with its file"]
        return found | {
            "node failover": self.hand_over,
            KILLED: self.kill_node,
            PARTED: self.part_node,
            "node SIGSTOP for a moment": self.stop_node,
            "slot moved": self.move_slot,
            "slot moved, and an ingestor killed meanwhile": self.move_and_kill,
            "slot moved halfway, and left so for a while": self.move_halfway,
            "slot of the deployment moved": self.move_deployment,
        }

    @property
    def nodes(self) -> NodeServers:
        redis = self.cluster.redis
        assert isinstance(redis, NodeServers)
        return redis

    async def hand_over(self) -> None:
        """A failover in order: the master waits until its replica has everything."""
        await self.nodes.fail_over(self._key())
        await self.nodes.healed()

    async def kill_node(self) -> None:
        async with self.journal.suspended():
            await self.nodes.kill_master(self._key())

    async def part_node(self) -> None:
        async with self.journal.suspended():
            await self.nodes.part_master(self._key())

    async def stop_node(self) -> None:
        await self.nodes.stop_for_a_moment(self._key())

    async def move_slot(self) -> None:
        await self._move(self._key())

    async def move_deployment(self) -> None:
        await self._move(self.journal.keys.meta)

    async def move_and_kill(self) -> None:
        """An ingestor is killed when half of the keys have moved; the move ends all the same."""
        key = self._key()
        move = await self.nodes.begin_move(key, await self._target(key))
        names = await move.left()
        await move.keys(names[: len(names) // 2])
        await self._kill_and_start()
        while names := await move.left():
            await move.keys(names)
        await move.end()

    async def move_halfway(self) -> None:
        """Nobody ends the move until leases have expired; then somebody does."""
        key = self._key()
        move = await self.nodes.begin_move(key, await self._target(key))
        names = await move.left()
        await move.keys(names[: max(1, len(names) // 2)])
        await asyncio.sleep(self.cluster.lease_s * 2)
        while names := await move.left():
            await move.keys(names)
        await move.end()

    async def _move(self, key: str) -> None:
        step = self.random.choice(KEYS_AT_ONCE)
        await self.nodes.migrate(key, await self._target(key), step=step, pause_s=self.random.random() / 50)

    async def _kill_and_start(self) -> None:
        ingestor = self.random.choice(self.cluster.ingestors)
        await ingestor.kill()
        ingestor.start()

    async def _target(self, key: str) -> EmbeddedServer:
        return self.random.choice(await self.nodes.others(key))

    def _key(self) -> str:
        return self.journal.keys.partition(self.random.randrange(self.cluster.partitions)).deltas
