"""The gateway without its input and output: hub, flusher and sessions, and what one does to the others.

The runtime hands in entries, catalogs, connections, messages and times; everything that is to be sent is written to
the sessions' outlets.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.flusher import Flusher
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.delivery.writer import Outlet
from depthcast.gateway.market.market import Hub, Upstream
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.instruments import Instrument
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.reader import AppliedEntry
from depthcast.shared.settings import GatewaySettings

CLIENT_LIMITS: Final = {
    "subscriptions_max": "subscriptions_max",
    "full_depth_max": "full_depth_max",
    "interval_max_ms": "interval_max_ms",
    "message_bytes_max": "message_bytes_max",
    "wildcard": "wildcard",
    "stall_timeout": "stall_timeout_s",
    "subscribe_timeout": "subscribe_timeout_s",
    "stale_ms": "stale_ms",
}
"""Name in the `limits` of `welcome` → setting."""


class Core:
    """One gateway process's state.

    `clock_us` gives µs since 1970 for messages; `alarm(interval_ms)` asks for `flusher.flush_grid` at the grid's next time.
    """

    def __init__(
        self, settings: GatewaySettings, clock_us: Callable[[], int], alarm: Callable[[int], None]
    ) -> None:
        self.settings = settings
        self.clock_us = clock_us
        self.counters = GatewayCounters()
        self.hub = Hub(
            self.counters,
            history_deltas=settings.history_deltas,
            deflate_bytes_min=settings.deflate_bytes_min,
            full_depth_max=settings.full_depth_max,
            stale_ms=settings.stale_ms,
            channel_linger_s=settings.channel_linger_s,
        )
        self.flusher = Flusher(self.hub, alarm)
        self.sessions: dict[Session, None] = {}

    # --- connections ------------------------------------------------------------------------------------------------

    def open(self, outlet: Outlet, encoding: Encoding, name: str, now: float) -> Session:
        """A client has connected: it is welcomed."""
        session = Session(self, outlet, encoding, name, now)
        self.sessions[session] = None
        session.send(
            {
                "type": "welcome",
                "protocol": PROTOCOL,
                "session": name,
                "heartbeat_ms": self.settings.heartbeat_ms,
                "limits": self.limits(),
            }
        )
        return session

    def close(self, session: Session) -> None:
        """Forget a session; nothing is sent to it any more. Harmless if done twice."""
        self.sessions.pop(session, None)
        session.close()

    def limits(self) -> dict[str, Any]:
        """The limits that concern a client, by their names on the wire."""
        return {name: getattr(self.settings, setting) for name, setting in CLIENT_LIMITS.items()}

    # --- the market -------------------------------------------------------------------------------------------------

    def list_instruments(self, instruments: Mapping[str, Instrument]) -> tuple[list[str], list[str]]:
        """The catalog as it is now: subscriptions of symbols that went end, wildcards get those that came."""
        added, removed = self.hub.list_instruments(instruments)
        if not added and not removed:
            return added, removed
        for session in tuple(self.sessions):
            for symbol in removed:
                session.unsubscribe(symbol, reason="removed")
            if session.wildcard is not None:
                for symbol in added:
                    session.subscribe(self.hub.listings[symbol], *session.wildcard)
            session.serve()
        return added, removed

    def apply(self, upstream: Upstream, entry: AppliedEntry, now: float) -> None:
        """What was read of one partition, while its replicas stand right there; `tick` sends it."""
        self.hub.apply(upstream, entry, now)

    def tick(self, now: float) -> bool:
        """Send what has happened since the last tick to everyone who can take it; whether there was anything."""
        self.hub.judge(now)
        if self.hub.overgrown:
            self._end_overgrown()
        anything = bool(self.hub.dirty) or self.flusher.behind_on_states()
        if anything:
            self.flusher.tick()
        return anything

    def _end_overgrown(self) -> None:
        for channel in self.hub.overgrown:
            self.counters.limit_full_depth += 1
            for session in tuple(self.sessions):
                subscription = session.subscriptions.get(channel.symbol)
                if subscription is not None and subscription.channel is channel:
                    session.end_full_depth(self.hub.listings[channel.symbol])
                    session.serve()
        self.hub.overgrown.clear()

    # --- time -------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> list[tuple[Session, CloseCode]]:
        """Heartbeats, time-outs and idle channels; returns the sessions to close, and why."""
        self.hub.let_go(now)
        closing = []
        for session in tuple(self.sessions):
            code = session.check(now)
            if code is not None:
                self.counters.stalls += code is CloseCode.TOO_SLOW
                self.counters.silent += code is CloseCode.SILENT
                closing.append((session, code))
        return closing
