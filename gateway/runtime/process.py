"""One gateway process: serves a listening socket, follows Redis, keeps time, and ends cleanly."""

import asyncio
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.credentials import ANYONE, Credentials
from depthcast.gateway.delivery.flusher import AT_ONCE
from depthcast.gateway.protocol.budget import Budget
from depthcast.gateway.protocol.grant import Grant
from depthcast.gateway.protocol.http_head import Head, HeadError, HeadLimits
from depthcast.gateway.protocol.negotiation import Handshake
from depthcast.gateway.protocol.requests import Subscribe
from depthcast.gateway.runtime import metrics
from depthcast.gateway.runtime.access import Access
from depthcast.gateway.runtime.admission import Admission, descriptors
from depthcast.gateway.runtime.certificates import Certificates
from depthcast.gateway.runtime.connection import Connection
from depthcast.gateway.runtime.drain import Drain
from depthcast.gateway.runtime.event_stream import RETRY_AFTER, EventStream, overloaded, stream_request
from depthcast.gateway.runtime.front import WEBSOCKET_PATH, Front, Serve
from depthcast.gateway.runtime.http import Endpoints, web_server_log
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.market_reader import MarketReader
from depthcast.gateway.runtime.memory import GivingBack, keep_large_apart
from depthcast.gateway.runtime.registration import Registration
from depthcast.gateway.runtime.submission import Submission
from depthcast.gateway.runtime.tls_transport import TlsTransport
from depthcast.gateway.runtime.websocket import WebSocket
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.errors import SettingsError
from depthcast.shared.gateway_entry import GatewayEntry
from depthcast.shared.networks import parse_networks
from depthcast.shared.origins import Origins
from depthcast.shared.runtime import traces
from depthcast.shared.runtime.admin import at_fault
from depthcast.shared.runtime.garbage_collection import (
    collect_garbage_less_often,
    collect_old_garbage_only_when_asked,
)
from depthcast.shared.runtime.redis import connect
from depthcast.shared.runtime.server_checks import ServerChecks
from depthcast.shared.runtime.stop import Stop
from depthcast.shared.settings import GatewaySettings, variable
from depthcast.shared.version import VERSION

logger = logging.getLogger(__name__)

BACKLOG: Final = 4096
NEVER_S: Final = 1e8
"""The web server ends no idle connection; the front does."""
SWEEP_S_LEAST: Final = 0.01
SWEEP_S_MOST: Final = 0.5


def listening_socket(settings: GatewaySettings, port: int, *, shared: bool) -> socket.socket:
    """A bound socket for the gateway's address, optionally `shared` by workers; raises `SettingsError`.

    Its send buffer is small, and accepted sockets inherit that. A large one would hide how far behind a
    client is.
    """
    bound = None
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        if bound is not None:
            bound.close()
        raise SettingsError(
            variable(at_fault(error)), f"{settings.host}:{port}", f"cannot be served on: {error}"
        ) from error
    return bound


def http_address(bound: socket.socket, *, tls: bool = False) -> str:
    """`http://HOST:PORT` of a bound socket, with `tls` `https://HOST:PORT`."""
    host, port = bound.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def known_address(bound: socket.socket, *, tls: bool = False) -> str:
    """The address at which others may reach a bound socket, as far as this host knows."""
    address = http_address(bound, tls=tls)
    for everywhere in ("0.0.0.0", "[::]"):  # noqa: S104 - compared, not bound
        address = address.replace(f"//{everywhere}:", f"//{socket.gethostname()}:")
    return address


