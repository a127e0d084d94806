"""What every connection must keep to before and beside the WebSocket: heads, deadlines, rates, budgets."""

import asyncio
import json
import logging
import socket
import uuid
import zlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from websockets.frames import Frame, Opcode
from websockets.typing import Origin

from tests.integration import gateway_harness
from tests.integration.gateway_harness import Client, FakeIngestor, RunningGateway, client_of, code_of
from tests.waiting import TIMEOUT_S, eventually

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def served(
    redis_url: str, prefix: str, **settings: Any
) -> AbstractAsyncContextManager[tuple[RunningGateway, FakeIngestor]]:
    """A gateway that does not wait long for clients which do not answer its close frames."""
    return gateway_harness.served(redis_url, prefix, drain_timeout_s=0.1, **settings)


class Raw:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(TIMEOUT_S):
            taken = b""
            with suppress(ConnectionError):
                while more := await self.reader.read(65_536):
                    taken += more
            return taken

    async def answer(self) -> tuple[int, bytes]:
        """The next answer that has a length: status and body."""
        async with asyncio.timeout(TIMEOUT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.lower().splitlines()
            [length] = [line.partition(":")[2] for line in lines if line.startswith("content-length:")]
            return int(head.split()[1]), await self.reader.readexactly(int(length))

    async def open(self, extensions: bytes = b"") -> None:
        """Become a WebSocket, and read its `welcome`."""
        await self.send(UPGRADE + extensions + b"\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert b"welcome" in await self.frame()

    async def frame(self) -> bytes:
        """The payload of the next frame; of a close frame, its code in text."""
        async with asyncio.timeout(TIMEOUT_S):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            payload = await self.reader.readexactly(size)
            return str(int.from_bytes(payload[:2], "big")).encode() if first == 0x88 else payload

    async def closed(self) -> int:
        """Read up to the close frame, and return its code."""
        while True:
            payload = await self.frame()
            if payload.isdigit():
                return int(payload)


@asynccontextmanager
async def raw(gateway: RunningGateway) -> AsyncIterator[Raw]:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    return Frame(opcode, payload, fin, rsv1).serialize(mask=True) if not rsv1 else _compressed(payload)


def _compressed(payload: bytes) -> bytes:
    plain = Frame(Opcode.TEXT, payload).serialize(mask=True)
    return bytes([plain[0] | 0x40]) + plain[1:]


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings and errors that are not about Redis."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and not record.name.startswith("depthcast.shared")
    ]


async def healthy(gateway: RunningGateway) -> None:
    async with raw(gateway) as other:
        await other.send(HEALTH)
        assert (await other.answer())[0] == 200


shared_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests of the gateway that they share."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(redis_server: str) -> AsyncIterator[RunningGateway]:
    """A gateway with default limits, for tests that leave no connection behind."""
    async with served(redis_server, f"test-front-{uuid.uuid4().hex}") as (gateway, _):
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(shared: RunningGateway) -> RunningGateway:
    """The shared one, when the connections of earlier tests have ended."""
    await eventually(lambda: not shared.process.fronts)
    return shared


# --- requests -----------------------------------------------------------------------------------------------


@shared_loop
@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"\x16\x03\x01\x00\xa5\x01\x00\x00"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"),
        (414, b"GET /" + b"a" * 5000),
        (426, b"GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"b" * 1_000_000),
        (505, b"GET /v1/ws HTTP/1.0\r\nHost: a\r\n\r\n"),
    ],
)
async def test_a_request_beyond_rules_or_limits_is_answered_and_ends_the_connection(
    gateway: RunningGateway, status: int, sent: bytes
) -> None:
    before = gateway.process.counters.http_refused
    async with raw(gateway) as client:
        await client.send(sent)
        answered, body = await client.answer()
        assert (answered, json.loads(body)["error"]["code"]) == (status, "bad_request")
        client.writer.close()
        assert await client.rest() == b""
        assert gateway.process.counters.http_refused == before + 1
        await eventually(lambda: not gateway.process.fronts)


ODD_PATHS = [
    "/web/page.js%00", "/web/" + "a" * 3900, "/web/../process.py", "/web/%2e%2e/process.py",
    "/web//etc/passwd", "/web/", "/web", "//", "//web/page.js", "/v1/books/%00", "/v1/books/%ff",
    "/v1/books/" + "%F0%9F%98%80" * 300, "/v1/books/", "/v1/books/AAA?depth=%00",
    "/v1/books/AAA?depth=99999999999", "/v1/books/AAA?" + "&" * 3000, "/v1/books/AAA?depth=25&depth=0",
    "/%", "/%zz", "/?%zz=%", "/a;b=c", "/[", "/]", "/{}", "/|", "/\\", "/^`", "/v1/books/a/b",
    "/v1/books/..%2f..%2f", "/http://a/", "/:80", "/@", "/v1/symbols/", "/healthz/x", "/#a",
]  # fmt: skip


