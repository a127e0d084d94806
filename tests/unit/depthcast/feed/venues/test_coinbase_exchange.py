"""Coinbase Exchange: the recording against its tickers, and what can be noticed without numbers."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from depthcast.feed.venue import Best, Doubt, DoubtReason, Refused, Sizes, Skipped, Snapshot, Update
from depthcast.feed.venues.coinbase_exchange import VENUE, CoinbaseExchangeAdapter
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


TIME = "2026-01-31T12:00:00.100000Z"
EARLIER = "2026-01-31T12:00:00.099999Z"


def snapshot(symbol: str = "BTC-USD") -> str:
    book = {"bids": [["9.5", "1"]], "asks": [["10.0", "3"]]}
    return json.dumps({"type": "snapshot", "product_id": symbol, **book, "time": TIME})


def update(*changes: tuple[str, str, str], time: str = TIME) -> str:
    return json.dumps({"type": "l2update", "product_id": "BTC-USD", "changes": changes, "time": time})


@pytest.fixture
def adapter() -> CoinbaseExchangeAdapter:
    adapter = VENUE.adapter()
    adapter.subscribe(["BTC-USD", "ETH-USD"])
    list(adapter.take(snapshot(), 0))
    return adapter


def test_each_symbol_is_asked_for_by_itself() -> None:
    requests = [json.loads(raw) for raw in VENUE.adapter().subscribe(["BTC-USD", "ETH-USD"])]
    assert [request["product_ids"] for request in requests] == [["BTC-USD"], ["ETH-USD"]]
    assert requests[0]["channels"] == ["level2_batch", "heartbeat"]


def test_an_update_that_is_older_than_the_one_before_is_a_gap(adapter: CoinbaseExchangeAdapter) -> None:
    change = ("buy", "9.5", "2")
    for time in (EARLIER, TIME, TIME):  # the snapshot's time is not compared
        assert [type(output) for output in adapter.take(update(change, time=time), 0)] == [Update]
    (doubt,) = adapter.take(update(change, time=EARLIER), 0)
    assert isinstance(doubt, Doubt)
    assert doubt.reason is DoubtReason.GAP
    assert adapter.take(update(change), 0) == [Skipped("update without a snapshot")]
    assert [type(output) for output in adapter.take(snapshot(), 0)] == [Snapshot]
    assert [type(output) for output in adapter.take(update(change, time=EARLIER), 0)] == [Update]


def test_a_lost_and_a_doubled_update_are_not_noticed(adapter: CoinbaseExchangeAdapter) -> None:
    """The venue numbers nothing: this is what the order of TCP is relied on for."""
    insert = update(("buy", "9.4", "2"))
    assert [type(output) for raw in (insert, insert) for output in adapter.take(raw, 0)] == [Update, Update]
    assert [type(output) for output in adapter.take(update(("buy", "9.3", "0")), 0)] == [Update]


def test_a_crossed_book_is_in_doubt(adapter: CoinbaseExchangeAdapter) -> None:
    (doubt,) = adapter.take(update(("buy", "10.0", "2")), 0)
    assert isinstance(doubt, Doubt)
    assert (doubt.symbol, doubt.reason) == ("BTC-USD", DoubtReason.CROSSED)


def test_a_refusal_names_the_symbol_that_it_concerns(adapter: CoinbaseExchangeAdapter) -> None:
    error = {"type": "error", "message": "Failed to subscribe", "reason": "ETH-USD is not a valid product"}
    (refused,) = adapter.take(json.dumps(error), 0)
    assert refused == Refused("ETH-USD", "Failed to subscribe: ETH-USD is not a valid product")


def test_a_ticker_without_quantities_says_so(adapter: CoinbaseExchangeAdapter) -> None:
    ticker = {"type": "ticker", "sequence": 7, "product_id": "BTC-USD", "time": TIME}
    ticker |= {"best_bid": "9.5", "best_ask": "10.0"}
    (best,) = adapter.take(json.dumps(ticker), 0)
    assert isinstance(best, Best)
    assert (best.bid, best.ask, best.sequence) == (("9.5", "0"), ("10.0", "0"), None)


def test_sizes_are_increments() -> None:
    product = {"id": "BTC-USD", "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"}
    closed = product | {"id": "OLD-USD", "status": "delisted"}
    assert VENUE.read_instruments([json.dumps([product, closed]).encode()]) == {
        "BTC-USD": Sizes("0.01", "0.00000001"),
        "OLD-USD": Sizes("0.01", "0.00000001", trading=False),
    }
