"""One client's session: its subscriptions, its time-outs, and all messages other than market data.

It holds no queue; its groups hold the cursors of its subscriptions. It is driven from outside: by requests
(`depthcast.gateway.delivery.request_handler`), by the readiness of its connection (`serve`) and by time
(`check`).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.allowance import Allowance
from depthcast.gateway.delivery.credentials import ANYONE, NOBODY, Credentials, TokenEvent
from depthcast.gateway.delivery.cursor import Cursor, NeedsSnapshot
from depthcast.gateway.delivery.flusher import VISIT_COST_MAX, Flusher
from depthcast.gateway.delivery.sender import Sender
from depthcast.gateway.delivery.subscription_group import (
    ActiveSubscription,
    GroupKind,
    GroupState,
    Siblings,
    SubscriptionGroup,
)
from depthcast.gateway.delivery.writer import Writer
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.listing import Listing
from depthcast.gateway.market.market import Market
from depthcast.gateway.market.step import ViewState
from depthcast.gateway.protocol.messages import UNGROUPED, Encoding, subscribed_message
from depthcast.gateway.protocol.requests import RequestId, Resume
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.settings import GatewaySettings

CHANGES_AT_ONCE: Final = 2
"""A connection may change this many times `subscriptions_max` subscriptions at once."""


class Wildcard(NamedTuple):
    """A subscription to every symbol, later ones included.

    `orders`: with the number of orders at each level.
    """

    depth: int
    interval_ms: int
    in_parts: bool = False
    group_ticks: int = UNGROUPED
    orders: bool = False


class Session:
    """One client.

    - `sender`: its sending half; `groups`: its subscriptions by interval; `subscriptions`: the same by
      symbol.
    - `changes`: the allowance of subscription changes.
    - `credentials`: what its token allows.
    - `unparsable`: messages received that were neither JSON nor msgpack.
    - `rate_limited`: the last messages that exceeded the allowance, none carried out whole between them.
    - `closed`: nothing is carried out or sent any more.
    - `ended`: the close code to end the connection with; nothing more is sent.
    """

    __slots__ = (
        "_drained_bytes", "_moved_at", "_quiet_bytes", "_quiet_since", "_silent_since", "changes",
        "clock_us", "closed", "counters", "credentials", "ended", "flusher", "groups", "market", "name",
        "rate_limited", "sender", "settings", "subscriptions", "unparsable", "wildcard",
    )  # fmt: skip

    def __init__(
        self,
        writer: Writer,
        encoding: Encoding,
        name: str,
        now: float,
        *,
        settings: GatewaySettings,
        market: Market,
        flusher: Flusher,
        counters: GatewayCounters,
        clock_us: Callable[[], int],
        credentials: Credentials = ANYONE,
    ) -> None:
        self.name = name
        self.credentials = credentials
        self.settings = settings
        self.market = market
        self.flusher = flusher
        self.counters = counters
        self.clock_us = clock_us
        self.sender = Sender(writer, encoding, settings.write_buffer_bytes, counters)
        self.subscriptions: dict[str, ActiveSubscription] = {}
        self.groups = Siblings(self.sender)
        self.wildcard: Wildcard | None = None
        self.unparsable = 0
        self.ended: CloseCode | None = None
        self.closed = False
        self.rate_limited = 0
        self.changes = Allowance(
            settings.subscription_changes_per_s,
            max(CHANGES_AT_ONCE * settings.subscriptions_max, settings.subscription_changes_per_s),
            clock_us() / 1e6,
        )
        self._drained_bytes = self._quiet_bytes = 0
        self._quiet_since = self._moved_at = now
        self._silent_since: float | None = now

    # --- sending --------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Send what can be sent now; called after a request and when the connection has drained."""
        sender, groups, flusher = self.sender, self.groups, self.flusher
        if self.ended is not None or sender.writer.paused:
            return
        if sender.credit is None or len(groups) == 1:
            if flusher.serve_groups(groups) >= VISIT_COST_MAX:
                return  # the flusher comes back
        elif sender.credit:
            # The longest-waiting symbol goes first, in whichever group it is.
            for group in groups:
                flusher.split_cursor(group)
        if sender.credit == 0:
            for group in groups:
                group.send_statuses()
        elif not sender.writer.paused:
            flusher.serve_oldest_first(groups)

    def add_credit(self, messages: int) -> None:
        """Allow `messages` more snapshots and deltas; the first call begins credit mode."""
        if self.sender.credit is None:
            self.leave_fast_path()
        self.sender.add_credit(messages)

    def leave_fast_path(self) -> None:
        """Check readiness before each write from now on, because the connection is full or in credit mode."""
        for group in self.groups:
            self.flusher.leave_fast_path(group)

    # --- subscriptions --------------------------------------------------------------------------------------

    def subscribe(
        self,
        listing: Listing,
        depth: int,
        interval_ms: int,
        request_id: RequestId | None = None,
        resume: Resume | None = None,
        *,
        in_parts: bool = False,
        group_ticks: int = UNGROUPED,
        orders: bool = False,
    ) -> int:
        """Subscribe to one symbol, replacing any earlier subscription; `limit` comes first.

        Returns how many changes of the book were computed again to find the state that the client offers.

        `in_parts`: large snapshots are sent in parts. `orders`: with the number of orders at each level;
        `Listing.without_orders` comes first.
        """
        symbol = listing.instrument.symbol
        self._drop(symbol)
        self._silent_since = None
        channel = self.market.channel(listing, depth, group_ticks, orders=orders)
        replayed = 0
        resumed = None if resume is None else channel.state_of(resume)
        if resume is not None and resumed is None:
            replayed = self.market.begin_earlier(listing, channel, resume.seq)
            resumed = channel.state_of(resume) if replayed else None
        if (
            resumed is not None
            and channel.head > resumed.broadcast
            and listing.was_doubted(resumed.broadcast)
        ):
            resumed = None  # its view may be wrong, and what it missed may come late
        self.counters.resumed += resumed is not None
        seq = resumed.seq if resumed else None
        answer = subscribed_message(
            listing.instrument, depth, interval_ms, seq, group_ticks=group_ticks, orders=orders
        )
        self.sender.send(answer, request_id)
        cursor = self._cursor(channel, resumed)
        if listing.stale and not isinstance(cursor, NeedsSnapshot):
            self.sender.send(self.market.status_message(listing))
        group = self._group(GroupKind(interval_ms, in_parts))
        self.flusher.subscribe(group, channel, cursor)
        self.groups.resized(group)
        self.market.hold(channel)
        self.subscriptions[symbol] = ActiveSubscription(channel, group)
        return replayed

    def _cursor(self, channel: Channel, resumed: ViewState | None) -> Cursor:
        """The first cursor of a new subscription: at a resumed state, or before a snapshot."""
        if resumed is not None:
            return resumed.broadcast
        number = self.market.number
        return number if channel.view is None else NeedsSnapshot(number)

    def _group(self, kind: GroupKind) -> SubscriptionGroup:
        with_room = self.groups.with_room.get(kind)
        if with_room:
            return next(iter(with_room))
        group = SubscriptionGroup(
            self.sender, kind.interval_ms, self.market, self.groups, in_parts=kind.in_parts
        )
        self.groups.add(group)
        self.flusher.add(group)
        return group

    def limit(
        self, listing: Listing, depth: int, group_ticks: int = UNGROUPED, *, orders: bool = False
    ) -> str | None:
        """Why `subscribe` would exceed a limit; None if it would not."""
        symbol, most = listing.instrument.symbol, self.settings.subscriptions_max
        if symbol not in self.subscriptions and len(self.subscriptions) >= most:
            self.counters.limit_subscriptions += 1
            return (
                f"{symbol} would be more than {most} subscriptions; "
                "unsubscribe others, or open another connection"
            )
        if self.market.too_deep(listing, depth, group_ticks):
            self.counters.limit_full_depth += 1
            return too_deep_text(listing, self.settings.full_depth_max, group_ticks)
        if not self._room_for_group(listing, group_ticks):
            return self._no_room_for_group(listing, group_ticks)
        if not self._room_for(listing, depth, group_ticks, orders=orders):
            self.counters.limit_views += 1
            return (
                f"{symbol} at depth {depth} would be more than {self.settings.views_max} views of this "
                "gateway; subscribe with a depth that others use, or try again later"
            )
        return None

    def _room_for(self, listing: Listing, depth: int, group_ticks: int, *, orders: bool) -> bool:
        if self.market.room_for(listing, depth, group_ticks, orders=orders):
            return True
        self.flusher.make_room()
        return self.market.room_for(listing, depth, group_ticks, orders=orders)

    def _room_for_group(self, listing: Listing, group_ticks: int) -> bool:
        if self.market.room_for_group(listing, group_ticks):
            return True
        self.flusher.make_room()
        return self.market.room_for_group(listing, group_ticks)

    def _no_room_for_group(self, listing: Listing, group_ticks: int) -> str:
        symbol, settings = listing.instrument.symbol, self.settings
        if self.market.groupings.full(listing):
            self.counters.limit_groups_per_symbol += 1
            kept = f"{settings.groups_per_symbol_max} groups of {symbol}"
        else:
            self.counters.limit_groups += 1
            kept = f"{settings.groups_max} grouped books"
        return (
            f"{symbol} grouped by {group_ticks} ticks would be more than the {kept} that this gateway keeps; "
            "subscribe with a group that others use, or try again later"
        )

    # --- how often subscriptions may change -----------------------------------------------------------------

    def refill_changes(self) -> None:
        """Add to the allowance of subscription changes what came since the last call."""
        self.changes.refill(self.clock_us() / 1e6)

    def unsubscribe(
        self, symbol: str, request_id: RequestId | None = None, reason: str | None = None
    ) -> bool:
        """End the subscription to `symbol`; False if there is none. `reason`: why the server ends it."""
        if not self._drop(symbol):
            return False
        message = {"type": "unsubscribed", "symbol": symbol}
        if reason is not None:
            message["reason"] = reason
        self.sender.send(message, request_id)
        return True

    def end_full_depth(self, listing: Listing, group_ticks: int = UNGROUPED) -> None:
        """End a subscription that needs the whole book, with the error `limit`: it has too many levels."""
        symbol = listing.instrument.symbol
        text = too_deep_text(listing, self.settings.full_depth_max, group_ticks)
        self.sender.refuse("limit", text, None, symbol)
        self.unsubscribe(symbol, reason="limit")

    def end_forbidden(self, symbol: str, refusal: str) -> None:
        """End a subscription that a new token does not allow, with an error."""
        self.sender.refuse("forbidden", refusal, None, symbol)
        self.unsubscribe(symbol, reason="forbidden")

    def end_orders(self, symbol: str, refusal: str) -> None:
        """End a subscription with the number of orders, which nobody says any more, with an error."""
        self.sender.refuse("no_orders", refusal, None, symbol)
        self.unsubscribe(symbol, reason="no_orders")

    def _drop(self, symbol: str) -> bool:
        subscription = self.subscriptions.pop(symbol, None)
        if subscription is None:
            return False
        channel, group = subscription
        self.flusher.unsubscribe(group, channel)
        self.market.release(channel)
        if len(group):
            self.groups.resized(group)
        else:
            self.flusher.remove(group)
            self.groups.remove(group)
        return True

    def close(self) -> None:
        """Send nothing more, because the connection is gone or about to end. Repeated calls do nothing."""
        self.closed = True
        self.credentials = NOBODY  # it refers to the connection
        subscriptions, self.subscriptions = self.subscriptions, {}
        self.flusher.close(self.groups, subscriptions)
        self.groups.forget()
        self.groups = Siblings(self.sender)

    # --- time -----------------------------------------------------------------------------------------------

    def check(self, now: float) -> CloseCode | None:
        """Send a heartbeat if one is due at `now` (monotonic s); returns the close code after a time-out."""
        event = self.credentials.event(now, self.clock_us)
        if event is not None and self._token_ends(event):
            return CloseCode.UNAUTHORIZED
        written, all_synced = self.sender.bytes_written, len(self.groups) > 0
        for group in self.groups:
            written += group.bytes_on_fast_path()
            all_synced = all_synced and group.state is GroupState.SYNCED
        if all_synced:
            # Synced means that nothing is waiting; asking the writer would cost more than the rest of this
            # method.
            self._moved_at = now
        elif self._stalls(written, now):
            return CloseCode.TOO_SLOW
        self._beat(written, now)
        silent_since = self._silent_since
        if silent_since is not None and now - silent_since >= self.settings.subscribe_timeout_s:
            return CloseCode.SILENT
        return None

    def _token_ends(self, event: TokenEvent) -> bool:
        """Say what there is to say of the token; returns whether the session ends for it."""
        grant, counters = self.credentials.grant, self.counters
        if event is TokenEvent.EXPIRING:
            assert grant is not None
            self.sender.send({"type": "expiring", "expires": grant.expires_us})
            return False
        counters.token_missing += event is TokenEvent.MISSING
        counters.token_revoked += event is TokenEvent.REVOKED
        counters.token_expired += event is TokenEvent.EXPIRED
        self.sender.refuse("unauthorized", event.value)
        return True

    def _stalls(self, written: int, now: float) -> bool:
        """Whether waiting data has not shrunk for too long."""
        buffered = self.sender.writer.buffered()
        drained = written - buffered
        if not buffered or drained > self._drained_bytes:
            self._moved_at = now
        self._drained_bytes = drained
        return now - self._moved_at >= self.settings.stall_timeout_s

    def _beat(self, written: int, now: float) -> None:
        """Send a heartbeat if nothing was written for `heartbeat_ms`."""
        sender = self.sender
        if written != self._quiet_bytes:
            self._quiet_bytes, self._quiet_since = written, now
        elif (now - self._quiet_since) * 1000 >= self.settings.heartbeat_ms and not sender.writer.paused:
            self.counters.heartbeats += 1
            before = sender.bytes_written
            sender.send({"type": "heartbeat", "ts": self.clock_us()})
            self._quiet_bytes, self._quiet_since = written + sender.bytes_written - before, now


def too_deep_text(listing: Listing, most: int, group_ticks: int = UNGROUPED) -> str:
    """The error text if a full or grouped book has more levels than the limit."""
    symbol, levels = listing.instrument.symbol, listing.levels()
    held = f"book of {symbol} has {levels} levels on a side, more than the {most}"
    if group_ticks != UNGROUPED:
        return f"the {held} that are grouped; subscribe without group, with a depth of up to 1000"
    return f"the full {held} served; subscribe with a depth of up to 1000"
