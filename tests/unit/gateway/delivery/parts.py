"""Single parts of delivery on a small market, without sessions."""

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.sender import Sender
from depthcast.gateway.delivery.subscription_group import GroupState, Siblings, SubscriptionGroup
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.protocol.messages import Encoding
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.small_market import SmallMarket

MARK_BYTES = 1024


class Parts:
    """A small market, and what can be put together on it."""

    def __init__(self, market: SmallMarket) -> None:
        self.small = market
        self.market = market.core.market
        self.counters: GatewayCounters = self.market.counters
        self.groups: list[SubscriptionGroup] = []

    def channel(self, symbol: str = "AAA", depth: int = 10) -> Channel:
        return self.market.channel(self.market.listings[symbol], depth)

    def group(
        self, *symbols: str, interval_ms: int = 0, reads: bool = True, in_parts: bool = False
    ) -> SubscriptionGroup:
        """A group of a new client, with a cursor per channel, each at the market's number."""
        sender = Sender(FakeWriter(MARK_BYTES, reads=reads), Encoding.JSON, MARK_BYTES, self.counters)
        siblings = Siblings(sender)
        group = SubscriptionGroup(sender, interval_ms, self.market, siblings, in_parts=in_parts)
        siblings.add(group)
        for symbol in symbols:
            group.add(self.channel(symbol), self.market.number)
        self.groups.append(group)
        return group

    def broadcast(self, symbol: str = "AAA", quantity: int = 1, levels: int = 1) -> None:
        """One broadcast that changes the best bids, noted by groups with cursors, without a tick."""
        self.small.publish(symbol, {-price: quantity for price in range(1, levels + 1)}, tick=False)
        for group in self.groups:
            for channel in self.market.changed:
                if channel in group.cursors:
                    group.note_change(channel)


def writer_of(group: SubscriptionGroup) -> FakeWriter:
    writer = group.writer
    assert isinstance(writer, FakeWriter)
    return writer


def state_of(group: SubscriptionGroup) -> GroupState:
    """Return the current state; a type checker would take an earlier assertion as still true."""
    return group.state
