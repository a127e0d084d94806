"""An attacker's side of a connection: raw sockets and hand-made frames, so that nothing keeps it honest."""

import asyncio
import contextlib
import os
import re
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Self

import orjson

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DEFLATE: Final = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
PAUSE_S: Final = 0.02
"""Before an attacker who was thrown out comes back."""
READ_BYTES: Final = 1 << 18
STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")
CODE: Final = re.compile(rb'"type":"error".*?"code":"(\w+)"|"code":"(\w+)".*?"type":"error"')
ESTABLISHED: Final = 1
"""First byte of the kernel's TCP_INFO for a connection that neither end has closed."""

Outcome = Counter[str]
"""What an attacker got: `close 1009`, `error limit`, `http 431`, `cut`, `held`, … and how often."""


class Gone(Exception):
    """The gateway has ended the connection, or did not let it in."""


class Scene:
    """Where an attack goes, until when, and what came of it.

    `symbols`: how many the gateway has. `most`: attackers, however many an attack would have.
    """

    def __init__(
        self, host: str, port: int, seconds: float, symbols: int, *, most: int | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self.symbols = [f"S{number:03}" for number in range(symbols)]
        self.most = most
        self.source = f"127.66.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
        self.unread: list[Line] = []
        self.outcome: Outcome = Counter()

    @property
    def running(self) -> bool:
        """Whether there is still time."""
        return time.monotonic() < self.until

    async def crowd(self, count: int, body: Callable[[], Awaitable[None]], *, again: bool = True) -> None:
        """Run `body` so many times at once; whoever is thrown out comes back, unless `again` is False."""

        async def one() -> None:
            while self.running:
                with contextlib.suppress(Gone):
                    await body()
                if not again:
                    return
                await asyncio.sleep(PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(count, self.most or count)):
                group.create_task(one())

    async def rest(self) -> None:
        """Hold on until the time is over."""
        await asyncio.sleep(max(0.0, self.until - time.monotonic()))

    async def line(self, *, source: str | None = None, receive_bytes: int | None = None) -> "Line":
        """A new TCP connection; raises `Gone`."""
        raw = socket.socket()
        raw.setblocking(False)
        if receive_bytes:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            # Without it, binding would take a port that no other connection of any address could have.
            raw.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            raw.bind((source or self.source, 0))
            await asyncio.get_running_loop().sock_connect(raw, (self.host, self.port))
        except OSError as error:
            raw.close()
            self.outcome[f"not connected: {error.strerror}"] += 1
            raise Gone from error
        line = Line(raw, self.outcome)
        if receive_bytes:
            self.unread.append(line)
        return line

    def look(self) -> None:
        """Note what waits on connections that nobody reads."""
        for line in self.unread:
            line.peek()

    async def websocket(
        self,
        *,
        offer: str = "",
        encoding: str = "json",
        listen: bool = True,
        receive_bytes: int | None = None,
    ) -> "Line":
        """A connection after its handshake; `listen`: what arrives is read and noted. Raises `Gone`."""
        line = await self.line(receive_bytes=receive_bytes)
        status = await line.handshake(offer, encoding)
        if status != 101:
            line.close()
            raise Gone
        if listen:
            line.listen()
        return line


class Line:
    """One connection of an attacker."""

    def __init__(self, raw: socket.socket, outcome: Outcome) -> None:
        self.raw = raw
        self.outcome = outcome
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.last_head = b""
        self.ended = False
        self.peeked = False
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave without a word; `held` is noted where the gateway would have gone on."""
        if self.raw.fileno() < 0:
            return
        self.peek()
        if not self.ended:
            state = self.raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            self.outcome["held" if state == ESTABLISHED else "cut"] += 1
        if self._listening is not None:
            self._listening.cancel()
        self.raw.close()

    def peek(self) -> None:
        """Note the status of an answer that nobody has read."""
        if self.peeked or self._listening is not None or self.last_head or self.raw.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            if found := STATUS.match(self.raw.recv(READ_BYTES, socket.MSG_PEEK)):
                self.outcome[f"http {found[1].decode()}"] += 1
                self.peeked = True

    async def send(self, data: bytes) -> None:
        """Send all of it; raises `Gone`."""
        if self.ended:
            self.close()
            raise Gone
        try:
            await self.loop.sock_sendall(self.raw, data)
        except OSError as error:
            await self._last_words()
            self.close()
            raise Gone from error

    async def handshake(self, offer: str = "", encoding: str = "json", extra: bytes = b"") -> int:
        """Send a correct opening handshake with `extra` header lines; returns the status of the answer."""
        await self.send(upgrade(offer, encoding, extra))
        return await self.head()

    async def head(self) -> int:
        """Read the head of one HTTP answer, note and return its status; raises `Gone`."""
        while b"\r\n\r\n" not in self.buffer:
            await self._more()
        self.last_head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        found = STATUS.match(self.last_head)
        status = int(found[1]) if found else 0
        self.outcome[f"http {status}"] += 1
        return status

    async def answer(self) -> int:
        """Read one HTTP answer whole, note and return its status; raises `Gone`."""
        status = await self.head()
        length = LENGTH.search(self.last_head)
        missing = int(length[1]) if length else 0
        while len(self.buffer) < missing:
            await self._more()
        self.buffer = self.buffer[missing:]
        return status

    def listen(self) -> None:
        """From now on read messages, and note errors and the close code."""
        self._listening = asyncio.create_task(self._listen())

    def discard(self) -> None:
        """From now on read whatever comes, and count the HTTP statuses in it."""
        self._listening = asyncio.create_task(self._discard())

    async def gone(self) -> None:
        """Wait until the gateway has ended it, then raise `Gone`; needs `listen` or `discard`."""
        assert self._listening is not None
        await asyncio.shield(self._listening)
        self.close()
        raise Gone

    async def _listen(self) -> None:
        with contextlib.suppress(Gone):
            while True:
                at = 0
                while (found := next_frame(self.buffer, at)) is not None:
                    opcode, payload, at = found
                    self._note(opcode, payload)
                    if self.ended:
                        return
                self.buffer = self.buffer[at:]
                await self._more()

    async def _discard(self) -> None:
        with contextlib.suppress(Gone):
            while True:
                for found in STATUS.finditer(self.buffer):
                    self.outcome[f"http {found[1].decode()}"] += 1
                self.buffer = b""
                await self._more()

    def _note(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
            self.outcome[f"close {code}"] += 1
            self.ended = True
        elif opcode in (TEXT, BINARY) and (found := CODE.search(payload[:600])):
            self.outcome[f"error {(found[1] or found[2]).decode()}"] += 1

    async def _more(self) -> None:
        try:
            data = await self.loop.sock_recv(self.raw, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            if not self.ended:
                self.outcome["cut"] += 1
            self.ended = True
            raise Gone
        self.buffer += data

    async def _last_words(self) -> None:
        """After a failed send, what the gateway had said before it closed."""
        if self._listening is not None:
            await asyncio.wait({self._listening}, timeout=0.5)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._listen()


def upgrade(offer: str = "", encoding: str = "json", extra: bytes = b"") -> bytes:
    """A correct opening handshake."""
    extensions = f"Sec-WebSocket-Extensions: {offer}\r\n" if offer else ""
    return (
        (
            "GET /v1/ws HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: depthcast.v1.{encoding}\r\n{extensions}"
        ).encode()
        + extra
        + b"\r\n"
    )


def get(path: str, extra: bytes = b"", method: str = "GET") -> bytes:
    """A plain request."""
    return f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n".encode() + extra + b"\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame; its mask is zero, which is allowed and costs an attacker nothing."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mark = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, mark | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, mark | 126, length)
    else:
        head = struct.pack("!BBQ", first, mark | 127, length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def message(**fields: object) -> bytes:
    """A text frame with a JSON message."""
    return frame(TEXT, orjson.dumps(fields))


def deflated(payload: bytes, opcode: int = TEXT) -> bytes:
    """A compressed message in one frame."""
    return frame(opcode, deflate(payload), rsv=4)


def deflate(payload: bytes) -> bytes:
    """A payload as permessage-deflate has it (RFC 7692, 7.2.1)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def next_frame(data: bytes, at: int = 0) -> tuple[int, bytes, int] | None:
    """The frame of a server that begins at `at`: opcode, payload, and where it ends; None if incomplete."""
    if len(data) < at + 2:
        return None
    length, start = data[at + 1] & 0x7F, at + 2
    if length >= 126:
        extra = 2 if length == 126 else 8
        if len(data) < start + extra:
            return None
        length = int.from_bytes(data[start : start + extra])
        start += extra
    if len(data) < start + length:
        return None
    payload = data[start : start + length]
    if data[at] & 0x40 and length < 4096:
        with contextlib.suppress(zlib.error):
            payload = zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + b"\0\0\xff\xff")
    return data[at] & 0x0F, payload, start + length
