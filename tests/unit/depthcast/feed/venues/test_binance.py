"""Binance's adapters: what each kind of message means, and when a book is proven."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from depthcast.feed.venue import (
    BUFFERED_MOST,
    Adapter,
    Alive,
    Best,
    Closing,
    Doubt,
    DoubtReason,
    Output,
    Refresh,
    Refused,
    Request,
    Sizes,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.feed.venues import binance_book
from depthcast.feed.venues.binance import COINM, SPOT, USDM, BinanceVenue
from depthcast.feed.venues.binance_adapter import CHECK_WEIGHT, BinanceAdapter
from tests.venues.field_faults import meant_by_nobody

DATA = Path(__file__).parents[6] / "shared" / "data"
T0 = 1_700_000_000_000_000
SECOND = 1_000_000


def depth(
    first: int, final: int, bids: Any = (), asks: Any = (), *, symbol: str = "AAAUSDT", **more: Any
) -> str:
    data = {"e": "depthUpdate", "E": 1_700_000_000_000, "s": symbol, "U": first, "u": final, **more}
    body = {**data, "b": [list(level) for level in bids], "a": [list(level) for level in asks]}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": body}, ensure_ascii=False)


def rest(last: int, bids: Any = (("10.00", "5"),), asks: Any = (("10.02", "4"),), **more: Any) -> bytes:
    return json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks, **more}).encode()


def subscribed(venue: BinanceVenue = SPOT, *symbols: str) -> BinanceAdapter:
    adapter = venue.adapter()
    adapter.subscribe(symbols or ["AAAUSDT"])
    return adapter


def live(last: int = 100) -> BinanceAdapter:
    """Return an adapter whose book is proven at `last`."""
    adapter = subscribed()
    adapter.take(depth(last - 1, last), T0)
    assert [type(output) for output in adapter.take_snapshot("AAAUSDT", rest(last), T0)] == [Snapshot]
    return adapter


def kinds(outputs: Iterable[Output]) -> list[str]:
    return [output.reason if isinstance(output, Doubt) else type(output).__name__ for output in outputs]


def symbol_of(output: Output) -> str:
    assert isinstance(output, Doubt)
    return output.symbol


def test_a_snapshot_waits_for_the_message_that_reaches_it() -> None:
    adapter = subscribed()
    assert adapter.take(depth(96, 99, [("9.98", "1")]), T0) == []
    assert adapter.take_snapshot("AAAUSDT", rest(101), T0) == []
    outputs = adapter.take(depth(100, 102, [("10.00", "6")]), T0)
    assert outputs == [
        Snapshot("AAAUSDT", [("10.00", "5")], [("10.02", "4")], None, 101),
        Update("AAAUSDT", [("10.00", "6")], [], T0, 102),
    ]
    assert adapter.top("AAAUSDT", 1) == ([("10.00", "6")], [("10.02", "4")])


def test_a_snapshot_older_than_the_first_message_is_asked_for_again() -> None:
    adapter = subscribed()
    adapter.take(depth(100, 102), T0)
    assert adapter.take_snapshot("AAAUSDT", rest(98), T0) == []
    assert adapter.top("AAAUSDT", 1) is None
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(99), T0)) == ["Snapshot", "Update"]


def test_messages_that_the_snapshot_holds_are_left_out() -> None:
    adapter = subscribed()
    for first in (90, 95, 100):
        adapter.take(depth(first, first + 4, [("9.00", str(first))]), T0)
    outputs = adapter.take_snapshot("AAAUSDT", rest(99), T0)
    assert [output.sequence for output in outputs if isinstance(output, Snapshot | Update)] == [99, 104]


def test_a_quiet_book_is_proven_by_a_second_equal_snapshot() -> None:
    adapter = subscribed()
    assert adapter.take_snapshot("AAAUSDT", rest(7), T0) == []
    assert adapter.take_snapshot("AAAUSDT", rest(7), T0 + 2 * SECOND) == []  # not confirmed
    assert adapter.take('{"result":null,"id":1}', T0) == [Alive()]
    assert adapter.take_snapshot("AAAUSDT", rest(7), T0 + 3 * SECOND) == []
    assert adapter.take_snapshot("AAAUSDT", rest(8), T0 + 5 * SECOND) == []  # another one
    assert adapter.take_snapshot("AAAUSDT", rest(8), T0 + 5 * SECOND + 10) == []  # too soon
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(8), T0 + 6 * SECOND)) == ["Snapshot"]
    assert kinds(adapter.take(depth(9, 9), T0)) == ["Update"]


def test_the_answer_to_an_earlier_subscription_does_not_confirm_the_last_one() -> None:
    adapter = subscribed()
    adapter.unsubscribe(["AAAUSDT"])
    (again,) = adapter.subscribe(["AAAUSDT"])
    adapter.take('{"result":null,"id":1}', T0)
    for seconds in (3, 6):
        assert adapter.take_snapshot("AAAUSDT", rest(7), T0 + seconds * SECOND) == []
    adapter.take(json.dumps({"result": None, "id": json.loads(again)["id"]}), T0)
    assert adapter.take_snapshot("AAAUSDT", rest(7), T0 + 9 * SECOND) == []
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(7), T0 + 12 * SECOND)) == ["Snapshot"]


def quiet() -> BinanceAdapter:
    """Return an adapter whose book is proven by equal snapshots, without any message."""
    adapter = subscribed()
    adapter.take('{"result":null,"id":1}', T0)
    adapter.take_snapshot("AAAUSDT", rest(7), T0)
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(7), T0 + SECOND)) == ["Snapshot"]
    return adapter


ALIVE = [Alive("AAAUSDT")]


def check(adapter: BinanceAdapter, body: bytes) -> list[Output]:
    """Compare a book with the venue's, as it is done when nothing comes of it."""
    assert adapter.check_request("AAAUSDT") == Request("/api/v3/depth?limit=100&symbol=AAAUSDT", CHECK_WEIGHT)
    return adapter.take_check("AAAUSDT", body)


