"""The six servers of a Redis cluster, as chaos has a master with its replica and sentinels."""

import asyncio
import os
import signal

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import RedisUnavailable
from tests.clusters import MASTERS, TIMEOUT_MS, Cluster
from tests.waiting import eventually

SETTLE_S = 60.0


class NodeServers(Cluster):
    """Each with its append-only file; all faults end with six servers that know each other.

    `untrimmed`: leaders trim streams by whole nodes, of which each stream has one: so nothing is trimmed, and
    what is in the input log at the end is all input that survived.
    """

    def __init__(self, *, untrimmed: bool = True) -> None:
        nodes = {"stream-node-max-entries": "0", "stream-node-max-bytes": "0"} if untrimmed else {}
        super().__init__(append_only=True, options=[nodes] * (2 * MASTERS))

    async def kill_master(self, key: str) -> None:
        """Kill the owner of a key, wait until its replica has replaced it, and start it again."""
        dead = await self.master_of(key)
        await self.replica_of(dead)
        await asyncio.to_thread(dead.kill)
        await self._replaced(key, dead)
        await asyncio.to_thread(dead.start)
        await self.healed()

    async def part_master(self, key: str) -> None:
        """Stop the owner of a key until its replica has replaced it; then it wakes, and finds out.

        What was sent to it meanwhile is in its sockets: it may execute that before it finds out.
        """
        parted = await self.master_of(key)
        await self.replica_of(parted)
        self._signal(parted, signal.SIGSTOP)
        self.stopped = parted
        try:
            await self._replaced(key, parted)
        finally:
            self._signal(parted, signal.SIGCONT)
            self.stopped = None
        await self.healed()

    async def stop_for_a_moment(self, key: str) -> None:
        """Stop the owner of a key for half the time after which it would be replaced."""
        server = await self.master_of(key)
        self._signal(server, signal.SIGSTOP)
        self.stopped = server
        try:
            await asyncio.sleep(TIMEOUT_MS / 2000)
        finally:
            self._signal(server, signal.SIGCONT)
            self.stopped = None
        await self.healed()

    async def healed(self) -> None:
        """Wait until every server sees a whole cluster, and the same one.

        A server that was stopped takes itself for the master that it was, until it hears of its replica.
        """

        async def agreed() -> bool:
            try:
                owners = {await self._owners(server) for server in self.servers}
            except RedisUnavailable:
                return False
            return len(owners) == 1 and await self.whole()

        await eventually(agreed, timeout_s=SETTLE_S, message="the cluster is whole again")

    async def _owners(self, server: EmbeddedServer) -> tuple[tuple[int, int, bytes], ...]:
        """Ranges of slots with the names of their masters, as a server says."""
        reply = await self.ask(server, "CLUSTER", "SLOTS")
        return tuple(sorted((first, last, master[2]) for first, last, master, *_ in reply))

    async def _replaced(self, key: str, gone: EmbeddedServer) -> None:
        async def elsewhere() -> bool:
            try:
                return await self.master_of(key) is not gone
            except (AssertionError, RedisUnavailable):
                return False

        await eventually(elsewhere, timeout_s=SETTLE_S, message="a replica was promoted")

    @staticmethod
    def _signal(server: EmbeddedServer, number: signal.Signals) -> None:
        os.kill(server.pid, number)
