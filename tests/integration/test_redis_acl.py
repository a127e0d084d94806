"""Everything runs over TLS under the list of `depthcast redis-acl`, and no user may do what is another's."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from depthcast import Consumer, Producer
from depthcast.cli.main import main
from depthcast.ingestor.runtime import feeder_watch
from depthcast.ingestor.runtime.lease import Lease
from depthcast.runtime.replay import open_producer, refuse_fed, register
from depthcast.runtime.venue_sources import Sources
from depthcast.shared.errors import RedisRefused, RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.redis_roles import ROLES
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.runtime.tail import Tail
from depthcast.shared.types import Symbol
from tests.certificates import Authority
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import RunningGateway, client_of, running_gateway
from tests.integration.limited_server import (
    ADMINISTRATOR,
    PREFIX,
    LimitedServer,
    limited_server,
    recording,
)
from tests.role_commands import commands_of
from tests.waiting import TIMEOUT_S, eventually

KEYS = DeploymentKeys(PREFIX)
BOOK = [["update", "bid", 100 - n, 5] for n in range(20_000)]
"""Large enough that the leader marks the entry before it applies it."""
RARE = {
    "operator": {"xread"},
    "producer": {"time"},
    "ingestor": {"unwatch"},
    "gateway": {"unwatch"},
}
"""Sent by `depthcast rejects --follow`, while input waits, and where a watch ends without a transaction.
Everybody may choose another database."""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[LimitedServer]:
    with limited_server(tmp_path_factory.mktemp("limited"), authority) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ingestor.runtime.service", "gateway.runtime.market_reader"):
        monkeypatch.setattr(f"depthcast.{module}.POLL_S", 0.05)
    monkeypatch.setattr(feeder_watch, "UNCHANGED_S", 0.1)
    monkeypatch.setattr(feeder_watch, "LOOK_S", 0.1)


async def command(limited: LimitedServer, role: str, *words: str, status: int = 0) -> str:
    """Run a command as an operator would, in a thread, because it has an event loop of its own."""
    ended = await asyncio.to_thread(CliRunner().invoke, main, words, env=limited.variables(role))
    assert ended.exit_code == status, (ended.output, ended.exception)
    return ended.output


async def program(limited: LimitedServer, role: str, *words: str) -> str:
    """Run a command that listens to signals."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "depthcast", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_settings() | limited.variables(role),
    )
    async with asyncio.timeout(TIMEOUT_S):
        out, errors = await process.communicate()
    assert process.returncode == 0, (out.decode(), errors.decode())
    return out.decode() + errors.decode()


async def feed_in(limited: LimitedServer, run: Run) -> None:
    """Input of every kind: levels, orders, a large entry, a wrong event, a symbol that is registered."""
    async with Producer(limited.url("producer"), prefix=PREFIX) as producer:
        await producer.send("LEV", [("update", "bid", 1, 5), ("update", "ask", 2, 5)], atomic=True)
        await producer.send("ORD", [("add", "bid", 1, 5, 7), ("add", "ask", 9, 5, 8)])
        await producer.send("ORD", [("delete", "bid", 1, 5, 99)])
        await producer.consumed()
        assert producer.counters.rejected
    await run.send(("EVI", json.dumps(BOOK)))
    await run.published()


async def feed_live(limited: LimitedServer) -> None:
    """What live feeds and replays do beside adding input."""
    async with open_producer(limited.url("feed"), PREFIX, None) as producer:
        await register(producer, [Instrument(Symbol("NEW"), "0.01", "0.001")])
        await refuse_fed(producer, [Symbol("NEW")])
        await Sources(producer.client, KEYS, "feeder").publish({"LEV": {"feeder": "feeder", "state": "live"}})


