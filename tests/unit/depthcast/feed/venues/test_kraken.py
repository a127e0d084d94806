"""Kraken's rules: the documented checksum, depth, precision, answers, and the list of pairs."""

import json
import re
from typing import Any
from zlib import crc32

import pytest

from depthcast.feed.venue import (
    Adapter,
    Alive,
    Doubt,
    DoubtReason,
    Output,
    Refused,
    Sizes,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.feed.venues import kraken, kraken_v1

DOCUMENTED = (
    '{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":['
    '{"price":45283.5,"qty":0.10000000},{"price":45283.4,"qty":1.54582015},{"price":45282.1,"qty":0.10000000},'
    '{"price":45281.0,"qty":0.10000000},{"price":45280.3,"qty":1.54592586},{"price":45279.0,"qty":0.07990000},'
    '{"price":45277.6,"qty":0.03310103},{"price":45277.5,"qty":0.30000000},{"price":45277.3,"qty":1.54602737},'
    '{"price":45276.6,"qty":0.15445238}],"asks":['
    '{"price":45285.2,"qty":0.00100000},{"price":45286.4,"qty":1.54571953},{"price":45286.6,"qty":1.54571109},'
    '{"price":45289.6,"qty":1.54560911},{"price":45290.2,"qty":0.15890660},{"price":45291.8,"qty":1.54553491},'
    '{"price":45294.7,"qty":0.04454749},{"price":45296.1,"qty":0.35380000},{"price":45297.5,"qty":0.09945542},'
    '{"price":45299.5,"qty":0.18772827}],"checksum":3310070434,"timestamp":"2023-10-06T17:35:55.440295Z"}]}'
)
"""The example of the page "Spot Websockets (v2) Book Checksum"."""


def subscribed(*symbols: str, venue: kraken.KrakenVenue = kraken.VENUE) -> Adapter:
    adapter = venue.adapter()
    adapter.subscribe(symbols or ["A/B"])
    return adapter


def message(kind: str, bids: str, asks: str, digits: str, symbol: str = "A/B") -> str:
    """Write a book message with numbers as given, such as "5.10 1, 5.00 2"; `digits`: the checksum's text."""
    sides = [
        ",".join('{{"price":{},"qty":{}}}'.format(*level.split()) for level in side.split(",") if level)
        for side in (bids, asks)
    ]
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{crc32(digits.encode())}}}]}}'
    )


def take(adapter: Adapter, raw: str | bytes) -> list[Output]:
    return list(adapter.take(raw, 0))


def test_the_documented_example_agrees() -> None:
    (snapshot,) = take(subscribed("BTC/USD"), DOCUMENTED)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.checked
    assert snapshot.ts == 1_696_613_755_440_295
    assert (snapshot.bids[0], snapshot.asks[0]) == (("45283.5", "0.10000000"), ("45285.2", "0.00100000"))
    assert (len(snapshot.bids), len(snapshot.asks)) == (10, 10)


def test_a_pair_that_was_subscribed_at_two_depths_is_read_at_the_first() -> None:
    adapter = kraken_v1.VENUE.adapter()
    level = ["5.10", "1.0", "1534614057.321597"]

    def book(depth: int, bids: list[list[str]]) -> list[Output]:
        return take(adapter, json.dumps([1, {"as": [], "bs": bids}, f"book-{depth}", "A/B"]))

    (snapshot,) = book(100, [level, ["5.00", *level[1:]]])
    assert isinstance(snapshot, Snapshot)
    assert book(10, [level]) == [Skipped("book-10")]
    assert len((adapter.top("A/B", 5) or [[]])[0]) == 2
    adapter.lost()
    assert isinstance(book(10, [level])[0], Snapshot)


@pytest.mark.parametrize("checksum", ['"checksum":0', '"other":1'])
def test_a_checksum_that_the_venue_has_withdrawn_is_a_doubt_that_says_so(checksum: str) -> None:
    adapter = kraken.VENUE.adapter()
    adapter.subscribe(["BTC/USD"])
    raw = re.sub(r'"checksum":\d+', checksum, DOCUMENTED)
    (doubt,) = take(adapter, raw)
    assert doubt == Doubt(
        "BTC/USD", DoubtReason.MALFORMED, "a book without a checksum, which alone proves it"
    )


