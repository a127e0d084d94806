"""The `order-book` library (C), its best prices cached beside it, because asking it for them is slow.

Like Depthcast, it checks for a crossing when a level appears, and notes what changed. It validates nothing.
"""

import sys
from typing import Any

import msgpack
from order_book import OrderBook  # type: ignore[import-not-found] # not in the project's own environment

from benchmarks.books.rounds import serve

UPDATE = 1
NONE = 1 << 60


class Keeper:
    """The book, its best prices as keys ascending from best to worst, and the changes since a broadcast."""

    def __init__(self) -> None:
        book = OrderBook()
        self.sides: tuple[Any, Any] = (book.bids, book.asks)
        self.best = [NONE, NONE]
        self.changed: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def apply(self, raw: bytes) -> None:
        """A batch of events."""
        sides, best, changed = self.sides, self.best, self.changed
        for op, side, price, quantity in msgpack.unpackb(raw):
            levels = sides[side]
            key = price if side else -price
            if op == UPDATE and quantity:
                if price not in levels:
                    if key + best[1 - side] <= 0:
                        continue
                    if key < best[side]:
                        best[side] = key
                levels[price] = quantity
                changed[side][price] = quantity
            else:
                del levels[price]
                changed[side][price] = 0
                if key == best[side]:
                    best[side] = self.best_key(side)

    def best_key(self, side: int) -> int:
        """What it takes to find the best price of a side."""
        if not self.sides[side]:
            return NONE
        price, _ = self.sides[side].index(0)
        return int(price) if side else -int(price)

    def drain(self) -> None:
        """Forget the changes, as if they had been sent."""
        for side in self.changed:
            side.clear()


if __name__ == "__main__":
    keeper = Keeper()
    serve(keeper.apply, keeper.drain, sys.argv[1])
