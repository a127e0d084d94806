"""Deribit: the recording by its chain and against its tickers, and each rule of the adapter."""

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
    Reply,
    Sizes,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.feed.venues.deribit import VENUE, DeribitAdapter
from tests.venues.applied import AppliedBooks, Level
from tests.venues.captures import incoming, names

Pair = tuple[Level | None, Level | None]


def test_the_recorded_books_are_chained_and_have_the_best_of_every_ticker(recorded_data: Path) -> None:
    """A ticker tells of the last change that is not after it; it may come before that change."""
    path = recorded_data / "DERIBIT.ws.1.0"
    adapter = VENUE.adapter()
    adapter.subscribe(names(path, "instrument_name"))
    books = AppliedBooks()
    states: dict[str, list[tuple[int, Pair]]] = {}
    tickers: list[Best] = []
    chained = 0
    for raw in incoming(path):
        for output in books.take(adapter.take(raw, 0)):
            assert not isinstance(output, Doubt)
            chained += isinstance(output, Update)
            if isinstance(output, Snapshot | Update):
                assert output.ts is not None
                states.setdefault(output.symbol, []).append((output.ts, books[output.symbol].best))
            elif isinstance(output, Best):
                tickers.append(output)
    assert chained == 36
    agreed = compared = 0
    for ticker in tickers:
        known = [best for time, best in states[ticker.symbol] if ticker.ts is not None and time <= ticker.ts]
        compared += bool(known)
        agreed += known[-1:] == [_levels(ticker)]
    assert (agreed, compared) == (len(tickers), len(tickers)) == (76, 76)


def _levels(best: Best) -> Pair:
    bid, ask = best.bid, best.ask
    return (Decimal(bid[0]), Decimal(bid[1])), (Decimal(ask[0]), Decimal(ask[1]))


NAME = "BTC-PERPETUAL"


def book(kind: str, number: int, *, time: int = 1_000, interval: str = "100ms", **fields: Any) -> str:
    data = {
        "type": kind,
        "timestamp": time,
        "instrument_name": NAME,
        "change_id": number,
        "bids": [],
        "asks": [],
    }
    params = {"channel": f"book.{NAME}.{interval}", "data": data | fields}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


@pytest.fixture
def adapter() -> DeribitAdapter:
    """An adapter with a proven book; its last change_id is 100."""
    adapter = VENUE.adapter()
    adapter.subscribe([NAME])
    sides: Any = {"bids": [["new", 9.5, 10.0], ["new", 9, 20]], "asks": [["new", 10.0, 30.0]]}
    assert [type(output) for output in adapter.take(book("snapshot", 100, **sides), 0)] == [Snapshot]
    return adapter


def reason_of(outputs: Iterable[Output]) -> DoubtReason:
    (doubt,) = outputs
    assert isinstance(doubt, Doubt)
    return doubt.reason


def test_heartbeats_are_set_once_and_channels_are_asked_for_in_batches() -> None:
    adapter = VENUE.adapter()
    requests = [json.loads(raw) for raw in adapter.subscribe([f"A-{number}" for number in range(120)])]
    assert [request["method"] for request in requests] == ["public/set_heartbeat", *["public/subscribe"] * 3]
    assert [len(request["params"]["channels"]) for request in requests[1:]] == [50, 50, 20]
    assert len({request["id"] for request in requests}) == 4
    assert [json.loads(raw)["method"] for raw in adapter.subscribe(["B"])] == ["public/subscribe"]
    list(adapter.lost())
    assert len(adapter.subscribe(["B"])) == 2


def test_a_request_to_prove_that_the_client_lives_is_answered(adapter: DeribitAdapter) -> None:
    request = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}
    alive, reply = adapter.take(json.dumps(request), 0)
    assert alive == Alive()
    assert isinstance(reply, Reply)
    assert json.loads(reply.payload)["method"] == "public/test"
    request["params"] = {"type": "heartbeat"}
    assert list(adapter.take(json.dumps(request), 0)) == [Alive()]


