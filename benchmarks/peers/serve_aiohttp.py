"""aiohttp on uvloop: `send_bytes` to each client of each channel."""

import asyncio
from collections import defaultdict

import uvloop
from aiohttp import web

from benchmarks.peers.control import Messages, announce, serve_control


async def main() -> None:
    """Serve until ended."""
    subscribers: defaultdict[int, set[web.WebSocketResponse]] = defaultdict(set)

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        channels = [int(word) for word in (await socket.receive_str()).split()]
        for channel in channels:
            subscribers[channel].add(socket)
        await socket.receive()
        for channel in channels:
            subscribers[channel].discard(socket)
        return socket

    async def on_tick(messages: Messages) -> None:
        for channel, message in messages:
            for socket in subscribers[channel]:
                await socket.send_bytes(message)

    app = web.Application()
    app.add_routes([web.get("/", handle)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    announce(runner.addresses[0][1], await serve_control(on_tick))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