def test_a_stream_that_stays_silent_while_the_book_changes_is_noticed() -> None:
    adapter = quiet()
    other = rest(9, bids=[["10.00", "6"]])
    assert [check(adapter, body) for body in (rest(7), other, rest(7), other)] == [ALIVE, [], ALIVE, []]
    assert kinds(check(adapter, other)) == [DoubtReason.GAP]
    for seconds in (10, 20):
        assert adapter.take_snapshot("AAAUSDT", rest(9), T0 + seconds * SECOND) == [], "no more by that"
    assert kinds(adapter.take(depth(9, 10), T0)) == ["Snapshot", "Update"]


def test_a_stream_that_ends_without_a_word_is_noticed() -> None:
    """Messages had come before; the levels that have changed are beyond those that are compared."""
    adapter = live(100)
    adapter.take(depth(101, 102, [("10.00", "7")]), T0)
    same = [("10.00", "7")]
    assert check(adapter, rest(102, same)) == ALIVE
    assert check(adapter, rest(103, same)) == [], "its message may be on its way"
    assert kinds(check(adapter, rest(103, same))) == [DoubtReason.GAP]


def test_the_numbers_of_futures_are_not_compared_as_other_books_share_them() -> None:
    adapter = subscribed(USDM)
    adapter.take_snapshot("AAAUSDT", rest(100), T0)
    adapter.take(depth(100, 102, pu=100), T0)
    for last in (200, 300, 400):
        assert adapter.check_request("AAAUSDT") is not None
        assert adapter.take_check("AAAUSDT", rest(last)) == ALIVE


def test_a_message_that_comes_meanwhile_proves_that_the_stream_is_alive() -> None:
    adapter, other = live(100), rest(105, [("10.00", "9")])
    assert check(adapter, other) == []
    adapter.take(depth(101, 101), T0)
    assert check(adapter, other) == [], "a difference for the first time since that message"
    assert adapter.check_request("AAAUSDT") is not None
    adapter.take(depth(102, 102), T0)
    assert adapter.take_check("AAAUSDT", other) == ALIVE
    assert check(adapter, other) == []


