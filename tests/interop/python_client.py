"""websockets and aiohttp: `python -m tests.interop.python_client LIBRARY URL ENCODING COMPRESSION ENDING`."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp
import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.integration.gateway_harness import ClientBook

SYMBOLS: Final = ("AAA", "BBB")
PATIENCE_S: Final = 30.0
Closed = tuple[int | None, str]


class Closing(Exception):
    """The connection was closed with that code and reason."""

    def __init__(self, code: int | None, reason: str) -> None:
        self.closed: Closed = (code, reason)
        super().__init__(f"closed with {code} {reason}")


class Socket(Protocol):
    """What the two libraries are used for."""

    def negotiated(self) -> dict[str, str]: ...
    async def receive(self) -> str | bytes: ...
    async def send(self, data: str | bytes) -> None: ...
    async def subscribe(self, data: str | bytes) -> None: ...
    async def close(self) -> Closed: ...


class WithWebsockets:
    """Sends its subscription in fragments, and a ping."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, url: str, protocol: str, *, compressed: bool) -> Socket:
        compression = "deflate" if compressed else None
        return cls(await connect(url, subprotocols=[Subprotocol(protocol)], compression=compression))

    def negotiated(self) -> dict[str, str]:
        extensions = ",".join(extension.name for extension in self.connection.protocol.extensions)
        return {"protocol": self.connection.subprotocol or "", "extensions": extensions}

    async def receive(self) -> str | bytes:
        try:
            return await self.connection.recv()
        except ConnectionClosed as closed:
            raise Closing(*self._closed()) from closed

    async def send(self, data: str | bytes) -> None:
        await self.connection.send(data)

    async def subscribe(self, data: str | bytes) -> None:
        parts = [data[:5], data[5:20], data[20:]]
        await self.connection.send(parts)
        await (await self.connection.ping("between"))

    async def close(self) -> Closed:
        await self.connection.close(4000, "done")
        return self._closed()

    def _closed(self) -> Closed:
        received = self.connection.protocol.close_rcvd
        return (received.code, received.reason) if received else (None, "")


class WithAiohttp:
    """A client session of aiohttp for one connection."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.session = session
        self.socket = socket

    @classmethod
    async def open(cls, url: str, protocol: str, *, compressed: bool) -> Socket:
        session = aiohttp.ClientSession()
        socket = await session.ws_connect(
            url, protocols=(protocol,), compress=15 if compressed else 0, autoclose=False
        )
        return cls(session, socket)

    def negotiated(self) -> dict[str, str]:
        extensions = "permessage-deflate" if self.socket.compress else ""
        return {"protocol": self.socket.protocol or "", "extensions": extensions}

    async def receive(self) -> str | bytes:
        message = await self.socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            data: str | bytes = message.data
            return data
        await self.session.close()
        raise Closing(message.data, message.extra or "")

    async def send(self, data: str | bytes) -> None:
        await (self.socket.send_str(data) if isinstance(data, str) else self.socket.send_bytes(data))

    async def subscribe(self, data: str | bytes) -> None:
        await self.send(data)
        await self.socket.ping(b"between")

    async def close(self) -> Closed:
        await self.socket.close(code=4000, message=b"done")
        await self.session.close()
        return self.socket.close_code, ""


class Follower:
    """Keeps the books; every rule is checked by `ClientBook`."""

    def __init__(self, socket: Socket, encoding: str) -> None:
        self.socket = socket
        self.text = encoding == "json"
        self.books: dict[str, ClientBook] = {}
        self.counts: Counter[str] = Counter()

    def encoded(self, **message: Any) -> str | bytes:
        return json.dumps(message) if self.text else msgpack.packb(message)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self.take(await self.socket.receive())

    async def take(self, raw: str | bytes) -> None:
        assert isinstance(raw, str) == self.text
        message = json.loads(raw) if isinstance(raw, str) else msgpack.unpackb(raw)
        self.counts[message["type"]] += 1
        assert message["type"] != "error", message
        if message["type"] in ("snapshot", "delta"):
            self.books.setdefault(message["symbol"], ClientBook()).take(message)

    async def end(self, ending: str) -> Closed:
        if ending == "close":
            return await self.socket.close()
        if ending == "misuse":
            await self.socket.send(b"\x81" if self.text else "{}")
        try:
            await self.until(lambda: False)
        except Closing as closing:
            return closing.closed
        raise AssertionError("it never ends otherwise")


async def run(library: str, url: str, encoding: str, compression: str, ending: str) -> None:
    """Follow until the books are at the seqs that come in a line on standard input."""
    kind: Any = {"websockets": WithWebsockets, "aiohttp": WithAiohttp}[library]
    socket: Socket = await kind.open(url, f"depthcast.v1.{encoding}", compressed=compression == "on")
    follower = Follower(socket, encoding)
    await follower.until(lambda: follower.counts["welcome"] > 0)
    await socket.subscribe(follower.encoded(op="subscribe", id=1, symbols=SYMBOLS, depth=100))
    await follower.until(lambda: all(symbol in follower.books for symbol in SYMBOLS))
    say(socket.negotiated())
    await socket.send(follower.encoded(op="ping", id="here"))
    await follower.until(lambda: follower.counts["pong"] > 0)
    targets = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    await follower.until(targets.done)
    wanted: dict[str, int] = json.loads(await targets)
    await follower.until(lambda: all(follower.books[symbol].seq >= seq for symbol, seq in wanted.items()))
    books = {
        symbol: {"seq": book.seq, "bids": list(book.bids.items()), "asks": list(book.asks.items())}
        for symbol, book in follower.books.items()
    }
    say({"books": books, "counts": follower.counts})
    code, reason = await follower.end(ending)
    say({"code": code, "reason": reason})


def say(value: object) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
