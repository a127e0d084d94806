"""What both processes do about a server that is not fit: a warning, a metric, no leader if it may evict."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.runtime.server_checks import ServerChecks
from tests.book_model import brute_digest
from tests.ingestor_runs import Input, Run
from tests.integration.gateway_harness import now_us as wall_us
from tests.integration.gateway_harness import running_gateway
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually


@asynccontextmanager
async def checking(server: EmbeddedServer, slow_us: int = 0) -> AsyncIterator[ServerChecks]:
    """Checks of a process whose clock is slow by so much."""
    checks = ServerChecks(connect, server.url, lambda: wall_us() - slow_us)
    try:
        yield checks
    finally:
        await checks.aclose()


async def test_a_change_is_said_once_and_so_is_its_end(
    fresh_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with patient(fresh_server.url) as client, checking(fresh_server) as checks:
        await execute(client, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        caplog.set_level(logging.INFO)
        for _ in range(3):
            assert await checks.check()
        assert checks.failing().keys() == {"persistence", "eviction"}
        await execute(client, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert await checks.check()
    said = [(entry.levelname, getattr(entry, "check", "")) for entry in caplog.records]
    assert said == [("WARNING", "persistence"), ("WARNING", "eviction"), ("INFO", "eviction")]


async def test_the_clock_is_compared_with_the_servers(fresh_server: EmbeddedServer) -> None:
    async with checking(fresh_server, 5_000_000) as checks:
        await checks.check()
        assert "5.0 s behind" in checks.failing()["clock"]


async def test_a_user_who_may_not_ask_is_told_once(
    fresh_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with patient(fresh_server.url) as client, checking(fresh_server) as checks:
        await execute(client, "ACL", "SETUSER", "default", "-info")
        for _ in range(3):
            assert await checks.check()
        assert await checks.refusal() == ""
        assert [entry.message for entry in caplog.records] == ["the server is not checked"]
        await execute(client, "ACL", "SETUSER", "default", "+info")


async def test_partitions_that_ask_at_the_same_time_all_get_the_answer(fresh_server: EmbeddedServer) -> None:
    async with patient(fresh_server.url) as client, checking(fresh_server) as checks:
        await execute(client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb")
        refusals = await asyncio.gather(*(checks.refusal() for _ in range(16)))
        assert len(set(refusals)) == 1
        assert "allkeys-lru" in refusals[0]
        await execute(client, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", 0)


async def test_an_ingestor_leads_without_the_right_to_ask(
    fresh_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with patient(fresh_server.url) as client:
        await execute(client, "ACL", "SETUSER", "default", "-@dangerous", "+acl", "+client")
        run = Run(client, "checks", fresh_server.url, tmp_path)
        async with run.service(run.settings()) as service:
            await run.send(("LEV", '[["add", "bid", 1, 1]]'))
            await run.published()
            epoch = service.leaders[0].leadership
            await execute(client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await run.send(("LEV", '[["add", "bid", 2, 1]]'))
            await run.published()
            assert service.leaders[0].leadership is epoch, "the server behind a new connection is the same"


async def test_no_partition_is_led_while_the_server_may_delete_any_key(
    fresh_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with patient(fresh_server.url) as client:
        run = Run(client, "checks", fresh_server.url, tmp_path)
        async with run.service(run.settings()) as service:
            with running_gateway(fresh_server.url, "checks", stale_ms=500) as gateway:
                market = gateway.process.core.market
                await eventually(lambda: market.was_live, message="books are live")
                await execute(client, "CONFIG", "SET", "maxmemory", "100mb")
                await execute(client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
                await eventually(lambda: not run.leads(service), message="the leadership ends")
                await eventually(lambda: market.stale_count() == len(market.listings), message="all stale")
                ready, body = service._ready()
                assert not ready
                assert "set it to noeviction" in body["problems"][0]
                await asyncio.sleep(0.5)
                assert not run.leads(service)
                await execute(client, "CONFIG", "SET", "maxmemory-policy", "noeviction")
                await eventually(lambda: run.leads(service), message="it leads again")
                await eventually(lambda: not market.stale_count(), message="books are live again")


@pytest.mark.parametrize(
    "evicted", [["snapshots:LEV"], ["deltas"], ["events", "snapshots:ORD", "checkpoint:ORD"]]
)
async def test_what_was_evicted_before_that_is_written_again(
    fresh_server: EmbeddedServer, tmp_path: Path, evicted: list[str]
) -> None:
    """The next leadership continues from memory; otherwise a quiet book would begin empty, and be live."""
    async with patient(fresh_server.url) as client:
        run = Run(client, "checks", fresh_server.url, tmp_path)
        async with run.service(run.settings()) as service:
            sent = Input(run, Random(1))
            await sent.send(20)
            await run.published()
            await execute(client, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
            await eventually(lambda: not run.leads(service), message="the leadership ends")
            await execute(client, "DEL", *(f"{{checks:0}}:{name}" for name in evicted))
            await execute(client, "CONFIG", "SET", "maxmemory-policy", "noeviction")
            await eventually(lambda: run.leads(service), message="it leads again")
            wanted = {symbol: brute_digest(model.levels()) for symbol, model in sent.models.items()}
            async with Consumer(run.url, prefix="checks") as consumer:
                held: dict[str, int] = {}
                async with asyncio.timeout(TIMEOUT_S):
                    async for update in consumer:
                        held[update.symbol] = consumer.digest(update.symbol)
                        if held == wanted:
                            break


async def test_both_processes_publish_the_checks(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    async with patient(fresh_server.url) as client:
        run = Run(client, "checks", fresh_server.url, tmp_path)
        async with run.service(run.settings()) as service:
            with running_gateway(fresh_server.url, "checks") as gateway:
                await eventually(lambda: "persistence" in gateway.process.readiness()[1].get("redis", {}))
                await eventually(lambda: "persistence" in service._ready()[1].get("redis", {}))
                gateway.process.publish_metrics()
                assert service._ready()[1]["redis"].keys() == {"persistence"}
                for registry in (service.stats, gateway.process.metrics.registry):
                    failed = {
                        sample.labels["check"]: sample.value
                        for family in registry.collect()
                        for sample in family.samples
                        if sample.name == "depthcast_redis_check_failed"
                    }
                    assert (failed["persistence"], failed["eviction"]) == (1, 0)