def test_an_answer_to_a_check_never_becomes_the_book() -> None:
    """It has the best levels only; a request for the whole book may be under way at the same time."""
    adapter = subscribed()
    bids = [(f"{10 - place / 100:.2f}", "1") for place in range(150)]
    adapter.take_snapshot("AAAUSDT", rest(100, bids), T0)
    assert kinds(adapter.take(depth(101, 101), T0)) == ["Snapshot", "Update"]
    assert adapter.check_request("AAAUSDT") is not None
    assert adapter.take_check("AAAUSDT", rest(101, bids[:100])) == ALIVE
    adapter.take(depth(102, 102), T0)
    assert adapter.take_check("AAAUSDT", rest(102, bids[:100])) == ALIVE
    adapter.take(depth(104, 104), T0)  # a gap
    assert adapter.check_request("AAAUSDT") is None, "a book in doubt wants a whole snapshot"
    assert adapter.take_check("AAAUSDT", rest(104, bids[:100])) == ALIVE
    assert adapter.top("AAAUSDT", 1) is None
    adapter.take_snapshot("AAAUSDT", rest(104, bids), T0)
    top = adapter.top("AAAUSDT", 200)
    assert top is not None
    assert len(top[0]) == 150


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"lastUpdateId": 1}', b'{"lastUpdateId": "x", "bids": []}'])
def test_a_check_that_cannot_be_read_says_nothing(body: bytes) -> None:
    adapter = live(100)
    assert kinds(check(adapter, body)) == ["Skipped"]
    assert kinds(adapter.take(depth(101, 101), T0)) == ["Update"]


def test_a_check_that_is_refused_is_a_refusal() -> None:
    refusal = b'{"code":-1121,"msg":"Invalid symbol."}'
    assert check(live(100), refusal) == [Refused("AAAUSDT", "'Invalid symbol.' (code -1121)", final=True)]
    adapter = live(100)
    adapter.unsubscribe(["AAAUSDT"])
    assert kinds(adapter.take_check("AAAUSDT", rest(100))) == ["Skipped"]


def test_a_silent_stream_counts_as_quiet_again_on_another_connection() -> None:
    adapter = quiet()
    for _ in range(2):
        check(adapter, rest(9, bids=[]))
    list(adapter.lost())
    adapter.subscribe(["AAAUSDT"])
    adapter.take('{"result":null,"id":2}', T0)
    adapter.take_snapshot("AAAUSDT", rest(7), T0)
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(7), T0 + SECOND)) == ["Snapshot"]


@pytest.mark.parametrize("message", [depth(1, 2), depth(1, 2).replace('"u"', '"v"')])
def test_a_book_with_messages_is_not_quiet(message: str) -> None:
    adapter = subscribed()
    adapter.take('{"result":null,"id":1}', T0)
    adapter.take(message, T0)
    adapter.take_snapshot("AAAUSDT", rest(7), T0)
    assert adapter.take_snapshot("AAAUSDT", rest(7), T0 + 9 * SECOND) == []


@pytest.mark.parametrize(
    ("first", "final", "expected"),
    [
        (101, 103, ["Update"]),
        (99, 103, ["Update"]),
        (100, 100, ["Skipped"]),
        (102, 103, [DoubtReason.GAP]),
        (98, 99, [DoubtReason.RESET]),
        (1, 2, [DoubtReason.RESET]),
    ],
)
def test_spot_ids_follow_each_other(first: int, final: int, expected: list[str]) -> None:
    assert kinds(live(100).take(depth(first, final), T0)) == expected


@pytest.mark.parametrize(
    ("previous", "final", "expected"),
    [
        (100, 130, ["Update"]),
        (90, 130, ["Update"]),
        (101, 130, [DoubtReason.GAP]),
        (60, 70, [DoubtReason.RESET]),
        (90, 100, ["Skipped"]),
    ],
)
def test_futures_name_the_message_before(previous: int, final: int, expected: list[str]) -> None:
    adapter = subscribed(USDM)
    adapter.take(depth(95, 100, pu=90), T0)
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(100), T0)) == ["Snapshot"]
    assert kinds(adapter.take(depth(min(120, final), final, pu=previous), T0)) == expected


def test_a_futures_snapshot_may_lie_between_two_messages() -> None:
    adapter = subscribed(COINM)
    adapter.take(depth(95, 100, pu=90), T0)
    assert adapter.take_snapshot("AAAUSDT", rest(105, symbol="AAAUSDT"), T0) == []
    assert kinds(adapter.take(depth(110, 120, pu=100), T0)) == ["Snapshot", "Update"]


