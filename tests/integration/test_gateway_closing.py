"""How connections end: every close code, and what must not end one."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_harness import Client, client_of, code_of, served
from tests.waiting import TIMEOUT_S, eventually


async def test_the_wrong_frame_type_closes_1008(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix) as (gateway, _):
        async with client_of(gateway) as client:
            await client.connection.send(b"\x81")
            assert await code_of(client) == 1008
        async with client_of(gateway, "msgpack") as client:
            await client.connection.send("{}")
            assert await code_of(client) == 1008


async def test_the_tenth_unparsable_message_closes_1008(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix) as (gateway, _), client_of(gateway) as client:
        for _ in range(9):
            await client.connection.send("{")
            assert (await client.receive())["code"] == "bad_request"
        await client.send(op="ping")
        assert (await client.receive())["type"] == "pong"
        await client.connection.send("{")
        assert await code_of(client) == 1008


@pytest.mark.parametrize("size", [1001, 3_000_000])
async def test_a_message_too_big_closes_1009(redis_url: str, prefix: str, size: int) -> None:
    async with (
        served(redis_url, prefix, message_bytes_max=1000) as (gateway, _),
        client_of(gateway) as client,
    ):
        with suppress(ConnectionClosed):
            await client.connection.send("x" * size)
        assert await code_of(client) == 1009
        await eventually(lambda: gateway.process.core.counters.limit_message_bytes == 1)


async def test_one_connection_too_many_is_closed_1013(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, connections_max=1) as (gateway, _):
        async with client_of(gateway), gateway.connect() as second:
            assert await code_of(Client(second)) == 1013
        await eventually(lambda: not gateway.process.connections)
        async with client_of(gateway):
            pass


async def test_without_a_subscription_in_time_it_is_closed_4408(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix, subscribe_timeout_s=0.2) as (gateway, _),
        client_of(gateway) as client,
    ):
        assert await code_of(client) == 4408


async def test_a_stop_closes_1012(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix) as (gateway, _), client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["*"])
        await client.until("snapshot", symbol="BBB")
        gateway.stop()
        assert await code_of(client) == 1012


async def test_the_client_may_close_first(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix) as (gateway, _), client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("snapshot")
        await client.connection.close(4000, "bye")
        assert client.connection.close_code == 4000
        await eventually(lambda: not gateway.process.connections)
        assert not gateway.process.core.flusher.cohorts


async def test_heartbeats(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, heartbeat_ms=100) as (gateway, _), client_of(gateway) as client:
        assert (await client.receive())["type"] == "heartbeat"
        assert (await client.receive())["type"] == "heartbeat"


async def test_websocket_pings_are_answered(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix) as (gateway, _),
        client_of(gateway) as client,
        asyncio.timeout(TIMEOUT_S),
    ):
        await (await client.connection.ping())


def garbage(rng: random.Random) -> Iterator[str]:
    """Parsable nonsense of many shapes."""
    values = [
        "null",
        "true",
        "-1",
        "1e30",
        '"*"',
        '"AAA"',
        "[]",
        "{}",
        "25",
        '["AAA"]',
        '["*"]',
        "9007199254740993",
    ]
    ops = ['"subscribe"', '"unsubscribe"', '"credit"', '"ping"', '"resume"', "7"]
    names = ["symbols", "depth", "interval_ms", "resume", "messages", "id", "token"]
    while True:
        fields = [f'"op":{rng.choice(ops)}'] if rng.random() < 0.9 else []
        fields += [f'"{name}":{rng.choice(values)}' for name in rng.sample(names, rng.randint(0, 4))]
        yield "{" + ",".join(fields) + "}" if rng.random() < 0.95 else rng.choice(values)


async def test_garbage_neither_ends_a_connection_nor_touches_another(redis_url: str, prefix: str) -> None:
    rng, seq = random.Random(5), 0
    async with (
        served(redis_url, prefix) as (gateway, ingestor),
        client_of(gateway) as good,
        client_of(gateway) as bad,
    ):
        await good.send(op="subscribe", symbols=["AAA"], depth=0)
        await good.until("snapshot")
        for number, text in zip(range(400), garbage(rng), strict=False):
            await bad.connection.send(text)
            if number % 50 == 0:
                seq = await ingestor.publish("AAA", {100: number + 1})
        await bad.send(op="ping", id="end")
        await bad.until("pong", id="end")
        await good.until_seq("AAA", seq)
        assert kinds(good.messages) <= {"welcome", "subscribed", "snapshot", "delta"}
        assert all(message["merged"] == 1 for message in good.messages if message["type"] == "delta")


def kinds(messages: list[dict[str, Any]]) -> set[str]:
    return {message["type"] for message in messages}