class GatewayProcess:
    """Everything that one process runs. `drain`: how it ends. `worker`: its number among several.

    `name`: one that no other process has. `certificates`: None without TLS.
    """

    def __init__(self, settings: GatewaySettings, worker: int | None = None) -> None:
        self.settings = settings
        self.certificates = Certificates.of(settings)
        self.worker = worker
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.address = ""
        self.loop = asyncio.get_running_loop()
        self.submission = Submission(settings.submit)
        self.core = Core(settings, clock_us, self._alarm, self.submission.batch)
        self.counters = self.core.counters
        self.connections: dict[Connection, None] = {}
        self.streams: dict[EventStream, None] = {}
        self.intake = Intake(self.loop, settings)
        self.limits = HeadLimits(
            settings.request_line_bytes_max, settings.head_bytes_max, settings.headers_max
        )
        self.paths: dict[str, Serve] = {WEBSOCKET_PATH: self._serve}
        self.fronts: dict[Front, None] = {}
        self.unsettled: dict[Front, None] = {}
        self.waiting: dict[Front, None] = {}
        self.access = Access(settings, self.counters, connect, self.core.revoke)
        self.admission = Admission(settings, descriptors())
        self.memory = GivingBack()
        self.trusted = parse_networks(settings.trusted_proxies)
        self.origins = Origins(settings.origins)
        self.drain = Drain(settings, self.clients, self.counters)
        self._began = self.loop.time()
        self.metrics = metrics.Metrics(worker)
        self.market_reader = MarketReader(
            self.core,
            self.metrics.flush.observe,
            observe_stage=self.metrics.stages.observe,
            traces=traces.start("gateway", settings.prefix, settings.trace_share),
        )
        self.checks = ServerChecks(connect, settings.redis_url, clock_us)
        self.registration = Registration(connect, settings, self.describe)

    async def run(
        self, bound: socket.socket, stop: Stop, on_serving: Callable[[], None] = lambda: None
    ) -> None:
        """Serve on `bound` until `stop` is set, then drain; raises any error of the market reader."""
        runner = web.AppRunner(
            Endpoints(self).application(),
            access_log=None,
            logger=web_server_log,
            shutdown_timeout=1.0,
            keepalive_timeout=NEVER_S,
        )
        await runner.setup()
        assert runner.server is not None
        self._web = runner.server
        bound.setblocking(False)
        self.address = known_address(bound, tls=self.certificates is not None)
        server = await self.loop.create_server(self._accept, sock=bound, backlog=BACKLOG)
        collect_garbage_less_often()
        collect_old_garbage_only_when_asked()
        keep_large_apart()
        on_serving()
        tasks = [
            asyncio.create_task(job)
            for job in (
                self.market_reader.run(),
                self._sweep(),
                self._publish(),
                self.checks.run(),
                self.registration.run(),
                self.access.run(),
                *([self.certificates.watch()] if self.certificates is not None else ()),
            )
        ]
        stopped = asyncio.create_task(stop.wait())
        code = CloseCode.GOING_AWAY
        try:
            await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
            code = CloseCode.RESTARTING if stopped.done() else code
        finally:
            await self.drain.run(code, stop.at_once)
            server.close()
            for task in (stopped, *tasks):
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()
            await self._hang_up()
        for problem in ended:
            if isinstance(problem, Exception):
                raise _root(problem)

    def _accept(self) -> asyncio.Protocol:
        """Make the protocol of a new TCP connection."""
        front = Front(self)
        if self.certificates is None:
            return front
        return TlsTransport(front, self.certificates.context, self.intake, self.counters)

    def web(self) -> web.RequestHandler:
        """Return the web server's protocol for one connection."""
        return self._web()

    def _serve(self, front: Front, protocol: Handshake, head: Head, grant: Grant | None) -> Connection:
        assert front.transport is not None
        connection = Connection(self.core, protocol, front.transport, self.intake)
        connection.on_end, connection.about = front.gone, front.about
        refusal = front.overload(head, grant)
        if refusal is not None:
            connection.refuse(refusal)
            return connection
        self.connections[connection] = None
        connection.on_end = lambda: self._ended(connection, front)
        connection.on_offence = front.offend
        connection.serve(self._credentials(front, grant))
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("a client has come", extra=connection.shown())
        return connection

    def _credentials(self, front: Front, grant: Grant | None) -> Credentials:
        """What a new client may do, which its later tokens may change."""
        if not self.access.checks:
            return ANYONE
        missing_at, warning_s = self.loop.time() + self.settings.auth_timeout_s, self.settings.token_warning_s
        return Credentials(grant, front.verify, missing_at=missing_at, warning_s=warning_s)

    def _ended(self, connection: Connection, front: Front) -> None:
        self.connections.pop(connection, None)
        _has_gone(connection)
        front.gone()

    @property
    def draining(self) -> bool:
        """Whether it takes no new clients, because it will end."""
        return self.drain.since is not None

    def clients(self) -> tuple[Connection | EventStream, ...]:
        """All that is served: WebSockets and event streams."""
        return (*self.connections, *self.streams)

    def client_count(self) -> int:
        """How many WebSockets and event streams are served."""
        return len(self.connections) + len(self.streams)

    def stream_request(self, front: Front, head: Head, grant: Grant) -> Subscribe:
        """Return what a request for an event stream subscribes to; raises `HeadError` if it is not served."""
        if self.draining:
            raise HeadError(503, "unavailable", "this gateway is restarting", RETRY_AFTER)
        request = stream_request(self.core, head, grant)
        refusal = front.overload(head, grant)
        if refusal is not None:
            raise overloaded(refusal)
        return request

    def stream(self, front: Front, request: Subscribe, grant: Grant) -> EventStream:
        """Serve an event stream."""
        assert front.transport is not None
        credentials = self._credentials(front, grant)
        stream = EventStream(self.core, front.transport, self.intake, request, credentials)
        self.streams[stream] = None
        stream.on_end = lambda: self._stream_ended(stream, front)
        stream.about = front.about
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("a client has come", extra=stream.shown())
        return stream

    def _stream_ended(self, stream: EventStream, front: Front) -> None:
        self.streams.pop(stream, None)
        _has_gone(stream)
        front.gone()

    def make_room(self) -> bool:
        """End the HTTP connection that has waited longest for its client to read; False if none is stuck."""
        now = self.loop.time()
        stuck = [front for front in self.unsettled if front.is_stuck(now)]
        if stuck:
            self.counters.limit_output_buffer += 1
            min(stuck, key=lambda front: front.due).drop()
        return bool(stuck)

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """For `/readyz`: ready once all books have been live, until the process drains."""
        market = self.core.market
        body: dict[str, Any] = {
            "draining": self.draining,
            "symbols": len(market.listings),
            "stale": market.stale_count(),
            "silence_ms": round(self.silence_s() * 1000),
        }
        if failing := self.checks.failing():
            body["redis"] = failing
        return market.was_live and not self.draining, body

    def silence_s(self) -> float:
        """Age of the newest entry applied, of the quietest partition."""
        now, since = self.loop.time(), self.loop.time() - self._began
        ages = [upstream.freshness.age_s(now) for upstream in self.core.market.upstreams]
        return max((since if age is None else age for age in ages), default=since)

    def input_lag_ms(self) -> int:
        """Longest input lag of a partition."""
        return max((upstream.freshness.lag_ms or 0 for upstream in self.core.market.upstreams), default=0)

    def describe(self) -> GatewayEntry:
        """What Redis lists of this process."""
        market = self.core.market
        return GatewayEntry(
            self.name,
            VERSION,
            self.address,
            self.worker,
            ready=market.was_live and not self.draining,
            draining=self.draining,
            clients=self.client_count(),
            books=len(market.listings),
            stale=market.stale_count(),
            silence_ms=round(self.silence_s() * 1000),
            lag_ms=self.input_lag_ms(),
            uptime_ms=round((self.loop.time() - self._began) * 1000),
            failing=tuple(self.checks.failing()),
            replica_lag_ms={
                str(number): client.lag_ms
                for number, client in self.market_reader.replica_clients.items()
                if client.at_replica
            },
        )

    async def _hang_up(self) -> None:
        """End what is left of TCP connections."""
        for front in tuple(self.fronts):
            if front.transport is not None:
                front.transport.abort()
        await asyncio.sleep(0)

    # --- time -----------------------------------------------------------------------------------------------

    def _alarm(self, interval_ms: int) -> None:
        if interval_ms == AT_ONCE:
            self.loop.call_soon(self._flush_grid, interval_ms)
            return
        interval_s = interval_ms / 1000
        due = (math.floor(self.loop.time() / interval_s) + 1) * interval_s
        self.loop.call_at(due, self._flush_grid, interval_ms)

    def _flush_grid(self, interval_ms: int) -> None:
        with self.metrics.flush.time():
            self.core.flusher.flush_grid(interval_ms)

    async def _sweep(self) -> None:
        settings = self.settings
        shortest_s = min(
            settings.heartbeat_ms / 1000,
            settings.stall_timeout_s,
            settings.subscribe_timeout_s,
            settings.auth_timeout_s,
            settings.head_timeout_s,
            settings.keepalive_timeout_s,
            settings.message_timeout_s,
        )
        period_s = min(max(shortest_s / 10, SWEEP_S_LEAST), SWEEP_S_MOST)
        while True:
            await asyncio.sleep(period_s)
            now = self.loop.time()
            for front in tuple(self.unsettled):
                front.sweep(now)
            for holder in tuple(self.intake.budget.held):
                if isinstance(holder, WebSocket):
                    holder.sweep(now)
            self._bound_output()
            self.memory.observe(self.loop.time())
            self.admission.forget(now)
            closing = dict(self.core.sweep(now))
            if closing:
                for client in self.clients():
                    if client.session in closing:
                        client.close(closing[client.session])

    def _bound_output(self) -> None:
        """Disconnect the clients that left most unread, if it is too much for all together."""
        unread: Budget[asyncio.Transport] = Budget(self.settings.output_buffer_bytes_max)
        transports = [client.transport for client in self.clients() if not client.writer.clear]
        transports += [front.transport for front in self.unsettled if front.transport is not None]
        excess = [unread.hold(transport, transport.get_write_buffer_size()) for transport in transports]
        if any(excess):
            for transport in unread.largest():
                self.counters.limit_output_buffer += 1
                transport.abort()

    async def _publish(self) -> None:
        while True:
            self.publish_metrics()
            await asyncio.sleep(metrics.PERIOD_S)

    def publish_metrics(self) -> None:
        """Update the metrics."""
        core, reader, published = self.core, self.market_reader, self.metrics
        published.connections.set(len(self.connections))
        published.draining.set(self.draining)
        published.event_streams.set(len(self.streams))
        published.tcp_connections.set(len(self.fronts))
        published.input_buffered.set(self.intake.budget.total)
        published.subscriptions.set(sum(len(session.subscriptions) for session in core.sessions))
        published.book_history.set(core.market.histories.bytes)
        published.channels.set(core.market.channel_count)
        published.groups.set(core.market.groupings.count)
        published.stale_symbols.set(core.market.stale_count())
        published.silence.set(self.silence_s())
        published.input_lag.set(self.input_lag_ms() / 1000)
        published.followed.set(core.market.followed_count())
        published.read_partitions.set(sum(not follower.resting for follower in reader.followers.values()))
        replicas = (listing.replica for listing in core.market.followed())
        published.input_age.set(core.market.input_ages.most_ms(replicas) / 1000)
        keys_s, revoked_s = self.access.failing_s(self.loop.time())
        published.token_keys_failing.set(keys_s)
        published.revocations_failing.set(revoked_s)
        published.certificate_end.set(self.certificates.ends_at if self.certificates is not None else 0)
        core.counters.limit_gateways = self.registration.left_out
        self.submission.check()
        published.io_uring.set(self.submission.by_ring)
        published.publish(
            core.counters,
            {
                "resyncs": sum(follower.resyncs for follower in reader.followers.values()),
                "redis_troubles": sum(follower.outages for follower in reader.followers.values()),
                "gaps": reader.gaps,
                "digest_mismatches": reader.mismatches,
                "registration_failures": self.registration.failures,
                "io_uring_failures": self.submission.failures,
                "tls_reload_failures": self.certificates.failures if self.certificates is not None else 0,
            },
        )
        published.publish_redis(self.checks.problems)
        published.publish_replicas(reader.replica_clients)


def clock_us() -> int:
    """µs since 1970."""
    return time.time_ns() // 1000


def _has_gone(client: Connection | EventStream) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("a client has gone", extra={**client.shown(), "code": client.closing})


def _root(problem: Exception) -> Exception:
    """The first error inside nested exception groups."""
    while isinstance(problem, ExceptionGroup):
        problem = problem.exceptions[0]
    return problem
