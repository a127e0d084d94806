"""OKX's rules: the chain of numbers as documented, the withdrawn checksum, events, and instruments."""

import json
from random import Random
from typing import Any

import pytest

from depthcast.feed.venue import (
    Adapter,
    Alive,
    Closing,
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
from depthcast.feed.venues import chained_snapshot, okx
from depthcast.feed.venues.chained_snapshot import WAITS_MOST
from tests.venues.interleaved import interleaved_checksum
from tests.venues.model_okx import OkxModel


def message(
    previous: int | None, number: int | None, *, bid: str = "5.10", quantity: str = "1", **more: Any
) -> str:
    """Write a snapshot after -1, otherwise an update; quantity "" for one without levels."""
    bids = [[bid, quantity, "0", "1"]] if quantity else []
    numbers = {} if number is None else {"prevSeqId": previous, "seqId": number}
    action = "snapshot" if previous in (-1, None) else "update"
    data = {"asks": [], "bids": bids, "ts": "1597026383085", **numbers, **more}
    return json.dumps({"arg": {"channel": "books", "instId": "A-B"}, "action": action, "data": [data]})


def subscribed() -> Adapter:
    adapter = okx.VENUE.adapter()
    adapter.subscribe(["A-B"])
    return adapter


def take(adapter: Adapter, raw: str | bytes) -> list[Output]:
    return list(adapter.take(raw, 0))


def test_the_documented_chain_with_a_quiet_minute_and_a_reset() -> None:
    adapter = subscribed()
    outputs = [
        take(adapter, message(*numbers, quantity=quantity, checksum=0))
        for numbers, quantity in (
            ((-1, 10), "1"),
            ((10, 15), "2"),
            ((15, 15), ""),
            ((15, 3), "4"),
            ((3, 5), "5"),
        )
    ]
    ts = 1_597_026_383_085_000
    assert outputs == [
        [Snapshot("A-B", [("5.10", "1")], [], ts, 10)],
        [Update("A-B", [("5.10", "2")], [], ts, 15)],
        [Alive("A-B")],
        [Update("A-B", [("5.10", "4")], [], ts, 3)],
        [Update("A-B", [("5.10", "5")], [], ts, 5)],
    ]
    assert adapter.top("A-B", 5) == ([("5.10", "5")], [])


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (message(11, 15), DoubtReason.GAP),
        (message(9, 10), DoubtReason.GAP),
        (message(10, 10), DoubtReason.MALFORMED),
        (message(-2, 3), DoubtReason.GAP),
        (message(10, -5), DoubtReason.MALFORMED),
        (message(10, None), DoubtReason.MALFORMED),
        (message(10, 15, bid="-1"), DoubtReason.MALFORMED),
        (message(10, 15, checksum=7), DoubtReason.CHECKSUM),
        (message(10, 15, checksum=2**40), DoubtReason.MALFORMED),
        (message(10, 15, asks=[["5.10", "1", "0", "1"]]), DoubtReason.CROSSED),
        (message(-1, 15).replace("5.10", "5.10x"), DoubtReason.MALFORMED),
    ],
)
def test_what_breaks_the_proof(raw: str, reason: DoubtReason) -> None:
    adapter = subscribed()
    take(adapter, message(-1, 10))
    (doubt,) = take(adapter, raw)
    assert isinstance(doubt, Doubt)
    assert (doubt.symbol, doubt.reason) == ("A-B", reason)
    assert take(adapter, message(10, 15)) == [Skipped("update before a snapshot")]
    assert isinstance(take(adapter, message(-1, 20))[0], Snapshot)


def test_times_that_go_back_matter_for_snapshots_only() -> None:
    adapter = subscribed()
    take(adapter, message(-1, 10))
    earlier = {"ts": "1597026383084"}
    assert isinstance(take(adapter, message(10, 15, **earlier))[0], Update)
    assert isinstance(take(adapter, message(-1, 12, **earlier))[0], Doubt)


def test_a_snapshot_follows_nothing() -> None:
    raw = message(-1, 20).replace('"prevSeqId": -1', '"prevSeqId": 19')
    (doubt,) = take(subscribed(), raw)
    assert isinstance(doubt, Doubt)


def test_a_book_with_neither_numbers_nor_checksum_is_refused() -> None:
    (doubt,) = take(subscribed(), message(None, None, checksum=0))
    assert isinstance(doubt, Doubt)
    assert doubt.detail == "neither numbers nor a checksum"


