"""Event streams against a real server: curl, an HTTP library, resumption, refusals, limits, attacks.

Most tests share one gateway; those that change a setting or end it have their own.
"""

import asyncio
import itertools
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.event_source import Event, EventSource
from tests.integration.gateway_harness import (
    ASKS,
    BIDS,
    Client,
    ClientBook,
    FakeIngestor,
    RunningGateway,
    client_of,
    code_of,
    running_gateway,
    served,
)
from tests.waiting import TIMEOUT_S, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUANTITIES = itertools.count(1000)
EVENTS = {"Accept": "text/event-stream"}
NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class Stream:
    """An open stream, read as a browser does; its books are checked by the rules of the contract."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.source = EventSource()
        self.messages: list[dict[str, Any]] = []
        self.books: dict[str, ClientBook] = {}
        self._waiting: list[Event] = []

    async def receive(self) -> Event:
        """The next event; raises `EOFError` at the end."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self._waiting:
                data = await self.response.content.readany()
                if not data:
                    raise EOFError
                self._waiting += self.source.feed(data)
        event = self._waiting.pop(0)
        self.messages.append(event.message)
        if event.message["type"] in ("snapshot", "delta"):
            self.books.setdefault(event.message["symbol"], ClientBook()).take(event.message)
        return event

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read up to the first message of that type with those fields."""
        while True:
            message = (await self.receive()).message
            if message["type"] == kind and all(message.get(name) == fields[name] for name in fields):
                return message

    async def until_seq(self, symbol: str, seq: int) -> None:
        """Read until the book of `symbol` is at `seq`."""
        while symbol not in self.books or self.books[symbol].seq < seq:
            await self.receive()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


@asynccontextmanager
async def stream_of(gateway: RunningGateway, query: str, **headers: str) -> AsyncIterator[Stream]:
    url = f"{gateway.url}/v1/stream?{query}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession(timeout=NO_TIMEOUT) as http, http.get(url, headers=named) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Stream(response)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(redis_server: str, module_prefix: str) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    """One gateway for all tests that change no setting."""
    async with served(redis_server, module_prefix, drain_timeout_s=0.1) as both:
        yield both


@pytest.fixture
def gateway(place: tuple[RunningGateway, FakeIngestor]) -> RunningGateway:
    return place[0]


@pytest.fixture
def ingestor(place: tuple[RunningGateway, FakeIngestor]) -> FakeIngestor:
    return place[1]


async def change(ingestor: FakeIngestor, symbol: str = "AAA") -> int:
    """One broadcast that changes every view of a book; returns its seq."""
    return await ingestor.publish(symbol, {100: next(QUANTITIES)})


def request(query: str = "symbols=AAA", more: bytes = b"") -> bytes:
    return f"GET /v1/stream?{query} HTTP/1.1\r\nHost: a\r\n".encode() + more + b"\r\n"


@asynccontextmanager
async def raw(gateway: RunningGateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield reader, writer
    finally:
        writer.transport.abort()


# --- what clients get ---------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
async def test_curl_shows_a_book_and_its_changes(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    url = f"{gateway.url}/v1/stream?symbols=AAA&depth=1"
    curl = await asyncio.create_subprocess_exec("curl", "-sN", url, stdout=asyncio.subprocess.PIPE)
    assert curl.stdout is not None
    source, kinds = EventSource(), []
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while "delta" not in kinds:
                line = await curl.stdout.readline()
                assert line, "curl has ended"
                for event in source.feed(line):
                    kinds.append(event.message["type"])
                    if kinds[-1] == "snapshot":
                        await change(ingestor)
    finally:
        curl.terminate()
        await curl.wait()
    assert kinds[:3] == ["welcome", "subscribed", "snapshot"]
    assert source.retry_ms in range(1000, 2001)
    await eventually(lambda: not gateway.process.streams, message="it is gone when curl is")


async def test_its_messages_are_those_of_a_websocket(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with (
        client_of(gateway) as client,
        stream_of(gateway, "symbols=AAA,BBB&depth=5", **EVENTS) as stream,
    ):
        await client.send(op="subscribe", symbols=["AAA", "BBB"], depth=5)
        readers: tuple[Client | Stream, ...] = (client, stream)
        for reader in readers:
            for symbol in ("AAA", "BBB"):
                if symbol not in reader.books:
                    await reader.until("snapshot", symbol=symbol)
        last = dict.fromkeys(("AAA", "BBB"), 0)
        for _ in range(20):
            for symbol in last:
                last[symbol] = await change(ingestor, symbol)
        for symbol, seq in last.items():
            await client.until_seq(symbol, seq)
            await stream.until_seq(symbol, seq)
        assert stream.of("delta") == [message for message in client.messages if message["type"] == "delta"]
        assert len(stream.of("delta")) == 40


async def test_an_interval_merges(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with stream_of(gateway, "symbols=AAA&depth=1&interval_ms=200") as stream:
        assert (await stream.until("subscribed"))["interval_ms"] == 200
        await stream.until("snapshot")
        seq = 0
        for _ in range(50):
            seq = await change(ingestor)
        await stream.until_seq("AAA", seq)
        assert len(stream.of("delta")) < 25


@pytest.mark.parametrize("way", ["header", "query"])
async def test_it_resumes_by_the_id_of_the_last_event(
    gateway: RunningGateway, ingestor: FakeIngestor, way: str
) -> None:
    query = "symbols=AAA&depth=5"
    async with stream_of(gateway, query) as stream:
        await stream.until("snapshot")
        seq = await change(ingestor)
        await stream.until_seq("AAA", seq)
    last, book = stream.source.last_id, stream.books["AAA"]
    assert last.startswith(f"AAA:{seq}:")
    await change(ingestor)
    newest = await change(ingestor)
    headers = {"Last_Event_ID": last} if way == "header" else {}
    asked = query if way == "header" else f"{query}&last_event_id={last}"
    async with stream_of(gateway, asked, **headers) as again:
        again.books["AAA"] = book
        subscribed = await again.until("subscribed")
        assert (subscribed["resumed"], subscribed["seq"]) == (True, seq)
        await again.until_seq("AAA", newest)
        assert sum(delta["merged"] for delta in again.of("delta")) == 2
        assert not again.of("snapshot")


async def test_levels_in_groups_resume_likewise(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    query = "symbols=AAA&depth=5&group=10"
    async with stream_of(gateway, query) as stream:
        assert (await stream.until("subscribed"))["group"] == 10
        snapshot = await stream.until("snapshot", group=10)
        assert all(price % 10 == 0 for price, _ in snapshot["bids"] + snapshot["asks"])
    await change(ingestor)
    async with stream_of(gateway, query, Last_Event_ID=stream.source.last_id) as again:
        again.books["AAA"] = stream.books["AAA"]
        assert (await again.until("subscribed"))["resumed"]
        await again.until("delta", group=10)
    async with stream_of(gateway, "symbols=AAA&depth=5", Last_Event_ID=again.source.last_id) as other:
        assert not (await other.until("subscribed"))["resumed"], "the book itself is another view"


@pytest.mark.parametrize("last_id", ["AAA:1:1", "17", "\x01", "x" * 5000, "BBB:5:5", "AAA:7:0," * 300])
async def test_an_id_that_does_not_fit_brings_a_snapshot(gateway: RunningGateway, last_id: str) -> None:
    headers = b"Last-Event-ID: " + last_id.replace("\x01", "\xff").encode("iso-8859-1") + b"\r\n"
    async with raw(gateway) as (reader, writer):
        writer.write(request("symbols=AAA", headers))
        said = await reader.readuntil(b'"type":"snapshot"')
        assert b'"resumed":false' in said


async def test_all_symbols_and_those_listed_later(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with stream_of(gateway, "symbols=*&depth=1") as stream:
        for symbol in ("AAA", "BBB"):
            if symbol not in stream.books:
                await stream.until("snapshot", symbol=symbol)
        await ingestor.register("LATER")
        await ingestor.birth("LATER", BIDS, ASKS)
        await stream.until("snapshot", symbol="LATER")


async def test_a_request_may_follow_others_on_its_connection(gateway: RunningGateway) -> None:
    async with raw(gateway) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + request() + request())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        said = await reader.readuntil(b'"type":"snapshot"')
        assert said.count(b"HTTP/1.1 200 ") == 1, "what follows it is not answered"


# --- refusals -----------------------------------------------------------------------------------------------

REFUSED = [
    ("", 400, "bad_request", "symbols are missing"),
    ("symbols=", 400, "bad_request", "empty name"),
    ("symbols=AAA&symbol=BBB", 400, "bad_request", "unknown parameter 'symbol'"),
    ("symbols=AAA&depth=7", 400, "bad_depth", "depth 7 is not one of 0, 1, 5"),
    ("symbols=AAA&depth=x", 400, "bad_depth", "'x'"),
    ("symbols=AAA&depth=5&depth=5", 400, "bad_request", "give it once"),
    ("symbols=AAA&interval_ms=-1", 400, "bad_interval", "'-1' must be a whole number"),
    ("symbols=AAA&last_event_id=x", 400, "bad_request", "SYMBOL:SEQ:DIGEST"),
    ("symbols=AAA&orders=yes", 400, "bad_request", "orders must be true or false, not 'yes'"),
    ("symbols=AAA,BBB&orders=true", 400, "no_orders", "the feed of AAA names levels"),
    ("symbols=NOPE,AAA&orders=true", 404, "unknown_symbol", "no symbol 'NOPE'"),
    ("symbols=NOPE", 404, "unknown_symbol", "no symbol 'NOPE'; GET /v1/symbols"),
    ("symbols=%00%ff", 404, "unknown_symbol", "no symbol"),
    ("symbols=*,AAA&depth=1;", 400, "bad_depth", "'1;'"),
    ("symbols=" + "A," * 1950 + "A", 404, "unknown_symbol", "no symbol 'A'"),
    ("symbols=" + "A," * 2500 + "A", 414, "bad_request", "request line is longer"),
    ("%%%&&&==", 400, "bad_request", "unknown parameter"),
]


@pytest.mark.parametrize(("query", "status", "code", "said"), REFUSED)
async def test_what_is_wrong_is_answered_with_value_and_remedy(
    gateway: RunningGateway, query: str, status: int, code: str, said: str
) -> None:
    url = URL(f"{gateway.url}/v1/stream?{query}", encoded=True)
    async with aiohttp.ClientSession() as http, http.get(url, headers=EVENTS) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (status, code)
        assert said in error["message"]


async def test_one_symbol_of_several_may_be_wrong(gateway: RunningGateway) -> None:
    async with stream_of(gateway, "symbols=NOPE,AAA") as stream:
        assert (await stream.until("error"))["symbol"] == "NOPE"
        await stream.until("snapshot", symbol="AAA")


async def test_methods(gateway: RunningGateway) -> None:
    url = f"{gateway.url}/v1/stream?symbols=AAA"
    async with aiohttp.ClientSession() as http:
        async with http.head(url) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
        async with http.head(f"{gateway.url}/v1/stream?symbols=NOPE") as response:
            assert response.status == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            async with http.request(method, url) as response:
                assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    await eventually(lambda: not gateway.process.streams)


async def test_pages_of_other_origins_get_none(gateway: RunningGateway) -> None:
    before = gateway.process.counters.origins_refused
    url = f"{gateway.url}/v1/stream?symbols=AAA"
    async with aiohttp.ClientSession() as http:
        async with http.get(url, headers={**EVENTS, "Origin": "https://evil.example"}) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (403, "forbidden")
            assert "Access-Control-Allow-Origin" not in response.headers
        async with http.get(url, headers={"Origin": gateway.url}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == gateway.url
    assert gateway.process.counters.origins_refused == before + 1


async def test_before_anything_exists_a_browser_is_told_to_come_again(redis_server: str, prefix: str) -> None:
    with running_gateway(redis_server, prefix) as empty:
        url = f"{empty.url}/v1/stream?symbols=AAA"
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert (await response.json())["error"]["code"] == "unavailable"
        async with stream_of(empty, "symbols=AAA", **EVENTS) as stream:
            assert (await stream.until("error"))["code"] == "unavailable"
            with pytest.raises(EOFError):
                await stream.receive()
            assert stream.source.retry_ms in range(5000, 10_001)


# --- limits, and the end ------------------------------------------------------------------------------------


async def test_a_stream_is_a_connection_with_heartbeats_and_says_why_it_ends(
    redis_server: str, prefix: str
) -> None:
    async with served(redis_server, prefix, connections_max=1, heartbeat_ms=100) as (gateway, _):
        url = f"{gateway.url}/v1/stream?symbols=AAA"
        async with stream_of(gateway, "symbols=AAA") as stream:
            await stream.until("snapshot")
            async with aiohttp.ClientSession() as http, http.get(url) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (503, "unavailable")
            async with stream_of(gateway, "symbols=AAA", **EVENTS) as second:
                assert (await second.until("error"))["code"] == "unavailable"
            async with gateway.connect() as websocket:
                assert await code_of(Client(websocket)) == 1013
            while (event := await stream.receive()).type != "heartbeat":
                pass
            gateway.process.publish_metrics()
            assert gateway.process.describe().clients == 1
            assert gateway.process.metrics.registry.get_sample_value("depthcast_gateway_event_streams") == 1
            assert gateway.process.counters.limit_connections == 3
            gateway.stop()
            await stream.until("close", code=1012, reason="restarting; reconnect and resume")
            with pytest.raises(EOFError):
                await stream.receive()
            assert stream.source.retry_ms in range(1000, 2001)
            assert event.last_id == stream.source.last_id


async def test_a_client_that_sends_on_and_on_loses_its_stream(gateway: RunningGateway) -> None:
    before = gateway.process.counters.limit_input_rate
    async with raw(gateway) as (reader, writer):
        writer.write(request())
        await reader.readuntil(b'"type":"snapshot"')
        writer.write(b"x" * 100_000)
        while True:
            try:
                if not await reader.read(65_536):
                    break
            except ConnectionError:
                break
    assert gateway.process.counters.limit_input_rate == before + 1
    await eventually(lambda: not gateway.process.streams)


async def test_a_client_that_leaves_is_forgotten(gateway: RunningGateway, ingestor: FakeIngestor) -> None:
    async with raw(gateway) as (reader, writer):
        writer.write(request("symbols=*"))
        await reader.readuntil(b'"type":"snapshot"')
        assert gateway.process.streams
        writer.write_eof()
        await eventually(lambda: not gateway.process.streams, message="a client that sends its end has left")
    await change(ingestor)
    await eventually(lambda: not gateway.process.core.sessions)


async def test_a_client_that_reads_nothing_costs_little_and_delays_nobody(
    redis_server: str, prefix: str
) -> None:
    settings = {"stall_timeout_s": 1.0, "close_linger_s": 0.1, "write_buffer_bytes": 1024}
    deep = range(1, 400)
    async with served(redis_server, prefix, send_buffer_bytes=4096, **settings) as (gateway, ingestor):
        address = urlsplit(gateway.url)
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.connect((address.hostname, address.port))
            narrow.sendall(request("symbols=AAA&depth=0"))
            await eventually(lambda: len(gateway.process.streams) == 1)
            [stream] = gateway.process.streams
            async with stream_of(gateway, "symbols=AAA&depth=0") as other:
                await other.until("snapshot")
                most = 0
                while gateway.process.counters.stalls == 0:
                    seq = await ingestor.publish("AAA", {-price: next(QUANTITIES) for price in deep})
                    await other.until_seq("AAA", seq)
                    most = max(most, stream.writer.buffered())
            assert 0 < most < 64 * 1024
            await eventually(lambda: stream not in gateway.process.streams)