@shared_loop
async def test_odd_paths_are_answered_with_an_error_and_nothing_is_logged(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "X"):
        for path in ODD_PATHS:
            async with raw(gateway) as client:
                close = b"Host: localhost\r\nConnection: close\r\n\r\n"
                await client.send(f"{method} {path} HTTP/1.1\r\n".encode() + close)
                said = await client.rest()
            assert said.startswith(b"HTTP/1.1 "), (method, path)
            assert int(said.split()[1]) in range(200, 500), (method, path, said)
    await healthy(gateway)
    assert complaints(caplog) == []


@shared_loop
async def test_requests_on_one_connection_are_answered_one_after_the_other(gateway: RunningGateway) -> None:
    async with raw(gateway) as client:
        await client.send(HEALTH * 50)
        for _ in range(50):
            assert await client.answer() == (200, b'{"status": "up"}')
        await client.open()


@shared_loop
async def test_a_request_is_answered_though_its_client_sends_nothing_more(gateway: RunningGateway) -> None:
    for request, status in ((HEALTH, b"200"), (HEALTH * 3, b"200"), (UPGRADE + b"\r\n", b"101")):
        async with raw(gateway) as client:
            client.writer.write(request)
            client.writer.write_eof()
            assert (await client.rest()).count(b"HTTP/1.1 " + status) == request.count(b"GET")
    async with raw(gateway) as client:
        client.writer.write(HEALTH[:-1])
        client.writer.write_eof()
        assert await client.rest() == b""
    await eventually(lambda: not gateway.process.fronts)


@shared_loop
async def test_a_client_may_use_a_kept_connection_for_its_websocket(gateway: RunningGateway) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{gateway.url}/healthz") as response:
            await response.read()
        async with http.ws_connect(f"{gateway.url}/v1/ws") as connection:
            assert (await connection.receive_json())["type"] == "welcome"
            assert len(gateway.process.fronts) == 1
            await connection.send_str('{"op": "ping"}')
            assert (await connection.receive_json())["type"] == "pong"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", UPGRADE, HEALTH + b"G"])
async def test_without_a_complete_head_in_time_a_connection_ends(
    redis_url: str, prefix: str, sent: bytes
) -> None:
    async with served(redis_url, prefix, head_timeout_s=0.2) as (gateway, _), raw(gateway) as client:
        await client.send(sent)
        await client.rest()
        await eventually(lambda: not gateway.process.fronts)
        assert gateway.process.counters.http_timeouts == 1


async def test_an_idle_connection_ends_quietly(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, keepalive_timeout_s=0.2) as (gateway, _), raw(gateway) as client:
        await client.send(HEALTH)
        assert (await client.answer())[0] == 200
        assert await client.rest() == b""
        await eventually(lambda: not gateway.process.fronts)
        assert gateway.process.counters.http_timeouts == 0


