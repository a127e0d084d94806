"""An ended connection is freed at once: in a cycle, it would wait for hours for the garbage collector."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Iterator

import pytest

from depthcast.gateway.runtime.tls_transport import TlsTransport
from tests.attack.wire import CLOSE, DEFLATE, TEXT, deflated, frame, message, upgrade
from tests.integration.gateway_harness import RunningGateway, served
from tests.waiting import eventually

ENDINGS = {
    "close frame": message(op="subscribe", symbols=["AAA"], interval_ms=100) + frame(CLOSE, b"\x03\xe8"),
    "gone without a word": message(op="subscribe", symbols=["*"]) + message(op="credit", messages=5),
    "unmasked": frame(TEXT, b"{}", masked=False),
    "too big": frame(TEXT, b" " * 2_000_000),
    "inflates beyond the limit": deflated(b" " * 5_000_000),
    "no JSON": frame(TEXT, b"{") * 12,
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def ended(gateway: RunningGateway, data: bytes) -> list[weakref.ref[object]]:
    """Connect, send the data and leave; returns what the gateway had for the connection."""
    port = int(gateway.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=gateway.trust)
    writer.write(upgrade(DEFLATE))
    await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: len(gateway.process.connections) == 1)
    (connection,) = gateway.process.connections
    kept: list[weakref.ref[object]] = [weakref.ref(connection), weakref.ref(connection.protocol)]
    if isinstance(connection.transport, TlsTransport):
        kept.append(weakref.ref(connection.transport))
    del connection
    await reader.readuntil(b"}}")  # welcome
    writer.write(data)
    await reader.read(1)  # an answer, or the end
    writer.transport.abort()
    return kept


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.usefixtures("no_collector")
async def test_an_ended_connection_is_freed_at_once(redis_url: str, prefix: str, ending: str) -> None:
    async with served(redis_url, prefix) as (gateway, _):
        kept = await ended(gateway, ENDINGS[ending])
        await eventually(lambda: all(ref() is None for ref in kept), message="it is freed")


@pytest.mark.usefixtures("no_collector")
async def test_an_ended_event_stream_is_freed_at_once(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix) as (gateway, _):
        port = int(gateway.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/stream?symbols=*&interval_ms=100 HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b'"type":"snapshot"')
        (stream,) = gateway.process.streams
        kept = weakref.ref(stream)
        del stream
        writer.transport.abort()
        await eventually(lambda: kept() is None, message="it is freed")


def waiting(gateway: RunningGateway) -> weakref.ref[object] | None:
    """The request whose answer waits until its client reads."""
    for front in gateway.process.fronts:
        if front.web is not None and front.web.writing_paused:
            return weakref.ref(front.web._current_request)
    return None


@pytest.mark.usefixtures("no_collector")
async def test_a_request_is_freed_whose_client_goes_without_reading_the_answer(
    redis_url: str, prefix: str
) -> None:
    """It waits until the client reads, and the error that ends this knows the frame that waited."""
    async with served(redis_url, prefix) as (gateway, _):
        fronts, loop = gateway.process.fronts, asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(client, ("127.0.0.1", int(gateway.url.rsplit(":", 1)[1])))
            await eventually(lambda: len(fronts) == 1)
            (front,) = fronts
            assert front.transport is not None
            front.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            front.transport.set_write_buffer_limits(0)
            await loop.sock_sendall(client, b"GET /web/depthcast.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await eventually(lambda: waiting(gateway), message="it waits")
            kept = waiting(gateway)
            del front
        assert kept is not None
        await eventually(lambda: kept() is None, message="it is freed")
