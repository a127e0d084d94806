"""Bybit's adapter: what each kind of message means, and when a book is proven."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from depthcast.feed.venue import (
    Alive,
    Doubt,
    DoubtReason,
    Output,
    Refused,
    Request,
    Sizes,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.feed.venues.bybit import INVERSE, LINEAR, SPOT, BybitAdapter
from tests.venues.field_faults import meant_by_nobody

TS = 1_700_000_000_000
NOW = TS * 1_000


def message(
    kind: str, u: int, *, seq: int | None = None, ts: int = TS, depth: int = 1000, **more: Any
) -> str:
    levels = {"b": more.get("b", [["10.00", "5"]]), "a": more.get("a", [["10.02", "4"]])}
    symbol = more.get("s", "AAAUSDT")
    data = {"s": symbol, **levels, "u": u, "seq": u * 10 if seq is None else seq}
    return json.dumps(
        {"topic": f"orderbook.{depth}.{symbol}", "type": kind, "ts": ts, "data": data, "cts": ts}
    )


def subscribed(*symbols: str) -> BybitAdapter:
    adapter = SPOT.adapter()
    adapter.subscribe(symbols or ["AAAUSDT"])
    return adapter


def live(u: int = 100) -> BybitAdapter:
    adapter = subscribed()
    assert kinds(adapter.take(message("snapshot", u), NOW)) == ["Snapshot"]
    return adapter


def kinds(outputs: Iterable[Output]) -> list[str]:
    return [output.reason if isinstance(output, Doubt) else type(output).__name__ for output in outputs]


def test_a_snapshot_and_what_follows_it() -> None:
    adapter = subscribed()
    assert adapter.take(message("delta", 99), NOW) == []
    assert adapter.take(message("snapshot", 100), NOW) == [
        Snapshot("AAAUSDT", [("10.00", "5")], [("10.02", "4")], NOW, 1000)
    ]
    assert adapter.take(message("delta", 101, b=[["10.00", "0"], ["9.99", "2"]], a=[]), NOW) == [
        Update("AAAUSDT", [("10.00", "0"), ("9.99", "2")], [], NOW, 1010)
    ]
    assert adapter.top("AAAUSDT", 1) == ([("9.99", "2")], [("10.02", "4")])


@pytest.mark.parametrize(
    ("u", "seq", "expected"),
    [
        (101, None, ["Update"]),
        (100, None, ["Skipped"]),
        (100, 1001, [DoubtReason.RESET]),
        (102, None, [DoubtReason.GAP]),
        (99, None, [DoubtReason.RESET]),
        (1, None, [DoubtReason.RESET]),
        (101, 999, [DoubtReason.RESET]),
        (101, 1000, ["Update"]),
    ],
)
def test_u_goes_up_by_one(u: int, seq: int | None, expected: list[str]) -> None:
    adapter = live(100)
    assert kinds(adapter.take(message("delta", u, seq=seq), NOW)) == expected
    proven = expected in (["Update"], ["Skipped"])
    assert (adapter.top("AAAUSDT", 1) is not None) is proven
    if not proven:
        assert adapter.take(message("delta", 101), NOW) == []


def test_a_new_snapshot_replaces_the_book() -> None:
    adapter = live(100)
    assert kinds(adapter.take(message("snapshot", 150, ts=TS + 1), NOW)) == ["Snapshot"]
    assert kinds(adapter.take(message("delta", 151, ts=TS + 2), NOW)) == ["Update"]


def test_a_restart_is_said_and_replaces_the_book() -> None:
    adapter = live(100)
    restart = adapter.take(message("snapshot", 1, seq=7, ts=TS + 1), NOW)
    assert kinds(restart) == [DoubtReason.RESET, "Snapshot"]
    assert kinds(adapter.take(message("delta", 2, ts=TS + 2), NOW)) == ["Update"]


@pytest.mark.parametrize("u", [1, 90])
def test_a_late_snapshot_never_leads_back(u: int) -> None:
    adapter = live(100)
    adapter.take(message("delta", 101, ts=TS + 5), NOW)
    late = message("snapshot", u, ts=TS + 4)
    assert kinds(adapter.take(late, NOW)) == [DoubtReason.RESET]
    assert adapter.take(late, NOW) == []
    adapter.unsubscribe(["AAAUSDT"])
    adapter.subscribe(["AAAUSDT"])
    assert kinds(adapter.take(late, NOW)) == [DoubtReason.RESET], "of the same connection"
    adapter.lost()
    assert kinds(adapter.take(late, NOW)) == ["Snapshot"]


def test_a_snapshot_with_a_lower_seq_is_no_newer_one() -> None:
    adapter = live(100)
    assert kinds(adapter.take(message("snapshot", 200, seq=999, ts=TS + 1), NOW)) == [DoubtReason.RESET]


def test_a_message_in_doubt_still_says_how_far_the_venue_is() -> None:
    adapter = live(100)
    adapter.take(message("delta", 105, ts=TS + 5), NOW)
    adapter.take(message("delta", 106, ts=TS + 6), NOW)
    assert adapter.take(message("snapshot", 104, ts=TS + 4), NOW) == []
    assert kinds(adapter.take(message("snapshot", 107, ts=TS + 7), NOW)) == ["Snapshot"]


def test_a_crossed_book_is_in_doubt() -> None:
    assert kinds(live(100).take(message("delta", 101, b=[["10.02", "1"]], a=[]), NOW)) == [
        DoubtReason.CROSSED
    ]


def test_an_empty_snapshot_is_an_empty_book() -> None:
    adapter = live(100)
    outputs = adapter.take(message("snapshot", 1, ts=TS + 1, b=[], a=[]), NOW)
    assert list(outputs)[-1] == Snapshot("AAAUSDT", [], [], NOW + 1_000, 10)


def test_one_depth_of_a_symbol_is_read() -> None:
    adapter = subscribed()
    assert kinds(adapter.take(message("snapshot", 5, depth=1), NOW)) == ["Skipped"]
    assert kinds(adapter.take(message("snapshot", 5, depth=200), NOW)) == ["Snapshot"]
    assert kinds(adapter.take(message("snapshot", 9, depth=50), NOW)) == ["Skipped"]
    assert kinds(adapter.take(message("delta", 6, depth=200), NOW)) == ["Update"]


@pytest.mark.parametrize("kind", ["snapshot", "delta"])
def test_every_damaged_field_is_a_doubt_or_no_loss(kind: str) -> None:
    good = message(kind, 101, b=[["9.98", "6"]], a=[["10.05", "1"]], ts=TS + 1)
    (expected,) = live(100).take(good, NOW)
    seen: Counter[str] = Counter()
    for damaged in meant_by_nobody(good):
        outputs = list(live(100).take(damaged, NOW))
        if outputs != [expected]:
            assert {type(output) for output in outputs} <= {Doubt, Skipped}, damaged
            seen.update(kinds(outputs))
    assert seen[DoubtReason.MALFORMED] > 100


@pytest.mark.parametrize("raw", ["", "{", "7", "null", "[]", "{}", b"\xff", '{"op":7}', '{"op":"subscribe"}'])
def test_what_cannot_be_told_puts_every_book_in_doubt(raw: str | bytes) -> None:
    outputs = subscribed("AAAUSDT", "BBBUSDT").take(raw, NOW)
    assert [output.symbol for output in outputs if isinstance(output, Doubt)] == ["AAAUSDT", "BBBUSDT"]


def test_a_book_under_another_name_puts_every_book_in_doubt() -> None:
    for damaged in (
        message("delta", 101).replace("orderbook.1000.", "tickers."),
        message("delta", 101).replace("orderbook.1000.AAAUSDT", "orderbook.1000.BBBUSDT"),
    ):
        adapter = subscribed("AAAUSDT", "BBBUSDT")
        assert kinds(adapter.take(damaged, NOW)) == [DoubtReason.MALFORMED] * 2


def test_other_messages_concern_no_book() -> None:
    adapter = live(100)
    for data in ([{"s": "AAAUSDT", "p": "1"}], {"symbol": "AAAUSDT", "lastPrice": "1"}, None):
        trade = json.dumps({"topic": "publicTrade.AAAUSDT", "type": "snapshot", "ts": TS, "data": data})
        assert adapter.take(trade, NOW) == [Skipped("publicTrade")]
    assert kinds(adapter.take(message("delta", 101), NOW)) == ["Update"]


def test_requests_have_ten_topics_and_a_refusal_names_one() -> None:
    adapter = SPOT.adapter()
    requests = [json.loads(raw) for raw in adapter.subscribe([f"S{number}" for number in range(12)])]
    assert [len(request["args"]) for request in requests] == [10, 2]
    assert requests[1] == {
        "req_id": "2",
        "op": "subscribe",
        "args": ["orderbook.1000.S10", "orderbook.1000.S11"],
    }
    detail = "error:handler not found,topic:orderbook.1000.S11"
    refusal = {"success": False, "ret_msg": detail, "op": "subscribe", "req_id": "2"}
    assert adapter.take(json.dumps(refusal), NOW) == [
        Refused("S10", detail, final=False),
        Refused("S11", detail, final=True),
    ]
    invalid = "Invalid symbol :[orderbook.1000.S3]"
    unasked = {**refusal, "req_id": "", "ret_msg": invalid}
    assert adapter.take(json.dumps(unasked), NOW) == [Refused("S3", invalid, final=True)]
    busy = json.dumps({**refusal, "req_id": "1", "ret_msg": "Request limit exceeded"})
    refused = list(adapter.take(busy, NOW))
    assert refused == [Refused(f"S{number}", "Request limit exceeded", final=False) for number in range(10)]
    assert adapter.take(busy, NOW) == [Refused(None, "Request limit exceeded", final=False)]


@pytest.mark.parametrize(
    "answer",
    [
        {"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"},
        {"op": "pong", "args": ["1"]},
        {"success": True, "ret_msg": "subscribe", "req_id": "1", "op": "subscribe"},
    ],
)
def test_answers_say_that_the_venue_is_alive(answer: dict[str, Any]) -> None:
    adapter = subscribed()
    assert json.loads(adapter.ping(NOW) or "") == {"op": "ping"}
    assert adapter.take(json.dumps(answer), NOW) == [Alive()]


def test_a_symbol_that_was_left_concerns_nobody() -> None:
    adapter = live(100)
    (request,) = adapter.unsubscribe(["AAAUSDT"])
    assert json.loads(request)["op"] == "unsubscribe"
    assert kinds(adapter.take(message("delta", 101), NOW)) == ["Skipped"]


def test_a_lost_connection_is_a_doubt_of_every_book_and_nothing_is_remembered() -> None:
    adapter = live(100)
    assert [doubt.reason for doubt in adapter.lost()] == [DoubtReason.DISCONNECTED]
    assert adapter.top("AAAUSDT", 1) is None
    assert kinds(adapter.take(message("snapshot", 3, ts=TS - 9, depth=50), NOW)) == ["Snapshot"]


def test_sizes_come_from_the_filters() -> None:
    def listed(symbol: Any, tick: Any, lots: Any, status: str = "Trading") -> dict[str, Any]:
        return {"symbol": symbol, "status": status, "priceFilter": {"tickSize": tick}, "lotSizeFilter": lots}

    def answer(*items: Any) -> bytes:
        return json.dumps({"retCode": 0, "result": {"list": items}}).encode()

    unknown = b'{"retCode":10001,"retMsg":"params error: Symbol Invalid","result":{}}'
    spot = answer(
        listed("AAAUSDT", "0.01", {"basePrecision": "0.000001"}),
        listed("BBBUSDT", None, {"basePrecision": "1"}),
        listed("CCCUSDT", "1", {}),
        7,
    )
    linear = answer(listed("AAAPERP", "0.5", {"qtyStep": "0.001"}, "PreLaunch"))
    assert SPOT.read_instruments([spot, linear, unknown]) == {
        "AAAUSDT": Sizes("0.01", "0.000001", True),
        "AAAPERP": Sizes("0.5", "0.001", False),
    }
    for other in (b"{}", b"[]", b"x", b'{"retCode":10006,"result":{"list":[]}}'):
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one as well
            SPOT.read_instruments([other])


def test_contracts_are_asked_for_one_by_one() -> None:
    path = "/v5/market/instruments-info?category="
    assert SPOT.instruments_requests(["A", "B"]) == [Request(f"{path}spot")]
    assert LINEAR.instruments_requests(["A", "B/C"]) == [
        Request(f"{path}linear&symbol=A"),
        Request(f"{path}linear&symbol=B%2FC"),
    ]
    assert INVERSE.profile.ws_url == "wss://stream.bybit.com/v5/public/inverse"
