"""uvloop alone: `transport.write` of a prebuilt frame to each client, without a WebSocket library.

What a server in Python can hope for.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import Callable
from typing import cast

import uvloop

from benchmarks.peers.control import Messages, announce, serve_control

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

subscribers: defaultdict[int, dict["Client", Callable[[bytes], None]]] = defaultdict(dict)


class Client(asyncio.Protocol):
    """One connection: any request is a handshake, the frame after it the list of channels."""

    def __init__(self) -> None:
        self.input = b""
        self.greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.input += data
        if not self.greeted and b"\r\n\r\n" in self.input:
            self.greeted = True
            self.input = self.input.split(b"\r\n\r\n", 1)[1]
            self.transport.write(ANSWER)
        if self.greeted and len(self.input) > 6:
            # Masked with zeros, and shorter than 126 bytes, as the load sends it.
            for word in self.input[6 : 6 + (self.input[1] & 0x7F)].split():
                subscribers[int(word)][self] = self.transport.write

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class's signature
        for clients in subscribers.values():
            clients.pop(self, None)


async def on_tick(messages: Messages) -> None:
    """Broadcast a tick."""
    for channel, message in messages:
        size = len(message)
        head = struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
        frame = head + message
        for write in subscribers[channel].values():
            write(frame)


async def main() -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", 0, backlog=4096)
    announce(server.sockets[0].getsockname()[1], await serve_control(on_tick))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
