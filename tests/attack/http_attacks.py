"""The sweep over HTTP: every endpoint fast, pipelined, unread, with headers and bodies; and connections."""

import asyncio
import itertools
import random
import socket
from functools import partial

from tests.attack.catalog import ALLOWED, REQUESTS, attack
from tests.attack.measured_attacks import BIG_SYMBOL, big_headers
from tests.attack.wire import Scene, get, upgrade

ENDPOINTS = {
    "page": "/",
    "module": "/web/depthcast.js",
    "symbols": "/v1/symbols",
    "book": "/v1/books/S000",
    "full-book": f"/v1/books/{BIG_SYMBOL}?depth=0",
    "healthz": "/healthz",
    "readyz": "/readyz",
    "missing": "/nothing",
}
LIMITED = ("book",)
"""Endpoints whose answers are so small that the number of requests is what is limited."""
SLOW_S = 15.0


async def fast(scene: Scene, path: str) -> None:
    """Requests and answers in turn, as fast as they go."""

    async def body() -> None:
        async with await scene.line() as line:
            while scene.running:
                await line.send(get(path))
                await line.answer()

    await scene.crowd(8, body)


async def pipelined(scene: Scene, path: str) -> None:
    """Requests without waiting for answers, which are read."""
    data = get(path) * 500

    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            while scene.running:
                await line.send(data)
                await asyncio.sleep(0)

    await scene.crowd(2, body)


async def unread(scene: Scene, path: str) -> None:
    """100 requests on each connection, and nothing is read."""
    data = get(path) * 100

    async def body() -> None:
        async with await scene.line(receive_bytes=4096) as line:
            await line.send(data)
            await scene.rest()

    await scene.crowd(100, body, again=False)


async def headers(scene: Scene, path: str) -> None:
    """960 KB of headers."""
    data = get(path, big_headers(960_000))

    async def body() -> None:
        async with await scene.line() as line:
            await line.send(data)
            await line.answer()

    await scene.crowd(20, body)


async def bodies(scene: Scene, path: str) -> None:
    """A body without end."""
    chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"

    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            await line.send(get(path, b"Transfer-Encoding: chunked\r\n", "POST"))
            while scene.running:
                await line.send(chunk)
                await asyncio.sleep(0)

    await scene.crowd(4, body)


for _name, _path in ENDPOINTS.items():
    _due = REQUESTS if _name in LIMITED else ALLOWED
    attack(f"http-fast-{_name}", f"`GET {_path}` on 8 connections", due=_due)(partial(fast, path=_path))
    attack(f"http-pipelined-{_name}", f"`GET {_path}` pipelined", due=_due)(partial(pipelined, path=_path))
    attack(f"http-unread-{_name}", f"100 × 100 × `GET {_path}`, not read", due=ALLOWED)(
        partial(unread, path=_path)
    )
    attack(f"http-headers-{_name}", f"`GET {_path}` with 960 KB of headers", due=REQUESTS)(
        partial(headers, path=_path)
    )
    attack(f"http-body-{_name}", f"`POST {_path}` with a body without end", due=REQUESTS)(
        partial(bodies, path=_path)
    )

STRANGE = {
    "nul": get("/web/page.js%00"),
    "long-name": get(f"/web/{'x' * 5000}"),
    "long-path": get(f"/{'x' * 100_000}"),
    "many-parameters": get(f"/v1/books/S000?{'&'.join(f'a{number}=1' for number in range(1000))}"),
    "two-lengths": get("/", b"Content-Length: 1\r\nContent-Length: 2\r\n"),
    "smuggled": get("/", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    "no-host-version-9": b"GET / HTTP/9.9\r\n\r\n",
    "tls-hello": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "proxy-v1": b"PROXY TCP4 10.1.2.3 10.0.0.1 1234 80\r\n" + get("/v1/symbols"),
    "proxy-v2": bytes.fromhex("0d0a0d0a000d0a515549540a2111000c0a0102030a00000104d20050")
    + get("/v1/symbols"),
    "noise": random.Random(1).randbytes(5000),
}
"""Requests that are wrong in themselves."""


async def strange(scene: Scene, data: bytes) -> None:
    """Connect, send it, read the answer, again."""

    async def body() -> None:
        async with await scene.line() as line:
            await line.send(data)
            await line.answer()

    await scene.crowd(4, body)


for _name, _data in STRANGE.items():
    attack(f"strange-{_name}", f"a request of the kind {_name.replace('-', ' ')}", due=("http 4*", "cut"))(
        partial(strange, data=_data)
    )


# --- connections --------------------------------------------------------------------------------------


@attack("handshakes", "handshakes as fast as they go, from one address")
async def handshakes(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket(listen=False):
            pass

    await scene.crowd(8, body)


@attack("held-connections", "3,000 WebSocket connections of one address, held", seconds=10)
async def held_connections(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket():
            await scene.rest()

    await scene.crowd(3000, body)


@attack("connects", "TCP connections opened and closed as fast as they go", due=ALLOWED)
async def connects(scene: Scene) -> None:
    async def body() -> None:
        while scene.running:
            async with await scene.line():
                await asyncio.sleep(0)

    await scene.crowd(8, body)


@attack(
    "silent-connections-of-many", "3,000 TCP connections without a byte, from 3,000 addresses", seconds=SLOW_S
)
async def silent_connections_of_many(scene: Scene) -> None:
    numbers = itertools.cycle(range(3000))

    async def body() -> None:
        number = next(numbers)
        source = f"127.{10 + number // 250}.{number % 250}.1"
        async with await scene.line(source=source) as line:
            line.discard()
            await scene.rest()

    await scene.crowd(3000, body)


@attack("slow-headers", "500 requests that send one more header line every half a second", seconds=SLOW_S)
async def slow_headers(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            await line.send(b"GET / HTTP/1.1\r\nHost: gateway\r\n")
            while scene.running:
                await line.send(b"X-a: b\r\n")
                await asyncio.sleep(0.5)

    await scene.crowd(500, body)


@attack("slow-bodies", "500 requests whose bodies come byte by byte", seconds=SLOW_S)
async def slow_bodies(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            line.discard()
            await line.send(get("/v1/symbols", b"Content-Length: 1000\r\n", "POST"))
            while scene.running:
                await line.send(b"x")
                await asyncio.sleep(0.5)

    await scene.crowd(500, body)


@attack("half-closed", "handshakes after which the sending side is closed, 300 at a time", due=ALLOWED)
async def half_closed(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.line() as line:
            await line.send(upgrade())
            line.raw.shutdown(socket.SHUT_WR)
            await scene.rest()

    await scene.crowd(300, body, again=False)


@attack("idle-sockets", "500 WebSocket connections that never subscribe", due=ALLOWED)
async def idle_sockets(scene: Scene) -> None:
    async def body() -> None:
        async with await scene.websocket():
            await scene.rest()

    await scene.crowd(500, body, again=False)
