"""The view of a book at one depth, with the number of orders at each level.

A row is a level whose quantity or number of orders changed: price, new and old quantity, new and old number.
Two digests prove a view, that of its levels and that of the numbers; inside a gateway they are one number.
"""

from collections.abc import Sequence

from depthcast.gateway.market.view import SideView, View
from depthcast.gateway.market.view import merge as merge_levels
from depthcast.gateway.protocol.messages import Message, Row, Rows, ViewDelta
from depthcast.shared.digest import MASK
from depthcast.shared.replica import Changes, Replica

CountedLevels = list[tuple[int, int, int]]
"""(price, quantity, number of orders), best first."""


def joined(digest: int, orders_digest: int) -> int:
    """Both digests in one number."""
    return orders_digest << 32 | digest


def digests(both: int) -> tuple[int, int]:
    """The digest of the levels, and that of the number of orders."""
    return both & MASK, both >> 32


class OrdersSideView(SideView):
    """One side of such a view."""

    __slots__ = ()

    def counted(self) -> CountedLevels:
        """The levels in the view."""
        return self.side.top_orders(self.depth)

    def _tightened(self, changes: Rows, old: int | None, new: int) -> list[Row]:
        sign, orders = self.side.sign, self._orders()
        rows: list[Row] = []
        changed = set()
        for change in changes:
            price, _, held, _, held_orders = change
            key = price * sign
            changed.add(price)
            if key <= new:
                rows.append(change)
            elif held and (old is None or key <= old):
                rows.append((price, 0, held, 0, held_orders))
        rows += [
            (price, 0, quantity, 0, orders[price])
            for price, quantity in self.side.between(new, old)
            if price not in changed
        ]
        return rows

    def _loosened(self, changes: Rows, old: int, new: int | None) -> list[Row]:
        orders = self._orders()
        rows = list(self._up_to(changes, old))
        rows += [(price, quantity, 0, orders[price], 0) for price, quantity in self.side.between(old, new)]
        return rows

    def _orders(self) -> dict[int, int]:
        orders = self.side.orders
        assert orders is not None, "such a view ends once the numbers are not known"
        return orders


class OrdersView(View):
    """A replica's best `depth` levels per side, 0 = all, with the number of orders at each.

    `digest` is that of both (`joined`).
    """

    __slots__ = ()

    SIDE = OrdersSideView
    replica: Replica
    bids: OrdersSideView
    asks: OrdersSideView

    def _first_digest(self) -> int:
        if not self.depth:
            return self._replica_digest()
        bids, asks = (
            [(price, quantity, 0, orders, 0) for price, quantity, orders in side.counted()]
            for side in (self.bids, self.asks)
        )
        return joined(*self._moved(bids, asks))

    def _replica_digest(self) -> int:
        assert self.replica.orders_digest is not None
        return joined(self.replica.digest, self.replica.orders_digest)

    def _moved(self, bids: Rows, asks: Rows) -> tuple[int, int]:
        """How much rows move the two digests, mod 2³²."""
        levels = orders = 0
        for weights, rows in zip(self.replica.weights, (bids, asks), strict=True):
            levels += weights.moved_by([row[:3] for row in rows])
            orders += weights.moved_by([(row[0], row[3], row[4]) for row in rows])
        return levels & MASK, orders & MASK

    def advance(self, changes: Changes, seq: int, ts: int, event_ts: int | None = None) -> ViewDelta | None:
        """Update after a broadcast was applied to the book; returns the view's changes, None without any."""
        assert changes.counted is not None, "such a view ends once the numbers are not known"
        bids, asks = self.bids.advance(changes.counted.bids), self.asks.advance(changes.counted.asks)
        if not bids and not asks:
            return None
        prev_seq, self.seq, self.ts = self.seq, seq, ts
        if event_ts is not None:
            self.event_ts = event_ts
        if self.depth:
            levels, orders = digests(self.digest)
            moved_levels, moved_orders = self._moved(bids, asks)
            self.digest = joined((levels + moved_levels) & MASK, (orders + moved_orders) & MASK)
        else:
            self.digest = self._replica_digest()
        return ViewDelta(prev_seq, seq, ts, bids, asks, self.digest, event_ts)

    def snapshot_message(self, symbol: str) -> Message:
        """The `snapshot` message of `symbol` with this view."""
        message = super().snapshot_message(symbol)
        message["bids"], message["asks"] = self.bids.counted(), self.asks.counted()
        message["digest"], message["orders_digest"] = digests(self.digest)
        return message

    def same_rows(self, other: View) -> bool:
        """Whether both views hold the same levels, with as many orders."""
        assert isinstance(other, OrdersView)
        return self.bids.counted() == other.bids.counted() and self.asks.counted() == other.asks.counted()


def merge(deltas: Sequence[ViewDelta]) -> ViewDelta:
    """Merge consecutive view deltas: the last write of a level wins; unchanged levels are left out."""
    levels = merge_levels([delta._replace(bids=(), asks=()) for delta in deltas])
    bids = _merge_rows([delta.bids for delta in deltas])
    asks = _merge_rows([delta.asks for delta in deltas])
    return levels._replace(bids=bids, asks=asks)


def _merge_rows(runs: Sequence[Rows]) -> list[Row]:
    held = {price: (old, before) for rows in reversed(runs) for price, _, old, _, before in rows}
    final = {price: (new, orders) for rows in runs for price, new, _, orders, _ in rows}
    return [
        (price, new, held[price][0], orders, held[price][1])
        for price, (new, orders) in final.items()
        if (new, orders) != held[price]
    ]
