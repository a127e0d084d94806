"""A WebSocket client that may break every rule: requests and frames are bytes."""

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from struct import pack
from typing import Final, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S: Final = 20.0
"""Shorter than a gateway waits for a client before it ends the connection anyway (`close_linger_s`)."""
KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to `KEY`, from RFC 6455, section 1.3."""
Header = tuple[str, str]


class Opcode(IntEnum):
    """The opcodes of RFC 6455."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Length(IntEnum):
    """How a length is written: its size in bytes beyond the first."""

    SHORT = 0
    TWO = 2
    EIGHT = 8

    @classmethod
    def least(cls, size: int) -> "Length":
        """The shortest form."""
        return cls.SHORT if size < 126 else cls.TWO if size < 65_536 else cls.EIGHT


class Frame(NamedTuple):
    """A received frame."""

    fin: bool
    rsv: int
    opcode: int
    payload: bytes


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    form: Length | None = None,
    size: int | None = None,
) -> bytes:
    """A client's frame. `rsv`: RSV1 is 4, RSV2 is 2, RSV3 is 1; `size`: the length it claims."""
    size = len(payload) if size is None else size
    form = Length.least(size) if form is None else form
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    field = {Length.SHORT: size, Length.TWO: 126, Length.EIGHT: 127}[form]
    head = bytes((first, (0x80 if masked else 0) | field)) + (size.to_bytes(form, "big") if form else b"")
    if not masked:
        return head + payload
    key = os.urandom(4)
    mask = int.from_bytes((key * (len(payload) // 4 + 1))[: len(payload)], "big")
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(len(payload), "big")


def closing(code: int, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(Opcode.CLOSE, pack("!H", code) + reason)


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message."""
    squeezer = zlib.compressobj(wbits=-15)
    return (squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


HEADERS: Final[tuple[Header, ...]] = (
    ("Host", "gateway.test"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


def request(
    headers: Iterable[Header] = HEADERS,
    *,
    path: str = "/v1/ws",
    method: str = "GET",
    version: str = "HTTP/1.1",
) -> bytes:
    """A handshake."""
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def replaced(name: str, *values: str) -> tuple[Header, ...]:
    """The headers of a handshake with these values of `name`: none, one or several."""
    at = next(index for index, header in enumerate(HEADERS) if header[0] == name)
    return (*HEADERS[:at], *((name, value) for value in values), *HEADERS[at + 1 :])


class Response(NamedTuple):
    """Status and headers; `values` gives all of one name."""

    status: int
    headers: tuple[Header, ...]

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Write all at once; that the other end has gone already is for what follows to notice."""
        self.writer.write(b"".join(parts))
        with suppress(ConnectionError):
            await self.writer.drain()

    async def response(self) -> Response | None:
        """The head of an answer; None if the connection ends without one."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        return Response(int(first.split(" ")[1]), headers)

    async def frame(self) -> Frame | None:
        """The next frame; None at the end of the stream."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                first, second = await self.reader.readexactly(2)
                assert second < 0x80, "a server masks nothing"
                size = second
                if second > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8), "big")
                payload = await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Frame(first >= 0x80, first >> 4 & 7, first & 15, payload)

    async def outcome(self) -> str:
        """What comes first: `pong`, `close CODE` and then the end, `end` without a close frame, `silence`."""
        try:
            return await self._outcome()
        except TimeoutError:
            return "silence"

    async def _outcome(self) -> str:
        while (got := await self.frame()) is not None:
            if got.opcode == Opcode.PONG:
                return "pong"
            if got.opcode == Opcode.CLOSE:
                assert got.fin
                assert not got.rsv
                await self.send(frame(Opcode.CLOSE, got.payload[:2]))
                assert await self.frame() is None, "nothing follows a close frame, and the server hangs up"
                return f"close {int.from_bytes(got.payload[:2], 'big')}" if got.payload else "close"
        return "end"

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    """A TCP connection to the server of `url`."""
    address = urlsplit(url)
    raw = Raw(*await asyncio.open_connection(address.hostname, address.port, limit=1 << 20))
    try:
        yield raw
    finally:
        raw.writer.transport.abort()


@asynccontextmanager
async def opened(url: str, *headers: Header) -> AsyncIterator[Raw]:
    """A WebSocket at `url`; `headers` beside those that each handshake has."""
    async with connected(url) as raw:
        await raw.send(request((*HEADERS, *headers), path=urlsplit(url).path))
        response = await raw.response()
        assert response is not None
        assert response.status == 101
        yield raw


COMPRESSED: Final = ("Sec-WebSocket-Extensions", "permessage-deflate")
ALIVE: Final = frame(Opcode.PING, b"alive")


async def outcome_of(url: str, sent: Sequence[bytes], *headers: Header) -> str:
    """What a connection answers to `sent` and a ping after it."""
    async with opened(url, *headers) as raw:
        await raw.send(*sent, ALIVE)
        return await raw.outcome()
