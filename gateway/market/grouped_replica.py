"""A book whose levels are summed into buckets, and how a broadcast changes the sums.

A bucket is `group_ticks` wide and is shown as one level. Bids are rounded down to its price and asks up, so
no shown price is better than the real one, and a grouped book is never crossed. A sum above 2⁵³−1 is shown as
that number, and so is a price beyond the range of prices.
"""

from collections.abc import Sequence

from depthcast.shared.book import Book, BookSide
from depthcast.shared.digest import MASK, SideWeights
from depthcast.shared.replica import Changes, Replica
from depthcast.shared.types import MAX_INTEGER, LevelChange


def bucket_of(price: int, sign: int, group_ticks: int) -> int:
    """Price of the bucket of a level; `sign` is that of its side, −1 for bids and 1 for asks."""
    bucket = price + sign * (-price * sign % group_ticks)
    return max(-MAX_INTEGER, min(bucket, MAX_INTEGER))


class _GroupedSide:
    """One side: `shown` has a level for each bucket; `sums` those sums that are too large to be shown."""

    __slots__ = ("group_ticks", "shown", "sums")

    def __init__(self, side: BookSide, shown: BookSide, group_ticks: int) -> None:
        self.shown = shown
        self.group_ticks = group_ticks
        sums: dict[int, int] = {}
        sign = side.sign
        for price, quantity in side.levels.items():
            bucket = bucket_of(price, sign, group_ticks)
            sums[bucket] = sums.get(bucket, 0) + quantity
        shown.load([number for price, total in sums.items() for number in (price, shown_sum(total))])
        self.sums = {price: total for price, total in sums.items() if total > MAX_INTEGER}

    def advance(self, changes: Sequence[LevelChange]) -> list[LevelChange]:
        """Update after `changes` of the book's side; returns the buckets whose shown sum is another."""
        moved: dict[int, int] = {}
        sign, group_ticks = self.shown.sign, self.group_ticks
        for price, new, old in changes:
            bucket = bucket_of(price, sign, group_ticks)
            moved[bucket] = moved.get(bucket, 0) + new - old
        rows: list[LevelChange] = []
        for bucket, by in moved.items():
            shown = self.shown.levels.get(bucket, 0)
            total = self.sums.pop(bucket, shown) + by
            assert total >= 0, "levels have at least what is taken from them"
            if total > MAX_INTEGER:
                self.sums[bucket] = total
            if shown_sum(total) != shown:
                self.shown.set_level(bucket, shown_sum(total))
                rows.append((bucket, shown_sum(total), shown))
        return rows


def shown_sum(total: int) -> int:
    """The quantity that is shown for a sum."""
    return min(total, MAX_INTEGER)


class GroupedReplica:
    """The grouped book of one replica; a replica that takes its place needs another one.

    It has what a view needs of a replica: `book`, `seq`, `digest` and `weights`, all of the grouped book.
    """

    __slots__ = ("_asks", "_bids", "book", "digest", "replica", "weights")

    def __init__(self, replica: Replica, group_ticks: int) -> None:
        self.replica = replica
        self.book = Book()
        self.weights = (SideWeights(0), SideWeights(1))
        self._bids = _GroupedSide(replica.book.bids, self.book.bids, group_ticks)
        self._asks = _GroupedSide(replica.book.asks, self.book.asks, group_ticks)
        bids, asks = ([(price, total, 0) for price, total in side.levels.items()] for side in self.book.sides)
        self.digest = self._moved(Changes(bids, asks)) & MASK

    @property
    def seq(self) -> int:
        """The seq of the replica."""
        return self.replica.seq

    @property
    def event_ts(self) -> int | None:
        """The source time of the replica."""
        return self.replica.event_ts

    def advance(self, changes: Changes) -> Changes:
        """Update after a broadcast was applied to the replica; returns the changes of the grouped book."""
        grouped = Changes(self._bids.advance(changes.bids), self._asks.advance(changes.asks))
        self.digest = (self.digest + self._moved(grouped)) & MASK
        return grouped

    def _moved(self, changes: Changes) -> int:
        bid_weights, ask_weights = self.weights
        return bid_weights.moved_by(changes.bids) + ask_weights.moved_by(changes.asks)
