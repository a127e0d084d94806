"""One client's session: its subscriptions, its credit, and what it is told beside its books.

It holds no queue; how far each subscription was sent is in its lanes. It is driven from outside: by requests
(`depthcast.gateway.delivery.request_handler`), by the readiness of its transport (`serve`) and by time (`check`).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from depthcast.gateway.delivery.cohort import EMPTY, Payload
from depthcast.gateway.delivery.oldest_first import work_off
from depthcast.gateway.delivery.subscription_group import Lane, needs_snapshot
from depthcast.gateway.delivery.writer import Outlet
from depthcast.gateway.market.channel import Channel, State
from depthcast.gateway.market.market import Listing
from depthcast.gateway.protocol.messages import Encoding, encode, status_message, subscribed_message
from depthcast.gateway.protocol.requests import RequestId, Resume
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.types import MAX_INTEGER

if TYPE_CHECKING:
    from depthcast.gateway.delivery.core import Core


class Subscription(NamedTuple):
    """One symbol of a session."""

    channel: Channel
    lane: Lane


class Wildcard(NamedTuple):
    """A subscription to everything, later symbols included."""

    depth: int
    interval_ms: int


class Session:
    """See the module.

    - `credit`: messages that may still be sent, None outside credit mode.
    - `written`: bytes written to the outlet so far, but for what lanes in step with their cohorts were sent.
    - `ended`: the close code that the session asks for; nothing is sent any more.
    """

    __slots__ = (
        "_drained", "_held", "_moved_at", "_quiet_since", "_seen", "_silent_since", "core", "credit", "encoding", "ended",
        "lanes", "name", "outlet", "subscriptions", "unparsable", "wildcard", "write_bytes_max", "written",
    )  # fmt: skip

    def __init__(self, core: "Core", outlet: Outlet, encoding: Encoding, name: str, now: float) -> None:
        self.core = core
        self.outlet = outlet
        self.encoding = encoding
        self.name = name
        self.write_bytes_max = core.settings.write_buffer_bytes
        self.subscriptions: dict[str, Subscription] = {}
        self.lanes: dict[int, Lane] = {}
        self.wildcard: Wildcard | None = None
        self.credit: int | None = None
        self.unparsable = 0
        self.ended: CloseCode | None = None
        self._held: list[bytes] | None = None
        self.written = self._seen = self._drained = 0
        self._quiet_since = self._moved_at = now
        self._silent_since: float | None = now

    # --- sending ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes, payload: Payload = EMPTY) -> None:
        """Write frames; `payload` says what of them is market data, which costs credit."""
        counters = self.core.counters
        if self._held is None:
            self.outlet.write(data)
        else:
            self._hold(data, self._held)
        self.written += len(data)
        counters.bytes_sent += len(data)
        counters.deltas += payload.deltas
        counters.snapshots += payload.snapshots
        counters.conflated += payload.conflated
        if self.credit is not None:
            self.credit -= payload.messages

    def hold(self) -> None:
        """Gather what is written, up to a transport's mark, until `release`: the replies to a request go out together."""
        self._held = []

    def release(self) -> None:
        """Write what was gathered."""
        held, self._held = self._held, None
        if held:
            self.outlet.write(b"".join(held))

    def _hold(self, data: bytes, held: list[bytes]) -> None:
        held.append(data)
        if sum(map(len, held)) > self.write_bytes_max:
            self.release()
            self.hold()

    def send(self, message: dict[str, Any], request_id: RequestId | None = None) -> None:
        """Send one control message, with the `id` of the request it answers."""
        if request_id is not None:
            message["id"] = request_id
        self.core.counters.others += 1
        self.write(encode(message, self.encoding))

    def refuse(
        self, code: str, message: str, request_id: RequestId | None = None, symbol: str | None = None
    ) -> None:
        """Send an `error`."""
        error: dict[str, Any] = {"type": "error", "code": code, "message": message}
        if symbol is not None:
            error["symbol"] = symbol
        self.send(error, request_id)

    def serve(self) -> None:
        """Send whatever waits and can be sent now: after a request, and when the transport has drained."""
        if self.ended is not None or self.outlet.paused:
            return
        if self.credit is None or len(self.lanes) == 1:
            for lane in tuple(self.lanes.values()):
                lane.serve()
        elif self.credit:
            # The symbol that waited longest goes first, whatever lane it is in.
            for lane in self.lanes.values():
                lane.split()
            self.work_off()
        else:
            for lane in self.lanes.values():
                lane.tell()

    def work_off(self) -> None:
        """Serve the split lanes together."""
        work_off(self, tuple(self.lanes.values()))

    def give_credit(self, messages: int) -> None:
        """So many more snapshots and deltas may be sent; the first time, credit mode begins."""
        if self.credit is None:
            self.step_out()
        self.credit = min((self.credit or 0) + messages, MAX_INTEGER)

    def step_out(self) -> None:
        """Have the lanes looked at before anything is written: the transport is full, or credit counts from now on."""
        for lane in self.lanes.values():
            lane.step_out()

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def subscribe(
        self,
        listing: Listing,
        depth: int,
        interval_ms: int,
        request_id: RequestId | None = None,
        resume: Resume | None = None,
    ) -> None:
        """Subscribe to one symbol, instead of what the session had of it, or say why not."""
        symbol = listing.instrument.symbol
        if (refusal := self._limit(listing, depth)) is not None:
            self.refuse("limit", refusal, request_id, symbol)
            return
        self._drop(symbol)
        self._silent_since = None
        channel = self.core.hub.channel(listing, depth)
        state = _resumed(channel, resume)
        self.core.counters.resumed += state is not None
        seq = state.seq if state else None
        self.send(subscribed_message(listing.instrument, depth, interval_ms, seq), request_id)
        cursor = self._cursor(channel, state)
        if listing.stale and cursor >= 0:
            self.send(status_message(symbol, stale=True))
        lane = self._lane(interval_ms)
        lane.add(channel, cursor)
        channel.subscribers += 1
        self.subscriptions[symbol] = Subscription(channel, lane)

    def _cursor(self, channel: Channel, state: State | None) -> int:
        """Where a new subscription begins: at a resumed state, with a snapshot, or with a book that is still to come."""
        if state is not None:
            return state.broadcast
        number = self.core.hub.number
        return number if channel.view is None else needs_snapshot(number)

    def _lane(self, interval_ms: int) -> Lane:
        lane = self.lanes.get(interval_ms)
        if lane is None:
            lane = self.lanes[interval_ms] = Lane(self, interval_ms, self.core.flusher)
        return lane

    def _limit(self, listing: Listing, depth: int) -> str | None:
        core, symbol = self.core, listing.instrument.symbol
        most = core.settings.subscriptions_max
        if symbol not in self.subscriptions and len(self.subscriptions) >= most:
            core.counters.limit_subscriptions += 1
            return f"{symbol} would be more than {most} subscriptions; unsubscribe others, or open another connection"
        if core.hub.too_deep(listing, depth):
            core.counters.limit_full_depth += 1
            return too_deep_text(listing, core.settings.full_depth_max)
        return None

    def unsubscribe(
        self, symbol: str, request_id: RequestId | None = None, reason: str | None = None
    ) -> bool:
        """End the subscription to `symbol`; False if there is none. `reason` where the server does it."""
        if not self._drop(symbol):
            return False
        message = {"type": "unsubscribed", "symbol": symbol}
        if reason is not None:
            message["reason"] = reason
        self.send(message, request_id)
        return True

    def end_full_depth(self, listing: Listing) -> None:
        """The book of a full-depth subscription has grown beyond what is served: `limit`, and it ends."""
        symbol = listing.instrument.symbol
        self.refuse("limit", too_deep_text(listing, self.core.settings.full_depth_max), None, symbol)
        self.unsubscribe(symbol, reason="limit")

    def _drop(self, symbol: str) -> bool:
        subscription = self.subscriptions.pop(symbol, None)
        if subscription is None:
            return False
        channel, lane = subscription
        lane.remove(channel)
        channel.subscribers -= 1
        if not lane.cursors:
            lane.close()
            del self.lanes[lane.interval_ms]
        return True

    def close(self) -> None:
        """The connection is gone, or going: nothing more is sent."""
        for lane in self.lanes.values():
            lane.close()
        for channel, _ in self.subscriptions.values():
            channel.subscribers -= 1
        self.lanes.clear()
        self.subscriptions.clear()

    # --- time -------------------------------------------------------------------------------------------------------

    def check(self, now: float) -> CloseCode | None:
        """Heartbeat and time-outs, asked from time to time (`now`: monotonic seconds); why to close, if so."""
        written, in_step = self.written, bool(self.lanes)
        for lane in self.lanes.values():
            if lane.in_step:
                written += lane.cohort.step_bytes - lane.step_from if lane.cohort else 0
            else:
                in_step = False
        if in_step:
            self._moved_at = (
                now  # nothing waits, or it would not be; asking the transport costs more than all the rest
            )
        elif self._stalls(written, now):
            return CloseCode.TOO_SLOW
        self._beat(written, now)
        if (
            self._silent_since is not None
            and now - self._silent_since >= self.core.settings.subscribe_timeout_s
        ):
            return CloseCode.SILENT
        return None

    def _stalls(self, written: int, now: float) -> bool:
        """Whether the client has taken nothing of what waits for too long."""
        buffered = self.outlet.buffered()
        drained = written - buffered
        if not buffered or drained > self._drained:
            self._moved_at = now
        self._drained = drained
        return now - self._moved_at >= self.core.settings.stall_timeout_s

    def _beat(self, written: int, now: float) -> None:
        if written != self._seen:
            self._seen, self._quiet_since = written, now
        elif (now - self._quiet_since) * 1000 >= self.core.settings.heartbeat_ms and not self.outlet.paused:
            self.core.counters.heartbeats += 1
            before = self.written
            self.send({"type": "heartbeat", "ts": self.core.clock_us()})
            self._seen, self._quiet_since = written + self.written - before, now


def _resumed(channel: Channel, resume: Resume | None) -> State | None:
    """The remembered state that the client's book stands at, None if it needs a snapshot."""
    if resume is None or channel.view is None:
        return None
    state = channel.remembered(resume.seq)
    return state if state.digest == resume.digest else None


def too_deep_text(listing: Listing, most: int) -> str:
    """Why there is no full depth of a symbol."""
    return (
        f"the full book of {listing.instrument.symbol} has {listing.levels()} levels on a side, "
        f"more than the {most} served; subscribe with a depth of up to 1000"
    )
