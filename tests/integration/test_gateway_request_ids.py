"""`X-Request-ID`: every answer names its request, by the name of a trusted proxy or by one of the gateway.

Each kind of request is sent with each kind of header, from a trusted proxy and from anybody.
"""

import asyncio
import logging
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest

from depthcast.gateway.protocol.peers import SIGNATURE
from depthcast.gateway.protocol.request_id import CHARACTERS_MAX
from tests.integration.gateway_harness import RunningGateway, served
from tests.waiting import TIMEOUT_S, eventually

PROXY, ANYBODY = "127.0.0.1", "127.0.0.2"
OURS: Final = re.compile(r"[0-9a-f]{16}-[0-9]+")
UUID: Final = b"0f8fad5b-d9cb-469f-a165-70867728950e"

WS: Final = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: "
)
KINDS: Final = {
    "list": (200, b"GET /v1/symbols HTTP/1.1", b""),
    "head": (200, b"HEAD /v1/books/AAA HTTP/1.1", b""),
    "unknown symbol": (404, b"GET /v1/books/ZZZ HTTP/1.1", b""),
    "no path": (404, b"GET /nothing HTTP/1.1", b""),
    "page": (200, b"GET / HTTP/1.1", b""),
    "health": (200, b"GET /healthz HTTP/1.1", b""),
    "method": (405, b"DELETE / HTTP/1.1", b""),
    "body": (413, b"GET / HTTP/1.1", b"Content-Length: 5\r\n"),
    "stream": (200, b"GET /v1/stream?symbols=AAA HTTP/1.1", b""),
    "head of a stream": (200, b"HEAD /v1/stream?symbols=AAA HTTP/1.1", b""),
    "stream of nothing": (404, b"GET /v1/stream?symbols=ZZZ HTTP/1.1", b""),
    "websocket": (101, b"GET /v1/ws HTTP/1.1", WS + b"13\r\n"),
    "another version": (426, b"GET /v1/ws HTTP/1.1", WS + b"8\r\n"),
    "another origin": (403, b"GET /v1/ws HTTP/1.1", WS + b"13\r\nOrigin: https://evil.example\r\n"),
}
"""Name → status of the answer, request line, further headers."""
UNREAD: Final = frozenset({"body"})
"""Requests whose headers are refused as a whole, so no name is taken out of them."""


class Sent(NamedTuple):
    """The headers of one request: as they are sent, and the name that a proxy may give by them."""

    lines: bytes
    name: bytes | None


def one(value: bytes, *, good: bool = False) -> Sent:
    return Sent(b"X-Request-ID: " + value + b"\r\n", value if good else None)


FIXED: Final = (
    Sent(b"", None),
    one(UUID, good=True),
    one(b"x" * CHARACTERS_MAX, good=True),
    Sent(b"x-ReQuEsT-iD:" + UUID + b" \t \r\n", UUID),
    one(b""),
    one(b"y" * (CHARACTERS_MAX + 1)),
    one(b"z" * 7_000),
    one(b"two words"),
    one(b"injected%0d%0aX-Evil: 1"),
    one(b"injected\\r\\nX-Evil: 1"),
    one(b"injected\tX-Evil: 1"),
    one(b'"},{"level":"error"'),
    one(b"caf\xe9-injected"),
    one("日本語".encode()),
    one(b"\xff\xfe\x80"),
    Sent(b"X-Request-ID: first-one\r\nX-Request-ID: second-one\r\n", None),
    Sent(b"X-Request-ID: same-one\r\n" * 2, None),
    Sent(b"X-Request-ID: many-ones\r\n" * 40, None),
    Sent(b"X-Request-ID: \r\nX-Request-ID: not-empty\r\n", None),
    Sent(b"X-Request-ID2: another-header\r\nX_Request_ID: one-more\r\n", None),
)
MALFORMED: Final = (
    b"X-Request-ID: folded\r\n X-Evil: 1\r\n",
    b"X-Request-ID: bare\rX-Evil: 1\r\n",
    b"X-Request-ID: bare\nX-Evil: 1\r\n",
    b"X-Request-ID: nul\x00\r\n",
    b"X-Request-ID : space-before\r\n",
    b"X-Request-ID: many\r\n" * 100,
    b"X-Request-ID: " + b"h" * 20_000 + b"\r\n",
)
"""No head by the letter, or beyond its limits: the answer is an error, whose request has our name."""


def generated(count: int, seed: int) -> Iterator[Sent]:
    """Random headers: of good characters for the most part, with one or more of all others among them."""
    random = Random(seed)
    good = b"-._:+/=@019azAZ"
    kept = frozenset(b"-._:+/=@\x7f \xa0")
    other = bytes(byte for byte in range(0x20, 0x100) if byte not in kept and not bytes([byte]).isalnum())
    for _ in range(count):
        value = bytes(random.choice(good) for _ in range(random.choice((1, 8, 36, CHARACTERS_MAX))))
        if random.random() < 0.5:
            yield one(value, good=True)
            continue
        at = random.randrange(1, len(value) + 1)
        bad = value[:at] + bytes([random.choice(other)]) + value[at:]
        yield one(bad)


class Answer(NamedTuple):
    """The head of an answer."""

    status: int
    lines: list[tuple[str, str]]
    raw: bytes

    @property
    def names(self) -> list[str]:
        return [value for name, value in self.lines if name == "x-request-id"]

    @property
    def shape(self) -> set[str]:
        return {name for name, _ in self.lines}


async def ask(gateway: RunningGateway, sent: bytes, peer: str) -> Answer:
    """Send a request from an address, and read the head of its answer."""
    place = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, local_addr=(peer, 0))
    try:
        writer.write(sent)
        async with asyncio.timeout(TIMEOUT_S):
            raw = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.transport.abort()
    first, *rows = raw.decode("iso-8859-1").removesuffix("\r\n\r\n").split("\r\n")
    lines = [(name.lower(), value) for name, _, value in (row.partition(": ") for row in rows)]
    return Answer(int(first.split()[1]), lines, raw)


