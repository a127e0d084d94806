"""Coinbase by Advanced Trade: numbers over the whole connection."""

import json
from typing import Any

import pytest

from depthcast.feed.venue import Alive, Best, Doubt, DoubtReason, Refused, Sizes, Skipped, Snapshot, Update
from depthcast.feed.venues.coinbase import VENUE, CoinbaseAdapter

TIME = "2026-01-31T12:00:00.123456789Z"
TS = 1_769_860_800_123_456


def event(kind: str, *levels: tuple[str, str, str], symbol: str = "BTC-USD") -> dict[str, Any]:
    updates = [
        {"side": side, "event_time": TIME, "price_level": price, "new_quantity": quantity}
        for side, price, quantity in levels
    ]
    return {"type": kind, "product_id": symbol, "updates": updates}


def message(number: int, *events: dict[str, Any], channel: str = "l2_data") -> str:
    head = {"channel": channel, "client_id": "", "timestamp": TIME, "sequence_num": number}
    return json.dumps({**head, "events": events})


BOOK = (("bid", "9.5", "1"), ("bid", "9.0", "2"), ("offer", "10.0", "3"))


@pytest.fixture
def adapter() -> CoinbaseAdapter:
    """An adapter with a proven book of each symbol; the next number is 2."""
    adapter = VENUE.adapter()
    adapter.subscribe(["BTC-USD", "ETH-USD"])
    list(adapter.take(message(0, event("snapshot", *BOOK)), 0))
    list(adapter.take(message(1, event("snapshot", *BOOK, symbol="ETH-USD")), 0))
    return adapter


def test_heartbeats_are_asked_for_once_and_each_symbol_by_itself() -> None:
    adapter = VENUE.adapter()
    assert [json.loads(raw) for raw in adapter.subscribe(["BTC-USD", "ETH-USD"])] == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USD"]},
        {"type": "subscribe", "channel": "level2", "product_ids": ["ETH-USD"]},
    ]
    assert len(adapter.subscribe(["LTC-USD"])) == 1
    list(adapter.lost())
    assert len(adapter.subscribe(["LTC-USD"])) == 2


def test_a_snapshot_and_an_update_keep_text_time_and_number(adapter: CoinbaseAdapter) -> None:
    fresh = VENUE.adapter()
    fresh.subscribe(["BTC-USD"])
    book = (*BOOK, ("offer", "11", "0"))
    assert list(fresh.take(message(0, event("snapshot", *book)), 0)) == [
        Snapshot("BTC-USD", [("9.5", "1"), ("9.0", "2")], [("10.0", "3")], TS, 0)
    ]
    changes = event("update", ("bid", "9.5", "4"), ("offer", "10.0", "0"), ("bid", "9.50", "5"))
    assert adapter.take(message(2, changes), 0) == [
        Update("BTC-USD", [("9.50", "5")], [("10.0", "0")], TS, 2)
    ]
    assert adapter.top("BTC-USD", 5) == ([("9.50", "5"), ("9.0", "2")], [])


def test_only_a_whole_message_is_a_state_of_the_book(adapter: CoinbaseAdapter) -> None:
    events = (event("update", ("bid", "10.0", "1")), event("update", ("offer", "10.0", "0")))
    assert adapter.take(message(2, *events), 0) == [
        Update("BTC-USD", [("10.0", "1")], [("10.0", "0")], TS, 2)
    ]


@pytest.mark.parametrize(
    ("number", "reason"), [(3, DoubtReason.GAP), (1, DoubtReason.RESET), (0, DoubtReason.RESET)]
)
def test_a_number_that_does_not_follow_puts_every_book_in_doubt(
    adapter: CoinbaseAdapter, number: int, reason: DoubtReason
) -> None:
    outputs = list(adapter.take(message(number, channel="heartbeats"), 0))
    assert [(output.symbol, output.reason) for output in outputs if isinstance(output, Doubt)] == [
        ("BTC-USD", reason),
        ("ETH-USD", reason),
    ]
    assert adapter.top("BTC-USD", 1) is None
    assert adapter.take(message(number + 1, event("update", ("bid", "9.5", "4"))), 0) == [
        Skipped("update without a snapshot")
    ]
    snapshot = adapter.take(message(number + 2, event("snapshot", *BOOK)), 0)
    assert [type(output) for output in snapshot] == [Snapshot]


