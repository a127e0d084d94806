"""The `snapshot` of a large view, listed in slices, between which others have their turn of the event loop.

It is the view of one moment, though its book moves on meanwhile: what takes time is listing the levels, so
the index and the quantities of both sides are copied first. A book that nobody has subscribed to in these
groups is summed up on the way. Its levels come best first, so no more are read than the first `depth` groups
have.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from depthcast.gateway.market.grouped_replica import bucket_of, shown_sum
from depthcast.gateway.market.orders_view import OrdersView, digests
from depthcast.gateway.market.view import View
from depthcast.gateway.protocol.messages import Levels, Message, snapshot_message
from depthcast.shared.book import BookSide
from depthcast.shared.digest import MASK, SideWeights
from depthcast.shared.level_table import copy_of
from depthcast.shared.replica import Replica

SLICE_LEVELS: Final = 1_000
"""Levels listed, or symbols, before others have their turn of the event loop."""
SIDES: Final = ("bids", "asks")


class _Side(NamedTuple):
    """One side of a book at one moment; `ranks` ascend to the best level, as in `BookSide`.

    `orders`: price → number of orders, None if that was not asked for.
    """

    sign: int
    ranks: list[int]
    quantities: Mapping[int, int]
    orders: dict[int, int] | None

    async def levels(self) -> list[tuple[int, ...]]:
        """The levels, best first: price, quantity and, if it was asked for, number of orders."""
        quantities, orders = self.quantities, self.orders
        listed: list[tuple[int, ...]] = []
        for prices in self._slices():
            if orders is None:
                listed += [(price, quantities[price]) for price in prices]
            else:
                listed += [(price, quantities[price], orders[price]) for price in prices]
            await asyncio.sleep(0)
        return listed

    async def grouped(self, group_ticks: int, depth: int) -> list[tuple[int, int]]:
        """The best `depth` groups of the side (0 = all), best first: price and quantity of each."""
        sign, quantities = self.sign, self.quantities
        sums: dict[int, int] = {}
        for prices in self._slices():
            for price in prices:
                bucket = bucket_of(price, sign, group_ticks)
                sums[bucket] = sums.get(bucket, 0) + quantities[price]
            if depth and len(sums) > depth:
                break  # no further level is in one of the first groups
            await asyncio.sleep(0)
        listed = [(bucket, shown_sum(total)) for bucket, total in sums.items()]
        return listed[:depth] if depth else listed

    def _slices(self) -> Iterator[list[int]]:
        """The prices, best first, `SLICE_LEVELS` at a time."""
        for end in range(len(self.ranks), 0, -SLICE_LEVELS):
            some = reversed(self.ranks[max(0, end - SLICE_LEVELS) : end])
            yield [rank * -self.sign for rank in some]


async def snapshot_in_slices(symbol: str, view: View) -> Message:
    """The `snapshot` of a view as it is now."""
    orders = isinstance(view, OrdersView)
    sides = [_copy(side.side, view.depth, orders=orders) for side in (view.bids, view.asks)]
    message = snapshot_message(
        symbol,
        view.depth,
        view.seq,
        view.ts,
        ((), ()),
        view.digest,
        view.event_ts,
        group_ticks=view.group_ticks,
    )
    if orders:
        message["digest"], message["orders_digest"] = digests(view.digest)
    for name, side in zip(SIDES, sides, strict=True):
        message[name] = await side.levels()
    return message


async def grouped_in_slices(symbol: str, replica: Replica, depth: int, group_ticks: int, ts: int) -> Message:
    """The `snapshot` of a book as it is now, in groups in which nobody has subscribed to it.

    `ts`: time of its last broadcast.
    """
    sides = [_copy(side) for side in replica.book.sides]
    message = snapshot_message(
        symbol, depth, replica.seq, ts, ((), ()), 0, replica.event_ts, group_ticks=group_ticks
    )
    digest = 0
    for name, side, weights in zip(SIDES, sides, (SideWeights(0), SideWeights(1)), strict=True):
        message[name] = groups = await side.grouped(group_ticks, depth)
        digest += await _moved(weights, groups)
    message["digest"] = digest & MASK
    return message


def _copy(side: BookSide, depth: int = 0, *, orders: bool = False) -> _Side:
    """The best `depth` levels of a side (0 = all) as they are now."""
    ranks = side.ascending()
    counts = dict(side.orders) if orders and side.orders is not None else None
    return _Side(side.sign, ranks[-depth:] if depth else ranks, copy_of(side.levels), counts)


async def _moved(weights: SideWeights, levels: Levels) -> int:
    """What the levels of a side add to the digest."""
    moved = 0
    for start in range(0, len(levels), SLICE_LEVELS):
        some = levels[start : start + SLICE_LEVELS]
        moved += weights.moved_by([(price, quantity, 0) for price, quantity in some])
        await asyncio.sleep(0)
    return moved
