"""Starlette on uvicorn with uvloop: `send_text` to each client of each channel."""

import asyncio
import socket
from collections import defaultdict
from contextlib import suppress

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.peers.control import Messages, announce, serve_control

subscribers: defaultdict[int, set[WebSocket]] = defaultdict(set)


async def handle(client: WebSocket) -> None:
    """One client."""
    await client.accept()
    channels = [int(word) for word in (await client.receive_text()).split()]
    for channel in channels:
        subscribers[channel].add(client)
    with suppress(WebSocketDisconnect):
        await client.receive_text()
    for channel in channels:
        subscribers[channel].discard(client)


async def on_tick(messages: Messages) -> None:
    """Broadcast a tick."""
    for channel, message in messages:
        text = message.decode()
        for client in subscribers[channel]:
            await client.send_text(text)


async def main() -> None:
    """Serve until ended."""
    bound = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", handle)]),
        log_level="warning",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    announce(bound.getsockname()[1], await serve_control(on_tick))
    await asyncio.gather(uvicorn.Server(config).serve(sockets=[bound]))


if __name__ == "__main__":
    uvloop.run(main())