def test_a_gap_ends_with_the_next_snapshot() -> None:
    adapter = live(102)
    gap = adapter.take(depth(120, 121), T0)
    assert gap == [Doubt("AAAUSDT", DoubtReason.GAP, "update ids go from 102 to 120")]
    assert adapter.top("AAAUSDT", 1) is None
    assert adapter.take_snapshot("AAAUSDT", rest(125), T0) == []
    outputs = adapter.take(depth(126, 127, [], [("10.03", "8")]), T0)
    assert kinds(outputs) == ["Snapshot", "Update"]
    assert adapter.top("AAAUSDT", 9) == ([("10.00", "5")], [("10.02", "4"), ("10.03", "8")])


def test_ids_that_begin_anew_end_with_the_snapshot_that_came_before_them() -> None:
    adapter = live(102)
    assert adapter.take_snapshot("AAAUSDT", rest(5, [("8.00", "1")], [("8.02", "1")]), T0) == []
    outputs = adapter.take(depth(6, 7, [("8.00", "2")]), T0)
    assert kinds(outputs) == [DoubtReason.RESET, "Snapshot", "Update"]
    assert kinds(adapter.take(depth(8, 9, [("8.00", "3")]), T0)) == ["Update"]
    assert adapter.top("AAAUSDT", 9) == ([("8.00", "3")], [("8.02", "1")])


def test_an_old_snapshot_and_a_late_message_prove_nothing() -> None:
    adapter = live(102)
    adapter.take(depth(103, 104, E=1_700_000_000_500), T0)
    adapter.take_snapshot("AAAUSDT", rest(90), T0)
    assert kinds(adapter.take(depth(91, 92, E=1_700_000_000_400), T0)) == [DoubtReason.RESET]


def test_a_snapshot_of_before_the_ids_began_anew_is_not_proven_by_a_late_message() -> None:
    adapter = live(1_000)
    adapter.take_snapshot("AAAUSDT", rest(995), T0)
    reset = depth(6, 7, E=1_700_000_000_100)
    assert kinds(adapter.take(reset, T0)) == [DoubtReason.RESET]
    assert adapter.take(depth(8, 9, E=1_700_000_000_200), T0) == []
    for late in (depth(996, 999), depth(996, 999, E=None), depth(996, 999, E=1_700_000_000_300)):
        assert adapter.take(late, T0) == []


def test_a_late_message_does_not_lead_back_to_a_late_snapshot() -> None:
    adapter = live(7)
    adapter.take_snapshot("AAAUSDT", rest(995), T0)
    assert kinds(adapter.take(depth(8, 9, E=1_700_000_000_200), T0)) == ["Update"]
    assert kinds(adapter.take(depth(996, 999, E=1_700_000_000_100), T0)) == [DoubtReason.GAP]
    assert adapter.take(depth(10, 11, E=1_700_000_000_300), T0) == []


def test_a_message_without_its_time_proves_nothing_after_a_damaged_one() -> None:
    adapter = live(102)
    adapter.take(depth(103, 104).replace('"u"', '"v"'), T0)
    adapter.take_snapshot("AAAUSDT", rest(95), T0)
    assert adapter.take(depth(96, 99, E=None), T0) == []
    assert kinds(adapter.take(depth(96, 99, E=1_700_000_000_100), T0)) == ["Snapshot", "Update"]


def test_an_old_snapshot_is_forgotten_once_messages_go_on() -> None:
    adapter = live(102)
    adapter.take_snapshot("AAAUSDT", rest(90), T0)
    assert kinds(adapter.take(depth(103, 104), T0)) == ["Update"]
    assert kinds(adapter.take(depth(91, 92), T0)) == [DoubtReason.RESET]


def test_a_snapshot_replaces_a_right_book_without_a_doubt() -> None:
    adapter = live(102)
    assert adapter.take_snapshot("AAAUSDT", rest(104, [("9.00", "1")]), T0) == []
    assert kinds(adapter.take(depth(103, 103), T0)) == ["Update"]
    outputs = adapter.take(depth(104, 106, [("9.01", "2")]), T0)
    assert kinds(outputs) == ["Snapshot", "Update"]
    assert adapter.top("AAAUSDT", 9) == ([("9.01", "2"), ("9.00", "1")], [("10.02", "4")])
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(106), T0)) == ["Snapshot"]


def test_a_crossed_book_is_in_doubt() -> None:
    adapter = live(102)
    outputs = adapter.take(depth(103, 104, [("10.02", "1")]), T0)
    assert kinds(outputs) == [DoubtReason.CROSSED]
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(104, [("11", "1")]), T0)) == [DoubtReason.CROSSED]


