"""Coinbase Exchange: the recording against its tickers."""

from decimal import Decimal
from pathlib import Path

from depthcast.feed.venue import Best, Doubt, Snapshot, Update
from depthcast.feed.venues.coinbase_exchange import VENUE
from tests.venues.applied import AppliedBooks
from tests.venues.captures import incoming, names


def test_the_recorded_books_have_the_best_prices_of_every_ticker(recorded_data: Path) -> None:
    """A ticker is that of the last update with the same time; the first of each symbol is of before."""
    path = recorded_data / "COINBASE.ws.28.0"
    adapter = VENUE.adapter()
    adapter.subscribe(names(path, "product_id"))
    books = AppliedBooks()
    updates = agreed = compared = earlier = 0
    for raw in incoming(path):
        for output in books.take(adapter.take(raw, 0)):
            assert not isinstance(output, Doubt)
            updates += isinstance(output, Update)
            if isinstance(output, Best):
                book = books[output.symbol]
                if book.ts is None or output.ts != book.ts:
                    earlier += 1
                    continue
                compared += 1
                bid, ask = book.best
                assert bid is not None
                assert ask is not None
                agreed += (bid[0], ask[0]) == (Decimal(output.bid[0]), Decimal(output.ask[0]))
    assert updates == 9719
    assert (agreed, compared, earlier) == (97, 97, 10)
    assert sum(book.proven for book in books.books.values()) == 10


def test_the_adapter_keeps_the_same_book(recorded_data: Path) -> None:
    path = recorded_data / "COINBASE.ws.28.0"
    adapter = VENUE.adapter()
    symbols = names(path, "product_id")
    adapter.subscribe(symbols)
    adapter.unsubscribe([symbol for symbol in symbols if symbol != "SKL-USD"])
    books = AppliedBooks()
    compared = 0
    for raw in incoming(path):
        outputs = books.take(adapter.take(raw, 0))
        if any(isinstance(output, Snapshot | Update) for output in outputs):
            compared += 1
            top = adapter.top("SKL-USD", 1)
            assert top is not None
            assert tuple((Decimal(side[0][0]), Decimal(side[0][1])) for side in top) == books["SKL-USD"].best
    assert compared == 2593
    assert list(books.books) == ["SKL-USD"]
