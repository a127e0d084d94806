"""One symbol in a gateway: what its book stands for, its replica, its status, its channels and groupings."""

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from depthcast.gateway.market.book_history import BookHistory
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.grouped_replica import GroupedReplica
from depthcast.gateway.market.grouping import Grouping
from depthcast.gateway.market.orders_view import OrdersView
from depthcast.gateway.market.view import View
from depthcast.gateway.protocol.messages import UNGROUPED, Message, status_message
from depthcast.shared.freshness import Freshness
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.listing import Listing as StatedListing
from depthcast.shared.replica import Replica

STATUS_CHANGES_KEPT: Final = 256
"""Status changes kept per symbol. No open client lags by more, unless they come several times a second."""

NONE: Final[Mapping[int, Any]] = MappingProxyType({})
"""No channels, or no groupings: the same object for all symbols, of which most may have none."""


class Listing:
    """One symbol. `ts` is the time of the symbol's last broadcast.

    `channels`: those of the book as it is, by depth; `groupings`: grouped books with theirs, by ticks.
    `orders_channels`: those of the book with the number of orders, by depth. These tables are replaced, never
    changed.

    `instrument`: what the book stands for: the stream says that, and the catalog until then. `stated`: the
    listing that the stream names. `wanted`: the instrument in the catalog. `freshness` is that of the
    symbol's partition. `doubt`: why a producer calls the book stale, None while it does not;
    `doubt_changed_at`: the broadcast number at which that changed last. `quiet`: the last input is too old.

    `history`: what the book was before; None while there is no book.

    `status_changes` holds the broadcast numbers at which `stale` changed. The number of changes after a
    cursor says whether that client was last sent another status, so nothing is kept per client. It takes room
    only once the status has changed.
    """

    __slots__ = (
        "channels", "doubt", "doubt_changed_at", "freshness", "groupings", "history", "instrument",
        "orders_channels", "quiet", "replica", "stale", "stated", "status_changes", "ts", "wanted",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, freshness: Freshness) -> None:
        self.instrument = self.wanted = instrument
        self.stated: StatedListing | None = None
        self.freshness = freshness
        self.replica: Replica | None = None
        self.history: BookHistory | None = None
        self.stale = True
        self.quiet = False
        self.doubt: str | None = None
        self.doubt_changed_at = 0
        self.ts = 0
        self.status_changes: Sequence[int] = ()
        self.channels: Mapping[int, Channel] = NONE
        self.groupings: Mapping[int, Grouping] = NONE
        self.orders_channels: Mapping[int, Channel] = NONE

    @property
    def ended(self) -> bool:
        """Whether the listing that the stream names was withdrawn, or must be followed by a later one."""
        stated = self.stated
        return stated is not None and (stated.withdrawn or stated.number < self.wanted.listing)

    def state(self, stated: StatedListing) -> bool:
        """Take the listing that the stream names; returns whether clients must begin anew.

        They must if a withdrawn listing goes on, because Redis lost its withdrawal: their channels are gone.
        """
        before, self.stated = self.stated, stated
        another = before is not None and (
            before.number != stated.number or (before.withdrawn and not stated.withdrawn)
        )
        return self.stand_for(stated.instrument) or another

    def stand_for(self, instrument: Instrument) -> bool:
        """Take what the book stands for; returns whether the sizes that clients were told are others."""
        before, self.instrument = self.instrument, instrument
        return before.terms[:2] != instrument.terms[:2]

    def set_stale(self, stale: bool, number: int) -> None:
        """Change the status at broadcast number `number`."""
        self.stale = stale
        changes = self.status_changes
        if not isinstance(changes, deque):
            self.status_changes = changes = deque(maxlen=STATUS_CHANGES_KEPT)
        changes.append(number)

    def status_changed_since(self, cursor: int) -> bool:
        """Whether the status now differs from the status at `cursor`; also if that is not known any more."""
        if self.stale and self.doubt_changed_at > cursor:
            return True
        changes = self.status_changes
        if not changes or changes[-1] <= cursor:
            return False
        if len(changes) == STATUS_CHANGES_KEPT and cursor < changes[0]:
            return True
        return (len(changes) - bisect_right(changes, cursor)) % 2 == 1

    def was_doubted(self, cursor: int) -> bool:
        """Whether a producer has ended a doubt about the book since the broadcast `cursor`."""
        return self.doubt is None and self.doubt_changed_at > cursor

    def status_message(self, input_age_ms: int | None = None) -> Message:
        """The `status` to send now, with the producer's reason for doubt, and the lag of a late input.

        `input_age_ms`: age of the last input, if that is too old.
        """
        lag_ms = self.freshness.lag_ms if self.stale and self.freshness.lagging else None
        return status_message(self.instrument.symbol, self.stale, lag_ms, self.doubt, input_age_ms)

    def without_orders(self) -> str | None:
        """Why no client can have the number of orders at each level; None if they can."""
        symbol = self.instrument.symbol
        if self.instrument.feed is not Feed.ORDERS:
            return f"the feed of {symbol} names levels, not orders; subscribe without orders"
        if self.replica is not None and self.replica.orders_digest is None:
            return (
                f"nobody says how many orders there are in the book of {symbol}: its ingestor is of an "
                "older version; subscribe without orders"
            )
        return None

    def forget_book(self, number: int) -> None:
        """Know only what the catalog says from broadcast `number` on: the symbol is not followed any more."""
        self.replica = self.stated = None
        self.instrument = self.wanted
        self.quiet = False
        if self.doubt is not None:
            self.doubt, self.doubt_changed_at = None, number
        if not self.stale:
            self.set_stale(True, number)

    @property
    def has_channels(self) -> bool:
        """Whether anything is made from the book, or may be soon."""
        return bool(self.channels or self.orders_channels or self.groupings)

    def levels(self) -> int:
        """Levels on the longer side of the book."""
        if self.replica is None:
            return 0
        return max(len(self.replica.book.bids), len(self.replica.book.asks))

    def is_grouped_by(self, group_ticks: int) -> bool:
        """Whether the book in these groups is there; as it is, it always is."""
        return group_ticks == UNGROUPED or group_ticks in self.groupings

    def levels_read(self, depth: int, group_ticks: int) -> int:
        """Levels of the longer side that a subscription or an answer reads: of a new grouping, all."""
        levels = self.levels()
        if not depth or not self.is_grouped_by(group_ticks):
            return levels
        return min(depth, levels)

    def channel(self, depth: int, group_ticks: int, *, orders: bool = False) -> Channel | None:
        """The channel at a depth, of the book as it is, grouped or with `orders`; None if there is none."""
        if orders:
            return self.orders_channels.get(depth)
        if group_ticks == UNGROUPED:
            return self.channels.get(depth)
        grouping = self.groupings.get(group_ticks)
        return None if grouping is None else grouping.channels.get(depth)

    def view(self, depth: int, group_ticks: int = UNGROUPED, *, orders: bool = False) -> View | None:
        """The view at `depth`: the channel's view if there is a channel, otherwise a new one.

        None if there is no book, or if it is to have the number of `orders` and nobody says that.
        """
        channel = self.channel(depth, group_ticks, orders=orders)
        if channel is not None:
            return channel.view
        if self.replica is None or (orders and self.without_orders() is not None):
            return None
        if orders:
            return OrdersView(self.replica, depth, self.ts)
        if group_ticks == UNGROUPED:
            return View(self.replica, depth, self.ts)
        return View(self._grouped(self.replica, group_ticks), depth, self.ts, group_ticks)

    def _grouped(self, replica: Replica, group_ticks: int) -> GroupedReplica:
        grouping = self.groupings.get(group_ticks)
        found = None if grouping is None else grouping.replica
        return found or GroupedReplica(replica, group_ticks)
