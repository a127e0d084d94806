"""Resting orders of a simulated venue, and their changes as events of the input log."""

from heapq import heapify, heappop, heappush
from typing import Final

from depthcast.feed.entry import Event
from depthcast.shared.book import Book
from depthcast.shared.instruments import Feed
from depthcast.shared.types import Side

ADD: Final = 0
UPDATE: Final = 1
DELETE: Final = 2
REDUCE: Final = 3
CLEAR: Final = 4


class RestingOrders:
    """Orders in price and time priority.

    Every order has an end, on the caller's clock, but does not end by itself: `due` returns the order to end.
    `orders_most`: above this many orders, `make_room` cancels one early.
    """

    def __init__(self, feed: Feed, orders_most: int) -> None:
        self.book = Book()
        self.orders_most = orders_most
        self.due_at = 0.0
        self._by_order = feed is Feed.ORDERS
        self._orders: dict[int, tuple[Side, int, int]] = {}
        # Per side: price → ids at that price. Ids increase and dicts keep their order, so the first is the
        # oldest.
        self._queues: tuple[dict[int, dict[int, None]], ...] = ({}, {})
        self._counts = [0, 0]
        self._ends: list[tuple[float, int]] = []
        self._next_id = 1
        self._cleared = False
        self._events: list[Event] = []
        self._touched: dict[tuple[Side, int], int] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def count(self, side: int) -> int:
        """Return the number of orders on a side."""
        return self._counts[side]

    def at(self, order_id: int) -> tuple[Side, int, int]:
        """Return (side, price, quantity) of an order."""
        return self._orders[order_id]

    def first(self, side: int) -> int:
        """Return the order that a trade fills first; raises `IndexError` on an empty side."""
        levels = self.book.sides[side]
        return next(iter(self._queues[side][levels.ranks[-1] * -levels.sign]))

    def due(self, until: float) -> int | None:
        """Return the next order that ends before `until`, if any; `due_at` then holds its end."""
        ends, orders = self._ends, self._orders
        while ends and ends[0][1] not in orders:
            heappop(ends)
        if not ends or ends[0][0] > until:
            return None
        self.due_at, order_id = heappop(ends)
        return order_id

    def make_room(self) -> None:
        """Cancel the order that ends next if there are too many."""
        if len(self._orders) >= self.orders_most:
            order_id = self.due(float("inf"))
            assert order_id is not None
            self.remove(order_id)

    def clear(self) -> None:
        """Remove all orders."""
        self.book.clear()
        self._orders.clear()
        self._queues = ({}, {})
        self._counts = [0, 0]
        self._ends.clear()
        self._touched.clear()
        self._events = [[CLEAR]] if self._by_order else []
        self._cleared = True

    def add(self, side: Side, price: int, quantity: int, end: float) -> None:
        """Place an order."""
        order_id = self._next_id
        self._next_id += 1
        self._put(order_id, side, price, quantity)
        self._end_at(end, order_id)
        if self._by_order:
            self._events.append([ADD, int(side), price, quantity, order_id])

    def amend(self, order_id: int, price: int, quantity: int, end: float) -> None:
        """Change an order's price or quantity; it loses its time priority."""
        side = self._drop(order_id)
        self._put(order_id, side, price, quantity)
        self._end_at(end, order_id)
        if self._by_order:
            self._events.append([UPDATE, int(side), price, quantity, order_id])

    def remove(self, order_id: int) -> None:
        """Cancel an order."""
        self._drop(order_id)
        if self._by_order:
            self._events.append([DELETE, None, None, None, order_id])

    def reduce(self, order_id: int, quantity: int) -> None:
        """Fill an order wholly or in part; it keeps its time priority."""
        side, price, held = self._orders[order_id]
        if quantity == held:
            self._drop(order_id)
        else:
            self._orders[order_id] = (side, price, held - quantity)
            self._change(side, price, -quantity)
        if self._by_order:
            self._events.append([REDUCE, None, None, quantity, order_id])

    def pending(self) -> int:
        """Return an upper bound, nearly exact, of how many events `take` would return."""
        return len(self._events) if self._by_order else len(self._touched)

    def take(self) -> list[Event]:
        """Return the events since the last call, of the kind that fits the feed."""
        events, self._events = self._events, []
        if not self._by_order:
            events = [[CLEAR]] if self._cleared else []
            sides = self.book.sides
            for (side, price), before in self._touched.items():
                now = sides[side].levels.get(price, 0)
                if now != before:
                    events.append([UPDATE, int(side), price, now])
            self._touched.clear()
        self._cleared = False
        return events

    def _put(self, order_id: int, side: Side, price: int, quantity: int) -> None:
        self._orders[order_id] = (side, price, quantity)
        self._counts[side] += 1
        self._queues[side].setdefault(price, {})[order_id] = None
        self._change(side, price, quantity)

    def _drop(self, order_id: int) -> Side:
        side, price, quantity = self._orders.pop(order_id)
        self._counts[side] -= 1
        queue = self._queues[side][price]
        del queue[order_id]
        if not queue:
            del self._queues[side][price]
        self._change(side, price, -quantity)
        return side

    def _change(self, side: Side, price: int, by: int) -> None:
        levels = self.book.sides[side]
        before = levels.levels.get(price, 0)
        if not self._by_order:
            self._touched.setdefault((side, price), before)
        levels.set_level(price, before + by)

    def _end_at(self, end: float, order_id: int) -> None:
        heappush(self._ends, (end, order_id))
        if len(self._ends) > 2 * self.orders_most:  # most of these orders were filled
            self._ends = [item for item in self._ends if item[1] in self._orders]
            heapify(self._ends)
