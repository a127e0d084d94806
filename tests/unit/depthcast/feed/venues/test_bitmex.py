"""BitMEX: the recording against its quotes, and what disproves a table of ids."""

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from depthcast.feed.venue import (
    Alive,
    Best,
    Doubt,
    DoubtReason,
    Output,
    Refused,
    Sizes,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.feed.venues.bitmex import VENUE, BitmexAdapter
from tests.venues.applied import AppliedBooks, Level
from tests.venues.captures import incoming, names

Pair = tuple[Level | None, Level | None]


def test_every_recorded_quote_was_the_best_of_the_book_in_order(recorded_data: Path) -> None:
    """Quotes come in bursts after the changes they tell of; those before the partials are of before."""
    path = recorded_data / "BITMEX.ws.1.0"
    adapter = VENUE.adapter()
    adapter.subscribe(names(path, "symbol"))
    books = AppliedBooks()
    bests: dict[str, list[Pair]] = {}
    updates = agreed = compared = 0
    for raw in incoming(path):
        for output in books.take(adapter.take(raw, 0)):
            assert not isinstance(output, Doubt)
            updates += isinstance(output, Update)
            if isinstance(output, Snapshot | Update):
                bests.setdefault(output.symbol, []).append(books[output.symbol].best)
            elif isinstance(output, Best) and output.symbol in bests:
                compared += 1
                quote = _levels(output)
                past = bests[output.symbol]
                if quote in past:
                    agreed += 1
                    del past[: past.index(quote)]  # the quotes after it tell of this state or a later one
    assert updates == 1969
    assert (agreed, compared) == (426, 426)
    assert sum(book.proven for book in books.books.values()) == 10


def _levels(best: Best) -> Pair:
    bid, ask = best.bid, best.ask
    return (Decimal(bid[0]), Decimal(bid[1])), (Decimal(ask[0]), Decimal(ask[1]))


TIME = "2026-01-31T12:00:00.100Z"
EARLIER = "2026-01-31T12:00:00.099Z"
BID: dict[str, Any] = {
    "symbol": "XBTUSD",
    "id": 1,
    "side": "Buy",
    "size": 100,
    "price": 9.5,
    "timestamp": TIME,
}
ASK: dict[str, Any] = BID | {"id": 2, "side": "Sell", "price": 10}


def rows(action: str, *data: dict[str, Any]) -> str:
    return json.dumps(
        {"table": "orderBookL2", "action": action, "data": data, "filter": {"symbol": "XBTUSD"}}
    )


@pytest.fixture
def adapter() -> BitmexAdapter:
    """An adapter with a proven book, of a bid with id 1 and an ask with id 2."""
    adapter = VENUE.adapter()
    adapter.subscribe(["XBTUSD", "ETHUSD"])
    assert list(adapter.take(rows("update", BID), 0)) == [Skipped("difference before the partial")]
    assert [type(output) for output in adapter.take(rows("partial", BID, ASK), 0)] == [Snapshot]
    return adapter


def reason_of(outputs: Iterable[Output]) -> DoubtReason:
    (doubt,) = outputs
    assert isinstance(doubt, Doubt)
    assert doubt.symbol == "XBTUSD"
    return doubt.reason


def test_each_symbol_is_asked_for_by_itself() -> None:
    requests = [json.loads(raw) for raw in VENUE.adapter().subscribe(["XBTUSD", "ETHUSD"])]
    assert requests == [
        {"op": "subscribe", "args": ["orderBookL2:XBTUSD"]},
        {"op": "subscribe", "args": ["orderBookL2:ETHUSD"]},
    ]


def test_the_ping_is_plain_text(adapter: BitmexAdapter) -> None:
    assert adapter.ping(0) == "ping"
    assert list(adapter.take("pong", 0)) == [Alive()]


def test_a_price_that_is_left_out_is_that_of_the_id(adapter: BitmexAdapter) -> None:
    older = {key: BID[key] for key in ("symbol", "id", "side")}
    assert list(adapter.take(rows("update", older | {"size": 7}), 0)) == [
        Update("XBTUSD", [("9.5", "7")], [])
    ]
    assert list(adapter.take(rows("delete", older), 0)) == [Update("XBTUSD", [("9.5", "0")], [])]


def test_ids_say_nothing_about_prices_and_may_come_again(adapter: BitmexAdapter) -> None:
    assert [type(output) for output in adapter.take(rows("delete", BID), 0)] == [Update]
    again = BID | {"price": 9.0}
    (update,) = adapter.take(rows("insert", again), 0)
    assert isinstance(update, Update)
    assert (update.bids, update.ts) == ([("9.0", "100")], 1_769_860_800_100_000)


@pytest.mark.parametrize(
    ("action", "row"),
    [
        ("update", BID | {"id": 3}),
        ("delete", BID | {"id": 3}),
        ("insert", BID),
        ("insert", BID | {"id": 3}),
        ("update", BID | {"side": "Sell"}),
        ("update", BID | {"price": 9.0}),
        ("delete", BID | {"price": 9.0}),
    ],
)
def test_a_row_that_does_not_fit_the_table_is_a_gap(
    adapter: BitmexAdapter, action: str, row: dict[str, Any]
) -> None:
    assert reason_of(adapter.take(rows(action, row), 0)) is DoubtReason.GAP
    assert list(adapter.take(rows("update", BID), 0)) == [Skipped("difference before the partial")]
    assert [type(output) for output in adapter.take(rows("partial", BID, ASK), 0)] == [Snapshot]


def test_a_time_that_goes_back_is_a_gap_but_not_that_of_the_partial(adapter: BitmexAdapter) -> None:
    for time in (EARLIER, TIME, TIME):
        assert [type(output) for output in adapter.take(rows("update", BID | {"timestamp": time}), 0)] == [
            Update
        ]
    assert reason_of(adapter.take(rows("update", BID | {"timestamp": EARLIER}), 0)) is DoubtReason.GAP


def test_a_crossed_book_is_in_doubt(adapter: BitmexAdapter) -> None:
    assert reason_of(adapter.take(rows("insert", BID | {"id": 3, "price": 10}), 0)) is DoubtReason.CROSSED


def test_a_lost_and_a_doubled_quantity_are_not_noticed(adapter: BitmexAdapter) -> None:
    """The venue numbers nothing: this is what the order of TCP is relied on for."""
    raw = rows("update", BID | {"size": 7})
    assert [type(output) for raw in (raw, raw) for output in adapter.take(raw, 0)] == [Update, Update]


def test_rows_of_several_symbols_are_a_change_of_each(adapter: BitmexAdapter) -> None:
    other = {"symbol": "ETHUSD", "id": 1, "side": "Buy", "size": 1}
    outputs = list(adapter.take(rows("update", BID, other, BID | {"size": 8}), 0))
    assert outputs == [
        Update("XBTUSD", [("9.5", "8")], [], 1_769_860_800_100_000),
        Skipped("difference before the partial"),
    ]


@pytest.mark.parametrize(("status", "final"), [(400, True), (429, False), (503, False), (None, True)])
def test_a_refusal_names_the_symbol_that_was_asked_for(
    adapter: BitmexAdapter, status: int | None, final: bool
) -> None:
    request = {"op": "subscribe", "args": ["orderBookL2:NOUSD"]}
    error = {"status": status, "error": "Unknown symbol", "meta": {}, "request": request}
    assert list(adapter.take(json.dumps(error), 0)) == [Refused("NOUSD", "Unknown symbol", final)]


def test_quotes_with_an_empty_side_are_skipped(adapter: BitmexAdapter) -> None:
    whole = {
        "symbol": "XBTUSD",
        "timestamp": TIME,
        "bidPrice": 9.5,
        "bidSize": 1,
        "askPrice": 10,
        "askSize": 2,
    }
    one_sided = {key: value for key, value in whole.items() if not key.startswith("ask")}
    raw = json.dumps({"table": "quote", "action": "insert", "data": [whole, one_sided]})
    assert list(adapter.take(raw, 0)) == [
        Best("XBTUSD", ("9.5", "1"), ("10", "2"), None, 1_769_860_800_100_000),
        Skipped("quote"),
    ]


def test_quantities_are_whole_contracts_and_indices_are_left_out() -> None:
    listed = {"symbol": "XRPU21", "state": "Open", "tickSize": 1e-8, "lotSize": 100}
    closed = listed | {"symbol": "XBTUSD", "state": "Closed", "tickSize": 0.5}
    index = {"symbol": ".BXBT", "state": "Unlisted", "tickSize": 0.01}
    assert VENUE.read_instruments([json.dumps([listed, closed, index]).encode()]) == {
        "XRPU21": Sizes("0.00000001", "1"),
        "XBTUSD": Sizes("0.5", "1", trading=False),
    }
