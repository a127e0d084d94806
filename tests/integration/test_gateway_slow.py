"""Slow clients against a real server: real sockets, small buffers, a client that does not read."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from depthcast.gateway.delivery.subscription_group import GroupState
from depthcast.gateway.runtime.connection import Connection
from tests.integration.gateway_harness import (
    Client,
    FakeIngestor,
    RunningGateway,
    fake_ingestor,
    running_gateway,
)
from tests.waiting import TIMEOUT_S, eventually

DEEP = {price: 1000 + price for price in range(1, 400)}


@asynccontextmanager
async def market(redis_url: str, prefix: str, *symbols: str) -> AsyncIterator[FakeIngestor]:
    async with fake_ingestor(redis_url, prefix, *symbols) as ingestor:
        for symbol in symbols:
            await ingestor.birth(symbol, DEEP, {price + 1000: 5 for price in DEEP})
        yield ingestor


@asynccontextmanager
async def narrow(gateway: RunningGateway, max_size: int | None = None) -> AsyncIterator[Client]:
    """A client that reads only on request, with the smallest possible buffer."""
    address = urlsplit(gateway.url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (address.hostname, address.port))
    async with connect(
        gateway.ws_url,
        sock=raw,
        ssl=gateway.trust,
        subprotocols=[Subprotocol("depthcast.v1.json")],
        compression=None,
        max_queue=1,
        max_size=max_size,
        ping_interval=None,
        close_timeout=1,
    ) as connection:
        yield Client(connection)


@asynccontextmanager
async def scene(
    redis_url: str, prefix: str, *symbols: str, **settings: Any
) -> AsyncIterator[tuple[FakeIngestor, RunningGateway, Client]]:
    """An ingestor, a gateway and a narrow client of it."""
    async with market(redis_url, prefix, *symbols) as ingestor:
        with running_gateway(redis_url, prefix, **settings) as gateway:
            await ingestor.until_live(gateway)
            async with narrow(gateway) as client:
                yield ingestor, gateway, client


def server_side(gateway: RunningGateway) -> Connection:
    [connection] = gateway.process.connections
    return connection


async def churn(ingestor: FakeIngestor, symbol: str, count: int, reader: Client | None = None) -> int:
    """Broadcasts of 200 levels each; the next one waits until `reader` has the one before."""
    seq = 0
    for number in range(count):
        levels = {price: number * 1000 + price for price in range(1, 201)}
        seq = await ingestor.publish(symbol, levels, {})
        if reader is not None:
            await reader.until_seq(symbol, seq)
    return seq


async def test_a_client_that_stops_reading_conflates_and_gets_the_last_change_in_a_quiet_market(
    redis_url: str, prefix: str
) -> None:
    async with scene(redis_url, prefix, "AAA") as (ingestor, gateway, slow), gateway.connect() as connection:
        await slow.send(op="subscribe", symbols=["AAA"], depth=0)
        await slow.until("snapshot")
        fast = Client(connection)
        await fast.send(op="subscribe", symbols=["AAA"], depth=0)
        await fast.until("snapshot")
        buffered = seq = 0
        for _ in range(10):
            seq = await churn(ingestor, "AAA", 30, fast)
            connections = tuple(gateway.process.connections)
            buffered = max(buffered, *(one.writer.buffered() for one in connections))
        assert {m["merged"] for m in fast.messages if m["type"] == "delta"} == {1}
        assert buffered < 64 * 1024, "the gateway keeps no more than a message beyond its mark"
        # Nothing more is published: the missing changes come because the client reads.
        await slow.until_seq("AAA", seq)
        assert len(slow.messages) < 250
        assert gateway.process.core.counters.skipped > 0


async def test_a_deep_book_in_parts_fits_into_small_messages_and_buffers(redis_url: str, prefix: str) -> None:
    deep = {price: 2**53 - price for price in range(1, 2501)}, dict.fromkeys(range(3000, 5500), 5)
    async with fake_ingestor(redis_url, prefix, "AAA", "BBB") as ingestor:
        await ingestor.birth("AAA", *deep)
        await ingestor.birth("BBB", {1: 1}, {2: 2})
        with running_gateway(redis_url, prefix) as gateway:
            await ingestor.until_live(gateway)
            async with narrow(gateway, max_size=65_536) as client:
                await client.send(op="subscribe", symbols=["BBB", "AAA"], depth=0, parts=True)
                parts: list[dict[str, Any]] = []
                while not parts or parts[-1]["part"] < parts[-1]["parts"]:
                    async with asyncio.timeout(TIMEOUT_S):
                        message = orjson.loads(await client.connection.recv())
                    parts += [message] if "part" in message else []
                    assert server_side(gateway).writer.buffered() < 64 * 1024
                sides = [[row for part in parts for row in part[side]] for side in ("bids", "asks")]
                assert (len(parts), {part["digest"] for part in parts}) == (5, {ingestor.books["AAA"].digest})
                assert (dict(sides[0]), dict(sides[1])) == deep


async def test_many_snapshots_are_written_as_the_client_reads(redis_url: str, prefix: str) -> None:
    symbols = [f"S{number}" for number in range(60)]
    async with scene(redis_url, prefix, *symbols) as (_, gateway, client):
        await client.send(op="subscribe", symbols=["*"], depth=500)
        await client.until("snapshot")
        [connection] = gateway.process.connections
        most = 0
        while len(client.books) < len(symbols):
            most = max(most, connection.writer.buffered())
            await client.receive()
        assert most < 128 * 1024
        assert connection.session is not None
        group = next(iter(connection.session.groups))
        await eventually(lambda: group.state is not GroupState.CURSOR_PER_CHANNEL)


@pytest.mark.parametrize("linger", [0.2, 30.0])
async def test_a_client_that_reads_nothing_is_closed_4410(redis_url: str, prefix: str, linger: float) -> None:
    settings = {"stall_timeout_s": 0.5, "close_linger_s": linger}
    async with scene(redis_url, prefix, "AAA", **settings) as (ingestor, gateway, client):
        await client.send(op="subscribe", symbols=["AAA"], depth=0)
        await client.until("snapshot")
        connection = server_side(gateway)
        publishing = asyncio.create_task(churn(ingestor, "AAA", 2000))
        await eventually(lambda: connection.closing == 4410)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        assert gateway.process.core.counters.stalls == 1
        assert connection.session not in gateway.process.core.sessions
        if linger < 1:
            await eventually(lambda: not gateway.process.connections)
        else:
            await _read_out(client)
            assert client.connection.close_code == 4410


async def _read_out(client: Client) -> None:
    with suppress(ConnectionClosed):
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                await client.connection.recv()


async def test_requests_without_reading_replies_do_not_grow_memory(redis_url: str, prefix: str) -> None:
    async with scene(redis_url, prefix, "AAA") as (_, gateway, client):
        await client.receive()
        connection = server_side(gateway)
        names = [f"NONE{number}" for number in range(2000)]
        sending = asyncio.create_task(_send_many(client, names, 200))
        counters = gateway.process.core.counters
        before = -1
        while counters.others != before:
            before = counters.others
            await asyncio.wait({sending}, timeout=0.3)
            assert connection.writer.buffered() < 64 * 1024
        assert counters.others < 20_000, "of 400,000 errors asked for"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        client.connection.transport.abort()


async def _send_many(client: Client, names: list[str], times: int) -> None:
    for _ in range(times):
        await client.send(op="subscribe", symbols=names)


async def test_closing_does_not_wait_for_clients_that_read_nothing(redis_url: str, prefix: str) -> None:
    patient: dict[str, Any] = {"close_linger_s": 60.0, "stall_timeout_s": 60.0}
    async with scene(redis_url, prefix, "AAA", drain_timeout_s=0.5, **patient) as (ingestor, gateway, client):
        await client.send(op="subscribe", symbols=["AAA"], depth=0)
        await client.until("snapshot")
        connection = server_side(gateway)
        publishing = asyncio.create_task(churn(ingestor, "AAA", 2000))
        await eventually(lambda: connection.writer.paused)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        gateway.stop()
        began = time.monotonic()
        await eventually(connection.lost.done, patient["close_linger_s"] / 2)
        assert time.monotonic() - began > 0.4, "it had its time to read"