def test_a_checksum_that_goes_missing_is_a_doubt_but_a_withdrawn_one_is_not() -> None:
    model = OkxModel(Random(1), old=True)
    symbol = min(model.market.books)
    arg = {"op": "subscribe", "args": [{"channel": "books", "instId": symbol}]}
    adapter, connection = okx.VENUE.adapter(), model.connect("/", 0)
    (snapshot,) = [m for m in connection.receive(json.dumps(arg), 0) if m.symbol]
    (first,) = take(adapter, snapshot.raw)
    assert isinstance(first, Snapshot)
    assert first.checked
    assert interleaved_checksum(model.market[symbol]) == json.loads(snapshot.raw)["data"][0]["checksum"]
    model.market.step(1)
    body = json.loads(connection.due(0)[0].raw)
    body["data"][0]["checksum"] = 0
    (doubt,) = take(adapter, json.dumps(body))
    assert isinstance(doubt, Doubt)
    assert doubt.detail == "the checksum is missing"
    adapter.unsubscribe([symbol])
    adapter.subscribe([symbol])
    numbered = message(-1, 10, checksum=0).replace("A-B", symbol)
    assert isinstance(take(adapter, numbered)[0], Snapshot), "and numbers prove the book from then on"


def answer(number: int, bid: str = "5.10", **more: Any) -> bytes:
    book = {"asks": [], "bids": [[bid, "3", "0", "1"]], "ts": "1597026383080", "seqId": number, **more}
    return json.dumps({"code": "0", "msg": "", "data": [book]}).encode()


REQUEST = Request("/api/v5/market/books?instId=A-B&sz=400&source=0")


def test_updates_without_a_snapshot_are_joined_to_a_requested_one() -> None:
    adapter = subscribed()
    assert adapter.snapshot_request("A-B") is None
    for previous, number in ((7, 10), (10, 15), (15, 15)):
        quantity = "" if previous == number else str(number)
        early = take(adapter, message(previous, number, quantity=quantity))
        assert early == [Skipped("update before a snapshot")]
    assert adapter.snapshot_request("A-B") == REQUEST
    assert adapter.take_snapshot("A-B", answer(12, "5.00"), 0) == [
        Snapshot("A-B", [("5.10", "15"), ("5.00", "3")], [], 1_597_026_383_085_000, 15)
    ]
    assert adapter.snapshot_request("A-B") is None
    assert isinstance(take(adapter, message(15, 20))[0], Update)


def test_a_requested_snapshot_waits_until_the_stream_reaches_it() -> None:
    adapter = subscribed()
    take(adapter, message(7, 10))
    assert adapter.take_snapshot("A-B", answer(15), 0) == []
    assert adapter.snapshot_request("A-B") is None
    assert isinstance(take(adapter, message(10, 12))[0], Skipped)
    (snapshot,) = take(adapter, message(12, 17))
    assert isinstance(snapshot, Snapshot)
    assert snapshot.sequence == 17


def test_a_requested_snapshot_that_the_stream_never_reaches_is_requested_again() -> None:
    adapter = subscribed()
    take(adapter, message(7, 10))
    adapter.take_snapshot("A-B", answer(15), 0)
    asked = [adapter.snapshot_request("A-B") for _ in range(WAITS_MOST + 1)]
    assert asked == [None] * WAITS_MOST + [REQUEST]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda adapter: take(adapter, message(17, 20)),  # a gap: what came before leads nowhere
        lambda adapter: take(adapter, message(10, 3)),  # the numbers began anew
        lambda adapter: adapter.unsubscribe(["A-B"]) and adapter.subscribe(["A-B"]),
        lambda adapter: adapter.lost(),
    ],
    ids=["gap", "reset", "resubscribed", "reconnected"],
)
def test_a_requested_snapshot_from_before_what_came_is_of_no_use(spoil: Any) -> None:
    adapter = subscribed()
    take(adapter, message(7, 10))
    spoil(adapter)
    take(adapter, message(20, 25))
    assert adapter.take_snapshot("A-B", answer(9), 0) == []
    assert adapter.snapshot_request("A-B") == REQUEST


