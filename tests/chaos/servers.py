"""Redis for chaos: one server with its file, or replicated servers with sentinels, for real failovers."""

import asyncio
import signal
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from depthcast.runtime.child import Child
from depthcast.runtime.embedded import EmbeddedServer, find_server
from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.redis import connect, execute
from tests.redis_client import patient
from tests.waiting import eventually

SERVICE = "books"
DOWN_AFTER_MS = 300
STOP_S = 10.0

MASTERLESS_S = 5.0
"""Two replicas that had no master for so long stay that way."""

QUICK = ("info-period", 100, "ask-period", 100, "publish-period", 100)
"""How often sentinels look at servers and at each other, instead of each second or two (ms)."""

PATIENT = ("publish-period", 10_000)
"""Sentinels make a replica that calls itself the master a replica again after four of these periods (ms)."""


class Sentinel:
    """One sentinel as a child process, watching the master at `port`."""

    def __init__(self, folder: Path, master_port: int, quorum: int, down_after_ms: int) -> None:
        self.port = free_port()
        folder.mkdir(parents=True)
        settings = folder / "sentinel.conf"  # the sentinel writes its state there
        settings.write_text(
            f"port {self.port}\nbind {HOST}\ndir {folder}\n"
            f"sentinel monitor {SERVICE} {HOST} {master_port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}\n"
            f"sentinel failover-timeout {SERVICE} 1000\n",
            encoding="utf-8",
        )
        with (folder / "sentinel.log").open("wb") as log:
            self._child = Child([find_server().path, settings, "--sentinel"], log)

    async def ask(self, *command: str | int) -> Any:
        """Send one command; returns the raw reply."""
        client = connect(f"redis://{HOST}:{self.port}/0")
        try:
            return await execute(client, *command)
        finally:
            await client.aclose()

    async def looks_often(self) -> bool:
        """Have it look as often as `QUICK` says; False while it does not answer yet."""
        try:
            await self.ask("SENTINEL", "DEBUG", *QUICK)
        except RedisUnavailable:
            return False
        return True

    async def ready(self, others: int) -> bool:
        """Whether it knows the master, a replica and the given number of other sentinels."""
        try:
            state = fields(await self.ask("SENTINEL", "MASTER", SERVICE))
        except RedisUnavailable:
            return False
        known = state["flags"], int(state["num-slaves"]), int(state["num-other-sentinels"])
        return known == ("master", 1, others)

    async def master_port(self) -> int:
        """The master's port, as this sentinel reports it."""
        _, port = await self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    async def stop(self) -> None:
        self._child.send(signal.SIGTERM)
        if not await asyncio.to_thread(self._child.wait, STOP_S):
            self._child.send(signal.SIGKILL)
            await asyncio.to_thread(self._child.wait, STOP_S)


class OneServer:
    """One server with its append-only file; it has the interface of `WatchedServers`, without failover.

    It writes to the file before it acknowledges: by default a server that is killed may lack what it
    acknowledged while an earlier write was on its way to the disk.
    """

    def __init__(self) -> None:
        self.servers = [EmbeddedServer(append_only=True, options={"appendfsync": "always"})]

    @property
    def url(self) -> str:
        """The address for Redis clients."""
        return self.servers[0].url

    async def master(self) -> EmbeddedServer:
        """The server."""
        return self.servers[0]

    async def whole(self) -> bool:
        """Whether everything is up again."""
        return self.servers[0].running

    async def __aenter__(self) -> Self:
        await self.servers[0].__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.servers[0].__aexit__(kind, error, trace)


