"""The error for a refused request: code, text, symbol and the request's id."""

from dataclasses import asdict
from typing import Any

import pytest

from tests.unit.gateway.model_client import connected
from tests.unit.gateway.small_market import SmallMarket, lively_market


def refusal(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": message, **more}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            {"op": "subscribe", "symbols": ["NOPE"], "id": 1},
            refusal(
                "unknown_symbol", "no symbol 'NOPE'; GET /v1/symbols lists what there is", symbol="NOPE", id=1
            ),
        ),
        (
            {"op": "subscribe", "symbols": ["*", "AAA"], "id": 2},
            refusal("unknown_symbol", "no symbol '*'; use [\"*\"] alone for all", symbol="*", id=2),
        ),
        (
            {"op": "subscribe", "symbols": [[7]], "id": 3},
            refusal("bad_request", "a symbol is text, not [7]", id=3),
        ),
        (
            {"op": "unsubscribe", "symbols": [7], "id": 4},
            refusal("bad_request", "a symbol is text, not 7", id=4),
        ),
        (
            {"op": "unsubscribe", "symbols": ["BBB"], "id": 5},
            refusal("not_subscribed", "there is no subscription to 'BBB'", symbol="BBB", id=5),
        ),
    ],
    ids=["unknown", "wildcard among others", "no text", "no text to end", "not subscribed"],
)
def test_a_request_that_is_refused(request_: dict[str, Any], expected: dict[str, Any]) -> None:
    assert connected(lively_market()).send(**request_)[0] == expected


def test_a_long_symbol_is_cut() -> None:
    client = connected(lively_market())
    for op in ("subscribe", "unsubscribe"):
        [error] = client.send(op=op, symbols=["x" * 1000])
        assert error["symbol"] == "x" * 64
        assert len(error["message"]) < 200


def test_nothing_is_known_yet() -> None:
    [error] = connected(SmallMarket()).send(op="subscribe", symbols=["AAA"], id=6)
    assert (error["code"], error["id"]) == ("unavailable", 6)


def test_a_wildcard_that_is_not_allowed() -> None:
    [error] = connected(lively_market(wildcard=False)).send(op="subscribe", symbols=["*"], id=7)
    assert (error["code"], error["id"], "symbol" in error) == ("forbidden", 7, False)


def test_one_subscription_too_many() -> None:
    client = connected(lively_market(subscriptions_max=1))
    client.subscribe("AAA")
    [error] = client.subscribe("BBB", id=8)
    assert error == refusal(
        "limit",
        "BBB would be more than 1 subscriptions; unsubscribe others, or open another connection",
        symbol="BBB",
        id=8,
    )
    assert client.subscribe("AAA", depth=1)[0]["type"] == "subscribed"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"depth": 0},
            (
                "the full book of AAA has 3 levels on a side, more than the 2 served; "
                "subscribe with a depth of up to 1000"
            ),
        ),
        (
            {"depth": 5, "group": 10},
            (
                "the book of AAA has 3 levels on a side, more than the 2 that are grouped; "
                "subscribe without group, with a depth of up to 1000"
            ),
        ),
    ],
    ids=["to serve whole", "to group"],
)
def test_a_book_too_deep(options: dict[str, int], why: str) -> None:
    [error] = connected(lively_market(full_depth_max=2)).subscribe("AAA", **options, id=9)
    assert error == refusal("limit", why, symbol="AAA", id=9)


@pytest.mark.parametrize(
    ("limit", "symbol", "group", "kept"),
    [("limit_groups_per_symbol", "AAA", 3, "groups of AAA"), ("limit_groups", "BBB", 2, "grouped books")],
)
def test_more_groups_than_are_kept(limit: str, symbol: str, group: int, kept: str) -> None:
    market = lively_market(**{f"{limit.removeprefix('limit_')}_max": 1})
    connected(market).subscribe("AAA", group=2)
    [error] = connected(market).subscribe(symbol, group=group, id=10)
    assert error == refusal(
        "limit",
        f"{symbol} grouped by {group} ticks would be more than the 1 {kept} that this gateway keeps; "
        "subscribe with a group that others use, or try again later",
        symbol=symbol,
        id=10,
    )
    counters = asdict(market.core.counters)
    limits = {name: count for name, count in counters.items() if name.startswith("limit_") and count}
    assert limits == {limit: 1}
