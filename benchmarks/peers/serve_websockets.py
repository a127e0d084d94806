"""websockets on uvloop: `broadcast` to the clients of each channel; with compression if given `deflate`."""

import asyncio
import sys
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.peers.control import Messages, announce, serve_control

COMPRESSION = "deflate" if "deflate" in sys.argv else None


async def main() -> None:
    """Serve until ended."""
    subscribers: defaultdict[int, set[ServerConnection]] = defaultdict(set)

    async def handle(connection: ServerConnection) -> None:
        channels = [int(word) for word in str(await connection.recv()).split()]
        for channel in channels:
            subscribers[channel].add(connection)
        await connection.wait_closed()
        for channel in channels:
            subscribers[channel].discard(connection)

    async def on_tick(messages: Messages) -> None:
        for channel, message in messages:
            broadcast(subscribers[channel], message.decode())

    async with serve(
        handle, "127.0.0.1", 0, compression=COMPRESSION, ping_interval=None, backlog=4096
    ) as server:
        announce(next(iter(server.sockets)).getsockname()[1], await serve_control(on_tick))
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
