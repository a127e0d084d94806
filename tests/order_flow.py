"""Random order flow for tests of the whole path, and its book, computed independently."""

from collections.abc import Iterator
from random import Random
from typing import Any

Levels = tuple[dict[int, int], dict[int, int]]
"""Per side price → quantity."""


class OrderFlow:
    """Random orders that arrive, change and go, as events of an orders feed; `levels` is the resulting book.

    Deliberately plain: a list of orders, and sums of them.
    """

    def __init__(self, seed: int, *, spread: int = 2, reach: int = 300) -> None:
        self.random = Random(seed)
        self.spread = spread
        self.reach = reach
        self.orders: dict[int, tuple[int, int, int]] = {}
        self.ids: list[int] = []
        self.next_id = 1

    def events(self, count: int) -> Iterator[list[Any]]:
        """`count` events; bids rest below 0 and asks above, so that nothing crosses."""
        for _ in range(count):
            draw = self.random.random()
            if draw < 0.5 or len(self.orders) < 200:
                yield self._add()
            elif draw < 0.7:
                yield self._update()
            elif draw < 0.8:
                yield self._reduce()
            else:
                yield self._delete()

    def levels(self) -> Levels:
        """The book that the events so far lead to."""
        sides: Levels = ({}, {})
        for side, price, quantity in self.orders.values():
            sides[side][price] = sides[side].get(price, 0) + quantity
        return sides

    def counts(self) -> Levels:
        """The number of orders at each of its levels."""
        sides: Levels = ({}, {})
        for side, price, _ in self.orders.values():
            sides[side][price] = sides[side].get(price, 0) + 1
        return sides

    def _price(self, side: int) -> int:
        away = self.spread + min(int(self.random.paretovariate(0.9)), self.reach)
        return away if side else -away

    def _any(self) -> int:
        while True:
            place = self.random.randrange(len(self.ids))
            order_id = self.ids[place]
            if order_id in self.orders:
                return order_id
            self.ids[place] = self.ids[-1]
            self.ids.pop()

    def _add(self) -> list[Any]:
        order_id, side = self.next_id, self.random.randrange(2)
        self.next_id += 1
        order = (side, self._price(side), self.random.randint(1, 900))
        self.orders[order_id] = order
        self.ids.append(order_id)
        return ["add", *order, order_id]

    def _update(self) -> list[Any]:
        order_id = self._any()
        side, price, _ = self.orders[order_id]
        if self.random.random() < 0.5:
            price = self._price(side)
        self.orders[order_id] = (side, price, self.random.randint(1, 900))
        return ["update", *self.orders[order_id], order_id]

    def _reduce(self) -> list[Any]:
        order_id = self._any()
        side, price, quantity = self.orders[order_id]
        by = self.random.randint(1, quantity)
        if by == quantity:
            del self.orders[order_id]
        else:
            self.orders[order_id] = (side, price, quantity - by)
        return ["reduce", None, None, by, order_id]

    def _delete(self) -> list[Any]:
        order_id = self._any()
        del self.orders[order_id]
        return ["delete", None, None, None, order_id]


def view(levels: dict[int, int], side: int, depth: int) -> dict[int, int]:
    """The best `depth` levels of a side, 0 = all."""
    prices = sorted(levels, reverse=side == 0)
    return {price: levels[price] for price in (prices[:depth] if depth else prices)}
