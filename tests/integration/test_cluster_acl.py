"""Everything runs in a cluster over TLS, under the list of `depthcast redis-acl`, while slots move."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from depthcast import Consumer, Producer
from depthcast.cli.main import main
from depthcast.runtime.replay import open_producer, refuse_fed, register
from depthcast.runtime.venue_sources import Sources
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.catalog import read_deployed
from depthcast.shared.runtime.redis import connect
from depthcast.shared.types import Symbol
from tests.certificates import Authority
from tests.clusters import Cluster
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import Client, client_of, running_gateway
from tests.integration.limited_server import (
    ADMINISTRATOR,
    PREFIX,
    LimitedCluster,
    limited_cluster,
    recording,
)
from tests.role_commands import commands_of
from tests.waiting import TIMEOUT_S, eventually

PARTITIONS = 3
ROLES_SEEN = ("ingestor", "gateway", "consumer", "producer", "feed", "doctor", "operator")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ingestor.runtime.service", "gateway.runtime.market_reader"):
        monkeypatch.setattr(f"depthcast.{module}.POLL_S", 0.05)


@pytest.mark.slow
async def test_everything_runs_and_nothing_is_refused(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited_cluster(tmp_path, authority) as (cluster, limited):
        run = Run(connect(limited.url(ADMINISTRATOR)), PREFIX, limited.url("ingestor"), tmp_path)
        settings = run.settings(partitions=PARTITIONS, lease_ms=1000, snapshot_interval_ms=50)
        limited.refusals()
        with recording(monkeypatch) as sent:
            async with run.service(settings), run.client:
                with running_gateway(limited.url("gateway"), PREFIX, anonymous=True) as gateway:
                    await eventually(lambda: gateway.process.core.market.was_live)
                    async with client_of(gateway) as client:
                        await client.send(op="subscribe", symbols=["LEV"])
                        await _feed(limited, 1)
                        await _feed_live(limited)
                        await _shows(client, {1: 5})
                        await _move_and_fail_over(cluster, limited, run, sent)
                        await _feed(limited, 2)
                        await _shows(client, {1: 5, 2: 5})
                await _inspect(limited)
        assert limited.refusals() == []
        for role in ROLES_SEEN:
            assert sent[role] <= commands_of(role), f"what {role} sends"
            assert "cluster|slots" in sent[role], role
        assert "asking" in sent["gateway"] & sent["consumer"] & sent["doctor"]


async def _shows(client: Client, bids: dict[int, int]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while "LEV" not in client.books or client.books["LEV"].bids != bids:
            await client.receive()


async def _feed(limited: LimitedCluster, price: int) -> None:
    """Input of a producer, of which one event is rejected."""
    async with Producer(limited.url("producer"), prefix=PREFIX) as producer:
        await producer.send("LEV", [("update", "bid", price, 5)])
        await producer.send("ORD", [("delete", "bid", 1, 5, 99)])
        await producer.consumed()
        assert producer.counters.rejected


async def _feed_live(limited: LimitedCluster) -> None:
    """What live feeds and replays do beside adding input."""
    async with open_producer(limited.url("feed"), PREFIX, None) as feed:
        await register(feed, [Instrument(Symbol("NEW"), "0.01", "0.001")])
        await refuse_fed(feed, [Symbol("NEW")])
        source = {"feeder": "feeder", "state": "live"}
        await Sources(feed.client, feed.keys, "feeder").publish({"NEW": source})


async def _move_and_fail_over(
    cluster: Cluster, limited: LimitedCluster, run: Run, sent: Mapping[str, set[str]]
) -> None:
    """Readers come while a slot is half moved; then its new owner is replaced."""
    keys = DeploymentKeys.at(limited.url(ADMINISTRATOR), PREFIX)
    deployed = await read_deployed(run.client, keys, None)
    assert deployed is not None
    key = deployed.keys.partition(partition_of("LEV", PARTITIONS)).deltas
    move = await cluster.begin_move(key, (await cluster.others(key))[0])
    await move.keys(await move.left())
    async with Consumer(limited.url("consumer"), prefix=PREFIX, name="reader") as consumer:
        await consumer.wait_for("LEV")
        assert consumer.book("LEV").bids.levels == {1: 5}
        status = json.loads(await _command(limited, "doctor", "status", "--json"))
        assert status["unreadable"] == {}
        # It waits in one read for a while before it is sent on.
        await eventually(lambda: "asking" in sent["gateway"], message="the gateway follows the keys")
        await move.end()
        await cluster.fail_over(key)


async def _inspect(limited: LimitedCluster) -> None:
    for line in ("status", "partition LEV", "instruments list", "token revoked"):
        await _command(limited, "doctor", *line.split())
    for line in (
        "instruments add MADE --tick-size 0.1",
        "instruments set MADE --tick-size 0.01 --relist",
        "instruments withdraw MADE",
        "token revoke --subject mallory --lifetime 1m",
        "token allow --subject mallory",
    ):
        await _command(limited, "operator", *line.split())
    said = await asyncio.to_thread(CliRunner().invoke, main, ["doctor"], env=limited.variables("doctor"))
    assert "NOPERM" not in said.output


async def _command(limited: LimitedCluster, role: str, *words: str) -> str:
    ended = await asyncio.to_thread(CliRunner().invoke, main, words, env=limited.variables(role))
    assert ended.exit_code == 0, (words, ended.output, ended.exception)
    return ended.output
