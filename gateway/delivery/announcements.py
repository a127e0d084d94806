"""Tells all sessions what has become of symbols: relisted, removed, new, or too many levels for full depth.

One change may concern every session, and many symbols change at once. So they are told some at a time, in
later turns of the event loop. Until a session is told, nothing more of its former channel is sent to it
(`depthcast.gateway.market.market.Market.is_over`). So its order is kept: it gets nothing of a new listing
before the `subscribed` with its sizes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from depthcast.gateway.delivery.flusher import Flusher
from depthcast.gateway.delivery.session import Session, Wildcard
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.listing import Listing
from depthcast.gateway.market.market import Market

STEP_COST_MAX: Final = 256
"""Subscriptions that begin or end in one turn of the event loop, approximately."""
LOOK_COST: Final = 0.1
"""Of a symbol or a session that is only looked at."""
PER_COST: Final = 64
"""A view of this many levels, or a group of this many channels, costs as much as one more subscription."""


class Announcements:
    """What sessions are still to be told. `sessions`: all that are open.

    Sessions that wait longest come first, also while further symbols change.
    """

    __slots__ = ("_added", "_queue", "_telling", "_waiting", "flusher", "market", "sessions")

    def __init__(self, market: Market, flusher: Flusher, sessions: Mapping[Session, None]) -> None:
        self.market = market
        self.flusher = flusher
        self.sessions = sessions
        self._added: dict[str, None] = {}
        self._queue: deque[Session] = deque()
        self._waiting: set[Session] = set()
        self._telling: Iterator[float] | None = None

    def __bool__(self) -> bool:
        return bool(self._queue) or self._telling is not None or self.market.unannounced

    def add(self, symbols: Iterable[str]) -> None:
        """Tell everybody of new symbols, too."""
        if self.sessions:  # with nobody to tell, a whole catalog would be kept
            self._added.update(dict.fromkeys(symbols))
        self._begin()

    def _begin(self) -> None:
        """Tell everybody of what is outdated or added; who waits already keeps its place."""
        self.market.unannounced = False
        self._queue.extend(session for session in self.sessions if session not in self._waiting)
        self._waiting.update(self._queue)

    def step(self) -> None:
        """Tell some sessions, at a cost of about `STEP_COST_MAX`."""
        cost = 0.0
        if self.market.unannounced:
            self._begin()
        while self and cost < STEP_COST_MAX:
            if self._telling is None:
                session = self._queue.popleft()
                self._waiting.discard(session)
                self._telling = self._tell(session)
            spent = next(self._telling, None)
            if spent is None:
                self._telling = None
            cost += spent or LOOK_COST
        if not self:
            self._added.clear()
            self.market.outdated.clear()

    def _tell(self, session: Session) -> Iterator[float]:
        """Tell one session; yields what each symbol cost."""
        symbols = self._concerned(session)
        yield LOOK_COST * len(session.subscriptions)
        for symbol in symbols:
            if session.closed:
                return
            yield self._tell_of(session, symbol)

    def _concerned(self, session: Session) -> Sequence[str]:
        """The symbols to look at for a session."""
        outdated = self.market.outdated
        if session.wildcard is not None:
            return [*outdated, *self._added]
        held = session.subscriptions
        few, many = (held, outdated) if len(held) < len(outdated) else (outdated, held)
        return [symbol for symbol in few if symbol in many]

    def _tell_of(self, session: Session, symbol: str) -> float:
        market, subscription = self.market, session.subscriptions.get(symbol)
        listing, cost = market.listings.get(symbol), 1.0
        if subscription is None:
            wildcard = session.wildcard if session.credentials.may_read(symbol) else None
            if symbol not in self._added or listing is None or wildcard is None:
                return LOOK_COST
            depth, interval_ms, in_parts, group_ticks, orders = wildcard
            if _refuse(session, listing, wildcard):
                return cost
        elif not market.is_over(subscription.channel):
            return LOOK_COST
        elif listing is None:
            cost += _cost_of_leaving(subscription.group)
            session.unsubscribe(symbol, reason="removed")
            return cost
        else:
            cost += _cost_of_leaving(subscription.group)
            channel, (interval_ms, in_parts) = subscription.channel, subscription.group.kind
            depth, group_ticks, orders = channel.depth, channel.group_ticks, channel.orders
            if _end(session, listing, channel):
                return cost
        cost += listing.levels_read(depth, group_ticks) / PER_COST
        session.subscribe(
            listing, depth, interval_ms, in_parts=in_parts, group_ticks=group_ticks, orders=orders
        )
        self.flusher.visit_soon(session.groups)
        return cost


def _end(session: Session, listing: Listing, channel: Channel) -> bool:
    """End a subscription, with an error, whose channel nobody can have any more."""
    if session.market.too_deep(listing, channel.depth, channel.group_ticks):
        session.end_full_depth(listing, channel.group_ticks)
        return True
    if channel.orders and (refusal := listing.without_orders()) is not None:
        session.end_orders(channel.symbol, refusal)
        return True
    return False


def _refuse(session: Session, listing: Listing, wildcard: Wildcard) -> bool:
    """Refuse a symbol that is new to a wildcard, if it exceeds a limit or has no number of orders."""
    symbol, orders = listing.instrument.symbol, wildcard.orders
    if orders and (refusal := listing.without_orders()) is not None:
        session.sender.refuse("no_orders", refusal, None, symbol)
        return True
    refusal = session.limit(listing, wildcard.depth, wildcard.group_ticks, orders=orders)
    if refusal is not None:
        session.sender.refuse("limit", refusal, None, symbol)
        return True
    return False


def _cost_of_leaving(group: SubscriptionGroup) -> float:
    """A group leaves its cohort at the first change of its subscriptions."""
    return 0 if group.stream is None else len(group) / PER_COST