def test_a_crossed_message_after_the_snapshot_leaves_the_rest_to_the_next_snapshot() -> None:
    adapter = subscribed()
    for first, bid in ((101, "9"), (103, "10.02"), (105, "9.5")):
        adapter.take(depth(first, first + 1, [(bid, "1")]), T0)
    outputs = adapter.take_snapshot("AAAUSDT", rest(100), T0)
    assert kinds(outputs) == ["Snapshot", "Update", DoubtReason.CROSSED]
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(104), T0)) == ["Snapshot", "Update"]


def test_the_depth_of_a_snapshot_that_was_asked_for_ends_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = BinanceAdapter(depth=Request("/depth?symbol="), depth_limit=3, chained=False)
    adapter.subscribe(["AAAUSDT"])
    adapter.take(depth(100, 100), T0)
    assert adapter.snapshot_request("AAAUSDT") == Request("/depth?symbol=AAAUSDT")
    bids = [(price, "1") for price in ("10.0", "9.9", "9.0")]
    adapter.take_snapshot("AAAUSDT", rest(100, bids), T0)
    gone = [("10.0", "0"), ("9.9", "0"), ("9.3", "7")]
    assert kinds(adapter.take(depth(101, 101, gone), T0)) == ["Update", "Refresh"]
    assert kinds(adapter.take(depth(102, 102, [("9.2", "7")]), T0)) == ["Update"]
    adapter.take_snapshot("AAAUSDT", rest(101, bids), T0)
    assert kinds(adapter.take(depth(103, 103), T0)) == ["Update", "Refresh"], "the answer was too old"
    empty = [("9.3", "0"), ("9.2", "0"), ("9.0", "0"), ("8.0", "1")]
    assert kinds(adapter.take(depth(104, 104, empty), T0)) == [DoubtReason.DEPTH]


def test_the_asks_of_a_snapshot_end_somewhere_as_well() -> None:
    adapter = BinanceAdapter(depth=Request("/depth?symbol="), depth_limit=2, chained=False)
    adapter.subscribe(["AAAUSDT"])
    adapter.take(depth(100, 100), T0)
    adapter.snapshot_request("AAAUSDT")
    adapter.take_snapshot("AAAUSDT", rest(100, asks=[("11", "1"), ("13", "1")]), T0)
    outputs = adapter.take(depth(101, 101, [], [("11", "0")]), T0)
    assert outputs[1:] == [Refresh("AAAUSDT", "half the depth of the snapshot is used up")]
    assert kinds(adapter.take(depth(102, 102, [], [("13", "0")]), T0)) == [DoubtReason.DEPTH]


def test_no_snapshot_is_requested_that_could_not_be_proven() -> None:
    def wanted(count: int) -> list[bool]:
        return [adapter.snapshot_request("AAAUSDT") is not None for _ in range(count)]

    adapter = subscribed()
    assert wanted(3) == [False, False, False], "not subscribed yet"
    assert adapter.snapshot_request("ZZZUSDT") is None
    adapter.take('{"result":null,"id":1}', T0)
    assert wanted(2) == [True, True]
    adapter.take_snapshot("AAAUSDT", rest(105), T0)
    assert wanted(6) == [False, False, False, True, False, False], "one waits for its message"
    adapter.take(depth(107, 108), T0)
    assert wanted(2) == [True, True], "that one is too old"


def test_too_many_messages_without_a_snapshot_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_book, "BUFFERED_MOST", 3)
    adapter = subscribed()
    found = [kinds(adapter.take(depth(number, number), T0)) for number in range(1, 6)]
    assert found == [[], [], [], [DoubtReason.OVERFLOW], []]
    assert BUFFERED_MOST > 3
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(4), T0)) == ["Snapshot", "Update"]


