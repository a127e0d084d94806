"""picows on uvloop: `send` to each client of each channel."""

import asyncio
from collections import defaultdict

import uvloop
from picows import (  # type: ignore[import-not-found] # not in the project's own environment
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from benchmarks.peers.control import Messages, announce, serve_control

TEXT = WSMsgType.TEXT

subscribers: defaultdict[int, set[WSTransport]] = defaultdict(set)


class Client(WSListener):  # type: ignore[misc] # its types are not known here
    """One connection, whose first frame is the list of channels."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Subscribe."""
        if frame.msg_type == TEXT:
            for word in frame.get_payload_as_ascii_text().split():
                subscribers[int(word)].add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget it."""
        for clients in subscribers.values():
            clients.discard(transport)


def accept(_request: WSUpgradeRequest) -> Client:
    """Take every client."""
    return Client()


async def on_tick(messages: Messages) -> None:
    """Broadcast a tick."""
    for channel, message in messages:
        for transport in subscribers[channel]:
            transport.send(TEXT, message)


async def main() -> None:
    """Serve until ended."""
    server = await ws_create_server(accept, "127.0.0.1", 0, backlog=4096)
    announce(server.sockets[0].getsockname()[1], await serve_control(on_tick))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