def test_a_snapshot_whose_number_does_not_follow_is_not_taken(adapter: CoinbaseAdapter) -> None:
    outputs = list(adapter.take(message(5, event("snapshot", *BOOK)), 0))
    assert [type(output) for output in outputs] == [Doubt, Doubt, Skipped]


def test_a_crossed_book_is_in_doubt(adapter: CoinbaseAdapter) -> None:
    (doubt,) = adapter.take(message(2, event("update", ("bid", "10.0", "1"))), 0)
    assert isinstance(doubt, Doubt)
    assert (doubt.symbol, doubt.reason) == ("BTC-USD", DoubtReason.CROSSED)
    assert adapter.top("ETH-USD", 1) is not None


def test_a_book_that_was_never_subscribed_puts_all_in_doubt_but_not_a_former_one(
    adapter: CoinbaseAdapter,
) -> None:
    adapter.unsubscribe(["ETH-USD"])
    late = event("update", ("bid", "9.5", "4"), symbol="ETH-USD")
    assert adapter.take(message(2, late), 0) == [Skipped("no longer subscribed")]
    stranger = event("update", ("bid", "9.5", "4"), symbol="BTC-USDC")
    (doubt,) = adapter.take(message(3, stranger), 0)
    assert isinstance(doubt, Doubt)
    assert doubt.reason is DoubtReason.MALFORMED
    assert "BTC-USDC" in doubt.detail


@pytest.mark.parametrize(
    ("text", "final"), [("authentication failure", True), ("rate limit exceeded", False)]
)
def test_an_error_is_a_refusal_without_a_number(adapter: CoinbaseAdapter, text: str, final: bool) -> None:
    assert adapter.take(json.dumps({"type": "error", "message": text}), 0) == [Refused(None, text, final)]

    assert adapter.take(message(2, channel="heartbeats"), 0) == [Alive()]


def test_an_error_that_names_a_symbol_concerns_that_one(adapter: CoinbaseAdapter) -> None:
    text = "ETH-USD is not a valid product"
    assert adapter.take(json.dumps({"type": "error", "message": text}), 0) == [
        Refused("ETH-USD", text, final=True)
    ]


def test_a_ticker_is_an_oracle_with_the_number_of_its_message(adapter: CoinbaseAdapter) -> None:
    ticker = {"product_id": "BTC-USD", "best_bid": "9.5", "best_bid_quantity": "1"}
    ticker |= {"best_ask": "10", "best_ask_quantity": "3"}
    assert adapter.take(message(2, {"type": "update", "tickers": [ticker]}, channel="ticker"), 0) == [
        Best("BTC-USD", ("9.5", "1"), ("10", "3"), 2, TS)
    ]
    empty = ticker | {"best_bid_quantity": "0"}
    assert adapter.take(message(3, {"type": "update", "tickers": [empty]}, channel="ticker"), 0) == [
        Skipped("ticker")
    ]


def test_sizes_are_increments_and_aliases_are_left_out() -> None:
    product = {
        "product_id": "BTC-USD",
        "price_increment": "0.01",
        "base_increment": "0.00000001",
        "alias": "",
    }
    closed = product | {"product_id": "OLD-USD", "trading_disabled": True}
    alias = product | {"product_id": "BTC-USDC", "alias": "BTC-USD"}
    answer = json.dumps({"products": [product, closed, alias]}).encode()
    assert VENUE.read_instruments([answer]) == {
        "BTC-USD": Sizes("0.01", "0.00000001"),
        "OLD-USD": Sizes("0.01", "0.00000001", trading=False),
    }
    (request,) = VENUE.instruments_requests(["BTC-USD", "ETH-USD"])
    assert request.path.endswith("?product_ids=BTC-USD&product_ids=ETH-USD")
