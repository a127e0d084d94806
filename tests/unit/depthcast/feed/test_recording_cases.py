"""Recordings that other programs read wrongly: each ends in right books, or says what did not get there."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from depthcast.shared.errors import FeedError, InstrumentsError
from depthcast.shared.types import Symbol
from tests.unit.depthcast.feed.replayed import final, recording

AT = 1723161255
PLAIN = '{"symbol": "TEST-1", "tick_size": "0.01", "lot_size": "0.001"}\n'


def line(number: int, message: dict[str, Any]) -> str:
    return f"{AT}{number}00000000 {json.dumps(message, ensure_ascii=False)}\n"


def snapshot(last: int, bids: dict[str, str], asks: dict[str, str]) -> dict[str, Any]:
    return {"lastUpdateId": last, "bids": [*bids.items()], "asks": [*asks.items()]}


def depth(
    first: int, final_: int, bids: dict[str, str], asks: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    data = {"e": "depthUpdate", "E": 1723161255208, "s": "TESTUSDT", "U": first, "u": final_}
    data |= {"b": [*bids.items()], "a": [*(asks or {}).items()]} | more
    return {"stream": f"{str(data['s']).lower()}@depth@100ms", "data": data}


def ticker(update: int, bid: tuple[str, str], ask: tuple[str, str]) -> dict[str, Any]:
    data = {"u": update, "s": "TESTUSDT", "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
    return {"stream": "testusdt@bookTicker", "data": data}


def binance(*messages: dict[str, Any]) -> str:
    return "".join(line(number, message) for number, message in enumerate(messages))


FIRST = snapshot(100, {"10.00": "5", "9.99": "7"}, {"10.02": "4", "10.03": "9"})


def test_messages_of_partial_depth_replace_no_book(tmp_path: Path) -> None:
    """Alone in a line they look like the answers to /depth."""
    partial = snapshot(102, {"10.00": "6"}, {"10.02": "4"})
    messages = [depth(101, 102, {"10.00": "6"}), partial, depth(103, 103, {"10.00": "7"})]
    feed = recording(tmp_path, binance(FIRST, *messages))
    assert final(feed) == {"TESTUSDT": ([(1000, 7), (999, 7)], [(1002, 4), (1003, 9)])}
    assert feed.account.skipped == {"snapshot with fewer levels than the book": 1}
    whole = snapshot(102, {"10.00": "6", "9.98": "1"}, {"10.02": "4"})
    feed = recording(tmp_path, binance(FIRST, messages[0], whole, messages[2]))
    assert final(feed) == {"TESTUSDT": ([(1000, 7), (998, 1)], [(1002, 4)])}


def test_a_symbol_of_which_there_is_no_snapshot_is_said(tmp_path: Path) -> None:
    other = depth(101, 102, {"10.00": "6"}, s="OTHERUSDT")
    messages = [FIRST | {"symbol": "TESTUSDT"}, depth(101, 102, {"10.00": "6"}), other]
    feed = recording(tmp_path, binance(*messages))
    assert list(final(feed)) == ["TESTUSDT"]
    assert feed.account.problems() == ["no snapshot of OTHERUSDT"]


def test_what_a_venue_has_proven_is_wrong_in_a_book_that_rejects_it(tmp_path: Path) -> None:
    feed = recording(
        tmp_path, binance(FIRST, depth(101, 102, {"10.00": "6"}), depth(120, 121, {"9.97": "1"}))
    )
    assert [(entry.stale, entry.sure) for entry in feed.entries()] == [("", True), ("", True), ("gap", False)]
    assert not any(
        entry.sure for entry in recording(tmp_path, PLAIN + '{"symbol": "TEST-1", "events": []}').entries()
    )


def test_a_gap_is_said_and_the_book_goes_on_from_the_next_snapshot(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        binance(
            FIRST,
            depth(101, 102, {"10.00": "6"}),
            depth(120, 121, {"9.97": "1"}),
            snapshot(125, {"10.00": "6"}, {"10.02": "4"}),
            depth(126, 127, {}, {"10.03": "8"}),
        ),
    )
    assert final(feed) == {"TESTUSDT": ([(1000, 6)], [(1002, 4), (1003, 8)])}
    assert feed.account.problems() == ["1 gap"]
    assert [(entry.stale, entry.live, entry.line) for entry in feed.entries()] == [
        ("", True, 2),
        ("", False, 2),
        ("gap", False, 3),
        ("", True, 5),
        ("", False, 5),
    ]
    assert any(text.startswith("  line 3, TESTUSDT") for text in feed.account.lines())


def test_an_overlap_is_applied(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        binance(
            FIRST,
            depth(101, 102, {"10.00": "6"}),
            depth(102, 104, {"10.00": "6", "9.98": "1"}, {"10.02": "0"}),
            depth(105, 106, {}, {"10.03": "8"}),
        ),
    )
    assert final(feed) == {"TESTUSDT": ([(1000, 6), (999, 7), (998, 1)], [(1003, 8)])}
    assert feed.account.problems() == []


def test_numbers_that_begin_anew_end_in_the_new_book(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        binance(
            FIRST,
            depth(101, 102, {"10.00": "6"}),
            snapshot(5, {"8.00": "1"}, {"8.02": "1"}),
            depth(6, 7, {"8.00": "2"}),
            depth(8, 9, {"8.00": "3"}),
        ),
    )
    assert final(feed) == {"TESTUSDT": ([(800, 3)], [(802, 1)])}
    assert feed.account.problems() == []


def test_a_ticker_may_follow_its_depth_message(tmp_path: Path) -> None:
    content = binance(
        FIRST,
        ticker(100, ("10.00", "5"), ("10.02", "4")),
        depth(101, 102, {"10.00": "8"}, pu=100),
        ticker(102, ("10.00", "8"), ("10.02", "4")),
    )
    *_, last = recording(tmp_path, content).entries(verify=True)
    assert last.oracle is not None
    assert last.oracle.agrees([(1000, 8)], [(1002, 4)])
    assert not last.oracle.agrees([(1000, 5)], [(1002, 4)])


def test_a_name_that_no_symbol_can_have_is_replaced_first(tmp_path: Path) -> None:
    content = binance(
        snapshot(100, {"10.00": "5"}, {"10.02": "4"}), depth(101, 102, {"10.00": "8"}, s="牛来USDT")
    )
    with pytest.raises(FeedError, match="give it one with --symbol 牛来USDT=NAME"):
        recording(tmp_path, content)
    for renames in ({"": "BULL"}, {"牛来USDT": "BULL"}):
        assert final(recording(tmp_path, content, renames=renames)) == {"BULL": ([(1000, 8)], [(1002, 4)])}


def test_trades_and_tickers_between_the_lines_of_a_book_are_counted(tmp_path: Path) -> None:
    trade = {"stream": "testusdt@trade", "data": {"e": "trade", "s": "TESTUSDT", "p": "1", "q": "1"}}
    feed = recording(
        tmp_path,
        binance(trade, FIRST, trade, depth(101, 102, {"10.00": "6"}), ticker(102, ("1", "1"), ("2", "1"))),
    )
    final(feed)
    assert sum(feed.account.skipped.values()) == 3


def test_numbers_with_exponents_and_without_quotes_are_read_exactly(tmp_path: Path) -> None:
    content = (
        '{"type":"book_change","symbol":"XBTUSD","exchange":"bitmex","isSnapshot":true,'
        '"bids":[{"price":4.8E-7,"amount":283318}],"asks":[{"price":0.0000005,"amount":1.50}],'
        '"timestamp":"2019-10-23T11:29:53.469Z","localTimestamp":"2019-10-23T11:29:53.469Z"}\n'
    )
    feed = recording(tmp_path, content)
    (instrument,) = feed.instruments().values()
    assert (instrument.tick_size, instrument.lot_size) == ("0.00000001", "0.1")
    assert final(feed) == {"XBTUSD": ([(48, 2833180)], [(50, 15)])}


def test_a_book_change_without_a_snapshot_makes_no_book(tmp_path: Path) -> None:
    content = (
        '{"type":"book_change","symbol":"XBTUSD","exchange":"bitmex","isSnapshot":false,"bids":[],'
        '"asks":[{"price":7985,"amount":283318}],"timestamp":"2019-10-23T11:29:53.469Z",'
        '"localTimestamp":"2019-10-23T11:29:53.469Z"}\n'
    )
    with pytest.raises(FeedError, match="no book_change has isSnapshot true"):
        recording(tmp_path, content)


KRAKEN = (
    "wss://ws.kraken.com <-> 1618678133.0\n"
    '1618678134.0: [1,{"as":[["1.50002","10.00000000","1618678133.0"]],'
    '"bs":[["1.50001","10.00000000","1618678133.0"]]},"book-10","ABC/USD"]\n'
    '1618678135.0: [1,{"b":[["1.50000","1.00000000","1618678134.0"]],"c":"1186351678"},"book-10","ABC/USD"]\n'
    '1618678136.0: [1,{"as":[["1.52","10.00000000","1618678135.0"]],"bs":[["1.50","10.00000000",'
    '"1618678135.0"]]},"book-10","ABC/USD"]\n'
    '1618678137.0: [1,{"b":[["1.49","1.00000000","1618678136.0"]],"c":"2988369350"},"book-10","ABC/USD"]\n'
)


def test_prices_that_lose_decimals_are_replayed_and_their_checksums_agree(tmp_path: Path) -> None:
    feed = recording(tmp_path, KRAKEN)
    assert final(feed) == {"ABC-USD": ([(150000, 10), (149000, 1)], [(152000, 10)])}
    assert feed.account.problems() == []
    assert sum(entry.oracle is not None for entry in feed.entries(verify=True)) == 2


@pytest.mark.parametrize(("tick", "lot"), [("0.000001", "0.00000001"), ("0.00001", "1"), ("0.00001", "0.5")])
def test_registered_sizes_may_be_finer_than_written(tmp_path: Path, tick: str, lot: str) -> None:
    feed = recording(tmp_path, KRAKEN)
    (instrument,) = feed.instruments().values()
    registered = {Symbol("ABC-USD"): instrument._replace(tick_size=tick, lot_size=lot)}
    feed.check(registered)
    bids, _ = final(feed, feed.entries(registered))["ABC-USD"]
    assert [(price * Decimal(tick), lots * Decimal(lot)) for price, lots in bids] == [
        (Decimal("1.5"), Decimal(10)),
        (Decimal("1.49"), Decimal(1)),
    ]


def test_sizes_that_do_not_fit_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    feed = recording(tmp_path, KRAKEN)
    (instrument,) = feed.instruments().values()
    with pytest.raises(InstrumentsError, match=r"tick_size 0\.01, the recording needs 0\.00001"):
        feed.check({Symbol("ABC-USD"): instrument._replace(tick_size="0.01")})


def test_json_lines_in_other_ticks_are_converted(tmp_path: Path) -> None:
    content = PLAIN + (
        '{"symbol": "TEST-1", "events": [["update", "bid", 6500010, 5], ["update", "ask", 6500020, 4]]}\n'
    )
    feed = recording(tmp_path, content)
    (instrument,) = feed.instruments().values()
    registered = {Symbol("TEST-1"): instrument._replace(tick_size="0.001")}
    feed.check(registered)
    assert final(feed, feed.entries(registered)) == {"TEST-1": ([(65000100, 5)], [(65000200, 4)])}
    coarser = {Symbol("TEST-1"): instrument._replace(tick_size="0.1")}
    feed.check(coarser)
    assert final(feed, feed.entries(coarser)) == {"TEST-1": ([(650001, 5)], [(650002, 4)])}
    with pytest.raises(InstrumentsError, match=r"tick_size 1, the recording needs 0\.1"):
        feed.check({Symbol("TEST-1"): instrument._replace(tick_size="1")})


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    content = PLAIN + '{"symbol": "TEST-1", "at_ms": 0, "event": [["update", "bid", 1000, 5]]}\n'
    with pytest.raises(FeedError, match="line 2: unknown key 'event'"):
        recording(tmp_path, content)


@pytest.mark.parametrize("start", ["", "\ufeff", "\ufeff\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, start: str) -> None:
    content = start + PLAIN + '{"symbol": "TEST-1", "events": [["update", "bid", 1000, 5]]}\n'
    assert final(recording(tmp_path, content)) == {"TEST-1": ([(1000, 5)], [])}


def test_a_time_in_ns_costs_the_time_alone(tmp_path: Path) -> None:
    content = PLAIN + (
        '{"symbol": "TEST-1", "atomic": true, "ts": 1767225600000000000, '
        '"events": [["update", "bid", 3, 6]]}\n'
    )
    feed = recording(tmp_path, content)
    (entry,) = feed.entries()
    assert (entry.atomic, entry.ts) == (True, None)
    assert feed.account.problems() == []
    assert feed.account.left_out.first == ["line 2: ts is 1767225600000000000"]


def test_decimal_prices_are_refused_whole_unless_the_file_says_that_it_has_them(tmp_path: Path) -> None:
    events = (
        '{"symbol": "TEST-1", "events": [["update", "bid", 10.00, 5], ["update", "ask", "10.02", 4.5]]}\n'
    )
    whole = '{"symbol": "TEST-1", "events": [["update", "bid", 11.00, 5]]}\n'
    feed = recording(tmp_path, PLAIN + events + whole)
    assert final(feed) == {}
    assert feed.account.problems() == ["events rejected: 3 malformed"]
    feed = recording(tmp_path, PLAIN.replace("}", ', "numbers": "decimal"}') + events)
    assert final(feed) == {"TEST-1": ([(1000, 5000)], [(1002, 4500)])}
    assert feed.account.problems() == []


def test_whole_numbers_with_a_decimal_point_are_integers(tmp_path: Path) -> None:
    content = PLAIN + '{"symbol": "TEST-1", "events": [[1.0, 0.0, 1000.0, 5.0]]}\n'
    feed = recording(tmp_path, content)
    (entry,) = feed.entries()
    assert [*entry.events] == [[1, 0, 1000, 5]]
    assert all(type(item) is int for item in entry.events[0])


@pytest.mark.parametrize("at", [2, 3])
def test_a_fraction_of_a_tick_is_rejected_with_its_line(tmp_path: Path, at: int) -> None:
    lines = ['{"symbol": "TEST-1", "events": [["update", "bid", 1000, 5]]}\n'] * 2
    lines[at - 2] = '{"symbol": "TEST-1", "events": [["update", "bid", 10.5, 5]]}\n'
    feed = recording(tmp_path, PLAIN + "".join(lines))
    assert final(feed) == {"TEST-1": ([(1000, 5)], [])}
    assert feed.account.problems() == ["events rejected: 1 malformed"]
    assert feed.account.refused.first[0].startswith(f"line {at}, TEST-1: malformed: 10.5 is no integer")


def test_json_lines_without_sizes_say_what_is_assumed(tmp_path: Path) -> None:
    feed = recording(tmp_path, '{"symbol": "TEST-1", "events": [["update", "bid", 1000, 5]]}\n')
    (instrument,) = feed.instruments().values()
    registered = {Symbol("TEST-1"): instrument._replace(tick_size="0.01", lot_size="0.5")}
    feed.check(registered)
    assert final(feed, feed.entries(registered)) == {"TEST-1": ([(1000, 5)], [])}
    assert feed.account.notes == [
        "TEST-1: the file names no sizes; its numbers are taken as ticks of 0.01 and lots of 0.5"
    ]


def test_raw_lines_of_bybit_need_neither_time_nor_frame(tmp_path: Path) -> None:
    book = (
        '{{"topic":"orderbook.50.X","type":"{}","ts":{},"data":{{"s":"X","b":{},"a":{},"u":{},"seq":{}}},'
        '"cts":1}}\n'
    )
    feed = recording(
        tmp_path,
        book.format("snapshot", 1, '[["10","1"]]', '[["10.5","2"]]', 7, 70)
        + '{"topic":"publicTrade.X","type":"snapshot","ts":1,"data":[]}\n'
        + book.format("delta", 2, '[["10","0"],["9.5","3"]]', "[]", 8, 71),
    )
    assert final(feed) == {"X": ([(95, 3)], [(105, 2)])}
    assert feed.account.problems() == []