def test_a_second_subscription_without_a_snapshot_is_enough_too() -> None:
    adapter = subscribed()
    adapter.unsubscribe(["A-B"])
    adapter.subscribe(["A-B"])
    assert adapter.snapshot_request("A-B") == REQUEST
    take(adapter, message(-1, 10))
    assert adapter.snapshot_request("A-B") is None
    adapter.unsubscribe(["A-B"])
    adapter.subscribe(["A-B"])
    assert adapter.snapshot_request("A-B") is None, "the channel does send snapshots"


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'{"code":"50011","msg":"Too Many Requests","data":[]}',
        b'{"code":"0","data":[]}',
        answer(-1),
        answer(9, seqId=None),
        answer(9, asks=[["5.2", "1"]]),
        answer(9, "x"),
    ],
)
def test_an_answer_without_a_book_changes_nothing(raw: bytes) -> None:
    adapter = subscribed()
    take(adapter, message(7, 10))
    assert isinstance(next(iter(adapter.take_snapshot("A-B", raw, 0))), Skipped)
    assert isinstance(next(iter(adapter.take_snapshot("A-B", answer(10), 0))), Snapshot)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chained_snapshot, "BUFFERED_MOST", 3)
    adapter = subscribed()
    for number in range(1, 4):
        take(adapter, message(number, number + 1))
    (doubt,) = take(adapter, message(4, 5))
    assert isinstance(doubt, Doubt)
    assert doubt.reason is DoubtReason.OVERFLOW


def test_levels_with_the_number_before_are_malformed_also_before_a_snapshot() -> None:
    (doubt,) = take(subscribed(), message(10, 10))
    assert isinstance(doubt, Doubt)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("pong", Alive()),
        (b"pong", Alive()),
        ('{"event":"subscribe","arg":{"channel":"books","instId":"A-B"},"connId":"x"}', Alive()),
        ('{"event":"unsubscribe","arg":{"channel":"books","instId":"A-B"}}', Alive()),
        ('{"event":"channel-conn-count","channel":"books"}', Skipped("channel-conn-count")),
        ('{"arg":{"channel":"trades","instId":"A-B"},"data":[{}]}', Skipped("trades")),
        ('{"event":"notice","code":"64008","msg":"Closes soon."}', Closing("Closes soon.")),
        (
            '{"event":"error","code":"60018","msg":"Wrong URL or channel:books,instId:C-D doesn\'t exist."}',
            Refused("C-D", "60018: Wrong URL or channel:books,instId:C-D doesn't exist."),
        ),
        (
            '{"event":"error","code":"60014","msg":"Requests too frequent"}',
            Refused(None, "60014: Requests too frequent", final=False),
        ),
    ],
)
def test_what_concerns_no_levels(raw: str | bytes, expected: Output) -> None:
    assert take(subscribed(), raw) == [expected]


def test_requests() -> None:
    adapter = okx.VENUE.adapter()
    args = [{"channel": "books", "instId": symbol} for symbol in ("A-B", "C-D")]
    assert [json.loads(raw) for raw in adapter.subscribe(["A-B", "C-D"])] == [
        {"op": "subscribe", "args": args}
    ]
    assert [json.loads(raw) for raw in adapter.unsubscribe(["C-D"])] == [
        {"op": "unsubscribe", "args": args[1:]}
    ]
    assert adapter.ping(0) == "ping"
    symbols = ["BTC-USDT", "BTC-USDT-SWAP", "BTC-USD-260925", "BTC-USD-260925-60000-C", "ETH-USDT"]
    assert okx.VENUE.instruments_requests(symbols) == [
        Request(f"/api/v5/public/instruments?instType={query}")
        for query in ("FUTURES", "OPTION&instFamily=BTC-USD", "SPOT", "SWAP")
    ]


def test_sizes() -> None:
    listed = [
        {"instId": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.00000001", "state": "live"},
        {"instId": "NEW-USDT", "tickSz": "0.01", "lotSz": "1", "state": "preopen"},
        {"instId": "", "tickSz": "", "lotSz": "", "state": "preopen"},
    ]
    assert okx.VENUE.read_instruments([json.dumps({"code": "0", "data": listed}).encode()]) == {
        "BTC-USDT": Sizes("0.1", "0.00000001"),
        "NEW-USDT": Sizes("0.01", "1", trading=False),
    }
    with pytest.raises(ValueError, match="no list of instruments"):
        okx.VENUE.read_instruments([b'{"code":"50011","msg":"Too Many Requests","data":[]}'])
