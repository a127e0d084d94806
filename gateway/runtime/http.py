"""The gateway's HTTP endpoints (`docs/protocol.md`, section 4)."""

import asyncio
import logging
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from traceback import clear_frames
from typing import Any, Final, NamedTuple, Protocol

from aiohttp import web

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.session import too_deep_text
from depthcast.gateway.market.demand import Demand
from depthcast.gateway.market.listing import Listing
from depthcast.gateway.protocol.grant import Grant
from depthcast.gateway.protocol.http_head import Head, HeadError, error_body
from depthcast.gateway.protocol.messages import DEPTHS, UNGROUPED
from depthcast.gateway.protocol.query import boolean_in, number_in
from depthcast.gateway.protocol.request_id import HEADER
from depthcast.gateway.protocol.requests import DEPTH_DEFAULT, Refused, checked_group, checked_orders, quoted
from depthcast.gateway.runtime.access import Access
from depthcast.gateway.runtime.answers import Answers
from depthcast.gateway.runtime.front import Front
from depthcast.gateway.runtime.http_limits import HttpLimits, NotNow
from depthcast.shared.origins import Origins, frame_sources
from depthcast.shared.runtime.admin import health_routes

WEB: Final = Path(str(files("depthcast.gateway") / "web"))


def page_headers(frame_origins: str) -> dict[str, str]:
    """Make the headers of the page and its modules.

    The page may connect only to this gateway and run only modules of `/web`, all of one version. Pages of
    `frame_origins` may show it in a frame.
    """
    return {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {frame_sources(frame_origins)}",
        "X-Content-Type-Options": "nosniff",
    }


class Module(NamedTuple):
    """A file of the page, in memory."""

    body: bytes
    content_type: str
    etag: str


def _module(path: Path) -> Module:
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Module(body, kind, blake2b(body, digest_size=8).hexdigest())


MODULES: Final = {
    path.relative_to(WEB).as_posix(): _module(path) for path in WEB.rglob("*") if path.is_file()
}
"""What `/web` serves, by its path below it; a name that is not here reaches no file."""

UNLIMITED: Final = frozenset(("/healthz", "/readyz"))
"""Always answered: whoever watches a gateway must not take it for dead because it is busy."""


def without_values(record: logging.LogRecord) -> bool:
    """Take the values out of a line of the web server: one of them is the address of a client."""
    record.msg, record.args = str(record.msg).removesuffix(" from %s"), ()
    return True


logger = logging.getLogger(__name__)
web_server_log: Final = logging.getLogger("depthcast.gateway.web_server")
web_server_log.addFilter(without_values)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host(Protocol):
    """What the endpoints need from the process."""

    access: Access
    core: Core

    def make_room(self) -> bool: ...

    def readiness(self) -> tuple[bool, dict[str, Any]]: ...


