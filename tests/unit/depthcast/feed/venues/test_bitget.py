"""Bitget's rules: the chain of v3, growing numbers of v2, events, and the lists of instruments."""

import json
from typing import Any

import pytest

from depthcast.feed.venue import (
    Adapter,
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
from depthcast.feed.venues import bitget


def chained(previous: int | None, number: int | None, quantity: str = "1", *, first: bool = False) -> str:
    data: dict[str, Any] = {
        "a": [["5.20", "3"]],
        "b": [["5.10", quantity]],
        "ts": "1746698732562",
        "checksum": 0,
    }
    data |= {"pseq": previous, "seq": number}
    arg = {"instType": "spot", "topic": "books", "symbol": "AB"}
    return json.dumps({"action": "snapshot" if first else "update", "arg": arg, "data": [data]})


def growing(number: int, *, first: bool = False, market: str = "SPOT") -> str:
    data = {"asks": [["5.20", "3"]], "bids": [["5.10", str(number)]], "ts": "1746698732562", "seq": number}
    arg = {"instType": market, "channel": "books", "instId": "AB"}
    return json.dumps({"action": "snapshot" if first else "update", "arg": arg, "data": [data]})


def subscribed() -> Adapter:
    adapter = bitget.VENUE.adapter()
    adapter.subscribe(["AB"])
    return adapter


def take(adapter: Adapter, raw: str | bytes) -> list[Output]:
    return list(adapter.take(raw, 0))


def test_a_chain() -> None:
    adapter = subscribed()
    assert [take(adapter, raw) for raw in (chained(0, 10, first=True), chained(10, 17, "2"))] == [
        [Snapshot("AB", [("5.10", "1")], [("5.20", "3")], 1_746_698_732_562_000, 10)],
        [Update("AB", [("5.10", "2")], [("5.20", "3")], 1_746_698_732_562_000, 17)],
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (chained(11, 17), DoubtReason.GAP),
        (chained(0, 17), DoubtReason.RESET),
        (chained(10, 10), DoubtReason.RESET),
        (chained(10, 9), DoubtReason.RESET),
        (chained(None, 17), DoubtReason.MALFORMED),
        (chained(10, None), DoubtReason.MALFORMED),
        (chained(10, 17, "x"), DoubtReason.MALFORMED),
        (chained(0, 0, first=True), DoubtReason.MALFORMED),
    ],
)
def test_what_breaks_the_chain(raw: str, reason: DoubtReason) -> None:
    adapter = subscribed()
    take(adapter, chained(0, 10, first=True))
    (doubt,) = take(adapter, raw)
    assert isinstance(doubt, Doubt)
    assert doubt.reason == reason
    assert take(adapter, chained(10, 17)) == [Skipped("update before a snapshot")]
    assert isinstance(take(adapter, chained(0, 3, first=True))[0], Snapshot)


def test_numbers_of_v2_grow() -> None:
    adapter = bitget.VENUE.adapter()
    outputs = [take(adapter, raw)[0] for raw in (growing(3, first=True), growing(4), growing(9), growing(9))]
    assert [type(output) for output in outputs] == [Snapshot, Update, Update, Doubt]


def test_another_market_has_another_book_of_the_same_name() -> None:
    adapter = bitget.VENUE.adapter()
    take(adapter, growing(3, first=True))
    assert take(adapter, growing(9, first=True, market="USDT-FUTURES")) == [Skipped("books")]
    assert adapter.top("AB", 1) == ([("5.10", "3")], [("5.20", "3")])
    assert isinstance(take(bitget.USDT_FUTURES.adapter(), growing(9, first=True, market="mc"))[0], Snapshot)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("pong", Alive()),
        ('{"event":"subscribe","arg":{"instType":"spot","topic":"books","symbol":"AB"}}', Alive()),
        (
            '{"event":"error","arg":{"instType":"spot","topic":"books","symbol":"CD"},"code":"30001","msg":"no"}',
            Refused("CD", "30001: no"),
        ),
        ('{"event":"error","code":30006,"msg":"slow"}', Refused(None, "30006: slow", final=False)),
        (
            '{"event":"error","code":30001,"msg":"instType:sp,channel:books,instId:CD doesn\'t exist"}',
            Refused("CD", "30001: instType:sp,channel:books,instId:CD doesn't exist"),
        ),
        ('{"action":"snapshot","arg":{"instType":"spot","topic":"ticker","symbol":"AB"}}', Skipped("ticker")),
    ],
)
def test_what_concerns_no_levels(raw: str, expected: Output) -> None:
    assert take(subscribed(), raw) == [expected]


def test_requests() -> None:
    adapter = bitget.USDT_FUTURES.adapter()
    args = [{"instType": "usdt-futures", "topic": "books", "symbol": symbol} for symbol in ("AB", "CD")]
    assert [json.loads(raw) for raw in adapter.subscribe(["AB", "CD"])] == [{"op": "subscribe", "args": args}]
    assert [json.loads(raw) for raw in adapter.unsubscribe(["AB"])] == [
        {"op": "unsubscribe", "args": args[:1]}
    ]
    assert bitget.USDT_FUTURES.instruments_requests(["AB"]) == (
        Request("/api/v3/market/instruments?category=USDT-FUTURES"),
    )


V3 = {"pricePrecision": "2", "quantityPrecision": "4", "status": "online"}
V2_CONTRACT = {"pricePlace": "1", "priceEndStep": "5", "volumePlace": "3", "symbolStatus": "normal"}


@pytest.mark.parametrize(
    ("item", "sizes"),
    [
        ({**V3, "priceMultiplier": "0.05", "quantityMultiplier": "0.001"}, Sizes("0.05", "0.001")),
        (V3, Sizes("0.01", "0.0001")),
        ({**V3, "status": "offline"}, Sizes("0.01", "0.0001", trading=False)),
        ({**V3, "pricePrecision": "0", "quantityPrecision": 0, "quantityMultiplier": "0"}, Sizes("1", "1")),
        (V2_CONTRACT, Sizes("0.5", "0.001")),
        ({**V2_CONTRACT, "sizeMultiplier": "0.01"}, Sizes("0.5", "0.01")),
        ({**V2_CONTRACT, "priceEndStep": "0"}, None),
        ({**V3, "pricePrecision": "x"}, None),
        ({"status": "online"}, None),
    ],
)
def test_sizes(item: dict[str, str], sizes: Sizes | None) -> None:
    answer = json.dumps({"code": "00000", "data": [{"symbol": "AB", **item}, None, {}]}).encode()
    assert bitget.VENUE.read_instruments([answer]) == ({} if sizes is None else {"AB": sizes})


def test_another_answer_is_no_list() -> None:
    with pytest.raises(ValueError, match="no list of instruments"):
        bitget.VENUE.read_instruments([b'{"code":"40034","data":null}'])
