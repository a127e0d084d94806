"""A real cluster of six servers: three masters and a replica of each, on free ports of this machine."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from redis.asyncio import Redis

from depthcast.runtime.embedded import EmbeddedServer, ServerBinary
from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.slots import SLOTS, slot_of
from tests.cluster_bus import ClusterBus
from tests.waiting import eventually

MASTERS: Final = 3
TIMEOUT_MS: Final = 1000
"""Servers that do not answer each other for so long are replaced by their replicas."""


class Move(NamedTuple):
    """A slot that is being moved from `source` to `target`."""

    cluster: "Cluster"
    slot: int
    source: EmbeddedServer
    target: EmbeddedServer

    async def left(self, count: int = 1000) -> list[bytes]:
        """Up to so many keys that are still at the source."""
        found: list[bytes] = await self.cluster.ask(self.source, "CLUSTER", "GETKEYSINSLOT", self.slot, count)
        return found

    async def keys(self, names: Sequence[bytes]) -> None:
        """Move these keys to the target, as `redis-cli` does: again while a server cannot."""
        login = self.cluster.login.strip("@").split(":")
        access = ("AUTH2", *login) if self.cluster.login else ()
        port = self.cluster.port(self.target)
        where: tuple[str | int, ...] = (HOST, port, "", 0, 5000, "REPLACE", *access, "KEYS")

        async def moved() -> bool:
            try:
                await self.cluster.ask(self.source, "MIGRATE", *where, *names)
            except RedisUnavailable:
                return False
            return True

        await eventually(moved, message="keys are moved")

    async def end(self) -> None:
        """Give the slot to the target."""
        name = await self.cluster.name(self.target)
        await self.cluster.ask(self.target, "CLUSTER", "SETSLOT", self.slot, "NODE", name)
        await self.cluster.ask(self.source, "CLUSTER", "SETSLOT", self.slot, "NODE", name)


class Cluster:
    """Six servers; at first the first three are masters with equal ranges of slots.

    `options`: further settings of each server. `partible`: one may be cut off from the others.
    `stopped`: a server that runs and cannot answer. `login`:
    `user:password@` of who administrates them, if they want one.
    """

    def __init__(
        self,
        binary: ServerBinary | None = None,
        *,
        append_only: bool = False,
        partible: bool = False,
        options: Sequence[Mapping[str, str]] = ({},) * (2 * MASTERS),
    ) -> None:
        self.login = ""
        self.stopped: EmbeddedServer | None = None
        self.bus = ClusterBus() if partible else None
        self._bus_ports = [(free_port(), free_port()) for _ in options]
        self.servers = [
            EmbeddedServer(
                binary=binary,
                append_only=append_only,
                options={
                    "cluster-enabled": "yes",
                    "cluster-port": str(bus_port),
                    **({"cluster-announce-bus-port": str(proxied)} if partible else {}),
                    "cluster-node-timeout": str(TIMEOUT_MS),
                    "cluster-require-full-coverage": "no",
                    "cluster-replica-validity-factor": "0",
                    "repl-diskless-sync-delay": "0",
                    **further,
                },
            )
            for further, (bus_port, proxied) in zip(options, self._bus_ports, strict=True)
        ]
        self._known_as = [int(further.get("tls-port", 0)) for further in options]
        self._stack = AsyncExitStack()

    def port(self, server: EmbeddedServer) -> int:
        """The port by which other servers know this one: the one for TLS, if they speak that."""
        return self._known_as[self.servers.index(server)] or server.port

    @property
    def url(self) -> str:
        """The address, which names all servers."""
        return f"redis+cluster://{','.join(f'{HOST}:{server.port}' for server in self.servers)}"

    @property
    def answering(self) -> list[EmbeddedServer]:
        """The servers that can be asked."""
        return [server for server in self.servers if server.running and server is not self.stopped]

    def client(self, server: EmbeddedServer) -> Redis:
        """A client of one server for who administrates it."""
        return connect(server.url.replace("://", f"://{self.login}", 1))

    async def ask(self, server: EmbeddedServer, *command: str | bytes | int) -> Any:
        """Send one command to one server; returns the raw reply."""
        client = self.client(server)
        try:
            return await execute(client, *command)
        finally:
            await client.aclose()

    async def name(self, server: EmbeddedServer) -> str:
        """The name of a server in the cluster."""
        return str((await self.ask(server, "CLUSTER", "MYID")).decode())

    async def state(self, server: EmbeddedServer) -> dict[str, str]:
        """What a server says of the cluster."""
        text: str = (await self.ask(server, "CLUSTER", "INFO")).decode()
        return dict(line.split(":", 1) for line in text.split())

    async def info(self, server: EmbeddedServer) -> dict[str, Any]:
        """What INFO says about replication."""
        found: dict[str, Any] = await self.ask(server, "INFO", "replication")
        return found

    async def master_of(self, key: str) -> EmbeddedServer:
        """The server that owns the slot of a key, as the running masters say themselves."""
        slot = slot_of(key)
        for server in self.answering:
            if (await self.info(server))["role"] == "master":
                name = await self.name(server)
                for first, last, (_, _, owner, *_), *_ in await self._slots(server):
                    if first <= slot <= last and owner.decode() == name:
                        return server
        raise AssertionError(f"no running server owns {slot}")

    async def _slots(self, server: EmbeddedServer) -> list[Any]:
        found: list[Any] = await self.ask(server, "CLUSTER", "SLOTS")
        return found

    async def replicas_of(self, master: EmbeddedServer) -> list[EmbeddedServer]:
        """The running replicas of a server."""
        infos = [(server, await self.info(server)) for server in self.answering if server is not master]
        return [
            server
            for server, info in infos
            if info["role"] == "slave" and info["master_port"] == self.port(master)
        ]

    async def replica_of(self, master: EmbeddedServer) -> EmbeddedServer:
        """A running replica of a server."""
        found = await self.replicas_of(master)
        assert found, f"{master.port} has no running replica"
        return found[0]

    async def fail_over(self, key: str) -> EmbeddedServer:
        """Have the owner of a key and its replica change places; returns the new owner."""
        replica = await self.replica_of(await self.master_of(key))

        async def promoted() -> bool:
            if (await self.info(replica))["role"] != "master":
                with suppress(RedisUnavailable):  # it was promoted meanwhile
                    await self.ask(replica, "CLUSTER", "FAILOVER")
                return False
            return await self.master_of(key) is replica

        await eventually(promoted, timeout_s=30, message="the failover")
        return replica

    async def part(self, master: EmbeddedServer, unnoticed_ms: int) -> EmbeddedServer:
        """Cut a master off from the others, which does not notice it for a while; returns who replaces it.

        Clients still reach it, and its replica, until that is promoted.
        """
        assert self.bus is not None
        await self.ask(master, "CONFIG", "SET", "cluster-node-timeout", unnoticed_ms)
        replica = await self.replica_of(master)
        self.bus.part(self.servers.index(master), await self.name(master))

        names = await self.name(master), await self.name(replica)
        others = [server for server in self.answering if server is not master]

        async def replaced() -> bool:
            owners = [{owner for _, _, (_, _, owner, *_), *_ in await self._slots(each)} for each in others]
            return all(names[1].encode() in known and names[0].encode() not in known for known in owners)

        await eventually(replaced, timeout_s=30, message="all others know that the replica was promoted")
        return replica

    async def rejoin(self, master: EmbeddedServer) -> None:
        """Let a master that was cut off know what happened: it becomes a replica."""
        assert self.bus is not None
        self.bus.heal()

        async def demoted() -> bool:
            return bool((await self.info(master))["role"] == "slave")

        await eventually(demoted, timeout_s=30, message="the former master is a replica")
        await self.ask(master, "CONFIG", "SET", "cluster-node-timeout", TIMEOUT_MS)
        await eventually(self.whole, timeout_s=30, message="the cluster is whole")

    async def begin_move(self, key: str, target: EmbeddedServer) -> "Move":
        """Let the slot of a key be moved to another master."""
        source, slot = await self.master_of(key), slot_of(key)
        names = await self.name(source), await self.name(target)
        await self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        await self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
        return Move(self, slot, source, target)

    async def migrate(self, key: str, target: EmbeddedServer, *, step: int = 1, pause_s: float = 0) -> None:
        """Move the slot of a key to another master, key by key, as `redis-cli --cluster reshard` does."""
        move = await self.begin_move(key, target)
        while names := await move.left(step):
            await move.keys(names)
            await asyncio.sleep(pause_s)
        await move.end()

    async def others(self, key: str) -> list[EmbeddedServer]:
        """The running masters that do not own the slot of a key."""
        owner = await self.master_of(key)
        found = [server for server in self.answering if server is not owner]
        return [server for server in found if (await self.info(server))["role"] == "master"]

    async def whole(self) -> bool:
        """Whether every running server sees a cluster that is whole, with replicas that follow."""
        try:
            for server in self.answering:
                state = (await self.state(server))["cluster_state"]
                info = await self.info(server)
                if state != "ok" or (info["role"] == "slave" and info["master_link_status"] != "up"):
                    return False
        except RedisUnavailable:
            return False
        return True

    async def __aenter__(self) -> Self:
        try:
            if self.bus is not None:
                await self._stack.enter_async_context(self.bus)
                for number, (bus_port, proxied) in enumerate(self._bus_ports):
                    await self.bus.add(number, proxied, bus_port)
            await asyncio.gather(*map(self._stack.enter_async_context, self.servers))
            await self._join(self.servers[0], self.servers[1:])
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _join(self, first: EmbeddedServer, others: Sequence[EmbeddedServer]) -> None:
        for number, master in enumerate(self.servers[:MASTERS]):
            begin, end = number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS
            await self.ask(master, "CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
            await self.ask(master, "CONFIG", "SET", "appendfsync", "no")
        for number, server in enumerate(self.servers, 1):
            await self.ask(server, "CLUSTER", "SET-CONFIG-EPOCH", number)
        setting = "cluster-port" if self.bus is None else "cluster-announce-bus-port"
        _, bus = await self.ask(first, "CONFIG", "GET", setting)
        loop = asyncio.get_running_loop()
        met_at = float("-inf")

        async def acquainted() -> bool:
            """A server gives up to meet another one that is slow, so it is told again."""
            nonlocal met_at
            found = [await self.state(server) for server in self.servers]
            if {each["cluster_known_nodes"] for each in found} == {str(len(self.servers))}:
                return True
            if loop.time() - met_at > 2 * TIMEOUT_MS / 1000:
                met_at = loop.time()
                for server in others:
                    await self.ask(server, "CLUSTER", "MEET", HOST, self.port(first), int(bus))
            return False

        await eventually(acquainted, timeout_s=60, message="servers know each other")
        for master, replica in zip(self.servers[:MASTERS], self.servers[MASTERS:], strict=True):
            await self.ask(replica, "CLUSTER", "REPLICATE", await self.name(master))
        await eventually(self.whole, timeout_s=30, message="the cluster is whole")
