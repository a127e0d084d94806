"""nautilus_trader's book (Rust), event by event as it comes: an order made from each, then applied.

It makes no crossing check, notes no changes and validates nothing.
"""

import sys

import msgpack
from nautilus_trader.model.book import OrderBook  # type: ignore[import-not-found] # not in the project's own environment
from nautilus_trader.model.data import BookOrder  # type: ignore[import-not-found] # likewise
from nautilus_trader.model.enums import BookType, OrderSide  # type: ignore[import-not-found] # likewise
from nautilus_trader.model.identifiers import InstrumentId  # type: ignore[import-not-found] # likewise
from nautilus_trader.model.objects import Price, Quantity  # type: ignore[import-not-found] # likewise

from benchmarks.books.rounds import serve

UPDATE = 1
SIDES = (OrderSide.BUY, OrderSide.SELL)

book = OrderBook(InstrumentId.from_str("BTC-USD.X"), BookType.L2_MBP)


def apply(raw: bytes) -> None:
    """A batch of events."""
    for op, side, price, quantity in msgpack.unpackb(raw):
        order = BookOrder(SIDES[side], Price(price, 0), Quantity(quantity, 0), price)
        if op == UPDATE and quantity:
            book.update(order, 0)
        else:
            book.delete(order, 0)


def drain() -> None:
    """Nothing was noted."""


if __name__ == "__main__":
    serve(apply, drain, sys.argv[1])