async def test_everything_runs_and_no_command_is_superfluous(
    limited: LimitedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited.refusals()
    # A script that the server knows from another test would not be sent, and its commands not seen.
    limited.administrate("SCRIPT", "FLUSH")
    administrator = connect(limited.url(ADMINISTRATOR))
    run = Run(administrator, PREFIX, limited.url("ingestor"), tmp_path)
    settings = run.settings(snapshot_interval_ms=50, retention_s=0)
    with recording(monkeypatch) as sent:
        async with run.service(settings):
            with running_gateway(
                limited.url("gateway"), PREFIX, anonymous=True, token_secret="x" * 32
            ) as gateway:
                await feed_in(limited, run)
                await watched_by_all(limited, gateway)
                await feed_live(limited)
                await gone(administrator, run)
                await inspected(limited, administrator)
            await contended(limited, sent)
        async with run.service(settings):  # it recovers from what the first one left
            await feed_in(limited, run)
    await administrator.aclose()
    assert limited.refusals() == []
    for role in ("ingestor", "gateway", "consumer", "producer", "doctor", "operator", "feed"):
        assert sent[role] <= commands_of(role), f"what {role} sends"
    sent["operator"] |= sent["doctor"]
    for role in ("ingestor", "gateway", "consumer", "producer", "operator"):
        seldom = {"select", "cluster|slots", "asking", "readonly"}
        never = commands_of(role) - sent[role] - RARE.get(role, set()) - seldom
        assert never == set(), f"what {role} may and never sends"


async def watched_by_all(limited: LimitedServer, gateway: RunningGateway) -> None:
    """A client of the gateway and a consumer have the books."""
    await eventually(lambda: gateway.process.core.market.was_live)
    async with (
        client_of(gateway) as client,
        Consumer(limited.url("consumer"), prefix=PREFIX, name="reader", read_from="replica") as consumer,
    ):
        await client.send(op="subscribe", symbols=["LEV"])
        await client.until("snapshot", symbol="LEV")
        await consumer.wait_for("LEV")
        assert client.books["LEV"].bids == consumer.book("LEV").bids.levels == {1: 5}

        async def listed() -> list[dict[str, Any]]:
            state = json.loads(await command(limited, "doctor", "status", "--json"))
            return [each for each in state["consumers"] if None not in each["lag_ms"].values()]

        [reader] = await eventually(listed, message="status shows the consumer and how far it is")
        assert (reader["name"], list(reader["lag_ms"])) == ("reader", ["0"])


async def inspected(limited: LimitedServer, administrator: Any) -> None:
    """An operator looks at everything, also at a key that nobody reads, and changes instruments."""
    await execute(administrator, "XADD", KEYS.partition(9).events, "*", "LEV", "[]")
    for words in (("status",), ("partition", "LEV"), ("instruments", "list")):
        await command(limited, "doctor", *words)
    said = await asyncio.to_thread(CliRunner().invoke, main, ["doctor"], env=limited.variables("doctor"))
    assert KEYS.partition(9).events in said.output
    assert "NOPERM" not in said.output
    assert "ORD" in await program(limited, "doctor", "rejects")
    await command(limited, "operator", "instruments", "add", "MADE", "--tick-size", "0.1")
    await command(limited, "operator", "instruments", "set", "MADE", "--tick-size", "0.01", "--relist")
    await command(limited, "operator", "instruments", "withdraw", "MADE")
    await command(limited, "operator", "token", "revoke", "--subject", "mallory", "--lifetime", "1m")
    assert "sub:mallory" in await command(limited, "doctor", "token", "revoked")
    assert "allowed again" in await command(limited, "operator", "token", "allow", "--subject", "mallory")


async def gone(administrator: Any, run: Run) -> None:
    """An ingestor says that a feed is gone, which has not written for long."""
    entry = json.dumps({"feeder": "feeder", "state": "live", "at": 1})
    await execute(administrator, "HSET", KEYS.sources, "LEV", entry)
    stop = asyncio.Event()
    watching = asyncio.create_task(feeder_watch.watch_feeders(run.settings(None), stop))

    async def said() -> bool:
        return b'"gone"' in await execute(administrator, "HGET", KEYS.sources, "LEV")

    await eventually(said)
    stop.set()
    await watching


async def contended(limited: LimitedServer, sent: dict[str, set[str]]) -> None:
    """Another ingestor wants a partition that is led, and asks who leads it and for how long.

    On a busy machine the leader's short lease may have expired, or expires while the other one asks.
    """
    async with connect(limited.url("ingestor")) as client:
        lease = Lease(client, 0, KEYS.partition(0), 1000, "another")

        async def refused() -> bool:
            if await lease.acquire():
                await lease.release()
                return False
            return "pttl" in sent["ingestor"]

        await eventually(refused, message="a partition that is led is not taken")


async def test_recordings_and_synthetic_markets_run(limited: LimitedServer, tmp_path: Path) -> None:
    limited.refusals()
    administrator = connect(limited.url(ADMINISTRATOR))
    run = Run(administrator, PREFIX, limited.url("ingestor"), tmp_path)
    async with run.service(run.settings()):
        words = ("--register", "--symbols", "BTC-USD", "--rate", "500", "--seconds", "0.5")
        assert "ended" in await program(limited, "feed", "feed", "synthetic", *words)
    await administrator.aclose()
    assert limited.refusals() == []


@pytest.mark.parametrize("role", ROLES)
async def test_no_user_may_do_what_is_anothers(limited: LimitedServer, role: str) -> None:
    partition = KEYS.partition(0)
    refused: list[tuple[str, ...]] = [
        ("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("KEYS", "*"), ("SHUTDOWN", "NOSAVE"),
        ("HGETALL", "other:meta"), ("XADD", "{other:0}:events", "*", "a", "b"), ("DEL", partition.events),
        ("SET", partition.events, "x"),
        ("RENAME", partition.events, partition.deltas),
        ("EVAL", "return redis.call('XDEL', KEYS[1], '1-1')", "1", partition.events),
    ]  # fmt: skip
    if role != "relay":
        refused.append(("DEL", partition.deltas))
    if role not in ("ingestor", "relay"):  # a relay writes where nobody else leads: to a copy
        refused += [
            ("XADD", partition.deltas, "*", "a", "b"), ("XADD", partition.snapshots("LEV"), "*", "s", "b"),
            ("SET", partition.leader, "me"), ("SET", KEYS.incarnation, "x"), ("HSET", KEYS.meta, "a", "7"),
            ("HSET", partition.listings, "LEV", "{}"), ("SET", partition.checkpoint("ORD"), "x"),
        ]  # fmt: skip
    if role not in ("ingestor", "producer", "feed", "operator"):
        refused.append(("XADD", partition.events, "*", "LEV", "[]"))
    if role not in ("ingestor", "feed", "operator", "relay"):
        refused.append(("HSET", KEYS.instruments, "LEV", "{}"))
    if role != "operator":
        refused.append(("ZREM", KEYS.revoked, "sub:me"))
    if role not in ("operator", "relay"):
        refused.append(("ZADD", KEYS.revoked, "9e9", "sub:me"))
    if role in ("gateway", "consumer"):
        refused.append(("XRANGE", partition.events, "-", "+"))
    async with connect(limited.url(role)) as client:
        for words in refused:
            with pytest.raises(RedisRefused) as caught:
                await execute(client, *words)
            assert caught.value.code == "NOPERM", words
    limited.refusals()


async def test_who_shows_no_certificate_or_trusts_another_authority_gets_nothing(
    limited: LimitedServer, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)
    for url in (
        limited.url("gateway").partition("&ssl_certfile")[0],
        limited.url("gateway").replace(limited.authority.file, stranger.file),
        limited.url("gateway").replace("rediss://", "redis://").partition("?")[0],
    ):
        async with connect(url, timeout_s=2) as client:
            with pytest.raises(RedisUnavailable):
                await execute(client, "TIME")


async def test_a_read_over_tls_that_the_server_ends_is_refused_and_the_next_one_reads(
    limited: LimitedServer,
) -> None:
    """As where a master becomes a replica: the connection is closed, and its transport is not used again."""
    key = f"{PREFIX}:unblocked"
    async with connect(limited.url(ADMINISTRATOR)) as client:
        tail = Tail(client, key)
        for _ in range(3):
            reading = asyncio.create_task(tail.read(ZERO, count=1, block_ms=10_000))

            def unblocked() -> bool:
                text = limited.administrate("CLIENT", "LIST").decode()
                ids = [line.split()[0][3:] for line in text.splitlines() if "cmd=xread" in line]
                return any(limited.administrate("CLIENT", "UNBLOCK", each, "ERROR") for each in ids)

            await eventually(unblocked)
            with pytest.raises(RedisRefused, match="UNBLOCKED"):
                await reading
        await execute(client, "XADD", key, "7-1", "a", "b")
        assert await tail.read(ZERO, count=1, block_ms=5) == [(Position(7, 1), [(b"a", b"b")])]
        assert tail._direct._borrowed is not None
        for _ in range(2):  # after the second time, such a transport knows no protocol any more
            tail._direct._borrowed.connection.transport.close()
        await tail.release()
        assert await tail.read(ZERO, count=1, block_ms=5) == [(Position(7, 1), [(b"a", b"b")])]
        await tail.release()
        await execute(client, "DEL", key)
