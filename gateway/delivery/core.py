"""The gateway without its input and output: connects market, flusher and sessions.

The runtime passes in entries, catalogs, connections, messages and times; output goes to the sessions'
writers.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.announcements import Announcements
from depthcast.gateway.delivery.credentials import ANYONE, Credentials
from depthcast.gateway.delivery.fan_out import Batch
from depthcast.gateway.delivery.flusher import Flusher
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.delivery.writer import Writer
from depthcast.gateway.market.market import Market, Upstream
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.instruments import Instrument
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.reader import AppliedEntry, PartitionReader, Written
from depthcast.shared.revocation import Revoked
from depthcast.shared.settings import GatewaySettings

CLIENT_LIMITS: Final = {
    "subscriptions_max": "subscriptions_max",
    "full_depth_max": "full_depth_max",
    "part_levels_max": "part_levels_max",
    "interval_max_ms": "interval_max_ms",
    "message_bytes_max": "message_bytes_max",
    "wildcard": "wildcard",
    "stall_timeout": "stall_timeout_s",
    "subscribe_timeout": "subscribe_timeout_s",
    "stale_ms": "stale_ms",
    "subscription_changes_per_s": "subscription_changes_per_s",
    "messages_per_s": "messages_per_s",
    "input_bytes_per_s": "input_bytes_per_s",
    "input_lag_max_ms": "input_lag_max_ms",
}
"""Key in the `limits` of `welcome` → name of the setting."""

PARTS_OF_OUTPUT: Final = 4
"""Snapshots that clients are being sent in parts take at most this part of `output_buffer_bytes_max`."""


class Core:
    """The whole state of one gateway process. `limits`: what applies to a client, by the names in `welcome`.

    `clock_us` returns µs since 1970 for messages; `alarm(interval_ms)` requests a `flusher.flush_grid` at the
    next grid time; `batch` takes what cohorts send.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock_us: Callable[[], int],
        alarm: Callable[[int], None],
        batch: Batch | None = None,
    ) -> None:
        self.settings = settings
        self.clock_us = clock_us
        self.counters = GatewayCounters()
        self.market = Market(
            self.counters,
            history_deltas=settings.history_deltas,
            history_deltas_total=settings.history_deltas_total,
            deflate_bytes_min=settings.deflate_bytes_min,
            part_levels_max=settings.part_levels_max,
            parts_bytes_max=settings.output_buffer_bytes_max // PARTS_OF_OUTPUT,
            full_depth_max=settings.full_depth_max,
            stale_ms=settings.stale_ms,
            input_lag_max_ms=settings.input_lag_max_ms,
            input_age_max_ms=settings.input_age_max_ms,
            channel_linger_s=settings.channel_linger_s,
            channels_max=settings.views_max,
            groups_max=settings.groups_max,
            groups_per_symbol_max=settings.groups_per_symbol_max,
            book_history_s=settings.book_history_s,
            book_history_bytes_max=settings.book_history_bytes_max,
            follow_everything=settings.follow == "all",
            follow_linger_s=settings.follow_linger_s,
        )
        self.flusher = Flusher(self.market, alarm, batch)
        self.sessions: dict[Session, None] = {}
        self.announcements = Announcements(self.market, self.flusher, self.sessions)
        self.flusher.chores.append(self.announcements)
        self.limits: dict[str, Any] = {
            name: getattr(settings, setting) for name, setting in CLIENT_LIMITS.items()
        }

    # --- connections ----------------------------------------------------------------------------------------

    def open(
        self, writer: Writer, encoding: Encoding, name: str, now: float, credentials: Credentials = ANYONE
    ) -> Session:
        """Start the session of a new client and send `welcome`."""
        session = Session(
            writer,
            encoding,
            name,
            now,
            settings=self.settings,
            market=self.market,
            flusher=self.flusher,
            counters=self.counters,
            clock_us=self.clock_us,
            credentials=credentials,
        )
        self.sessions[session] = None
        welcome = {
            "type": "welcome",
            "protocol": PROTOCOL,
            "session": name,
            "heartbeat_ms": self.settings.heartbeat_ms,
            "limits": self.limits,
        }
        session.sender.send(welcome | _auth(credentials))
        return session

    def revoke(self, revoked: Revoked) -> None:
        """End the sessions whose tokens are revoked now, at the next `sweep`."""
        for session in self.sessions:
            grant = session.credentials.grant
            if grant is not None and grant.is_revoked(revoked):
                session.credentials.revoked = True

    def close(self, session: Session) -> None:
        """End a session; nothing more is sent to it. Repeated calls do nothing."""
        self.sessions.pop(session, None)
        session.close()

    # --- the market -----------------------------------------------------------------------------------------

    def list_instruments(self, instruments: Mapping[str, Instrument]) -> tuple[list[str], list[str]]:
        """Take the current catalog; returns the symbols added and removed.

        Subscriptions to removed symbols end, and wildcard subscriptions are extended to added ones: at once,
        or in later turns of the event loop if they are many.
        """
        added, removed = self.market.list_instruments(instruments)
        if added or removed:
            self.announcements.add(added)
            self.flusher.visit_due()
        return added, removed

    def apply(self, upstream: Upstream, entry: AppliedEntry, now: float) -> None:
        """Apply one entry of a partition, while its replicas are exactly at this entry; `tick` sends it."""
        self.market.apply(upstream, entry, now)

    def adopt(
        self,
        partition: int,
        beside: PartitionReader,
        symbols: Collection[str],
        now: float,
        written: Written | None = None,
    ) -> None:
        """Follow symbols that were taken up, while `beside` is where the partition's reader is."""
        self.market.adopt(partition, beside, symbols, now, written)

    def tick(self, now: float) -> bool:
        """Send the changes since the last tick to all ready clients; returns whether there were any."""
        self.market.update_statuses(now)
        self.market.end_overgrown()
        anything = bool(self.market.changed or self.announcements) or self.flusher.statuses_unsent()
        if anything:
            self.flusher.tick()
        return anything

    # --- time -----------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> list[tuple[Session, CloseCode]]:
        """Send due heartbeats and drop what is idle; returns the sessions to close, with the close code."""
        self.market.drop_idle_channels(now)
        self.market.unfollow_idle(now)
        self.market.demand.wake()  # who has waited too long does not wait any more
        closing = []
        for session in tuple(self.sessions):
            code = session.check(now)
            if code is not None:
                self.counters.stalls += code is CloseCode.TOO_SLOW
                self.counters.silent += code is CloseCode.SILENT
                closing.append((session, code))
        return closing


def _auth(credentials: Credentials) -> dict[str, Any]:
    """What `welcome` says of tokens; nothing where none are taken."""
    if credentials.grant is None:
        return {"auth": "required"}
    expires_us = credentials.grant.expires_us
    return {} if expires_us is None else {"auth": "token", "expires": expires_us}