@pytest.mark.parametrize(
    ("venue", "message"),
    [
        (SPOT, depth(101, 102, [("10.00", "6")], [("10.05", "1")])),
        (USDM, depth(101, 102, [("10.00", "6")], [("10.05", "1")], pu=100, T=1, st=2)),
    ],
)
def test_every_damaged_field_of_a_message_is_a_doubt_or_no_loss(venue: BinanceVenue, message: str) -> None:
    seen: Counter[str] = Counter()
    for damaged in meant_by_nobody(message):
        adapter = subscribed(venue)
        adapter.take(depth(99, 100, pu=98), T0)
        adapter.take_snapshot("AAAUSDT", rest(100), T0)
        outputs = adapter.take(damaged, T0)
        right = subscribed(venue)
        right.take(depth(99, 100, pu=98), T0)
        right.take_snapshot("AAAUSDT", rest(100), T0)
        expected = right.take(message, T0)
        if [output._replace(ts=None) if isinstance(output, Update) else output for output in outputs] != [
            output._replace(ts=None) for output in expected if isinstance(output, Update)
        ]:
            (output,) = outputs
            assert isinstance(output, Doubt | Skipped), damaged
            seen[kinds([output])[0]] += 1
    assert seen[DoubtReason.MALFORMED] > 100


@pytest.mark.parametrize("body", [rest(100), rest(100, symbol="AAAUSDT", E=1)])
def test_every_damaged_field_of_a_snapshot_is_a_doubt_or_no_loss(body: bytes) -> None:
    malformed = 0
    for damaged in meant_by_nobody(body):
        adapter = subscribed()
        adapter.take(depth(99, 105), T0)
        outputs = adapter.take_snapshot("AAAUSDT", damaged.encode(), T0)
        if kinds(outputs) == [DoubtReason.MALFORMED]:
            malformed += 1
        elif outputs:
            assert isinstance(outputs[0], Snapshot), damaged
            assert outputs[0].bids == [("10.00", "5")]
    assert malformed > 60


def test_a_damaged_snapshot_leaves_a_right_book_alone() -> None:
    adapter = live(100)
    assert kinds(adapter.take_snapshot("AAAUSDT", b'{"lastUpdateId":', T0)) == ["Skipped"]
    assert kinds(adapter.take(depth(101, 101), T0)) == ["Update"]


@pytest.mark.parametrize(
    "raw", ["", "{", "nul", '"x"', "7", "null", "{}", b"\xff", '{"data":7}', '{"stream":7}']
)
def test_what_cannot_be_told_puts_every_book_in_doubt(raw: str | bytes) -> None:
    adapter = subscribed(SPOT, "AAAUSDT", "BBBUSDT")
    outputs = adapter.take(raw, T0)
    assert [(type(output), symbol_of(output)) for output in outputs] == [
        (Doubt, "AAAUSDT"),
        (Doubt, "BBBUSDT"),
    ]


def test_a_message_whose_symbol_and_stream_differ_puts_both_in_doubt() -> None:
    adapter = subscribed(SPOT, "AAAUSDT", "BBBUSDT", "CCCUSDT")
    mixed = depth(1, 2).replace('"s": "AAAUSDT"', '"s": "BBBUSDT"')
    assert [symbol_of(output) for output in adapter.take(mixed, T0)] == ["AAAUSDT", "BBBUSDT"]
    unknown = depth(1, 2).replace('"s": "AAAUSDT"', '"s": "ZZZUSDT"')
    assert [symbol_of(output) for output in adapter.take(unknown, T0)] == ["AAAUSDT"]


def test_raw_streams_are_read_as_well() -> None:
    adapter = subscribed()
    adapter.take(json.dumps(json.loads(depth(99, 100))["data"]), T0)
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(100), T0)) == ["Snapshot"]
    without_event = json.dumps({"U": 101, "u": 102, "s": "AAAUSDT", "b": [], "a": []})
    assert kinds(adapter.take(without_event, T0)) == [DoubtReason.MALFORMED]


def test_other_messages_concern_no_book() -> None:
    adapter = live(100)
    others: list[dict[str, Any]] = [
        {"stream": "aaausdt@trade", "data": {"e": "trade", "s": "AAAUSDT"}},
        {"stream": "aaausdt@depth20@100ms", "data": {"lastUpdateId": 1, "bids": [], "asks": []}},
        {"stream": "!miniTicker@arr", "data": []},
        {"e": "trade", "s": "AAAUSDT"},
        {"lastUpdateId": 1, "bids": [], "asks": []},
        json.loads(depth(1, 2, symbol="ZZZUSDT")),
        json.loads(depth(1, 2, symbol="ZZZUSDT"))["data"],
    ]
    for other in others:
        assert kinds(adapter.take(json.dumps(other), T0)) == ["Skipped"], other
    assert kinds(adapter.take("[]", T0)) == ["Skipped"]
    assert kinds(adapter.take(depth(101, 102), T0)) == ["Update"]


