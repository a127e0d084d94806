"""Takes every TCP connection of a gateway, and hands it on once a request is complete and within limits.

A request for a WebSocket is answered here, and the connection becomes one. Every other request goes to the
web server, one at a time: the next one when the answer before it was written and taken.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol, cast

from aiohttp import web

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.protocol.http_head import (
    Head,
    HeadError,
    HeadLimits,
    error_response,
    head_end,
    parse_head,
)
from depthcast.gateway.protocol.negotiation import Handshake, shake
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.websocket import WebSocket
from depthcast.shared.settings import GatewaySettings

WEBSOCKET_PATH: Final = "/v1/ws"
METHODS: Final = ("GET", "HEAD")
ENDING_S: Final = 2.0
"""A refused client has this long to read why, and to end the connection."""

quiet: Final = logging.getLogger("depthcast.gateway.websocket")
quiet.setLevel(logging.WARNING)

Serve = Callable[["Front", Handshake, Head], WebSocket]
"""Makes the WebSocket of a completed handshake."""


class Site(Protocol):
    """What all fronts of a process share.

    - `paths`: path → what serves a WebSocket there.
    - `fronts`: all TCP connections; `unsettled`: those that are not a WebSocket, the oldest first.
    - `web`: makes the web server's protocol for one connection.
    """

    settings: GatewaySettings
    counters: GatewayCounters
    limits: HeadLimits
    intake: Intake
    paths: dict[str, Serve]
    fronts: dict["Front", None]
    unsettled: dict["Front", None]
    draining: bool

    def web(self) -> web.RequestHandler: ...


class Stage(Enum):
    """Where a connection is: `WAITING` for a complete head, `ANSWERING` one, or `ENDING` after a refusal."""

    WAITING = auto()
    ANSWERING = auto()
    ENDING = auto()
    HANDED_ON = auto()


class Front(asyncio.Protocol):
    """One TCP connection until it is a WebSocket; for other requests, until its end.

    `due`: when the current stage ends the connection, in the loop's time. `idle`: nothing of a request came.
    """

    __slots__ = (
        "_pending",
        "_unread",
        "_waiting_bytes",
        "due",
        "idle",
        "loop",
        "site",
        "stage",
        "transport",
        "web",
    )

    def __init__(self, site: Site) -> None:
        self.site = site
        self.loop = asyncio.get_running_loop()
        self.stage = Stage.WAITING
        self.transport: asyncio.Transport | None = None
        self.web: web.RequestHandler | None = None
        self.due = self.loop.time() + site.settings.head_timeout_s
        self.idle = True
        self._pending = bytearray()
        self._unread = False
        self._waiting_bytes = 0

    # --- what the transport says ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=0, low=0)
        self.site.fronts[self] = self.site.unsettled[self] = None

    def data_received(self, data: bytes) -> None:
        if self.stage is Stage.ENDING:
            return
        self._pending += data
        if self.stage is Stage.WAITING:
            self._next()
            self._hold()
            return
        self._hold()
        if not self._unread and len(self._pending) > self.site.limits.head_bytes_max:
            self._unread = True
            self._open.pause_reading()

    def eof_received(self) -> bool | None:
        return None

    def pause_writing(self) -> None:
        if self.web is not None:
            self.web.pause_writing()

    def resume_writing(self) -> None:
        if self.web is not None:
            self.web.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.stage = Stage.ENDING
        self._pending.clear()
        self._hold()
        self.gone()
        if self.web is not None:
            self.web.connection_lost(exc)
            self.web = None

    def _hold(self) -> None:
        if self.stage is not Stage.HANDED_ON:
            self.site.intake.hold(self, len(self._pending))

    def evict(self) -> None:
        """End because all connections together hold too much, and this one most."""
        self.site.counters.limit_input_buffer += 1
        self._pending.clear()
        self._hold()
        self._open.abort()

    def gone(self) -> None:
        """The TCP connection has ended."""
        self.site.unsettled.pop(self, None)
        self.site.fronts.pop(self, None)

    @property
    def _open(self) -> asyncio.Transport:
        assert self.transport is not None
        return self.transport

    # --- requests -------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Serve the next request, if it is complete."""
        pending, site = self._pending, self.site
        while pending.startswith(b"\r\n"):
            del pending[:2]
        if not pending:
            return
        if self.idle:
            self.idle = False
            if self.web is not None:
                self.due = self.loop.time() + site.settings.head_timeout_s
        try:
            size = head_end(pending, site.limits)
            if not size:
                return
            raw = bytes(pending[:size])
            del pending[:size]
            head = parse_head(raw, site.limits)
            serve = site.paths.get(head.path)
            if serve is not None:
                self._upgrade(raw, head, serve)
            else:
                self._pass_on(head)
        except HeadError as error:
            self.refuse(error)

    def _upgrade(self, raw: bytes, head: Head, serve: Serve) -> None:
        site, transport = self.site, self._open
        if site.draining:
            raise HeadError(503, "unavailable", "this gateway is restarting")
        settings = site.settings
        protocol = Handshake(
            deflate=settings.deflate_bytes_min > 0, max_size=settings.message_bytes_max, logger=quiet
        )
        transport.write(shake(protocol, raw, head))
        site.intake.hold(self, 0)
        self.stage = Stage.HANDED_ON
        site.unsettled.pop(self, None)
        if self.web is not None:
            self.web.transport = None  # it lives on, and the web server would close it
            self.web.connection_lost(None)
            self.web = None
        if self._unread:
            transport.resume_reading()
        websocket = serve(self, protocol, head)
        transport.set_protocol(websocket)
        if self._pending:
            websocket.data_received(bytes(self._pending))
        self._pending.clear()

    def _pass_on(self, head: Head) -> None:
        if head.method not in METHODS:
            raise HeadError(
                405, "bad_request", "only GET and HEAD are served", (f"Allow: {', '.join(METHODS)}",)
            )
        self.stage = Stage.ANSWERING
        self.due = self.loop.time() + self.site.settings.stall_timeout_s
        self._waiting_bytes = 0
        if self.web is None:
            self.web = self.site.web()
            self.web.connection_made(self._open)
        self.web.data_received(head.plain())

    def answered(self) -> None:
        """The web server's answer was written, and nothing of it waits here."""
        if self.stage is not Stage.ANSWERING:
            return
        self.stage = Stage.WAITING
        self.idle = True
        self.due = self.loop.time() + self.site.settings.keepalive_timeout_s
        if self._unread:
            self._unread = False
            self._open.resume_reading()
        self._next()
        self._hold()

    def refuse(self, error: HeadError) -> None:
        """Answer with an error, and end the connection once the client could read it."""
        self.site.counters.http_refused += 1
        self.stage = Stage.ENDING
        self._pending.clear()
        self.due = self.loop.time() + ENDING_S
        transport = self._open
        if self._unread:
            self._unread = False
            transport.resume_reading()
        transport.write(error_response(error))
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    # --- time -----------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """End the connection if its stage takes too long."""
        if self.stage is Stage.ANSWERING:
            waiting = self._open.get_write_buffer_size()
            if waiting != self._waiting_bytes:
                self._waiting_bytes = waiting
                self.due = now + self.site.settings.stall_timeout_s
        if now < self.due:
            return
        if self.stage is Stage.WAITING and self.idle and self.web is not None:
            self._open.close()
            return
        self.site.counters.http_timeouts += self.stage is not Stage.ENDING
        self._open.abort()