def test_a_wrong_checksum_is_a_doubt_until_the_next_snapshot() -> None:
    adapter = subscribed()
    first = message("snapshot", "5.10 1.0", "5.20 2.0", "52020" + "51010")
    assert isinstance(take(adapter, first)[0], Snapshot)
    wrong = message("update", "5.10 1.5", "", "0")
    assert take(adapter, wrong) == [Doubt("A/B", DoubtReason.CHECKSUM, "the venue's checksum is another one")]
    assert adapter.top("A/B", 1) is None
    right = message("update", "5.10 1.0", "", "52020" + "51010")
    assert take(adapter, right) == [Skipped("update before a snapshot")]
    assert isinstance(take(adapter, first)[0], Snapshot)


def test_levels_beyond_the_depth_are_removed_with_the_update_that_displaces_them() -> None:
    adapter = kraken.KrakenAdapter(2)
    adapter.subscribe(["A/B"])
    take(adapter, message("snapshot", "3 1,2 1", "4 1,5 1", "4151" + "3121"))
    (update,) = take(adapter, message("update", "3.5 7", "", "4151" + "35731"))
    assert isinstance(update, Update)
    assert (list(update.bids), list(update.asks)) == ([("3.5", "7"), ("2", "0")], [])
    assert adapter.top("A/B", 9) == ([("3.5", "7"), ("3", "1")], [("4", "1"), ("5", "1")])


def test_numbers_without_all_decimals_agree_once_the_precisions_are_known() -> None:
    adapter = subscribed()
    snapshot = message("snapshot", "4.7E-7 1", "0.00000048 2E1", "48" + "2000" + "47" + "100")
    assert isinstance(take(adapter, snapshot)[0], Doubt)
    pairs = [{"symbol": "A/B", "price_precision": 8, "qty_precision": 2}]
    body = {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": pairs}}
    assert take(adapter, json.dumps(body)) == [Alive()]
    assert isinstance(take(adapter, snapshot)[0], Snapshot)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"channel":"heartbeat"}', [Alive()]),
        ('{"method":"pong","req_id":1}', [Alive()]),
        ('{"method":"subscribe","success":true,"result":{"channel":"book","symbol":"A/B"}}', [Alive()]),
        ('{"channel":"status","type":"update","data":[{"system":"online"}]}', [Alive()]),
        ('{"channel":"trade","type":"update","data":[]}', [Skipped("trade")]),
        (
            '{"method":"subscribe","success":false,"error":"Currency pair not supported C/D","symbol":"C/D"}',
            [Refused("C/D", "Currency pair not supported C/D", final=True)],
        ),
        ('{"error":"Exceeded msg rate"}', [Refused(None, "Exceeded msg rate", final=False)]),
        (
            '{"method":"unsubscribe","success":false,"error":"Subscription Not Found","symbol":"A/B"}',
            [Skipped("refused end of a subscription")],
        ),
        (
            '{"channel":"status","type":"update","data":[{"system":"maintenance"}]}',
            [Doubt("A/B", DoubtReason.SUSPENDED, "the venue is in maintenance"), Alive()],
        ),
    ],
)
def test_what_concerns_no_levels(raw: str, expected: list[Output]) -> None:
    assert take(subscribed(), raw) == expected


def test_it_asks_for_the_depth_in_batches_and_once_for_precisions() -> None:
    adapter = kraken.VENUE.adapter()
    first, *others = (json.loads(raw) for raw in adapter.subscribe([f"S{n}/USD" for n in range(120)]))
    assert first["params"] == {"channel": "instrument"}
    assert [len(request["params"]["symbol"]) for request in others] == [50, 50, 20]
    assert {request["params"]["depth"] for request in others} == {10}
    (again,) = (json.loads(raw) for raw in adapter.subscribe(["S1/USD"]))
    assert again["params"]["snapshot"] is True
    (end,) = (json.loads(raw) for raw in adapter.unsubscribe(["S1/USD"]))
    assert (end["method"], end["params"]["symbol"]) == ("unsubscribe", ["S1/USD"])
    assert take(adapter, message("snapshot", "1 1", "", "11", "S1/USD")) == [
        Skipped("book that is not subscribed")
    ]
    assert len(list(adapter.lost())) == 119
    assert json.loads(adapter.subscribe(["S2/USD"])[0])["params"] == {"channel": "instrument"}