def test_the_venue_says_that_it_closes() -> None:
    assert subscribed().take('{"e":"serverShutdown","E":1}', T0) == [Closing("serverShutdown")]


def test_best_prices_are_read_from_book_tickers() -> None:
    ticker = {"u": 7, "s": "AAAUSDT", "b": "1.10", "B": "2", "a": "1.2", "A": "3"}
    best = Best("AAAUSDT", ("1.10", "2"), ("1.2", "3"), 7, None)
    adapter = subscribed()
    assert adapter.take(json.dumps({"stream": "aaausdt@bookTicker", "data": ticker}), T0) == [best]
    assert adapter.take(json.dumps(ticker), T0) == [best]
    assert adapter.take(json.dumps({**ticker, "e": "bookTicker", "E": 5}), T0) == [best._replace(ts=5_000)]
    for damaged in meant_by_nobody(json.dumps({"stream": "aaausdt@bookTicker", "data": ticker})):
        for output in adapter.take(damaged, T0):
            assert isinstance(output, Best | Skipped | Doubt), damaged


def test_requests_are_made_in_batches_and_their_answers_concern_their_symbols() -> None:
    adapter = SPOT.adapter()
    symbols = [f"S{number}" for number in range(150)]
    first, second = (json.loads(raw) for raw in adapter.subscribe(symbols))
    assert first["method"] == second["method"] == "SUBSCRIBE"
    assert first["params"] + second["params"] == [f"s{number}@depth@100ms" for number in range(150)]
    assert first["id"] != second["id"]
    error = {"error": {"code": 2, "msg": "Invalid request"}, "id": second["id"]}
    refused = adapter.take(json.dumps(error), T0)
    assert [output[0] for output in refused if isinstance(output, Refused)] == symbols[100:]
    assert adapter.take(json.dumps({"code": 3, "msg": "Invalid JSON"}), T0) == [
        Refused(None, "'Invalid JSON' (code 3)", final=False)
    ]
    assert adapter.take('{"result":[],"id":99}', T0) == [Alive()]
    assert adapter.take('{"error":"x","id":{}}', T0) == [Refused(None, "'x' (code missing)", final=False)]


def test_an_unknown_symbol_is_refused_for_good() -> None:
    outputs = subscribed().take_snapshot("AAAUSDT", b'{"code":-1121,"msg":"Invalid symbol."}', T0)
    assert outputs == [Refused("AAAUSDT", "'Invalid symbol.' (code -1121)", final=True)]


def test_a_ping_is_a_request_of_its_own() -> None:
    adapter = subscribed()
    ping = json.loads(adapter.ping(T0) or "")
    assert ping["method"] == "LIST_SUBSCRIPTIONS"
    assert adapter.take(json.dumps({"result": [], "id": ping["id"]}), T0) == [Alive()]


def test_a_symbol_that_was_left_concerns_nobody() -> None:
    adapter = live(100)
    (request,) = adapter.unsubscribe(["AAAUSDT"])
    assert json.loads(request)["params"] == ["aaausdt@depth@100ms"]
    assert kinds(adapter.take(depth(101, 102), T0)) == ["Skipped"]
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(102), T0)) == ["Skipped"]
    assert adapter.lost() == []


def test_a_lost_connection_is_a_doubt_of_every_book_and_nothing_is_remembered() -> None:
    adapter = live(100)
    assert [(doubt.symbol, doubt.reason) for doubt in adapter.lost()] == [
        ("AAAUSDT", DoubtReason.DISCONNECTED)
    ]
    assert adapter.take_snapshot("AAAUSDT", rest(100), T0) == []
    assert adapter.take(depth(103, 104), T0) == []
    assert kinds(adapter.take_snapshot("AAAUSDT", rest(102), T0)) == ["Snapshot", "Update"]


def test_symbols_may_be_in_any_script() -> None:
    adapter: Adapter = subscribed(SPOT, "牛来USDT")
    adapter.take('{"result":null,"id":1}', T0)
    assert adapter.snapshot_request("牛来USDT") == Request(
        "/api/v3/depth?limit=5000&symbol=%E7%89%9B%E6%9D%A5USDT", 250
    )
    adapter.take_snapshot("牛来USDT", rest(100), T0)
    assert kinds(adapter.take(depth(101, 102, symbol="牛来USDT"), T0)) == ["Snapshot", "Update"]


