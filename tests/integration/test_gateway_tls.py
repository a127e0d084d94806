"""TLS on a gateway: the same service to everybody who speaks it, and nothing to anybody else."""

import asyncio
import logging
import signal
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from depthcast.client import connect
from depthcast.gateway.protocol.peers import SIGNATURE
from depthcast.shared.errors import ClientError
from tests.certificates import Authority
from tests.integration import test_gateway_freed as freed
from tests.integration import test_gateway_slow as slow
from tests.integration.gateway_harness import RunningGateway, client_of, fake_ingestor, served
from tests.integration.test_gateway_freed import no_collector  # noqa: F401 - a fixture
from tests.integration.test_gateway_process import spawn, started
from tests.waiting import TIMEOUT_S, eventually

Served = Callable[[str, str], Awaitable[None]]


class Raw:
    """A TCP connection to a gateway, in TLS once `begin_tls` was called."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def begin_tls(self, context: ssl.SSLContext) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.writer.start_tls(context, server_hostname="127.0.0.1")

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, which may be a reset."""
        taken = b""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                while more := await self.reader.read(65_536):
                    taken += more
            except ConnectionError:
                pass
        return taken


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Raw]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says louder than info, but about Redis."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and not record.name.startswith("depthcast.shared")
    ]


async def certificate_at(url: str, authority: Authority) -> Any:
    """The serial number of the certificate that a new connection gets."""
    async with raw(url) as connection:
        await connection.begin_tls(authority.trusting())
        return connection.writer.get_extra_info("peercert")["serialNumber"]


async def test_every_service_is_there_over_tls(redis_url: str, prefix: str, encrypted: Authority) -> None:
    async with served(redis_url, prefix) as (gateway, ingestor):
        assert gateway.url.startswith("https://")
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=encrypted.trusting())) as http,
            client_of(gateway) as client,
            connect(gateway.url, ssl=encrypted.trusting()) as ours,
        ):
            for path in ("/", "/web/page/main.js", "/healthz", "/v1/symbols", "/v1/books/AAA"):
                async with http.get(gateway.url + path) as answer:
                    assert answer.status == 200
                    assert await answer.read()
            await client.send(op="subscribe", symbols=["AAA"])
            await client.until("snapshot")
            await ours.subscribe("AAA")
            async with http.get(f"{gateway.url}/v1/stream?symbols=AAA") as stream:
                seq = await ingestor.publish("AAA", {100: 77}, {})
                await client.until_seq("AAA", seq)
                async with asyncio.timeout(TIMEOUT_S):
                    while ours.seq("AAA") < seq:
                        await anext(ours)
                    while f'"seq":{seq}'.encode() not in await stream.content.readline():
                        pass
        assert gateway.process.counters.tls_failures == 0
        entry = gateway.process.describe()
        assert entry.address.startswith("https://")


async def test_a_client_that_does_not_trust_the_gateway_says_so(
    redis_url: str, prefix: str, encrypted: Authority
) -> None:
    async with served(redis_url, prefix) as (gateway, _):
        with pytest.raises(ClientError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            async with connect(gateway.url):
                pass
        assert caught.value.code == "unreachable"
        await eventually(lambda: gateway.process.counters.tls_failures == 1)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"this port speaks TLS: use https:// or wss://"),
        (b"\x00\xff\x00 garbage", b""),
        (b"\x16\x03\x01\x00\x05hello", b""),
        (b"\x16\x03\x01\x3f\xff" + b"\xff" * 20_000, b""),
    ],
    ids=["plain HTTP", "garbage", "a record of garbage", "a large one"],
)
async def test_what_is_no_tls_ends_without_a_complaint(
    redis_url: str,
    prefix: str,
    encrypted: Authority,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    says: bytes,
) -> None:
    async with served(redis_url, prefix) as (gateway, _):
        async with raw(gateway.url) as connection:
            connection.writer.write(sent)
            answer = await connection.rest()
            assert says in answer
            assert (answer.startswith(b"HTTP/1.1 400 ")) is bool(says)
        await eventually(lambda: not gateway.process.fronts)
        assert gateway.process.counters.tls_failures == 1
        assert gateway.process.intake.budget.total == 0
        assert await certificate_at(gateway.url, encrypted)
    assert complaints(caplog) == []


