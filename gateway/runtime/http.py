"""The gateway's HTTP endpoints and the WebSocket handshake (`docs/protocol.md`, sections 3 and 4)."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.session import too_deep_text
from depthcast.gateway.market.listing import Listing
from depthcast.gateway.protocol.messages import DEPTHS, Encoding, state_name
from depthcast.gateway.protocol.requests import DEPTH_DEFAULT, quoted
from depthcast.gateway.runtime.connection import Connection, RawWebSocket
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.runtime.admin import health_routes

WEB: Final = Path(str(files("depthcast.gateway") / "web"))

PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""The page may connect only to this gateway and run only modules of `/web`, all of one version."""


PROTOCOLS: Final = (Encoding.JSON.value, Encoding.MSGPACK.value)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host(Protocol):
    """What the endpoints need from the process."""

    core: Core
    connections: dict[Connection, None]
    draining: bool

    def readiness(self) -> tuple[bool, dict[str, Any]]: ...


class Refusal(Exception):
    """Refuses an HTTP request with the answer `{"error": {"code", "message"}}`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


class Endpoints:
    """The handlers of one process."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.core = host.core

    def application(self) -> web.Application:
        """Make the web application, without middleware, because WebSocket handshakes would go through it."""
        app = web.Application()
        origin = self.core.settings.cors_origin
        if origin:
            app.on_response_prepare.append(_allow(origin))
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/v1/ws", _refusing(self.websocket)),
                web.get("/v1/symbols", self.symbols),
                web.get("/v1/books/{symbol}", _refusing(self.book)),
                *health_routes(self.host.readiness),
                web.get("/web/{path:.+}", self.module),
            ]
        )
        return app

    async def page(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(WEB / "index.html", headers=PAGE_HEADERS)

    async def module(self, request: web.Request) -> web.FileResponse:
        path = (WEB / request.match_info["path"]).resolve()
        if not path.is_relative_to(WEB.resolve()) or not path.is_file():
            raise web.HTTPNotFound(headers=PAGE_HEADERS)
        return web.FileResponse(path, headers=PAGE_HEADERS)

    async def symbols(self, _request: web.Request) -> web.Response:
        return _json([_symbol(listing) for _, listing in sorted(self.core.market.listings.items())])

    async def book(self, request: web.Request) -> web.Response:
        listing, depth = self._listing(request.match_info["symbol"]), _depth(request.query.get("depth"))
        most = self.core.settings.full_depth_max
        if self.core.market.too_deep(listing, depth):
            self.core.counters.limit_full_depth += 1
            raise Refusal(400, "limit", too_deep_text(listing, most))
        view = listing.view(depth)
        if view is None:
            raise Refusal(503, "unavailable", f"no book of {listing.instrument.symbol} has been read yet")
        message = view.snapshot_message(listing.instrument.symbol)
        return _json(message | {"state": state_name(listing.stale)})

    def _listing(self, symbol: str) -> Listing:
        listings = self.core.market.listings
        if not listings:
            raise Refusal(503, "unavailable", "no instruments are known yet; try again in a few seconds")
        if symbol not in listings:
            raise Refusal(
                404, "unknown_symbol", f"no symbol {quoted(symbol)}; GET /v1/symbols lists what there is"
            )
        return listings[symbol]

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        host, settings = self.host, self.core.settings
        if host.draining:
            raise Refusal(503, "unavailable", "this gateway is restarting")
        socket = RawWebSocket(
            protocols=PROTOCOLS,
            max_msg_size=settings.message_bytes_max,
            compress=settings.deflate_bytes_min > 0,
            autoclose=False,
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket
        connection = Connection(self.core, socket, request.transport, settings.close_linger_s)
        if len(host.connections) >= settings.connections_max or host.draining:
            self.core.counters.limit_connections += not host.draining
            await connection.refuse(CloseCode.RESTARTING if host.draining else CloseCode.OVERLOADED)
            return socket
        host.connections[connection] = None
        try:
            await connection.run()
        finally:
            del host.connections[connection]
        return socket


def _symbol(listing: Listing) -> dict[str, str]:
    instrument = listing.instrument
    return {
        "symbol": instrument.symbol,
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "state": state_name(listing.stale),
    }


def _depth(text: str | None) -> int:
    if text is None:
        return DEPTH_DEFAULT
    if text.isascii() and text.isdigit() and len(text) <= 4 and int(text) in DEPTHS:
        return int(text)
    known = ", ".join(map(str, DEPTHS))
    raise Refusal(400, "bad_depth", f"depth {quoted(text)} is not one of {known} (0 is the full book)")


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _refusing(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as refusal:
            return _json({"error": {"code": refusal.code, "message": refusal.message}}, refusal.status)

    return handle


def _allow(origin: str) -> Any:
    async def add_header(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Access-Control-Allow-Origin"] = origin
        if origin != "*":
            response.headers["Vary"] = "Origin"

    return add_header
