"""Really slow WebSocket clients: small kernel buffers, little read-ahead, a pause per message.

They use an independent WebSocket library below Depthcast's client, so the gateway sees a slow machine or
link.
"""

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgpack
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from depthcast.client.client import Client
from depthcast.client.session import ClientSession
from depthcast.client.transport import ConnectionLost
from depthcast.shared.backoff import Backoff
from depthcast.shared.close_codes import CloseCode

RECEIVE_BUFFER_BYTES = 4096


class SlowTransport:
    """Waits `delay_s` before each message it takes, and takes none while `reading` is clear."""

    def __init__(self, connection: ClientConnection, delay_s: float, reading: asyncio.Event) -> None:
        self._connection = connection
        self._delay_s = delay_s
        self._reading = reading
        self._due: float | None = None

    async def receive(self) -> Mapping[str, Any]:
        await self._reading.wait()
        loop = asyncio.get_running_loop()
        if self._due is None:  # a cancelled wait continues where it stopped
            self._due = loop.time() + self._delay_s
        await asyncio.sleep(self._due - loop.time())
        try:
            raw = await self._connection.recv()
            self._due = None
        except ConnectionClosed as closed:
            raise ConnectionLost(closed.rcvd.code if closed.rcvd else CloseCode.LOST) from closed
        decoded: Mapping[str, Any] = json.loads(raw) if isinstance(raw, str) else msgpack.unpackb(raw)
        return decoded

    async def send(self, message: Mapping[str, Any]) -> None:
        try:
            await self._connection.send(json.dumps(message))
        except ConnectionClosed as closed:
            raise ConnectionLost(CloseCode.LOST) from closed

    async def close(self) -> None:
        await self._connection.close()


def slow_client(
    url: str, *, delay_s: float = 0.0, reading: asyncio.Event | None = None, credit_window: int | None = None
) -> Client:
    """A slow client of the gateway at `url` (ws://…); while `reading` is clear, it does not read at all."""
    if reading is None:
        reading = asyncio.Event()
        reading.set()
    go_on = reading

    async def dial() -> SlowTransport:
        try:
            return SlowTransport(await _connect(url), delay_s, go_on)
        except (OSError, WebSocketException) as error:
            raise ConnectionLost(CloseCode.LOST, str(error)) from error

    return Client(dial, ClientSession(credit_window), Backoff(0.05, 1.0, lambda: 1.0))


async def _connect(url: str) -> ClientConnection:
    address = urlsplit(url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    raw.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(raw, (address.hostname, address.port))
    except BaseException:
        raw.close()
        raise
    return await connect_websocket(
        url,
        sock=raw,
        subprotocols=[Subprotocol("depthcast.v1.json")],
        compression=None,
        max_queue=1,
        ping_interval=None,
        close_timeout=1,
    )
