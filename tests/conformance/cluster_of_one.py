"""A cluster of one server, which says that it is where a proxy is; and clients that go past that proxy."""

from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT, Environment
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.runtime.cluster import ClusterClient
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.slots import SLOTS
from tests.waiting import eventually


def cluster_options(port: int) -> dict[str, str]:
    """Settings of the server; `port`: of the proxy."""
    options = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    return options | {"cluster-announce-ip": HOST, "cluster-announce-port": str(port)}


async def form_cluster(client: Redis) -> None:
    """Give all slots to the server, and wait until it serves them."""
    await execute(client, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)

    async def whole() -> bool:
        return b"cluster_state:ok" in await execute(client, "CLUSTER", "INFO")

    await eventually(whole)


def beside(server: EmbeddedServer) -> Environment:
    """Connections of an ingestor to the server itself, past the proxy that it names."""

    def direct(url: str, **options: Any) -> Any:
        client = connect(url, **options)
        assert isinstance(client, ClusterClient)
        asked = client.nodes.ranges

        async def ranges() -> Any:
            return [each._replace(master=(HOST, server.port)) for each in await asked()]

        client.nodes.ranges = ranges  # type: ignore[method-assign]
        return client

    return replace(REAL_ENVIRONMENT, connect=direct)
