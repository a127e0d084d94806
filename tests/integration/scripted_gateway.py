"""A gateway for one symbol over a real WebSocket; the test decides every step."""

from types import TracebackType
from typing import Any, Self

import msgpack
from aiohttp import WSMsgType, web

from depthcast.runtime.ports import free_port
from tests.unit.depthcast.client.fake_gateway import FakeGateway

PROTOCOLS = ("depthcast.v1.json", "depthcast.v1.msgpack")


class ScriptedGateway:
    """Serves `book` to one client at a time.

    `refuse`: HTTP status for the next handshakes. `heartbeat_ms`: interval in the welcome. `received`:
    every request.
    """

    def __init__(self) -> None:
        self.book = FakeGateway()
        self.port = free_port()
        self.refuse = 0
        self.heartbeat_ms = 5000
        self.connections = 0
        self.received: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self._socket: web.WebSocketResponse | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port each time."""
        app = web.Application()
        app.add_routes([web.get("/v1/ws", self._serve)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Stop listening, and cut all connections."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def change(self, side: int, price: int, quantity: int) -> None:
        """Publish a change to the client."""
        self.book.change(side, price, quantity)
        await self.flush()

    async def flush(self) -> None:
        """Send the client its pending messages, if one is connected."""
        while self.book.sent and self._socket is not None:
            await self.send(self.book.sent.popleft())

    async def send(self, message: dict[str, Any]) -> None:
        assert self._socket is not None
        if self._socket.ws_protocol == PROTOCOLS[1]:
            await self._socket.send_bytes(msgpack.packb(message))
        else:
            await self._socket.send_json(message)

    async def close(self, code: int) -> None:
        """End the connection with a close code."""
        assert self._socket is not None
        await self._socket.close(code=code, drain=False)

    def cut(self) -> None:
        """End the connection without a close frame."""
        if self._socket is not None and self._socket._req is not None and self._socket._req.transport:
            self._socket._req.transport.abort()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        if self.refuse:
            return web.Response(status=self.refuse)
        socket = web.WebSocketResponse(protocols=PROTOCOLS)
        await socket.prepare(request)
        self.connections += 1
        self.book.lose()
        self._socket = socket
        await self.send({"type": "welcome", "protocol": 1, "session": "s", "heartbeat_ms": self.heartbeat_ms})
        async for frame in socket:
            raw = frame.data
            message = frame.json() if frame.type is WSMsgType.TEXT else msgpack.unpackb(raw)
            self.received.append(message)
            if message["op"] != "credit":
                self.book.take(message)
            await self.flush()
        if self._socket is socket:
            self._socket = None
        return socket