def test_sizes_come_under_the_names_of_each_version() -> None:
    def pair(name: str, **other: Any) -> dict[str, Any]:
        return {"wsname": name, "tick_size": "0.1", "lot_decimals": 8, "status": "online", **other}

    pairs = {
        "XXBTZUSD": pair("XBT/USD"),
        "XDGEUR": pair("XDG/EUR", tick_size="0.0000001", status="cancel_only"),
        "OLD": pair("OLD/USD", tick_size=None),
        "XBTUSD.B": pair("XBT/USD", tick_size="1", execution_venue="bitnomial_exchange"),
        "DARK": {"altname": "DARK"},
    }
    answer = json.dumps({"error": [], "result": pairs}).encode()
    bitcoin, doge = Sizes("0.1", "0.00000001"), Sizes("0.0000001", "0.00000001", trading=False)
    assert kraken.VENUE.read_instruments([answer]) == {"BTC/USD": bitcoin, "DOGE/EUR": doge}
    assert kraken_v1.VENUE.read_instruments([answer]) == {"XBT/USD": bitcoin, "XDG/EUR": doge}


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"error":["EGeneral:Internal error"],"result":{}}'])
def test_another_answer_is_no_list_of_pairs(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"list of pairs|Expecting"):
        kraken.VENUE.read_instruments([answer])


def test_v1_takes_the_last_of_a_price_and_the_text_as_written() -> None:
    adapter = subscribed("XBT/USD", venue=kraken_v1.VENUE)
    levels = '{"as":[["1.52","10.0","1618678135.0"]],"bs":[["1.50","10.0","1618678135.5"]]}'
    assert take(adapter, f'[1,{levels},"book-10","XBT/USD"]') == [
        Snapshot("XBT/USD", [("1.50", "10.0")], [("1.52", "10.0")], 1_618_678_135_500_000)
    ]
    digits = "152100" + "15000" + "149100"
    changes = (
        '{"b":[["1.5000","3.0","1618678136.0"],["1.5000","5.0","1618678136.1","r"],'
        f'["1.49","10.0","1618678136.2"]],"c":"{crc32(digits.encode())}"}}'
    )
    assert isinstance(take(adapter, f'[1,{changes},"book-10","XBT/USD"]')[0], Doubt)  # 1500050
    take(adapter, f'[1,{levels},"book-10","XBT/USD"]')
    digits = "152100" + "1500050" + "149100"
    changes = changes[: changes.rindex('"c"')] + f'"c":"{crc32(digits.encode())}"}}'
    (update,) = take(adapter, f'[1,{changes},"book-10","XBT/USD"]')
    assert update == Update(
        "XBT/USD", [("1.5000", "5.0"), ("1.49", "10.0")], [], 1_618_678_136_200_000, checked=True
    )


@pytest.mark.parametrize(
    "maps",
    [
        '{"a":[["1.52","1","1.0"]]},{"a":[["1.53","1","1.0"]],"c":"1"}',
        '{"a":[["1.52","1","1.0"]],"c":"1","d":1}',
        '{"as":[],"a":[],"c":"1"}',
        '{"as":[]}',
        '{"c":"1"}',
        "7",
    ],
)
def test_v1_refuses_fields_that_do_not_belong_together(maps: str) -> None:
    adapter = subscribed("XBT/USD", venue=kraken_v1.VENUE)
    (doubt,) = take(adapter, f'[1,{maps},"book-10","XBT/USD"]')
    assert isinstance(doubt, Doubt)
    assert doubt.reason is DoubtReason.MALFORMED


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"event":"heartbeat"}', Alive()),
        ('{"event":"pong"}', Alive()),
        ('{"event":"systemStatus","status":"online"}', Alive()),
        ('{"event":"subscriptionStatus","status":"subscribed","pair":"XBT/USD"}', Alive()),
        (
            '{"event":"subscriptionStatus","pair":"A/B","errorMessage":"Currency pair not supported A/B"}',
            Refused("A/B", "Currency pair not supported A/B"),
        ),
        ('[3,[["1","2"]],"trade","XBT/USD"]', Skipped("trade")),
    ],
)
def test_v1_events(raw: str, expected: Output) -> None:
    assert take(subscribed("XBT/USD", venue=kraken_v1.VENUE), raw) == [expected]


def test_v1_asks_for_a_thousand_levels() -> None:
    (raw,) = kraken_v1.VENUE.adapter().subscribe(["XBT/USD"])
    subscription = {"name": "book", "depth": 1000}
    assert json.loads(raw) == {"event": "subscribe", "pair": ["XBT/USD"], "subscription": subscription}