def test_sizes_come_from_the_filters() -> None:
    def listed(symbol: str, tick: Any, lot: Any, **more: Any) -> dict[str, Any]:
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": tick},
            {"filterType": "LOT_SIZE", "stepSize": lot},
        ]
        return {"symbol": symbol, "filters": filters, **more}

    symbols = [
        listed("AAAUSDT", "0.01000000", "0.00001000", status="TRADING"),
        listed("BBBUSD_PERP", "0.1", "1", contractStatus="TRADING"),
        listed("CCCUSDT", "0.5", "1", status="BREAK"),
        listed("DDDUSDT", None, "1", status="TRADING"),
        {"symbol": "EEEUSDT"},
        7,
    ]
    assert SPOT.instruments_requests(["AAAUSDT"]) == [
        Request("/api/v3/exchangeInfo?showPermissionSets=false", 20)
    ]
    assert SPOT.read_instruments([json.dumps({"symbols": symbols}).encode()]) == {
        "AAAUSDT": Sizes("0.01000000", "0.00001000", True),
        "BBBUSD_PERP": Sizes("0.1", "1", True),
        "CCCUSDT": Sizes("0.5", "1", False),
    }
    for other in (b"{}", b"[]", b'{"code":-1}', b"x"):
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one as well
            SPOT.read_instruments([other])


@pytest.mark.parametrize(
    ("venue", "symbol", "name", "messages"),
    [
        (SPOT, "BTCUSDT", "spot_btcusdt_20240808.gz", 3449),
        (SPOT, "ETHUSDT", "spot_ethusdt_20240808.gz", 3432),
        (COINM, "ETHUSD_PERP", "cm_ethusd_perp_20240808.gz", 22887),
    ],
)
def test_a_recording_agrees_with_its_tickers(
    venue: BinanceVenue, symbol: str, name: str, messages: int
) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"no recording {name}")
    adapter = subscribed(venue, symbol)
    tickers: list[Best] = []
    best: Best | None = None
    right = 0
    for line in gzip.decompress((DATA / name).read_bytes()).splitlines():
        at, raw = line.split(b" ", 1)
        for output in taken(adapter, symbol, raw, int(at) // 1000):
            assert not isinstance(output, Doubt), output
            if isinstance(output, Best):
                tickers.append(output)
            if isinstance(output, Update):
                assert output.sequence is not None
                while tickers and (tickers[0].sequence or 0) <= output.sequence:
                    best = tickers.pop(0)
                right += is_top(adapter, symbol, best)
    assert right == messages


def taken(adapter: Adapter, symbol: str, raw: bytes, now: int) -> Iterable[Output]:
    if raw.startswith(b'{"lastUpdateId"'):
        return adapter.take_snapshot(symbol, raw, now)
    return adapter.take(raw, now)


def is_top(adapter: Adapter, symbol: str, best: Best | None) -> bool:
    top = adapter.top(symbol, 1)
    assert top is not None
    assert best is not None
    return [[*map(Decimal, level)] for (level,) in top] == [
        [*map(Decimal, level)] for level in (best.bid, best.ask)
    ]


def test_a_recording_of_several_symbols_has_its_snapshots_beside_it() -> None:
    if not (DATA / "BINANCE.ws.1.0").exists():
        pytest.skip("no recording BINANCE.ws.1.0")
    lines = []
    for line in filter(None, (DATA / "BINANCE.http.0.0").read_text().splitlines()):
        request, answer = line.split(" -> ", 1)
        at, body = answer.split(": ", 1)
        lines.append((float(at), request.split("symbol=")[1].split("&")[0], body))
    for line in (DATA / "BINANCE.ws.1.0").read_text().splitlines():
        if line and not line.startswith("wss:"):
            at, body = line.split(": ", 1)
            lines.append((float(at), "", body))
    adapter = subscribed(SPOT, *sorted({symbol for _, symbol, _ in lines if symbol}))
    counts: Counter[str] = Counter()
    for at_s, symbol, body in sorted(lines):
        now = int(at_s * 1e6)
        counts.update(
            kinds(adapter.take_snapshot(symbol, body.encode(), now) if symbol else adapter.take(body, now))
        )
    # The first message of each symbol overlaps its snapshot; 168 follow the one before.
    assert counts == {"Snapshot": 4, "Update": 4 + 168, "Best": 84, "Skipped": counts["Skipped"]}