def request(kind: str, lines: bytes) -> bytes:
    _, line, headers = KINDS[kind]
    return line + b"\r\nHost: localhost\r\n" + headers + lines + b"\r\n"


@asynccontextmanager
async def running(redis_url: str, prefix: str) -> AsyncIterator[RunningGateway]:
    """A gateway that takes 127.0.0.1 for a proxy, and lets anybody connect as often as here."""
    wide = dict.fromkeys(("connects_per_address_per_s", "http_requests_per_s"), 100_000)
    async with served(redis_url, prefix, trusted_proxies=PROXY, drain_timeout_s=0.1, **wide) as (gateway, _):
        yield gateway


async def test_every_answer_names_its_request(redis_url: str, prefix: str) -> None:
    async with running(redis_url, prefix) as gateway:
        counters = gateway.process.counters
        own: list[str] = []
        shapes = {kind: (await ask(gateway, request(kind, b""), PROXY)).shape for kind in KINDS}
        for kind in KINDS:
            for sent in (*FIXED, *generated(6, seed=len(own))):
                for peer in (PROXY, ANYBODY):
                    before = counters.request_ids_replaced
                    answer = await ask(gateway, request(kind, sent.lines), peer)
                    what = (kind, sent.lines[:80], peer)
                    assert answer.status == KINDS[kind][0], what
                    assert answer.shape == shapes[kind], what
                    [name] = answer.names
                    taken = sent.name if peer == PROXY and kind not in UNREAD else None
                    if taken is not None:
                        assert name == taken.decode(), what
                    else:
                        assert OURS.fullmatch(name), what
                        own.append(name)
                        for value in re.findall(rb"(?im)^X.Request.ID2?:[ \t]*([^\r]{4,})", sent.lines):
                            assert value.strip() not in answer.raw, what
                    offered = b"x-request-id:" in sent.lines.lower() and kind not in UNREAD
                    replaced = peer == PROXY and offered and taken is None
                    assert counters.request_ids_replaced - before == replaced, what
        assert len(set(own)) == len(own), "no two requests have the same name"
        for lines in MALFORMED:
            for peer in (PROXY, ANYBODY):
                answer = await ask(gateway, request("list", lines), peer)
                assert answer.status in (400, 431), lines[:80]
                [name] = answer.names
                assert OURS.fullmatch(name), lines[:80]
                assert b"evil" not in answer.raw.lower()
        await eventually(lambda: not gateway.process.fronts)


async def test_requests_of_one_connection_have_names_of_their_own(redis_url: str, prefix: str) -> None:
    """The name of one request is not that of the next one, which has none, nor of one that cannot be read."""
    async with running(redis_url, prefix) as gateway:
        place = urlsplit(gateway.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, local_addr=(PROXY, 0))
        plain = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(plain + b"X-Request-ID: first\r\n\r\n" + plain + b"\r\n" + plain + b"bad header\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            said = (await reader.read()).decode()
        writer.close()
        first, second, third = re.findall(r"X-Request-ID: (\S+)\r\n", said)
        assert first == "first"
        assert second.endswith("-2")
        assert third == second.removesuffix("-2") + "-3"


async def test_a_client_behind_a_proxy_that_looks_at_no_request_gives_no_name(
    redis_url: str, prefix: str
) -> None:
    """By the PROXY protocol a proxy passes on what the client sends, its headers included."""
    client = socket.inet_aton("192.0.2.7")
    header = SIGNATURE + b"\x21\x11" + struct.pack("!H4s4sHH", 12, client, bytes(4), 1, 2)
    local = SIGNATURE + b"\x20\x00\x00\x00"
    async with running(redis_url, prefix) as gateway:
        for before, taken in ((header, False), (local, True), (b"", True)):
            sent = before + request("list", b"X-Request-ID: given\r\n")
            [name] = (await ask(gateway, sent, PROXY)).names
            assert (name == "given") is taken
            assert (OURS.fullmatch(name) is None) is taken


async def lines_of(caplog: pytest.LogCaptureFixture, text: str) -> list[logging.LogRecord]:
    """The lines of a text, once there is one."""
    await eventually(lambda: text in caplog.messages)
    return [record for record in caplog.records if record.message == text]


@pytest.mark.parametrize(("peer", "given"), [(PROXY, True), (ANYBODY, False)])
async def test_the_lines_of_a_session_and_of_a_request_have_the_name(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture, peer: str, given: bool
) -> None:
    caplog.set_level(logging.DEBUG, "depthcast.gateway")
    async with running(redis_url, prefix) as gateway:
        for kind in ("websocket", "stream"):
            caplog.clear()
            sent = request(kind, b"X-Request-ID: from-" + kind.encode() + b"\r\n")
            [name] = (await ask(gateway, sent, peer)).names
            assert (name == f"from-{kind}") is given
            for text in ("a client has come", "a client has gone"):
                [line] = await lines_of(caplog, text)
                assert line.__dict__["request"] == name
                assert line.__dict__["session"]


async def test_a_draining_gateway_says_the_name_in_a_stream_of_one_error(redis_url: str, prefix: str) -> None:
    async with running(redis_url, prefix) as gateway:
        gateway.process.drain.since = 0.0
        accept = b"Accept: text/event-stream\r\nX-Request-ID: given\r\n"
        for kind, lines, status in (("stream", accept, 200), ("websocket", b"X-Request-ID: given\r\n", 503)):
            answer = await ask(gateway, request(kind, lines), PROXY)
            assert (answer.status, answer.names) == (status, ["given"])
