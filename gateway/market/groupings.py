"""How many groupings a worker keeps, and which of them make room for others.

A client may name any number of ticks. Each grouping is a book of its own, which every broadcast of its symbol
changes. So there is a bound for each symbol, which keeps a broadcast cheap, and one for all together, which
keeps memory small.
"""

from typing import Final

from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.grouping import Grouping
from depthcast.gateway.market.listing import NONE, Listing


class Groupings:
    """The groupings of all symbols; `count`: how many there are.

    `_idle`: those without a subscription; the one that has been without for longest is first.
    """

    __slots__ = ("_idle", "_most", "_most_of_symbol", "count")

    def __init__(self, most: int, most_of_symbol: int) -> None:
        self.count = 0
        self._most: Final = most
        self._most_of_symbol: Final = most_of_symbol
        self._idle: dict[Grouping, None] = {}

    def full(self, listing: Listing) -> bool:
        """Whether the symbol may have no further grouping, whatever the others have."""
        return len(listing.groupings) >= self._most_of_symbol

    def has_room(self, listing: Listing, group_ticks: int) -> bool:
        """Whether the symbol has this grouping, or may have it."""
        if listing.is_grouped_by(group_ticks):
            return True
        return not self.full(listing) and self.count < self._most

    def replaceable(self, listing: Listing) -> Grouping | None:
        """The idle grouping that has to go so that the symbol may have another one; None without any."""
        if self.full(listing):
            return next((each for each in listing.groupings.values() if not each.subscribers), None)
        return next(iter(self._idle), None)

    def get(self, listing: Listing, group_ticks: int) -> Grouping:
        """The grouping of a symbol, made if there is none yet."""
        grouping = listing.groupings.get(group_ticks)
        if grouping is None:
            grouping = Grouping(listing.instrument.symbol, group_ticks, listing.replica)
            listing.groupings = {**listing.groupings, group_ticks: grouping}
            self._idle[grouping] = None
            self.count += 1
        return grouping

    def hold(self, grouping: Grouping) -> None:
        """Count one more subscription."""
        grouping.subscribers += 1
        self._idle.pop(grouping, None)

    def release(self, grouping: Grouping) -> None:
        """Count one subscription less."""
        grouping.subscribers -= 1
        if not grouping.subscribers:
            self._idle[grouping] = None

    def drop(self, listing: Listing, channel: Channel) -> None:
        """Drop a channel with its subscriptions, and the grouping if that was its last channel."""
        grouping = listing.groupings[channel.group_ticks]
        del grouping.channels[channel.depth]
        grouping.subscribers -= channel.subscribers
        if not grouping.channels:
            left = {ticks: each for ticks, each in listing.groupings.items() if each is not grouping}
            listing.groupings = left or NONE
            self.forget(grouping)
        elif not grouping.subscribers:
            self._idle[grouping] = None

    def forget(self, grouping: Grouping) -> None:
        """Count it no more, because its symbol has no such grouping any more."""
        self.count -= 1
        self._idle.pop(grouping, None)