class Refusal(Exception):
    """Refuses an HTTP request with the answer `{"error": {"code", "message"}}`."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[str, ...] = ()) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(message)


class Endpoints:
    """The handlers of one process."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.core = host.core
        self.answers = Answers(host.core.market)
        self.page_headers = page_headers(host.core.settings.frame_origins)
        now = asyncio.get_running_loop().time()
        self.limits = HttpLimits(host.core.settings, host.core.counters, now, host.make_room)

    def application(self) -> web.Application:
        """Make the web application."""
        app = web.Application(middlewares=[self.answering])
        settings = self.core.settings
        if settings.cors_origin:
            app.on_response_prepare.append(_allow(settings.cors_origin))
        else:
            app.on_response_prepare.append(_allow_named(Origins(settings.origins)))
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/v1/symbols", self.symbols),
                web.get("/v1/books/{symbol}", self.book),
                *health_routes(self.host.readiness),
                web.get("/web/{path:.+}", self.module),
            ]
        )
        return app

    @web.middleware
    async def answering(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write the answer to the end, errors included; then the connection may have its next request."""
        front = _front(request)
        try:
            return await self._answered(request, handler, front)
        except Exception:
            logger.exception("an answer ended by an unexpected error", extra=_about(request, front))
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _answered(
        self, request: web.Request, handler: Handler, front: Front | None
    ) -> web.StreamResponse:
        address = None if front is None else front.client
        if request.path in UNLIMITED:
            return await self._written(request, await _answer(request, handler, front), front)
        try:
            self.limits.enter(asyncio.get_running_loop().time(), address)
        except NotNow as refusal:
            return await self._written(request, _not_now(refusal), front)
        try:
            return await self._written(request, await _answer(request, handler, front), front)
        finally:
            self.limits.leave(address)

    async def _written(
        self, request: web.Request, response: web.StreamResponse, front: Front | None
    ) -> web.StreamResponse:
        """Write an answer; a client that does not read it in time loses its connection."""
        size, address = _size(response), _address(request)
        try:
            self.limits.hold(size, address)
        except NotNow as refusal:
            size, response = 0, _not_now(refusal)
        try:
            if front is not None:
                response.headers[HEADER] = front.request_id
            async with asyncio.timeout(self.limits.time_to_read_s(size)):
                await response.prepare(request)
                await response.write_eof()
        except ConnectionError as error:
            # The frame that waited holds a future, which holds this error, which holds the frame.
            clear_frames(error.__traceback__)
            return response
        except TimeoutError:
            self.core.counters.http_timeouts += 1
            if request.transport is not None:
                request.transport.abort()
            return response
        finally:
            self.limits.release(size, address)
        _next_request(request)
        return response

    async def page(self, request: web.Request) -> web.Response:
        return _file("index.html", request, self.page_headers)

    async def module(self, request: web.Request) -> web.Response:
        return _file(request.match_info["path"], request, self.page_headers)

    async def symbols(self, request: web.Request) -> web.Response:
        rights = self._grant(request).rights
        if rights.all_symbols:
            return _json(await self.answers.symbols())
        self.limits.encoded(len(self.core.market.listings), _address(request))
        return _json(await self.answers.some_symbols(rights.may_read))

    async def book(self, request: web.Request) -> web.Response:
        symbol, depth = request.match_info["symbol"], _depth(request.query.get("depth"))
        group_ticks, orders = _group_and_orders(request.query)
        refusal = self._grant(request).rights.refusal(symbol, depth, group_ticks)
        if refusal is not None:
            self.core.counters.forbidden += 1
            raise Refusal(403, "forbidden", refusal)
        listing = await self._followed(symbol)
        most = self.core.settings.full_depth_max
        _check_counted(listing, orders=orders)
        if self.core.market.too_deep(listing, depth, group_ticks):
            self.core.counters.limit_full_depth += 1
            raise Refusal(400, "limit", too_deep_text(listing, most, group_ticks))
        begun = self.answers.begun
        levels = listing.levels_read(depth, group_ticks)
        body = await self.answers.book(listing, depth, group_ticks, orders=orders)
        if body is None:
            _check_counted(listing, orders=orders)  # it may have changed while this request waited
            raise Refusal(503, "unavailable", f"no book of {listing.instrument.symbol} has been read yet")
        if self.answers.begun != begun:
            self.limits.encoded(2 * levels, _address(request))
        return _json(body)

    def _grant(self, request: web.Request) -> Grant:
        """What the token of a request allows; raises `Refusal`."""
        head = _head(request)
        try:
            return self.host.access.required(head)
        except HeadError as error:
            raise Refusal(error.status, error.code, error.message, error.headers) from None

    async def _followed(self, symbol: str) -> Listing:
        """The listing of a symbol, which is taken up if it has to be; raises `Refusal`."""
        listing, market = self._listing(symbol), self.core.market
        market.ask((symbol,))
        if not market.awaited((symbol,)):
            return listing
        with suppress(TimeoutError):
            async with asyncio.timeout(self.core.settings.follow_wait_s):
                while market.awaited((symbol,)):
                    await _Woken(market.demand).future
        return self._listing(symbol)

    def _listing(self, symbol: str) -> Listing:
        listings = self.core.market.listings
        if not listings:
            raise Refusal(503, "unavailable", "no instruments are known yet; try again in a few seconds")
        if symbol not in listings:
            raise Refusal(
                404, "unknown_symbol", f"no symbol {quoted(symbol)}; GET /v1/symbols lists what there is"
            )
        return listings[symbol]


class _Woken:
    """Waits until the demand wakes those who wait, by a future."""

    def __init__(self, demand: Demand) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        demand.wait(self)

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _file(name: str, request: web.Request, headers: dict[str, str]) -> web.Response:
    module = MODULES.get(name)
    if module is None:
        raise web.HTTPNotFound
    known = request.if_none_match or ()
    response = (
        web.Response(status=304, headers=headers)
        if any(tag.value == module.etag for tag in known)
        else web.Response(body=module.body, content_type=module.content_type, headers=headers)
    )
    response.etag = module.etag
    return response


def _depth(text: str | None) -> int:
    if text is None:
        return DEPTH_DEFAULT
    if text.isascii() and text.isdigit() and len(text) <= 4 and int(text) in DEPTHS:
        return int(text)
    known = ", ".join(map(str, DEPTHS))
    raise Refusal(400, "bad_depth", f"depth {quoted(text)} is not one of {known} (0 is the full book)")


def _group_and_orders(query: Mapping[str, str]) -> tuple[int, bool]:
    group, orders = query.get("group"), query.get("orders")
    try:
        group_ticks = UNGROUPED if group is None else checked_group(number_in(group))
        return group_ticks, orders is not None and checked_orders(boolean_in(orders), group_ticks)
    except Refused as refused:
        raise Refusal(400, refused.code, refused.message) from None


def _check_counted(listing: Listing, *, orders: bool) -> None:
    """Refuse a request for the number of orders if nobody says it."""
    refusal = listing.without_orders() if orders else None
    if refusal is not None:
        raise Refusal(400, "no_orders", refusal)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _address(request: web.Request) -> str | None:
    """What the client of a request is counted by, None if that is unknown."""
    front = _front(request)
    return None if front is None else front.client


def _head(request: web.Request) -> Head:
    """The head as it came; without one there is no token either."""
    front = _front(request)
    head = None if front is None else front.request
    return Head("GET", "/", "HTTP/1.1", ()) if head is None else head


def _next_request(request: web.Request) -> None:
    """Let the connection have its next request, because the answer was taken."""
    if (front := _front(request)) is not None:
        front.answered()


def _size(response: web.StreamResponse) -> int:
    """Bytes of an answer that are kept until the client takes them; a file is read as it is sent."""
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes) else 0


async def _answer(request: web.Request, handler: Handler, front: Front | None) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        response = _error(refusal.status, refusal.code, refusal.message)
        response.headers.update(dict(line.split(": ", 1) for line in refusal.headers))
        return response
    except NotNow as refusal:
        return _not_now(refusal)
    except web.HTTPException as error:
        code = "not_found" if error.status == 404 else "bad_request"
        response = _error(error.status, code, error.reason)
        response.headers.update({name: error.headers[name] for name in ("Allow",) if name in error.headers})
        return response
    except Exception:
        logger.exception("a request ended by an unexpected error", extra=_about(request, front))
        return _error(500, "internal", "an unexpected error; the gateway's log has it")


def _about(request: web.Request, front: Front | None) -> dict[str, str]:
    """What a line of the log says of a request and its client, who may have gone."""
    return {"path": quoted(request.path), **({} if front is None else front.about())}


def _front(request: web.Request) -> Front | None:
    front = request.transport.get_protocol() if request.transport is not None else None
    return front if isinstance(front, Front) else None


def _error(status: int, code: str, message: str, retry_s: int = 1) -> web.Response:
    response = web.Response(body=error_body(code, message), status=status, content_type="application/json")
    if status in (429, 503):
        response.headers["Retry-After"] = str(retry_s)
    return response


def _not_now(refusal: NotNow) -> web.Response:
    return _error(refusal.status, refusal.code, refusal.message, refusal.retry_s)


def _allow(origin: str) -> Any:
    async def add_header(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Access-Control-Allow-Origin"] = origin
        if origin != "*":
            response.headers["Vary"] = "Origin"

    return add_header


def _allow_named(origins: Origins) -> Any:
    async def add_header(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and origins.names(origin):
            response.headers["Access-Control-Allow-Origin"] = origin

    return add_header