async def test_an_answer_that_nobody_reads_ends_the_connection(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, stall_timeout_s=0.5) as (gateway, ingestor):
        await ingestor.publish("AAA", {price: 10**9 + price for price in range(10**9, 10**9 + 15_000)})
        async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/v1/books/AAA") as answer:
            assert answer.status == 200  # it may be followed only from now on
        await eventually(lambda: gateway.process.core.market.listings["AAA"].levels() > 15_000)
        address = urlsplit(gateway.url)
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        narrow.connect((address.hostname, address.port))
        narrow.sendall(b"GET /v1/books/AAA?depth=0 HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
        await eventually(lambda: gateway.process.counters.http_timeouts == 1)
        await eventually(lambda: not gateway.process.fronts)
        narrow.close()


# --- messages -----------------------------------------------------------------------------------------------


FAST: dict[str, Any] = {"messages_per_s": 100, "messages_burst_max": 300}


async def test_a_client_that_floods_is_told_and_closed_4429(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, **FAST) as (gateway, _):
        for opcode, payload in (
            (Opcode.TEXT, b'{"op":"ping"}'),
            (Opcode.PING, b"x"),
            (Opcode.PONG, b""),
        ):
            async with raw(gateway) as client:
                await client.open()
                flood = asyncio.create_task(client.send(masked(opcode, payload) * 20_000))
                said: list[bytes] = []
                while not said or not said[-1].isdigit():
                    said.append(await client.frame())
                assert said[-1] == b"4429"
                assert b"rate_limited" in said[-2]
                flood.cancel()
                await asyncio.gather(flood, return_exceptions=True)
        assert gateway.process.counters.limit_input_rate == 3


async def test_a_client_that_waits_for_answers_is_slowed_down_and_not_closed(
    redis_url: str, prefix: str
) -> None:
    settings = {"messages_per_s": 50, "messages_burst_max": 5}
    async with served(redis_url, prefix, **settings) as (gateway, _), client_of(gateway) as client:
        began = asyncio.get_running_loop().time()
        for number in range(20):
            await client.send(op="ping", id=number)
        await client.until("pong", id=19)
        assert asyncio.get_running_loop().time() - began >= (20 - 5 - 1) / 50
        assert gateway.process.counters.limit_input_rate == 0


async def test_inflated_bytes_count(redis_url: str, prefix: str) -> None:
    settings = {"input_bytes_per_s": 1000, "input_bytes_burst_max": 2**20}
    compressor = zlib.compressobj(wbits=-15)
    small = compressor.compress(b'{"op": "ping"}' + b" " * 500_000) + compressor.flush(zlib.Z_SYNC_FLUSH)
    message = _compressed(small[:-4])
    async with served(redis_url, prefix, **settings) as (gateway, _), raw(gateway) as client:
        await client.open(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
        flood = asyncio.create_task(client.send(message * 1000))
        assert await client.closed() == 4429
        assert gateway.process.counters.requests <= 4
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)


async def test_a_message_that_is_not_completed_in_time_closes_4410(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, message_timeout_s=0.3) as (gateway, _):
        beginnings = (
            masked(Opcode.TEXT, b"{", fin=False),
            masked(Opcode.TEXT, b"{}")[:-1],
            b"\x81",
        )
        for beginning in beginnings:
            async with raw(gateway) as client:
                await client.open()
                await client.send(beginning)
                assert await client.closed() == 4410
        assert gateway.process.counters.unfinished == 3
        assert gateway.process.intake.budget.total == 0


async def test_empty_continuations_do_not_keep_a_message_alive(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, message_timeout_s=0.3) as (gateway, _), raw(gateway) as client:
        await client.open()
        await client.send(masked(Opcode.TEXT, b"{", fin=False))
        closed = asyncio.create_task(client.closed())
        while not closed.done():
            client.writer.write(masked(Opcode.CONT, b"", fin=False))
            await asyncio.sleep(0.05)
        assert await closed == 4410


async def test_unfinished_messages_of_all_clients_are_bounded(redis_url: str, prefix: str) -> None:
    budget = 2**20
    async with served(redis_url, prefix, input_buffer_bytes_max=budget) as (gateway, _):
        async with client_of(gateway) as good:
            attackers = []
            for _ in range(8):
                context = raw(gateway)
                client = await context.__aenter__()
                attackers.append((context, client))
                await client.open()
                await client.send(masked(Opcode.TEXT, b"x" * 300_000)[:-1])
            await eventually(lambda: gateway.process.counters.limit_input_buffer >= 5)
            assert gateway.process.intake.budget.total <= budget
            await good.send(op="subscribe", symbols=["AAA"])
            await good.until("snapshot")
            assert [await client.closed() for _, client in attackers[:2]] == [1013, 1013]
            for context, _ in attackers:
                await context.__aexit__(None, None, None)
        await eventually(lambda: gateway.process.intake.budget.total == 0)


async def test_one_burst_of_messages_does_not_delay_others(redis_url: str, prefix: str) -> None:
    settings = {"messages_burst_max": 100_000}
    async with (
        served(redis_url, prefix, **settings) as (gateway, _),
        client_of(gateway) as good,
        raw(gateway) as other,
    ):
        await other.open()
        burst = asyncio.create_task(other.send(masked(Opcode.TEXT, b'{"op":"x"}') * 20_000))
        reading = asyncio.create_task(other.rest())
        await eventually(lambda: gateway.process.counters.requests > 100)
        before = gateway.process.counters.requests
        await good.send(op="ping")
        await good.until("pong")
        assert gateway.process.counters.requests - before < 15_000, "most of the burst is still to come"
        for task in (burst, reading):
            task.cancel()
        await asyncio.gather(burst, reading, return_exceptions=True)


@shared_loop
async def test_a_connection_cut_while_it_is_answered_ends_quietly(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        async with raw(gateway) as client:
            await client.open()
            await client.send(masked(Opcode.PING, b"x" * 125) * 200)
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    await eventually(lambda: not gateway.process.fronts)
    assert complaints(caplog) == []


@shared_loop
async def test_invalid_frames_close_with_the_code_of_the_rfc(gateway: RunningGateway) -> None:
    for code, sent in (
        (1002, b"\x81\x02hi"),
        (1002, masked(Opcode.CONT, b"x")),
        (1002, masked(Opcode.CLOSE, (1006).to_bytes(2, "big"))),
        (1002, masked(Opcode.CLOSE, (5000).to_bytes(2, "big"))),
        (1002, masked(Opcode.CLOSE, (65_535).to_bytes(2, "big"))),
        (1002, masked(Opcode.CLOSE, b"x")),
        (1007, masked(Opcode.CLOSE, b"\x03\xe8\xff")),
        (1007, masked(Opcode.TEXT, b"\xce\xba\xff")),
        (1007, masked(Opcode.TEXT, b"\xce", fin=False) + masked(Opcode.CONT, b"\xff", fin=False)),
        (1008, masked(Opcode.BINARY, b"{}")),
        (1000, masked(Opcode.CLOSE, (1000).to_bytes(2, "big"))),
        (4999, masked(Opcode.CLOSE, (4999).to_bytes(2, "big") + b"bye")),
    ):
        async with raw(gateway) as client:
            await client.open()
            await client.send(sent)
            assert await client.closed() == code, sent
    await eventually(lambda: not gateway.process.connections)


@shared_loop
async def test_the_close_code_is_seen_however_much_was_sent_before(gateway: RunningGateway) -> None:
    async with gateway.connect() as connection:
        client = Client(connection)
        with suppress(Exception):
            await connection.send(b"\x00" * 10_000)
            await connection.send("x" * 900_000)
        assert await code_of(client) == 1008


# --- who connects -------------------------------------------------------------------------------------------


def proxied(address: str) -> bytes:
    """A PROXY v2 header for a client's address."""
    return (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
        + ip_address(address).packed
        + bytes([127, 0, 0, 1])
        + b"\x12\x34\x00\x50"
    )


@pytest.mark.parametrize("way", ["direct", "PROXY", "X-Forwarded-For"])
async def test_connections_of_an_address_are_bounded(redis_url: str, prefix: str, way: str) -> None:
    trusted = "" if way == "direct" else "127.0.0.0/8"
    settings = {"connections_per_address_max": 2, "trusted_proxies": trusted}

    def start(address: str) -> tuple[bytes, bytes]:
        before = proxied(address) if way == "PROXY" else b""
        after = f"X-Forwarded-For: 1.1.1.1, {address}\r\n".encode() if way == "X-Forwarded-For" else b""
        return before, after + b"\r\n"

    async with served(redis_url, prefix, **settings) as (gateway, _), AsyncExitStack() as stack:
        for number in range(4):
            before, after = start("192.0.2.1")
            client = await stack.enter_async_context(raw(gateway))
            await client.send(before + UPGRADE + after)
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            if number < 2:
                assert b"welcome" in await client.frame()
            else:
                assert await client.closed() == 4429
        assert gateway.process.counters.limit_address == 2
        if way == "direct":
            async with raw(gateway) as client:
                await client.send(b"GET /v1/symbols HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await client.answer())[0] == 429
            await healthy(gateway)
        else:
            before, after = start("192.0.2.2")
            async with raw(gateway) as client:
                await client.send(before + UPGRADE + after)
                await client.reader.readuntil(b"\r\n\r\n")
                assert b"welcome" in await client.frame()
    assert gateway.process.admission.addresses.counts == {}


async def test_who_is_not_trusted_says_nothing_about_addresses(redis_url: str, prefix: str) -> None:
    settings = {"connections_per_address_max": 1, "trusted_proxies": "10.0.0.0/8"}
    async with served(redis_url, prefix, **settings) as (gateway, _), raw(gateway) as client:
        await client.send(UPGRADE + b"X-Forwarded-For: 192.0.2.1\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        assert b"welcome" in await client.frame()
        assert list(gateway.process.admission.addresses.counts) == ["127.0.0.1"]
        async with raw(gateway) as other:
            await other.send(proxied("192.0.2.1") + HEALTH)
            assert (await other.answer())[0] == 400


async def test_a_flood_from_one_address_is_ended_unread(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix, connections_per_address_max=3) as (gateway, _),
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(raw(gateway)) for _ in range(60)]
        assert await clients[-1].rest() == b""
        await eventually(lambda: len(gateway.process.fronts) <= 3 + 16)


async def test_an_address_that_connects_too_often_is_ended_unread(redis_url: str, prefix: str) -> None:
    settings = {"connections_per_address_max": 10, "connects_per_address_per_s": 5}
    async with served(redis_url, prefix, **settings) as (gateway, _):
        answered = 0
        for _ in range(40):
            async with raw(gateway) as client:
                with suppress(ConnectionError):
                    await client.send(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                answered += (await client.rest()).startswith(b"HTTP/1.1 200")
        assert 10 <= answered < 40
        assert gateway.process.counters.limit_connects == 40 - answered
        await eventually(lambda: not gateway.process.fronts)
        await eventually(lambda: not gateway.process.admission.connects)


async def test_who_is_closed_for_its_rate_time_after_time_may_not_connect_again_at_once(
    redis_url: str, prefix: str
) -> None:
    settings = {"messages_burst_max": 10, "messages_per_s": 1, "connects_per_address_per_s": 1}
    async with served(redis_url, prefix, **settings) as (gateway, _):
        closed = 0
        for _ in range(40):
            async with raw(gateway) as client:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await client.open()
                    await client.send(masked(Opcode.PONG, b"x" * 100) * 1000)
                    closed += await client.closed() == 4429
        assert 15 <= closed < 30
        assert gateway.process.counters.limit_connects == 40 - closed


async def test_websockets_with_one_token_are_bounded(redis_url: str, prefix: str) -> None:
    async with served(redis_url, prefix, connections_per_token_max=1) as (gateway, _):
        async with gateway.connect(additional_headers={"Authorization": "Bearer secret"}):
            async with gateway.connect(additional_headers={"Authorization": "bearer secret"}) as second:
                assert await code_of(Client(second)) == 4429
            async with client_of(gateway, additional_headers={"Authorization": "Bearer other"}):
                pass
        await eventually(lambda: not gateway.process.fronts)
        assert gateway.process.admission.tokens.counts == {}
        assert gateway.process.counters.limit_token == 1


async def test_websockets_of_one_origin_are_bounded(redis_url: str, prefix: str) -> None:
    settings = {"connections_per_origin_max": 1, "origins": "*"}
    async with (
        served(redis_url, prefix, **settings) as (gateway, _),
        gateway.connect(origin=Origin("https://a.example")),
        gateway.connect(origin=Origin("https://a.example")) as second,
        client_of(gateway, origin=Origin("https://b.example")),
    ):
        assert await code_of(Client(second)) == 4429


async def test_for_one_connection_too_many_the_longest_waiting_goes(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix, tcp_connections_max=16) as (gateway, _),
        client_of(gateway) as good,
        AsyncExitStack() as stack,
    ):
        idle = [await stack.enter_async_context(raw(gateway)) for _ in range(40)]
        assert await idle[0].rest() == b""
        await healthy(gateway)
        await good.send(op="ping")
        await good.until("pong")
        assert len(gateway.process.fronts) <= 16
        assert gateway.process.counters.limit_tcp_connections >= 25
        async with client_of(gateway):
            pass


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"Origin": "http://localhost"}, 101),
        ({"Origin": "HTTP://LOCALHOST:80"}, 101),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://books.example", "X-Forwarded-Host": "books.example"}, 101),
        (
            {
                "Origin": "http://books.example",
                "X-Forwarded-Host": "books.example",
                "X-Forwarded-Proto": "https",
            },
            403,
        ),
        ({"Origin": "https://shop.example"}, 101),
    ],
)
async def test_pages_of_other_origins_open_no_websocket(
    redis_url: str, prefix: str, headers: dict[str, str], status: int
) -> None:
    settings = {"origins": "self,https://shop.example", "trusted_proxies": "127.0.0.1"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    async with served(redis_url, prefix, **settings) as (gateway, _), raw(gateway) as client:
        await client.send(UPGRADE + lines + b"\r\n")
        assert int((await client.reader.readuntil(b"\r\n\r\n")).split()[1]) == status
        assert gateway.process.counters.origins_refused == (status == 403)


async def test_named_origins_may_read_rest_answers(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix, origins="self,https://shop.example") as (gateway, _),
        aiohttp.ClientSession() as http,
    ):
        for origin, allowed in (
            ("https://shop.example", "https://shop.example"),
            ("https://b.example", None),
        ):
            async with http.get(f"{gateway.url}/v1/symbols", headers={"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == allowed
                assert response.headers["Vary"] == "Origin"