def half_hello(authority: Authority) -> bytes:
    """The beginning of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[:-20]


async def test_a_handshake_that_takes_too_long_ends_and_is_bounded(
    redis_url: str, prefix: str, encrypted: Authority
) -> None:
    async with served(redis_url, prefix, head_timeout_s=0.3) as (gateway, _):
        async with raw(gateway.url) as silent, raw(gateway.url) as slow_one:
            sent = half_hello(encrypted)
            slow_one.writer.write(sent)
            await eventually(lambda: gateway.process.intake.budget.total == len(sent))
            assert await silent.rest() == await slow_one.rest() == b""
        assert gateway.process.counters.http_timeouts == 2
        assert gateway.process.intake.budget.total == 0


async def test_limits_of_connections_count_before_the_handshake(
    redis_url: str, prefix: str, encrypted: Authority
) -> None:
    async with served(redis_url, prefix, tcp_connections_max=16) as (gateway, _):
        idle = [await asyncio.open_connection(*_place(gateway)) for _ in range(17)]
        async with asyncio.timeout(TIMEOUT_S):
            assert await idle[0][0].read() == b"", "the one that waited longest made room"
        assert gateway.process.counters.limit_tcp_connections == 1
        for _, writer in idle:
            writer.transport.abort()


def _place(gateway: RunningGateway) -> tuple[str, int]:
    address = urlsplit(gateway.url)
    assert address.hostname is not None
    assert address.port is not None
    return address.hostname, address.port


async def test_only_clients_with_a_certificate_of_the_authority(
    redis_url: str, prefix: str, encrypted: Authority
) -> None:
    async with served(redis_url, prefix, tls_client_ca=encrypted.file) as (gateway, _):
        with pytest.raises(ClientError):
            async with connect(gateway.url, ssl=encrypted.trusting()):
                pass
        known = encrypted.trusting(encrypted.issue("client"))
        async with connect(gateway.url, ssl=known) as client:
            await client.subscribe("AAA")
        assert gateway.process.counters.tls_failures > 0


async def test_a_proxy_says_for_whom_it_connects_before_the_handshake(
    redis_url: str, prefix: str, encrypted: Authority
) -> None:
    address = socket.inet_aton("203.0.113.9")
    header = SIGNATURE + b"\x21\x11" + struct.pack("!H4s4sHH", 12, address, bytes(4), 1, 2)
    async with served(redis_url, prefix, trusted_proxies="127.0.0.0/8") as (gateway, _):
        async with raw(gateway.url) as connection:
            for byte in header[:-1]:
                connection.writer.write(bytes([byte]))
                await asyncio.sleep(0)
            connection.writer.write(header[-1:])
            await connection.begin_tls(encrypted.trusting())
            [front] = gateway.process.fronts
            assert front.address == ip_address("203.0.113.9")
            connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert (await connection.rest()).startswith(b"HTTP/1.1 200 ")
        assert await certificate_at(gateway.url, encrypted), "the header may be left out"


async def test_a_new_certificate_is_for_new_connections(
    redis_url: str, prefix: str, encrypted: Authority
) -> None:
    async with served(redis_url, prefix) as (gateway, ingestor), client_of(gateway) as client:
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("snapshot")
        before = await certificate_at(gateway.url, encrypted)
        encrypted.issue()
        certificates = gateway.process.certificates
        assert certificates is not None
        gateway.loop.call_soon_threadsafe(certificates.ask)

        async def renewed() -> bool:
            return bool(await certificate_at(gateway.url, encrypted) != before)

        await eventually(renewed)
        await client.until_seq("AAA", await ingestor.publish("AAA", {100: 78}, {}))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_process_reads_its_certificate_again_at_a_hangup(
    redis_url: str, prefix: str, authority: Authority, workers: int
) -> None:
    files = authority.issue(f"hangup-{workers}")
    settings: dict[str, Any] = {"tls_cert": files.cert, "tls_key": files.key, "workers": workers}
    async with fake_ingestor(redis_url, prefix, "AAA"), started(redis_url, prefix, **settings) as gateway:
        assert gateway.url.startswith("https://127.0.0.1:")
        before = await certificate_at(gateway.url, authority)
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.process.stderr is not None
        said = 0
        async with asyncio.timeout(TIMEOUT_S):
            while said < workers:
                said += b"the certificate was read again" in await gateway.process.stderr.readline()
        assert await certificate_at(gateway.url, authority) == before, "it is the same, and it is served"


async def test_a_certificate_that_cannot_be_used_is_named_at_the_start(redis_url: str, prefix: str) -> None:
    running = await spawn(redis_url, prefix, tls_cert="/nowhere.pem")
    async with asyncio.timeout(TIMEOUT_S):
        _, said = await running.process.communicate()
    assert running.process.returncode == 2
    assert said.decode() == (
        "Error: DEPTHCAST_TLS_CERT: '/nowhere.pem' cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    "story",
    [
        slow.test_a_client_that_stops_reading_conflates_and_gets_the_last_change_in_a_quiet_market,
        slow.test_a_deep_book_in_parts_fits_into_small_messages_and_buffers,
        slow.test_requests_without_reading_replies_do_not_grow_memory,
        slow.test_closing_does_not_wait_for_clients_that_read_nothing,
    ],
)
async def test_slow_clients(redis_url: str, prefix: str, encrypted: Authority, story: Served) -> None:
    await story(redis_url, prefix)


async def test_a_slow_client_is_closed_4410(redis_url: str, prefix: str, encrypted: Authority) -> None:
    await slow.test_a_client_that_reads_nothing_is_closed_4410(redis_url, prefix, 30.0)


@pytest.mark.parametrize("ending", ["close frame", "gone without a word", "unmasked"])
@pytest.mark.usefixtures("no_collector", "encrypted")
async def test_an_ended_connection_is_freed_at_once(redis_url: str, prefix: str, ending: str) -> None:
    await freed.test_an_ended_connection_is_freed_at_once(redis_url, prefix, ending)
