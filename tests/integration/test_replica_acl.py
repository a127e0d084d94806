"""Gateways and consumers read from replicas over TLS with the rights of their role; nothing is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from depthcast import Consumer, Producer
from depthcast.runtime.embedded import find_server
from depthcast.runtime.ports import HOST
from depthcast.runtime.server_binary import CHOICE
from depthcast.shared.errors import EmbeddedServerError
from depthcast.shared.runtime.redis import connect
from tests.certificates import Authority
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.integration.limited_server import (
    ADMINISTRATOR,
    PREFIX,
    LimitedServer,
    limited_cluster,
    limited_replica,
    limited_server,
    recording,
)
from tests.integration.replica_scene import look_often
from tests.role_commands import commands_of
from tests.waiting import eventually

READERS = ("gateway", "consumer")


@pytest.fixture(autouse=True)
def _system_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's server: that of the wheel speaks no TLS."""
    look_often(monkeypatch)
    monkeypatch.setenv(CHOICE, "redis-server")
    try:
        find_server()
    except EmbeddedServerError as error:
        pytest.skip(str(error))


class Readers:
    """A gateway and a consumer with a name."""

    def __init__(self, limited: LimitedServer, gateway: RunningGateway, consumer: Consumer) -> None:
        self.limited = limited
        self.gateway = gateway
        self.consumer = consumer

    def places(self) -> set[str]:
        clients = self.gateway.process.market_reader.replica_clients.values()
        return {*(place.server for place in self.consumer.places.values()), *(each.place for each in clients)}

    async def show(self, price: int) -> None:
        """Send one more bid, and wait until both have the book with it."""
        async with Producer(self.limited.url("producer"), prefix=PREFIX) as producer:
            await producer.send("LEV", [("clear",), ("update", "bid", price, 5)])
            await producer.consumed()
        wanted = {price: 5}
        while self.consumer.book("LEV").bids.levels != wanted:
            await self.consumer.wait_for("LEV", self.consumer.seq("LEV") + 1)

        def shown() -> bool:
            listing = self.gateway.process.core.market.listings["LEV"]
            return listing.replica is not None and listing.replica.book.bids.levels == wanted

        await eventually(shown, message="the gateway has the book")


async def _follow(limited: LimitedServer, folder: Path, places: set[str], leave: Any) -> None:
    """Readers are at `places`; `leave` makes them read elsewhere, where they have the book, too."""
    run = Run(connect(limited.url(ADMINISTRATOR)), PREFIX, limited.url("ingestor"), folder)
    options: dict[str, Any] = {"read_from": "replica", "prefix": PREFIX}
    async with run.client, run.service(run.settings(partitions=3, lease_ms=1000)):
        with running_gateway(
            limited.url("gateway"), PREFIX, anonymous=True, follow="all", read_from="replica"
        ) as gateway:
            async with Consumer(limited.url("consumer"), ["LEV"], name="risk", **options) as consumer:
                readers = Readers(limited, gateway, consumer)
                await consumer.wait_for("LEV")
                await eventually(lambda: gateway.process.core.market.was_live, message="live")
                await readers.show(1)
                await eventually(lambda: readers.places() <= places, message="replicas are read")
                await readers.show(2)
                await leave()
                await readers.show(3)


def _seen(sent: Mapping[str, set[str]], *, clustered: bool) -> None:
    """Each role sent what it may send, and what a reader of replicas needs."""
    for role in READERS:
        assert sent[role] <= commands_of(role), f"what {role} sends"
        assert "info" in sent[role]
        assert ("readonly" in sent[role]) is clustered


@pytest.mark.slow
async def test_a_replica_of_one_server(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with limited_server(tmp_path, authority) as limited, limited_replica(limited, tmp_path) as replica:

        def follows() -> bool:
            return bool(replica.administrate("INFO", "replication")["master_link_status"] == "up")

        await eventually(follows, message="the replica follows")

        async def leave() -> None:
            replica.administrate("REPLICAOF", "NO", "ONE")

        limited.refusals()
        replica.refusals()
        with recording(monkeypatch) as sent:
            await _follow(limited, tmp_path, {f"{HOST}:{replica.port}"}, leave)
        assert limited.refusals() == replica.refusals() == []
        _seen(sent, clustered=False)


@pytest.mark.slow
async def test_the_replicas_of_a_cluster(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited_cluster(tmp_path, authority) as (cluster, limited):
        masters = [await cluster.master_of(f"{{{number}}}") for number in range(50)]
        ports = {cluster.port(each) for each in cluster.servers} - {cluster.port(each) for each in masters}

        async def leave() -> None:
            """Every replica changes places with its master."""
            for server in cluster.servers:
                if cluster.port(server) in ports:
                    await cluster.ask(server, "CLUSTER", "FAILOVER")

        limited.refusals()
        with recording(monkeypatch) as sent:
            await _follow(limited, tmp_path, {f"{HOST}:{port}" for port in ports}, leave)
        assert limited.refusals() == []
        _seen(sent, clustered=True)
