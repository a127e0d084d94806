"""The control port of the Python peers, which receives ticks (format: benchmarks/native/limit.c)."""

import asyncio
import struct
import sys
from collections.abc import Awaitable, Callable

Messages = list[tuple[int, bytes]]


async def serve_control(on_tick: Callable[[Messages], Awaitable[None]]) -> int:
    """Serve on a free port, which is returned; `on_tick` gets the (channel, message) pairs of each tick."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(4):
            while len(head) < 4:
                head += await reader.readexactly(4 - len(head))
            body = await reader.readexactly(struct.unpack("<I", head)[0])
            await on_tick(_messages(body))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
    port: int = server.sockets[0].getsockname()[1]
    return port


def announce(port: int, control_port: int) -> None:
    """Say where clients and ticks go."""
    sys.stdout.write(f"{port} {control_port}\n")
    sys.stdout.flush()


def _messages(body: bytes) -> Messages:
    (count,) = struct.unpack_from("<I", body)
    messages = []
    at = 4
    for _ in range(count):
        channel, size = struct.unpack_from("<II", body, at)
        messages.append((channel, body[at + 8 : at + 8 + size]))
        at += 8 + size
    return messages
