"""One symbol's book grouped by a number of ticks: computed once, for the channels of all its depths."""

from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.grouped_replica import GroupedReplica
from depthcast.shared.replica import Changes, Replica


class Grouping:
    """A grouped book and its `channels` by depth; `replica` is None until the symbol has a book.

    `subscribers`: subscriptions to all of its channels.
    """

    __slots__ = ("channels", "group_ticks", "replica", "subscribers", "symbol")

    def __init__(self, symbol: str, group_ticks: int, replica: Replica | None) -> None:
        self.symbol = symbol
        self.group_ticks = group_ticks
        self.replica = None if replica is None else GroupedReplica(replica, group_ticks)
        self.channels: dict[int, Channel] = {}
        self.subscribers = 0

    def load(self, replica: Replica, ts: int, number: int) -> list[Channel]:
        """Take the symbol's first replica or a new one; returns the channels whose clients get something.

        The grouped book is made anew: channels compare it with what their clients hold.
        """
        grouped = self.replica = GroupedReplica(replica, self.group_ticks)
        return [channel for channel in self.channels.values() if channel.load(grouped, ts, number)]

    def advance(
        self, changes: Changes, seq: int, ts: int, number: int, event_ts: int | None = None
    ) -> list[Channel]:
        """Update after a broadcast was applied to the replica; returns the channels whose view changed."""
        assert self.replica is not None, "load comes first"
        grouped = self.replica.advance(changes)
        return [
            channel
            for channel in self.channels.values()
            if channel.advance(grouped, seq, ts, number, event_ts)
        ]
