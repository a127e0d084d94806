"""A primary and replicas that follow it over links which can be frozen."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import pytest

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.shared import replica_choice
from depthcast.shared.runtime import replicas
from depthcast.shared.runtime.redis import execute
from tests.proxy import FaultProxy
from tests.redis_client import patient
from tests.waiting import eventually

OPTIONS: Final = {"repl-diskless-sync-delay": "0"}


class Followed(NamedTuple):
    """A primary, and replicas with the links that they follow it over."""

    primary: EmbeddedServer
    replicas: list[EmbeddedServer]
    links: list[FaultProxy]


async def ask(server: EmbeddedServer, *command: str | int) -> Any:
    """Send one command to one server."""
    async with patient(server.url) as client:
        return await execute(client, *command)


async def follow(replica: EmbeddedServer, port: int) -> None:
    """Make a server a replica of the one at this port, and wait until it has its data."""
    await ask(replica, "REPLICAOF", HOST, port)

    async def follows() -> bool:
        info = await ask(replica, "INFO", "replication")
        return bool(info["role"] == "slave" and info["master_link_status"] == "up")

    await eventually(follows, message="the replica follows")


@asynccontextmanager
async def followed(count: int = 1) -> AsyncIterator[Followed]:
    """A primary and `count` replicas."""
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(EmbeddedServer(options=OPTIONS))
        found = Followed(primary, [], [])
        for _ in range(count):
            replica = await stack.enter_async_context(EmbeddedServer(options=OPTIONS))
            link = await stack.enter_async_context(FaultProxy(primary.url))
            await follow(replica, link.port)
            await eventually(partial(_is_listed, primary, replica), message="the primary lists the replica")
            found.replicas.append(replica)
            found.links.append(link)
        yield found


async def _is_listed(primary: EmbeddedServer, replica: EmbeddedServer) -> bool:
    info = await ask(primary, "INFO", "replication")
    listed = [value for value in info.values() if isinstance(value, dict)]
    return any(int(each["port"]) == replica.port and each["state"] == "online" for each in listed)


def place(server: EmbeddedServer) -> str:
    """A server as readers name it."""
    return f"{HOST}:{server.port}"


def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers look for a better place ten times a second, and forgive after half a second."""
    monkeypatch.setattr(replicas, "CHECK_S", 0.1)
    monkeypatch.setattr(replica_choice, "AGAIN_S", 0.5)
