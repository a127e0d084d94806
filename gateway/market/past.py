"""Computes what a view was, and how it became what it is, from the history of its book.

The changes since then are taken back from the book, and then made again on a copy with a view of its own. So
the steps are those that the view would have made, had somebody looked at it. A view of bounded depth needs
few levels of the copy: those that changed, and as many of the others as it has room for.
"""

from collections.abc import Sequence
from typing import NamedTuple

from depthcast.gateway.market.grouped_replica import GroupedReplica
from depthcast.gateway.market.orders_view import OrdersView, digests
from depthcast.gateway.market.step import Step, ViewState
from depthcast.gateway.market.view import View
from depthcast.gateway.protocol.messages import UNGROUPED, Rows
from depthcast.shared.book import BookSide
from depthcast.shared.replica import Changes, CountedChange, CountedChanges, Replica

Before = dict[int, tuple[int, int]]
"""Price → quantity and number of orders that a level had."""


class Past(NamedTuple):
    """A view's state some time ago, and the steps from there."""

    base: ViewState
    steps: list[Step]


class ViewKind(NamedTuple):
    """Which view of a book."""

    depth: int
    group_ticks: int = UNGROUPED
    orders: bool = False


def past_of(replica: Replica, state: ViewState, changes: Sequence[Step], upto: int, kind: ViewKind) -> Past:
    """The view when its book was in `state`, which `changes` have led to what it is now.

    `upto`: number of the last broadcast whose step is wanted. With the number of orders, all changes have to
    have it.
    """
    depth, group_ticks, orders = kind
    book = _taken_back(replica, state, changes, kind)
    grouped = None if group_ticks == UNGROUPED else GroupedReplica(book, group_ticks)
    view = OrdersView(book, depth, 0) if orders else View(grouped or book, depth, 0, group_ticks)
    base = ViewState(state.broadcast, state.seq, view.digest)
    steps = []
    for change in changes:
        if change.broadcast > upto:
            break
        made = _make_again(book, change)
        if grouped is not None:
            made = grouped.advance(made)
        _, seq, ts, *_, event_ts = change.delta
        delta = view.advance(made, seq, ts, event_ts)
        if delta is not None:
            steps.append(Step(change.broadcast, delta))
    return Past(base, steps)


def has_orders(changes: Sequence[Step]) -> bool:
    """Whether all changes say the number of orders."""
    return all(len(row) == 5 for change in changes for rows in _sides(change) for row in rows[:1])


def _sides(change: Step) -> tuple[Rows, Rows]:
    return change.delta.bids, change.delta.asks


def _taken_back(replica: Replica, state: ViewState, changes: Sequence[Step], kind: ViewKind) -> Replica:
    """A book in `state`, with the levels that a view needs, which may be changed."""
    found = Replica()
    found.seq, found.weights = state.seq, replica.weights
    found.digest, orders_digest = digests(state.digest)
    found.orders_digest = orders_digest if kind.orders else None
    for number, (side, copy) in enumerate(zip(replica.book.sides, found.book.sides, strict=True)):
        before: Before = {}
        for change in reversed(changes):
            for row in _sides(change)[number]:
                before[row[0]] = (row[2], row[4]) if len(row) == 5 else (row[2], 0)
        _load(copy, side, before, kind)
    return found


def _load(copy: BookSide, side: BookSide, before: Before, kind: ViewKind) -> None:
    everything = kind.group_ticks != UNGROUPED
    if everything:
        same = [level for level in side.top() if level[0] not in before]
    elif kind.depth:
        same = [level for level in side.top(kind.depth + len(before)) if level[0] not in before]
        del same[kind.depth :]
    else:
        same = []
    flat = [number for level in same for number in level]
    for price, (quantity, _) in before.items():
        if quantity:
            flat += (price, quantity)
    copy.load(flat)
    if kind.orders:
        assert side.orders is not None, "such a view ends once the numbers are not known"
        orders = {price: side.orders[price] for price, _ in same}
        copy.orders = orders | {price: count for price, (quantity, count) in before.items() if quantity}


def _make_again(book: Replica, change: Step) -> Changes:
    """Make a change of the copy; returns it as its replica would."""
    _, seq, _, bids, asks, digest, _ = change.delta
    changed_bids, changed_asks = _set(book.book.bids, bids), _set(book.book.asks, asks)
    book.seq = seq
    book.digest, orders_digest = digests(digest)
    if book.orders_digest is None:
        return Changes(changed_bids, changed_asks)
    book.orders_digest = orders_digest
    return Changes(changed_bids, changed_asks, CountedChanges(_counted(bids), _counted(asks)))


def _set(side: BookSide, rows: Rows) -> list[tuple[int, int, int]]:
    made: list[tuple[int, int, int]] = []
    for row in rows:
        price, quantity, old = row[:3]
        if quantity != old:
            side.set_level(price, quantity)
            made.append((price, quantity, old))
        if side.orders is not None and len(row) == 5:
            _count(side.orders, price, row[3])
    return made


def _count(orders: dict[int, int], price: int, count: int) -> None:
    if count:
        orders[price] = count
    else:
        orders.pop(price, None)


def _counted(rows: Rows) -> list[CountedChange]:
    return [row for row in rows if len(row) == 5]
