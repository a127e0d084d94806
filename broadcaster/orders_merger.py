"""Merges the changes of an orders feed's book: of its levels, and of the number of orders at each.

A level whose quantity is back where it was, but not its number of orders, is a net change. Whoever changes a
level records both numbers before the first change.
"""

from collections.abc import Mapping
from typing import Any, Final

from depthcast.broadcaster.merger import Copies, Merger, Pending, SideCopy
from depthcast.broadcaster.pending import PendingTable, new_pending
from depthcast.shared.book import Book
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.digest import MASK
from depthcast.shared.order_counts import OrderCounts

COMPILED: Final = is_compiled_at(__file__)


class OrdersMerger(Merger):
    """The published state of a symbol whose book counts its orders (`depthcast.shared.book.BookSide.orders`).

    `pending_orders`: per side price → number of orders before the first change since the last drain, for the
    prices in `pending`. `orders_digest`: digest of the numbers of the last drained state.
    """

    __slots__ = ("_counts", "orders_digest", "pending_orders")

    def __init__(self, book: Book, seq: int = 0, digest: int = 0) -> None:
        super().__init__(book, seq, digest)
        self.orders_digest = 0
        self.pending_orders: Pending = (new_pending(), new_pending())
        self._counts: tuple[list[int], list[int]] = ([], [])

    def take_counts(self) -> OrderCounts:
        """The number of orders at each level of the delta that was made last; call it once for each delta."""
        counts, self._counts = self._counts, ([], [])
        return OrderCounts(*counts, self.orders_digest)

    def absorb(self) -> None:
        """Count the pending changes as published under the current seq; updates only the digests."""
        super().absorb()
        self._counts = ([], [])

    def copies(self) -> Copies:
        """Copy what a snapshot is made of, so that sorting can happen later."""
        sides = zip(self.book.sides, self.pending, self.pending_orders, strict=True)
        bids, asks = (SideCopy(side, pending, orders) for side, pending, orders in sides)
        return Copies(self.seq, self.digest, bids, asks, self.orders_digest)

    def _net_changes(self, side: int, pending: Mapping[int, int]) -> list[int]:
        """Update the digests for some pending changes; returns the net changes, flat.

        The number of orders at each of them is kept for `take_counts`.
        """
        if COMPILED and isinstance(pending, PendingTable):
            return self._counted_changes(side, pending)
        net: list[int] = []
        book_side = self.book.sides[side]
        levels, orders, weights = book_side.levels, book_side.orders, self._weights[side]
        assert orders is not None
        pending_orders, counts = self.pending_orders[side], self._counts[side]
        moved = moved_orders = 0
        for price, old in pending.items():
            held, count = levels.get(price, 0), orders.get(price, 0)
            before = pending_orders.pop(price)
            if held == old and count == before:
                continue
            net.append(price)
            net.append(held)
            counts.append(count)
            weight = weights.of(price)
            moved += weight * (held - old)
            moved_orders += weight * (count - before)
        self.digest = (self.digest + moved) & MASK
        self.orders_digest = (self.orders_digest + moved_orders) & MASK
        return net

    def _counted_changes(self, side: int, pending: PendingTable) -> list[int]:
        """The same from a table with all that is pending. Used only if compiled."""
        net: list[int] = []
        book_side = self.book.sides[side]
        levels: Any = book_side.levels
        orders: Any = book_side.orders
        pending_orders: Any = self.pending_orders[side]
        assert orders is not None
        weights, counts = self._weights[side], self._counts[side]
        moved = moved_orders = 0
        for index in range(pending.end()):
            old = pending.value_at(index)
            if old < 0:  # `GONE`
                continue
            price = pending.number_at(index)
            place = pending_orders.place_of(price)
            if place < 0:
                raise KeyError(price)
            before = pending_orders.value_at(place)
            held, count = levels.held(price), orders.held(price)
            if held == old and count == before:
                continue
            net.append(price)
            net.append(held)
            counts.append(count)
            weight = weights.of(price)
            moved += weight * (held - old)
            moved_orders += weight * (count - before)
        pending_orders.clear()
        self.digest = (self.digest + moved) & MASK
        self.orders_digest = (self.orders_digest + moved_orders) & MASK
        return net
