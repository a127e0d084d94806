"""Gateways list themselves in Redis if they may, in a bounded way; without the right they serve as well."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import generate_latest
from redis.asyncio import Redis

from depthcast.gateway.runtime import registration
from depthcast.gateway.runtime.process import known_address, listening_socket
from depthcast.gateway.runtime.registration import Registration
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.gateway_entry import FORGET_MS, GatewayEntry, decode_entry, encode_entry
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.version import VERSION
from tests.integration.gateway_harness import client_of, fake_ingestor, running_gateway, served
from tests.waiting import eventually

ENTRY = GatewayEntry("other-1", "0.0.1", "http://elsewhere:8080")


async def listed(client: Redis, prefix: str) -> list[GatewayEntry]:
    """The entries, the one heard of longest ago first."""
    members = await execute(client, "ZRANGE", DeploymentKeys(prefix).gateways, 0, -1)
    entries = [decode_entry(member) for member in members]
    assert None not in entries
    return [entry for entry in entries if entry is not None]


@asynccontextmanager
async def registering(
    url: str, prefix: str, describe: Callable[[], GatewayEntry] = lambda: ENTRY, **settings: Any
) -> AsyncIterator[Registration]:
    """A registration that the test refreshes by hand."""
    made = Registration(connect, GatewaySettings(redis_url=url, prefix=prefix, **settings), describe)
    yield made
    await made._client.aclose()


async def test_a_gateway_lists_itself_and_leaves(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "PERIOD_S", 0.02)
    async with connect(redis_url) as client, served(redis_url, prefix) as (gateway, ingestor):
        async with ingestor.beating(), client_of(gateway) as viewer:
            await viewer.send(op="subscribe", symbols=["AAA"])
            await viewer.until("snapshot")

            async def current() -> GatewayEntry | None:
                found = await listed(client, prefix)
                return found[0] if len(found) == 1 and found[0].clients else None

            entry = await eventually(current, message="it says that it has a client")
        assert entry is not None
        assert entry._replace(silence_ms=0, uptime_ms=0, lag_ms=0, failing=()) == GatewayEntry(
            gateway.process.name, VERSION, gateway.url, None, ready=True, clients=1, books=2
        )
        assert 0 <= entry.silence_ms < 5000
        assert 0 < entry.uptime_ms < 60_000
        ttl_ms = await execute(client, "PTTL", f"{prefix}:gateways")
        assert FORGET_MS - 60_000 < ttl_ms <= FORGET_MS
        gateway.stop()

        async def gone() -> bool:
            return await listed(client, prefix) == []

        await eventually(gone, message="it has left")


async def test_without_the_right_it_serves_says_so_once_and_counts(
    fresh_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registration, "RETRY_S_MAX", 0.02)
    monkeypatch.setattr(registration, "PERIOD_S", 0.02)
    async with connect(fresh_server.url) as client:
        rules = ("on", "nopass", "~*", "+@all", "-@write", "-@scripting")
        await execute(client, "ACL", "SETUSER", "reader", *rules)
        url = fresh_server.url.replace("redis://", "redis://reader:x@")
        async with fake_ingestor(fresh_server.url, "p", "AAA") as ingestor:
            await ingestor.birth("AAA", {100: 5})
            with running_gateway(url, "p") as gateway:
                process = gateway.process
                await eventually(lambda: process.registration.failures > 2, message="it tries again")
                async with client_of(gateway) as viewer:
                    await viewer.send(op="subscribe", symbols=["AAA"])
                    assert (await viewer.until("snapshot"))["bids"] == [[100, 5]]
                await execute(client, "ACL", "SETUSER", "reader", "+eval", "+@write", "+@read")

                async def there() -> bool:
                    return [entry.id for entry in await listed(client, "p")] == [process.name]

                await eventually(there, message="it is listed as soon as it may be")
                process.publish_metrics()
                text = generate_latest(process.metrics.registry).decode()
    said = [record for record in caplog.records if "is not listed in Redis" in record.message]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert "NOPERM" in said[0].__dict__["problem"]
    assert "depthcast_gateway_registration_failures_total 0" not in text
    assert 'depthcast_gateway_redis_errors_total{code="NOPERM"}' in text
    assert 'depthcast_gateway_redis_errors_total{code="NOPERM"} 0.0' not in text


async def test_at_a_replica_it_serves_and_says_how_old_its_books_are(fresh_server: EmbeddedServer) -> None:
    with EmbeddedServer() as replica:
        host, port = fresh_server.url.removeprefix("redis://").partition("/")[0].split(":")
        async with connect(replica.url) as client:
            await execute(client, "REPLICAOF", host, port)
        async with fake_ingestor(fresh_server.url, "p", "AAA") as ingestor:
            await ingestor.birth("AAA", {100: 5})
            with running_gateway(replica.url, "p") as gateway:
                process = gateway.process
                async with ingestor.beating():
                    await eventually(lambda: process.core.market.was_live, 20, message="its books are live")
                await eventually(lambda: process.registration.failures, message="it may not write")
                ready, body = process.readiness()
                assert ready
                assert body["silence_ms"] < 5000
                async with connect(fresh_server.url) as client:
                    assert await listed(client, "p") == []


async def test_more_gateways_than_the_limit_are_left_out_and_counted(redis_url: str, prefix: str) -> None:
    async with connect(redis_url) as client:
        now = time.time_ns() // 1_000_000
        for number in range(4):
            member = encode_entry(ENTRY._replace(id=f"other-{number}"))
            await execute(client, "ZADD", f"{prefix}:gateways", now - 1000 + number, member)
        async with registering(redis_url, prefix, lambda: ENTRY._replace(id="ours"), gateways_max=2) as ours:
            await ours.refresh()
            assert [entry.id for entry in await listed(client, prefix)] == ["other-3", "ours"]
            assert (ours.left_out, ours.failures) == (3, 0)


async def test_what_was_not_heard_of_for_long_is_forgotten(redis_url: str, prefix: str) -> None:
    async with connect(redis_url) as client, registering(redis_url, prefix) as ours:
        now = time.time_ns() // 1_000_000
        for age_ms, name in ((FORGET_MS + 5000, "old"), (FORGET_MS - 60_000, "late")):
            member = encode_entry(ENTRY._replace(id=name))
            await execute(client, "ZADD", f"{prefix}:gateways", now - age_ms, member)
        await ours.refresh()
        assert [entry.id for entry in await listed(client, prefix)] == ["late", ENTRY.id]


async def test_an_entry_whose_reply_was_lost_is_replaced(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))
    lost = 3

    async def losing(client: Redis, *command: str | bytes | float) -> Any:
        nonlocal lost
        reply = await execute(client, *command)
        lost -= 1
        if lost >= 0:
            raise RedisUnavailable("the reply is lost")
        return reply

    monkeypatch.setattr(registration, "execute", losing)
    made = registering(redis_url, prefix, lambda: ENTRY._replace(clients=next(numbers)))
    async with connect(redis_url) as client, made as ours:
        for _ in range(5):
            await ours.refresh()
        assert [entry.clients for entry in await listed(client, prefix)] == [4]
        assert ours.failures == 3
        await ours._leave()
        assert await listed(client, prefix) == []


async def test_a_key_of_another_type_is_left_alone(redis_url: str, prefix: str) -> None:
    async with connect(redis_url) as client, registering(redis_url, prefix) as ours:
        await execute(client, "SET", f"{prefix}:gateways", "x")
        await ours.refresh()
        assert ours.failures == 1
        assert await execute(client, "GET", f"{prefix}:gateways") == b"x"


def test_the_address_is_one_that_others_can_use() -> None:
    settings = GatewaySettings(host="0.0.0.0", port=0, anonymous=True)  # noqa: S104
    with listening_socket(settings, 0, shared=False) as bound:
        assert "0.0.0.0" not in known_address(bound)  # noqa: S104
        assert known_address(bound).endswith(f":{bound.getsockname()[1]}")
