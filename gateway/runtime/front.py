"""Takes every TCP connection of a gateway, and hands it on once a request is complete and within limits.

A request for a WebSocket or an event stream is answered here, and the connection becomes one. Every other
request goes to the web server, one at a time: the next one when the answer before it was written and taken.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Final, Protocol, cast

from aiohttp import web

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.protocol.events import retry
from depthcast.gateway.protocol.grant import Grant, TokenRefused
from depthcast.gateway.protocol.http_head import (
    Head,
    HeadError,
    HeadLimits,
    error_response,
    head_end,
    parse_head,
    presented_token,
)
from depthcast.gateway.protocol.negotiation import Handshake, shake
from depthcast.gateway.protocol.peers import (
    SIGNATURE,
    Address,
    forwarded_for,
    is_trusted,
    key_of,
    parse_address,
    parse_proxy,
)
from depthcast.gateway.protocol.request_id import HEADER, header_line, taken_over
from depthcast.gateway.protocol.requests import Subscribe
from depthcast.gateway.protocol.stream_http import refused_stream, stream_head
from depthcast.gateway.runtime.access import Access
from depthcast.gateway.runtime.admission import Admission, Tally
from depthcast.gateway.runtime.event_stream import RETRY_AFTER, random_share
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.websocket import WebSocket
from depthcast.shared.close_codes import CloseCode, Reconnect
from depthcast.shared.networks import Network
from depthcast.shared.origins import Origins
from depthcast.shared.settings import GatewaySettings

WEBSOCKET_PATH: Final = "/v1/ws"
STREAM_PATH: Final = "/v1/stream"
HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz"})
POLITE_MAX: Final = 16
"""So many connections of an address beyond its limit are told why; more are ended at once."""
STUCK_S: Final = 1.0
"""A client that has read nothing of its answer for so long may have to make room for others."""
METHODS: Final = ("GET", "HEAD")
ENDING_S: Final = 2.0
"""A refused client has this long to read why, and to end the connection."""

logger = logging.getLogger(__name__)
quiet: Final = logging.getLogger("depthcast.gateway.websocket")
quiet.setLevel(logging.WARNING)

Serve = Callable[["Front", Handshake, Head, Grant | None], WebSocket]
"""Makes the WebSocket of a completed handshake, and of what its token allows, None if it has none yet."""


class Site(Protocol):
    """What all fronts of a process share.

    - `paths`: path → what serves a WebSocket there.
    - `client_count`: how many WebSockets and event streams are served.
    - `stream_request`: what a request for an event stream subscribes to; raises `HeadError`.
    - `stream`: makes the protocol of an event stream.
    - `fronts`: all TCP connections; `unsettled`: those that were not handed on; `waiting`: of these, those
      without a request that is being answered, the longest-waiting first.
    - `web`: makes the web server's protocol for one connection.
    """

    settings: GatewaySettings
    counters: GatewayCounters
    limits: HeadLimits
    intake: Intake
    access: Access
    admission: Admission
    trusted: tuple[Network, ...]
    origins: Origins
    paths: dict[str, Serve]
    fronts: dict["Front", None]
    unsettled: dict["Front", None]
    waiting: dict["Front", None]

    @property
    def draining(self) -> bool: ...

    def client_count(self) -> int: ...

    def stream_request(self, front: "Front", head: Head, grant: Grant) -> Subscribe: ...

    def stream(self, front: "Front", request: Subscribe, grant: Grant) -> asyncio.Protocol: ...

    def web(self) -> web.RequestHandler: ...


class Stage(Enum):
    """Where a connection is: `WAITING` for a complete head, `ANSWERING` one, or `ENDING` after a refusal."""

    WAITING = auto()
    ANSWERING = auto()
    ENDING = auto()
    HANDED_ON = auto()


class Front(asyncio.Protocol):
    """One TCP connection until it is a WebSocket or an event stream; for other requests, until its end.

    - `due`: when the current stage ends the connection, in the loop's time.
    - `idle`: nothing of a request has come.
    - `address`: the client's, None if it is unknown. `trusted`: the peer is a trusted proxy.
    - `client`: what the client of the current request is counted by.
    - `surplus`: the address has too many connections; only health is served.
    - `request`: the head of the request that is being answered. `requests`: how many came so far.
    - `request_id`: the name of the request that is being answered, or was served as a WebSocket or an event
      stream; empty between requests.
    """

    __slots__ = (
        "_counted", "_counted_token", "_ended", "_name", "_pending", "_proxied", "_unread", "_waiting_bytes",
        "address", "client", "due", "idle", "loop", "queued", "request", "request_id", "requests", "site",
        "stage", "surplus", "transport", "trusted", "web",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self.site = site
        self.loop = asyncio.get_running_loop()
        self.stage = Stage.WAITING
        self.transport: asyncio.Transport | None = None
        self.web: web.RequestHandler | None = None
        self.address: Address | None = None
        self.trusted = False
        self.surplus = False
        self.due = self.loop.time() + site.settings.head_timeout_s
        self.idle = True
        self.queued = False
        self.client: str | None = None
        self.request: Head | None = None
        self.requests = 0
        self.request_id = ""
        self._name = ""
        self._counted_token = False
        self._counted: list[tuple[Tally, Hashable]] = []
        self._pending = bytearray()
        self._ended = False
        self._proxied = False
        self._unread = False
        self._waiting_bytes = 0

    def about(self) -> dict[str, str]:
        """What a line of the log says of the client: connection and request by name, its address if it may.

        An address is what the connection is counted by.
        """
        address = key_of(self.address) if self.client is None else self.client
        shown = {"connection": self._connection()}
        if self.request_id:
            shown["request"] = self.request_id
        if self.site.settings.log_addresses:
            shown["address"] = address or "unknown"
        return shown

    def _connection(self) -> str:
        """A name of this connection, made when it is needed first."""
        self._name = self._name or secrets.token_hex(8)
        return self._name

    def _name_request(self, head: Head | None) -> None:
        """Give the next request its name: the one that a trusted proxy gives, or one of ours.

        `head`: None if it cannot be read.
        """
        self.requests += 1
        self.request_id = f"{self._connection()}-{self.requests}"
        given = head.values(HEADER.lower()) if self.trusted and head is not None else []
        if given:
            name = taken_over(given)
            self.site.counters.request_ids_replaced += name is None
            self.request_id = name or self.request_id

    # --- what the transport says ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=0, low=0)
        site = self.site
        if site.admission.is_full(len(site.fronts), site.client_count()):
            site.counters.limit_tcp_connections += 1
            self._make_room()
        site.fronts[self] = site.unsettled[self] = site.waiting[self] = None
        peer = self.transport.get_extra_info("peername")
        self.address = parse_address(peer[0]) if isinstance(peer, tuple) else None
        self.trusted = is_trusted(self.address, site.trusted)
        if not self.trusted:
            self._count_address()

    def _make_room(self) -> None:
        """End the connection that waits longest for its next request, or this one if none waits."""
        oldest = next(iter(self.site.waiting), None)
        if oldest is None:
            self.stage = Stage.ENDING
            self._open.abort()
        else:
            oldest.drop()

    def drop(self) -> None:
        """End without an answer."""
        self._enter(Stage.ENDING)
        self.site.waiting.pop(self, None)
        self.gone()
        self._open.abort()

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.site.waiting.pop(self, None)
        if stage in (Stage.WAITING, Stage.ENDING):
            self.site.waiting[self] = None

    def _count(self, tally: Tally, key: Hashable) -> int:
        """Count this connection by `key` until its end; returns by how many it is over the limit."""
        self._counted.append((tally, key))
        return tally.add(key)

    def _count_address(self) -> None:
        key = key_of(self.address)
        if key is None:
            return
        over = self._count(self.site.admission.addresses, key)
        if not self.site.admission.may_connect(key, self.loop.time()):
            self.site.counters.limit_connects += 1
            self.drop()
            return
        if not over:
            return
        self.site.counters.limit_address += 1
        self.surplus = True
        if over > POLITE_MAX:
            self.drop()

    def data_received(self, data: bytes) -> None:
        if self.stage is Stage.ENDING:
            return
        self._pending += data
        if len(self._pending) > self.site.limits.head_bytes_max and not self._unread:
            self._unread = True
            self._open.pause_reading()
        if self.stage is Stage.WAITING:
            self.site.intake.add(self)
        self._hold()

    def step(self) -> bool:
        """Serve the next request; many that come at once have their turns like messages do."""
        if self.stage is Stage.WAITING:
            try:
                self._next()
            except Exception:
                logger.exception("connection ended by an unexpected error", extra=self.about())
                self.drop()
            if self.stage is Stage.WAITING:
                self._read_again()
                if self._ended:
                    self.drop()
            self._hold()
        return False

    def _read_again(self) -> None:
        if self._unread and not self._open.is_closing():
            self._unread = False
            self._open.resume_reading()

    def eof_received(self) -> bool:
        """The client sends nothing more; a request that it has sent is served before the end."""
        self._ended = True
        return self.stage is Stage.ANSWERING or (self.queued and self.stage is Stage.WAITING)

    def pause_writing(self) -> None:
        if self.web is not None:
            self.web.pause_writing()

    def resume_writing(self) -> None:
        if self.web is not None:
            self.web.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pending.clear()
        self._hold()
        self.stage = Stage.ENDING
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
        for known in (self.site.fronts, self.site.unsettled, self.site.waiting):
            known.pop(self, None)
        counted, self._counted = self._counted, []
        for tally, key in counted:
            tally.remove(key)

    @property
    def _open(self) -> asyncio.Transport:
        assert self.transport is not None
        return self.transport

    # --- requests -------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Serve the next request, if it is complete."""
        pending, site = self._pending, self.site
        if self.trusted and not self._proxied and not self._unproxied():
            return
        while pending.startswith(b"\r\n"):
            del pending[:2]
        if not pending or self.stage is not Stage.WAITING:
            return
        if self.idle:
            self.idle = False
            if self.web is not None:
                self.due = self.loop.time() + site.settings.head_timeout_s
        method = ""
        try:
            size = head_end(pending, site.limits)
            if not size:
                return
            raw = bytes(pending[:size])
            del pending[:size]
            head = parse_head(raw, site.limits)
            method = head.method
            self._name_request(head)
            self._serve(raw, head)
        except HeadError as error:
            self.refuse(error, method)

    def _unproxied(self) -> bool:
        """Take the PROXY header of a trusted peer off the start; returns whether the request may begin."""
        pending = self._pending
        if not pending.startswith(SIGNATURE[: len(pending)]):
            self._proxied = True
            return True
        if len(pending) < len(SIGNATURE):
            return False
        try:
            header = parse_proxy(pending)
        except HeadError as error:
            self.refuse(error)
            return False
        if header is None:
            return False
        self._proxied = True
        del pending[: header.size]
        if header.address is not None:
            self.address = header.address
            self.trusted = is_trusted(self.address, self.site.trusted)
            if not self.trusted:
                self._count_address()
        return True

    def _serve(self, raw: bytes, head: Head) -> None:
        serve = self.site.paths.get(head.path)
        if serve is not None:
            self._upgrade(raw, head, serve)
        elif head.path == STREAM_PATH:
            self._stream(head)
        elif self.surplus and head.path not in HEALTH_PATHS:
            raise HeadError(429, "rate_limited", "too many connections from this address", RETRY_AFTER)
        else:
            self._pass_on(head)

    def _upgrade(self, raw: bytes, head: Head, serve: Serve) -> None:
        site = self.site
        if site.draining:
            raise HeadError(503, "unavailable", "this gateway is restarting", RETRY_AFTER)
        settings = site.settings
        protocol = Handshake(
            deflate=settings.deflate_bytes_min > 0, max_size=settings.message_bytes_max, logger=quiet
        )
        self._check_origin(head)
        grant = site.access.of_request(head)
        self._open.write(shake(protocol, raw, head, self.request_id))
        self._hand_on(lambda: serve(self, protocol, head, grant))

    def _stream(self, head: Head) -> None:
        """Begin an event stream; to a browser, say in a stream what would end its attempts otherwise."""
        _check_method(head)
        self._check_origin(head)
        try:
            grant = self.site.access.required(head)
            request = self.site.stream_request(self, head, grant)
        except HeadError as error:
            wait = Reconnect.AT_ONCE if self.site.draining else Reconnect.WITH_BACKOFF
            answer = refused_stream(head, error, retry(wait, random_share()), header_line(self.request_id))
            if answer is None:
                raise
            self.site.counters.http_refused += 1
            self._end(answer)
            return
        if head.method == "HEAD":
            self._end(stream_head(head, header_line(self.request_id)))
            return
        self._open.write(stream_head(head, header_line(self.request_id)))
        self._hand_on(lambda: self.site.stream(self, request, grant))

    def _hand_on(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Give the connection to the protocol that `make` returns."""
        transport = self._open
        self.site.intake.hold(self, 0)
        self._enter(Stage.HANDED_ON)
        self.site.unsettled.pop(self, None)
        if self.web is not None:
            self.web.transport = None  # it lives on, and the web server would close it
            self.web.connection_lost(None)
            self.web = None
        self._read_again()
        protocol = make()
        transport.set_protocol(protocol)
        if transport.get_write_buffer_size():  # it told this front, which had nobody to tell
            protocol.pause_writing()
        if self._pending:
            protocol.data_received(bytes(self._pending))
        self._pending.clear()
        if self._ended:
            transport.close()

    def _check_origin(self, head: Head) -> None:
        origins = head.values("origin")
        if len(origins) > 1:
            raise HeadError(400, "bad_request", "a request has one Origin header")
        if not origins:
            return
        host = next(iter(head.values("host")), "")
        scheme = "https" if self._open.get_extra_info("ssl_object") is not None else None
        if self.trusted:
            host = (head.values("x-forwarded-host") or [host])[-1]
            scheme = next(iter(head.values("x-forwarded-proto")), None)
        if not self.site.origins.allow(origins[0], host, scheme):
            self.site.counters.origins_refused += 1
            raise HeadError(403, "forbidden", "pages of this origin may not connect here")

    def overload(self, head: Head, grant: Grant | None) -> CloseCode | None:
        """Count a new client; returns the code to close a WebSocket with if that is one too many."""
        admission, counters = self.site.admission, self.site.counters
        if self.site.client_count() >= admission.websockets_max:
            counters.limit_connections += 1
            return CloseCode.OVERLOADED
        if self.trusted:
            self.address = forwarded_for(head.values("x-forwarded-for"), self.address, self.site.trusted)
            if not is_trusted(self.address, self.site.trusted):
                key = key_of(self.address)
                self.surplus = bool(key and self._count(admission.addresses, key))
                counters.limit_address += self.surplus
        over_token = self._count_token(head, grant)
        origins = head.values("origin")
        over_origin = bool(origins and self._count(admission.origins, origins[0].lower()))
        counters.limit_origin += over_origin
        return CloseCode.RATE_LIMIT if self.surplus or over_token or over_origin else None

    def _count_token(self, head: Head, grant: Grant | None) -> bool:
        """Count a new client by its token; returns whether that has too many."""
        if self.site.access.checks:
            return grant is not None and self._count_grant(grant)
        token = presented_token(head)
        over = bool(token and self._count(self.site.admission.tokens, token))
        self.site.counters.limit_token += over
        return over

    def _count_grant(self, grant: Grant) -> bool:
        """Count the connection by the subject of its first token; returns whether that has too many."""
        key = grant.subject
        if self._counted_token or key is None:
            return False
        self._counted_token = True
        tokens = self.site.admission.tokens
        self._count(tokens, key)
        most = min(tokens.most, grant.connections_max or tokens.most)
        over = tokens.counts[key] > most
        self.site.counters.limit_token += over
        return over

    def verify(self, token: str) -> Grant:
        """Return what a token of this client allows; raises `TokenRefused`."""
        grant = self.site.access.verify(token)
        if self._count_grant(grant):
            raise TokenRefused("rate_limited", "too many connections with this token; close others")
        return grant

    def offend(self) -> None:
        """The WebSocket was closed for its rate."""
        self.site.admission.offend(key_of(self.address))

    def _pass_on(self, head: Head) -> None:
        _check_method(head)
        self.client = self._client(head)
        self.request = head
        self._enter(Stage.ANSWERING)
        self.due = self.loop.time() + self.site.settings.stall_timeout_s
        self._waiting_bytes = 0
        if self.web is None:
            self.web = self.site.web()
            self.web.connection_made(self._open)
        self.web.data_received(head.plain())

    def _client(self, head: Head) -> str | None:
        if not self.trusted:
            return key_of(self.address)
        address = forwarded_for(head.values("x-forwarded-for"), self.address, self.site.trusted)
        return None if is_trusted(address, self.site.trusted) else key_of(address)

    def is_stuck(self, now: float) -> bool:
        """Whether the client stopped reading its answer."""
        stuck_s = now - (self.due - self.site.settings.stall_timeout_s)
        return self.stage is Stage.ANSWERING and self._waiting_bytes > 0 and stuck_s >= STUCK_S

    def answered(self) -> None:
        """The web server's answer was written, and nothing of it waits here."""
        if self.stage is not Stage.ANSWERING:
            return
        self._enter(Stage.WAITING)
        self.request_id = ""
        self.idle = True
        self.due = self.loop.time() + self.site.settings.keepalive_timeout_s
        self._read_again()
        if self._pending:
            self.site.intake.add(self)
        elif self._ended:
            self._open.close()

    def refuse(self, error: HeadError, method: str = "GET") -> None:
        """Answer a request, or what is none, with an error, and end the connection."""
        self.site.counters.http_refused += 1
        if not self.request_id:
            self._name_request(None)
        self._end(error_response(error, method, header_line(self.request_id)))

    def _end(self, answer: bytes) -> None:
        """Write the last answer; end the connection once the client could read it."""
        self._enter(Stage.ENDING)
        self._pending.clear()
        self.due = self.loop.time() + ENDING_S
        transport = self._open
        self._read_again()
        transport.write(answer)
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


def _check_method(head: Head) -> None:
    if head.method not in METHODS:
        allowed = f"Allow: {', '.join(METHODS)}"
        raise HeadError(405, "bad_request", "only GET and HEAD are served", (allowed,))
