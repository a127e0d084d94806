"""One client's session: what its requests do, and what it is told beside its books.

It holds no queue, only its subscriptions; how far each was sent is in its lanes. It is driven by the runtime: messages in by
`handle`, readiness of the transport by `serve`, time by `check`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.backlog import work_off
from gateway.channel import Channel, State
from gateway.closing import CloseCode
from gateway.cohort import EMPTY, Payload
from gateway.hub import Listing
from gateway.lane import Lane, needs_snapshot
from gateway.outlet import Outlet
from gateway.requests import (
    Credit,
    Ping,
    Refused,
    RequestId,
    Resume,
    Subscribe,
    Unparsable,
    Unsubscribe,
    parse,
    quoted,
)  # fmt: skip
from gateway.wire import Encoding, encode, status_message, subscribed_message
from shared.types import MAX_INTEGER

if TYPE_CHECKING:
    from gateway.core import Core

UNPARSABLE_MAX: Final = 10
"""The connection ends with this one."""


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
    - `written`: bytes written to the outlet so far.
    - `ended`: the close code that the session asks for; nothing is sent any more.
    """

    __slots__ = (
        "_drained", "_silent_since", "_moved_at", "_quiet_since", "_seen", "core", "credit", "encoding", "ended",
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
        self.written = self._seen = self._drained = 0
        self._quiet_since = self._moved_at = now
        self._silent_since: float | None = now

    # --- sending ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes, payload: Payload = EMPTY) -> None:
        """Write frames; `payload` says what of them is market data, which costs credit."""
        counters = self.core.counters
        self.outlet.write(data)
        self.written += len(data)
        counters.bytes_sent += len(data)
        counters.deltas += payload.deltas
        counters.snapshots += payload.snapshots
        counters.conflated += payload.conflated
        if self.credit is not None:
            self.credit -= payload.messages

    def send(self, message: dict[str, Any], request_id: RequestId | None = None) -> None:
        """Send one control message, with the `id` of the request it answers."""
        if request_id is not None:
            message["id"] = request_id
        self.core.counters.others += 1
        self.write(encode(message, self.encoding))

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

    # --- requests ---------------------------------------------------------------------------------------------------

    def handle(self, raw: str | bytes) -> Iterator[None]:
        """Do what one message asks, a symbol at a time: the caller lets the transport drain at each step."""
        self.core.counters.requests += 1
        try:
            request = parse(raw, self.encoding)
        except Unparsable as error:
            self._unparsable(error)
            return
        except Refused as refused:
            self._refuse(refused.code, refused.message, refused.id)
            return
        match request:
            case Subscribe():
                yield from self._subscribe_all(request)
            case Unsubscribe():
                yield from self._unsubscribe_all(request)
            case Credit(messages):
                self.credit = min((self.credit or 0) + messages, MAX_INTEGER)
            case Ping(request_id):
                self.send({"type": "pong", "ts": self.core.clock_us()}, request_id)
        self.serve()

    def misuse(self) -> None:
        """The wrong type of frame arrived: the session is over."""
        self.ended = CloseCode.MISUSE

    def _unparsable(self, error: Unparsable) -> None:
        self.core.counters.unparsable += 1
        self.unparsable += 1
        kind = "JSON" if self.encoding is Encoding.JSON else "msgpack"
        self._refuse("bad_request", f"not {kind}: {quoted(str(error))}", None)
        if self.unparsable >= UNPARSABLE_MAX:
            self.ended = CloseCode.MISUSE

    def _refuse(
        self, code: str, message: str, request_id: RequestId | None, symbol: str | None = None
    ) -> None:
        error: dict[str, Any] = {"type": "error", "code": code, "message": message}
        if symbol is not None:
            error["symbol"] = symbol
        self.send(error, request_id)

    # --- subscribing ------------------------------------------------------------------------------------------------

    def _subscribe_all(self, request: Subscribe) -> Iterator[None]:
        listings, settings = self.core.hub.listings, self.core.settings
        if not listings:
            self._refuse(
                "unavailable", "no instruments are known yet; try again in a few seconds", request.id
            )
            return
        if request.interval_ms > settings.interval_max_ms:
            self.core.counters.limit_interval += 1
            request = request._replace(interval_ms=settings.interval_max_ms)
        symbols: list[Any] = request.symbols
        if request.wildcard:
            if not settings.wildcard:
                self._refuse("forbidden", '["*"] is not allowed here; name the symbols', request.id)
                return
            self.wildcard = Wildcard(request.depth, request.interval_ms)
            symbols = list(listings)
        for symbol in _distinct(symbols):
            self._subscribe_named(request, symbol)
            yield

    def _subscribe_named(self, request: Subscribe, symbol: object) -> None:
        if not isinstance(symbol, str):
            self._refuse("bad_request", f"a symbol is text, not {quoted(symbol)}", request.id)
            return
        listing = self.core.hub.listings.get(symbol)
        if listing is None:
            hint = (
                'use ["*"] alone for all symbols' if symbol == "*" else "GET /v1/symbols lists what there is"
            )
            self._refuse("unknown_symbol", f"no symbol {quoted(symbol)}; {hint}", request.id, symbol[:64])
            return
        self.subscribe(listing, request.depth, request.interval_ms, request.id, request.resume.get(symbol))

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
            self._refuse("limit", refusal, request_id, symbol)
            return
        self._drop(symbol)
        self._silent_since = None
        channel = self.core.hub.channel(listing, depth)
        state = _resumed(channel, resume)
        self.core.counters.resumed += state is not None
        seq = state.seq if state else None
        self.send(subscribed_message(listing.instrument, depth, interval_ms, seq), request_id)
        cursor = self.core.hub.number
        if state is not None:
            cursor = state.broadcast
        elif channel.view is not None:
            cursor = needs_snapshot(cursor)
        if listing.stale and cursor >= 0:
            self.send(status_message(symbol, stale=True))
        lane = self._lane(interval_ms)
        lane.add(channel, cursor)
        channel.subscribers += 1
        self.subscriptions[symbol] = Subscription(channel, lane)

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

    # --- unsubscribing ----------------------------------------------------------------------------------------------

    def _unsubscribe_all(self, request: Unsubscribe) -> Iterator[None]:
        symbols = request.symbols
        if request.wildcard and (self.wildcard or self.subscriptions):
            self.wildcard = None
            symbols = list(self.subscriptions)
        for symbol in _distinct(symbols):
            if not isinstance(symbol, str):
                self._refuse("bad_request", f"a symbol is text, not {quoted(symbol)}", request.id)
            elif not self.unsubscribe(symbol, request.id):
                self._refuse(
                    "not_subscribed", f"there is no subscription to {quoted(symbol)}", request.id, symbol[:64]
                )
            yield

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
        self._refuse("limit", too_deep_text(listing, self.core.settings.full_depth_max), None, symbol)
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
        settings = self.core.settings
        buffered = self.outlet.buffered()
        drained = self.written - buffered
        if not buffered or drained > self._drained:
            self._moved_at = now
        elif now - self._moved_at >= settings.stall_timeout:
            return CloseCode.TOO_SLOW
        self._drained = drained
        if self._silent_since is not None and now - self._silent_since >= settings.subscribe_timeout:
            return CloseCode.SILENT
        self._beat(now)
        return None

    def _beat(self, now: float) -> None:
        if self.written != self._seen:
            self._seen, self._quiet_since = self.written, now
        elif (now - self._quiet_since) * 1000 >= self.core.settings.heartbeat_ms and not self.outlet.paused:
            self.core.counters.heartbeats += 1
            self.send({"type": "heartbeat", "ts": self.core.clock_us()})
            self._seen, self._quiet_since = self.written, now


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


def _distinct(symbols: list[Any]) -> Iterator[Any]:
    """Each text once; other values as they come, for each is an error of its own."""
    seen = set()
    for symbol in symbols:
        if isinstance(symbol, str):
            if symbol in seen:
                continue
            seen.add(symbol)
        yield symbol
