"""The JavaScript client with a real gateway: every symbol, in both encodings, also on another gateway."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.gateway_harness import FakeIngestor, fake_ingestor, running_gateway
from tests.npm import node
from tests.waiting import eventually

FOLDER = Path(__file__).parent
SYMBOLS = tuple(f"S{number}" for number in range(120))
TIMEOUT_S = 30.0
BIDS, ASKS = {100: 5, 99: 6}, {101: 8}


@asynccontextmanager
async def program(name: str, *words: str) -> AsyncIterator[Process]:
    """A program of this folder under Node, on its own WebSocket."""
    options = ("--experimental-websocket", "--no-warnings")
    process = await asyncio.create_subprocess_exec(
        node(), *options, str(FOLDER / name), *words, stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def reach(process: Process, ingestor: FakeIngestor) -> dict[str, int]:
    """Wait until the program has every book; returns its counters."""
    assert process.stdin is not None
    assert process.stdout is not None
    digests = {symbol: replica.digest for symbol, replica in ingestor.books.items()}
    process.stdin.write(json.dumps(digests).encode() + b"\n")
    async with asyncio.timeout(TIMEOUT_S):
        line = await process.stdout.readline()
    counters: dict[str, int] = json.loads(line)
    return counters


@asynccontextmanager
async def relay(targets: list[str]) -> AsyncIterator[str]:
    """An address that leads to the last of `targets`, as a load balancer's does."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = targets[-1].rpartition("/")[2].partition(":")
        from_target, to_target = await asyncio.open_connection(host, int(port))
        with suppress(ConnectionError):
            await asyncio.gather(copy(reader, to_target), copy(from_target, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_every_symbol_is_followed_also_on_another_gateway(
    redis_url: str, prefix: str, encoding: str
) -> None:
    async with fake_ingestor(redis_url, prefix, *SYMBOLS) as ingestor:
        for symbol in SYMBOLS:
            await ingestor.birth(symbol, BIDS, ASKS)
        with running_gateway(redis_url, prefix) as gateway, running_gateway(redis_url, prefix) as other:
            targets = [gateway.url]
            async with (
                ingestor.beating(),
                relay(targets) as url,
                program("follow_all.mjs", url, encoding) as process,
            ):
                counters = await reach(process, ingestor)
                assert (counters["snapshots"], counters["ignored"]) == (len(SYMBOLS), 0)

                await ingestor.publish_many({symbol: ({100: 6}, {}) for symbol in SYMBOLS})
                await ingestor.register("LATER")
                await ingestor.birth("LATER", BIDS, ASKS)
                counters = await reach(process, ingestor)
                assert (counters["snapshots"], counters["reconnects"]) == (len(SYMBOLS) + 1, 0)
                assert counters["deltas"] >= len(SYMBOLS)

                known = other.process.core.market.listings
                await eventually(
                    lambda: "LATER" in known and known["LATER"].replica, TIMEOUT_S, "it is there"
                )
                targets.append(other.url)
                gateway.stop()

                async def resumed() -> dict[str, int] | None:
                    reached = await reach(process, ingestor)
                    return reached if reached["reconnects"] else None

                moved = await eventually(resumed, TIMEOUT_S, "the client is on the other gateway")
                assert moved is not None
                assert moved["resumed"] == len(ingestor.books)
                await ingestor.publish_many({symbol: ({}, {101: 9}) for symbol in ingestor.books})
                counters = await reach(process, ingestor)
                assert counters["gaps"] + counters["mismatches"] + counters["ignored"] == 0