class WatchedServers:
    """A master, a replica and `count` sentinels, of which a majority has to agree on a failover."""

    def __init__(
        self, count: int = 1, *, append_only: bool = False, down_after_ms: int = DOWN_AFTER_MS
    ) -> None:
        self.count = count
        self.down_after_ms = down_after_ms
        options = {"repl-diskless-sync-delay": "0"} | ({"appendfsync": "always"} if append_only else {})
        self.servers = [EmbeddedServer(append_only=append_only, options=options) for _ in range(2)]
        self.sentinels: list[Sentinel] = []
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """The address for Redis clients: the sentinels and the service."""
        places = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}"

    async def master(self) -> EmbeddedServer:
        """The server that the sentinels call the master."""
        port = await self.sentinels[0].master_port()
        return next(server for server in self.servers if server.port == port)

    async def fail_over(self) -> EmbeddedServer:
        """Kill the master and wait until every sentinel names another; returns the dead one."""
        dead = await self.master()
        await asyncio.to_thread(dead.kill)

        async def elsewhere() -> bool:
            ports = [await sentinel.master_port() for sentinel in self.sentinels]
            return dead.port not in ports

        await eventually(elsewhere, timeout_s=30, message="the failover")
        return dead

    async def command_failover(self, *, to: bool) -> None:
        """Have master and replica change places by `FAILOVER`, and wait until every sentinel has seen it.

        Sentinels that saw the new master's role before the old one's would make the new one a replica again,
        and both would be replicas for ever. So they wait longer here than a `FAILOVER` takes. If both are
        replicas all the same, the remedy of docs/operations.md is applied.

        Args:
            to: Whether the command names the replica, or leaves the choice to the server.

        Raises:
            RedisRefused: The server has no `FAILOVER`, or refuses it.
        """
        master = await self.master()
        replica = next(server for server in self.servers if server is not master)
        for sentinel in self.sentinels:
            await sentinel.ask("SENTINEL", "DEBUG", *PATIENT)
        options = ("TO", HOST, replica.port) if to else ("TIMEOUT", 10_000)
        await self._command(master, "FAILOVER", *options)

        last_led, mended = time.monotonic(), False

        async def named() -> bool:
            nonlocal last_led, mended
            ports = [await sentinel.master_port() for sentinel in self.sentinels]
            try:
                roles = [(await self._command(server, "ROLE"))[0] for server in self.servers]
            except RedisUnavailable:
                return False  # sentinels end the connections of a server whose role they change
            if b"master" in roles:
                last_led = time.monotonic()
            elif time.monotonic() - last_led > MASTERLESS_S and len(set(ports)) == 1:
                await self._command(await self.master(), "REPLICAOF", "NO", "ONE")
                mended = True
            there = len(set(ports)) == 1 if mended else set(ports) == {replica.port}
            return there and await self.whole()

        await eventually(named, timeout_s=60, message="the sentinels name the new master")

    async def whole(self) -> bool:
        """Whether every sentinel sees a master, a replica that follows it, and all other sentinels."""
        for sentinel in self.sentinels:
            if not await sentinel.ready(self.count - 1):
                return False
            (replica,) = await sentinel.ask("SENTINEL", "REPLICAS", SERVICE)
            state = fields(replica)
            if state["flags"] != "slave" or state["master-link-status"] != "ok":
                return False
        return True

    async def __aenter__(self) -> Self:
        try:
            folder = Path(
                self._stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-sentinels-"))
            )
            for server in self.servers:
                await self._stack.enter_async_context(server)
            await self._command(self.servers[1], "REPLICAOF", HOST, self.servers[0].port)
            for number in range(self.count):
                quorum = self.count // 2 + 1
                sentinel = Sentinel(folder / str(number), self.servers[0].port, quorum, self.down_after_ms)
                self._stack.push_async_callback(sentinel.stop)
                self.sentinels.append(sentinel)
                await eventually(sentinel.looks_often, message="the sentinel answers")
            await eventually(self.whole, timeout_s=30, message="servers and sentinels know each other")
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @staticmethod
    async def _command(server: EmbeddedServer, *command: str | int) -> Any:
        client = patient(server.url)
        try:
            return await execute(client, *command)
        finally:
            await client.aclose()


def fields(flat: list[bytes]) -> dict[str, str]:
    """Turn a reply of alternating names and values into a dict."""
    texts = [item.decode() for item in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