@pytest.mark.parametrize("interval", ["100ms", "agg2", "raw"])
def test_a_change_follows_by_its_previous_id(adapter: DeribitAdapter, interval: str) -> None:
    changes: Any = {"bids": [["change", 9.5, 5.0], ["delete", 9, 0]], "asks": [["new", 11.0, 1.0]]}
    raw = book("change", 105, prev_change_id=100, interval=interval, **changes)
    assert list(adapter.take(raw, 0)) == [
        Update(NAME, [("9.5", "5.0"), ("9", "0")], [("11.0", "1.0")], 1_000_000, 105)
    ]


@pytest.mark.parametrize(("before", "number"), [(101, 105), (99, 105), (100, 100), (100, 99)])
def test_a_change_that_does_not_follow_is_a_gap(adapter: DeribitAdapter, before: int, number: int) -> None:
    assert reason_of(adapter.take(book("change", number, prev_change_id=before), 0)) is DoubtReason.GAP
    follows = book("change", 106, prev_change_id=number)
    assert list(adapter.take(follows, 0)) == [Skipped("change without a snapshot")]
    assert [type(output) for output in adapter.take(book("snapshot", 107), 0)] == [Snapshot]


@pytest.mark.parametrize(
    "entry",
    [["new", 9.50, 1.0], ["change", 9.4, 1.0], ["delete", 9.4, 0.0], ["delete", 9.5, 1.0], ["new", 9.4, 0.0]],
)
def test_a_change_that_does_not_fit_the_book_disproves_it(adapter: DeribitAdapter, entry: list[Any]) -> None:
    raw = book("change", 105, prev_change_id=100, bids=[entry])
    assert reason_of(adapter.take(raw, 0)) is DoubtReason.MALFORMED


def test_a_level_may_go_and_come_in_one_message(adapter: DeribitAdapter) -> None:
    raw = book("change", 105, prev_change_id=100, bids=[["delete", 9.5, 0.0], ["new", 9.5, 7.0]])
    assert list(adapter.take(raw, 0)) == [Update(NAME, [("9.5", "7.0")], [], 1_000_000, 105)]


def test_an_old_snapshot_does_not_bring_the_old_book_back(adapter: DeribitAdapter) -> None:
    assert reason_of(adapter.take(book("snapshot", 99), 0)) is DoubtReason.RESET
    adapter.unsubscribe([NAME])
    adapter.subscribe([NAME])
    assert reason_of(adapter.take(book("snapshot", 150, time=999), 0)) is DoubtReason.RESET
    anew = book("snapshot", 5, time=1_001)  # the venue began its numbers anew
    assert [type(output) for output in adapter.take(anew, 0)] == [Snapshot]


def test_each_symbol_that_the_venue_does_not_accept_is_refused(adapter: DeribitAdapter) -> None:
    number = json.loads(adapter.subscribe(["A-1", "A-2", "A-3"])[-1])["id"]
    answer = {"jsonrpc": "2.0", "id": number, "result": ["book.A-3.100ms", "book.A-1.100ms"]}
    assert list(adapter.take(json.dumps(answer), 0)) == [
        Alive(),
        Refused("A-2", "the venue has no such channel"),
    ]


@pytest.mark.parametrize(("code", "final"), [(10028, False), (13778, True)])
def test_an_error_refuses_all_symbols_of_its_request(adapter: DeribitAdapter, code: int, final: bool) -> None:
    number = json.loads(adapter.subscribe(["A-1", "A-2"])[-1])["id"]
    error = {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": "why"}}
    refused = list(adapter.take(json.dumps(error), 0))
    assert [(output.symbol, output.final) for output in refused if isinstance(output, Refused)] == [
        ("A-1", final),
        ("A-2", final),
    ]


def test_sizes_divide_every_price_and_amount() -> None:
    option = {
        "instrument_name": "BTC-30JUL21-24000-P",
        "tick_size": 0.0001,
        "tick_size_steps": [{"above_price": 0.005, "tick_size": 0.0005}],
        "contract_size": 1.0,
        "min_trade_amount": 0.1,
        "is_active": True,
    }
    future = {"instrument_name": NAME, "tick_size": 2.5, "contract_size": 10, "min_trade_amount": 10}
    answer = json.dumps({"result": [option, future]}).encode()
    assert VENUE.read_instruments([answer]) == {
        "BTC-30JUL21-24000-P": Sizes("0.0001", "0.1"),
        NAME: Sizes("2.5", "10", trading=False),
    }
