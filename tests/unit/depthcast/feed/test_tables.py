"""Formats of tables: tardis.dev, Databento, LOBSTER and plain CSV."""

from pathlib import Path

import pytest

from depthcast.feed.entry import ADD, CLEAR, REDUCE, UPDATE
from depthcast.feed.oracle import BestPrices
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from depthcast.shared.types import Symbol
from tests.unit.depthcast.feed.replayed import final, recording

TARDIS = (
    "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
    "deribit,BTC-PERPETUAL,1585699200100000,1585699209820681,false,bid,6401,1\n"
    "deribit,BTC-PERPETUAL,1585699200245000,1585699209920681,true,ask,6402.5,51070\n"
    "deribit,BTC-PERPETUAL,1585699200245000,1585699209920681,true,bid,6402,2000\n"
    "deribit,BTC-PERPETUAL,1585699200345000,1585699210020681,false,bid,6402,0\n"
    "deribit,BTC-PERPETUAL,1585699200345000,1585699210020681,false,bid,6401.5,4.8E3\n"
)


def test_tardis_rows_of_one_time_are_one_message(tmp_path: Path) -> None:
    feed = recording(tmp_path, TARDIS)
    first, second = feed.entries()
    assert first.events == [(CLEAR,), (UPDATE, 0, 64020, 2000), (UPDATE, 1, 64025, 51070)]
    assert second.events == [(UPDATE, 0, 64020, 0), (UPDATE, 0, 64015, 4800)]
    assert (second.ts, second.at_us, second.line) == (1585699200345000, 1585699210020681, 5)
    assert feed.account.skipped == {"messages before the first snapshot": 1}
    registered = {
        Symbol("BTC-PERPETUAL"): feed.instruments()[Symbol("BTC-PERPETUAL")]._replace(tick_size="0.5")
    }
    feed.check(registered)
    assert final(feed, feed.entries(registered)) == {"BTC-PERPETUAL": ([(12803, 4800)], [(12805, 51070)])}


def test_a_later_tardis_snapshot_replaces_the_book(tmp_path: Path) -> None:
    again = "deribit,BTC-PERPETUAL,1585699300245000,1585699309920681,true,ask,6500,7\n"
    assert final(recording(tmp_path, TARDIS + again)) == {"BTC-PERPETUAL": ([], [(65000, 7)])}


def test_a_tardis_disconnect_puts_books_in_doubt_until_the_next_snapshot(tmp_path: Path) -> None:
    line = (
        '{{"type":"book_change","symbol":"X","exchange":"e","isSnapshot":{},"bids":[{{"price":1,"amount":{}}}],'
        '"asks":[],"timestamp":"2019-10-23T11:29:5{}.469Z","localTimestamp":"2019-10-23T11:29:5{}.469Z"}}\n'
    )
    cut = '{"type":"disconnect","exchange":"e","localTimestamp":"2019-10-23T11:29:53.469Z"}\n'
    lost, again = line.format("false", 9, 4, 4), line.format("true", 3, 5, 5)
    feed = recording(tmp_path, line.format("true", 2, 1, 1) + cut + lost + again)
    assert final(feed) == {"X": ([(1, 3)], [])}
    assert feed.account.problems() == []
    assert feed.account.skipped == {"messages before the first snapshot": 1}
    feed = recording(tmp_path, line.format("true", 2, 1, 1) + cut + lost)
    final(feed)
    assert feed.account.problems() == ["no later snapshot of X"]


MBO = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,price,size,channel_id,order_id,flags,"
    "ts_in_delta,sequence,symbol\n"
)


def mbo(action: str, side: str, price: str, size: int, order: int, flags: int = 128) -> str:
    record = f"{action},{side},{price},{size},0,{order},{flags}"
    return f"1703116800000000000,1703116799999999000,160,1,5482,{record},1,2,ES\n"


def test_databento_orders(tmp_path: Path) -> None:
    undefined = "9223372036854775807"
    feed = recording(
        tmp_path,
        MBO
        + mbo("R", "N", undefined, 0, 0, 8)
        + mbo("A", "B", "4799.250000000", 7, 1, 0)
        + mbo("A", "A", "4799500000000", 3, 2)
        + mbo("T", "A", "4799.250000000", 2, 0, 0)
        + mbo("F", "B", "4799.250000000", 2, 1, 0)
        + mbo("C", "B", "4799.250000000", 2, 1)
        + mbo("M", "A", "4799.750000000", 4, 2)
        + mbo("M", "A", "4800.000000000", 1, 3),
    )
    (instrument,) = feed.instruments().values()
    assert (instrument.feed, instrument.tick_size) == (Feed.ORDERS, "0.01")
    first, second, *_ = feed.entries()
    assert first.events == [
        (CLEAR, None, None, None, None),
        (ADD, 0, 479925, 7, 1),
        (ADD, 1, 479950, 3, 2),
    ]
    assert second.events == [(REDUCE, None, None, 2, 1)]
    assert final(feed) == {"ES": ([(479925, 5)], [(479975, 4), (480000, 1)])}
    assert feed.account.skipped == {"records of action T": 1, "records of action F": 1}


def test_a_databento_book_goes_on_when_it_is_cleared(tmp_path: Path) -> None:
    undefined = "9223372036854775807"
    feed = recording(
        tmp_path,
        MBO
        + mbo("A", "B", "1.0", 7, 1)
        + mbo("A", "A", "2.0", 3, 2, 132)
        + mbo("A", "A", "2.5", 3, 4)
        + mbo("R", "N", undefined, 0, 0, 0)
        + mbo("A", "B", "1.5", 2, 3),
    )
    assert final(feed) == {"ES": ([(15, 2)], [])}
    assert feed.account.problems() == ["1 gap"]
    assert [(entry.stale, entry.live) for entry in feed.entries()] == [
        ("", False),
        ("gap", False),
        ("", True),
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (mbo("A", "B", "1.0", 7, 1) + mbo("A", "A", "2.0", 3, 2, 132), "1 gap"),
        (mbo("A", "B", "1.0", 7, 1) + mbo("A", "A", "2.0", 3, 2, 0), "1 malformed"),
    ],
)
def test_a_databento_book_that_may_be_wrong_is_said(tmp_path: Path, lines: str, problem: str) -> None:
    feed = recording(tmp_path, MBO + lines)
    assert final(feed) == {"ES": ([(1, 7)], [])}
    assert problem in feed.account.problems()


MBP = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,ts_in_delta,sequence,"
    "bid_px_00,ask_px_00,bid_sz_00,ask_sz_00,bid_ct_00,ask_ct_00,bid_px_01,ask_px_01,bid_sz_01,ask_sz_01,"
    "bid_ct_01,ask_ct_01,symbol\n"
)


def mbp(bid: str, bid_size: int, second: str, second_size: int, flags: int = 130) -> str:
    return (
        f"1703116800000000000,1703116799999999000,10,1,5482,A,B,0,4799.25,1,{flags},1000,1,"
        f"{bid},4799.5,{bid_size},14,1,9,{second},,{second_size},0,1,0,ESH4\n"
    )


def test_databento_best_levels_lose_what_left_them(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        MBP
        + mbp("4799.25", 21, "4799.00", 3)
        + mbp("4799.26", 1, "4799.25", 20, 2)
        + mbp("4799.30", 1, "4799.25", 20)
        + mbp("4799.30", 1, "4799.25", 20),
    )
    first, second = feed.entries()
    assert [*first.events[0]] == [CLEAR]
    assert set(second.events) == {(UPDATE, 0, 479900, 0), (UPDATE, 0, 479930, 1), (UPDATE, 0, 479925, 20)}
    assert final(feed) == {"ESH4": ([(479930, 1), (479925, 20)], [(479950, 14)])}
    assert feed.account.skipped == {"records within an event": 1, "records that change no level": 1}


MESSAGES = (
    "34200.004241176,1,16113575,18,5853300,1\n"
    "34200.025551909,1,16120456,18,5859100,-1\n"
    "34200.1,5,0,10,5855000,1\n"
    "34200.2,3,77,30,5859200,-1\n"
    "34200.3,4,16113575,8,5853300,1\n"
)
BOOKS = (
    "5859200,30,5853300,68,9999999999,0,-9999999999,0\n"
    "5859100,18,5853300,68,5859200,30,-9999999999,0\n"
    "5859100,18,5853300,68,5859200,30,-9999999999,0\n"
    "5859100,18,5853300,68,9999999999,0,-9999999999,0\n"
    "5859100,18,5853300,60,9999999999,0,-9999999999,0\n"
)
NAME = "AMZN_2012-06-21_34200000_57600000_message_2.csv"


def test_lobster_orders_from_before_the_file_come_from_the_order_book(tmp_path: Path) -> None:
    (tmp_path / NAME.replace("message", "orderbook")).write_text(BOOKS)
    feed = recording(tmp_path, MESSAGES, NAME)
    assert final(feed) == {"AMZN": ([(58533, 60)], [(58591, 18)])}
    oracles = [entry.oracle for entry in feed.entries(verify=True)]
    assert oracles[-1] == BestPrices((58533, 60), (58591, 18))
    assert sum(oracle is not None for oracle in oracles) == 4
    assert feed.account.skipped["executions of hidden orders"] == 1


def test_lobster_without_the_order_book_passes_on_what_it_cannot_know(tmp_path: Path) -> None:
    feed = recording(tmp_path, MESSAGES, "lobster.csv", {"": "AMZN"})
    assert [entry.events[0][0] for entry in feed.entries()] == [0, 0, 2, 3]


def test_plain_csv(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        "symbol,side,price,quantity,ts,entry\n"
        "A-1,bid,1.50,0.5,7,1\n"
        "A-1,ask,1.52,4,7,1\n"
        "B-1,bid,3,2,8,1\n"
        "A-1,bid,1.50,0,9,2\n",
    )
    assert [(entry.symbol, len(entry.events), entry.ts, entry.line) for entry in feed.entries()] == [
        ("A-1", 2, 7, 2),
        ("B-1", 1, 8, 4),
        ("A-1", 1, 9, 5),
    ]
    assert final(feed) == {"A-1": ([], [(152, 40)]), "B-1": ([(3, 2)], [])}


def test_plain_csv_of_orders(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        "symbol,op,side,price,quantity,order_id\n"
        "A-1,add,bid,1.50,5,x\nA-1,reduce,,,2,x\nA-1,add,ask,1.6,1,y\nA-1,delete,,,,y\n",
    )
    assert feed.instruments()[Symbol("A-1")].feed is Feed.ORDERS
    assert final(feed) == {"A-1": ([(15, 3)], [])}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (TARDIS + "deribit,X,1,2,maybe,bid,1,1\n", "line 7: is_snapshot is 'maybe'"),
        (TARDIS + "deribit,X,1,2,true,buy,1,1\n", "line 7: side is 'buy'"),
        (TARDIS + "deribit,X,1,2,true,bid,1\n", "line 7: has 7 values for 8 columns"),
        (TARDIS + "deribit,X,1,2,true,bid,nan,1\n", "line 7: price: 'nan' is not a decimal"),
        (TARDIS + 'deribit,"X,1,2,true,bid,1,1\n', "line 7: not valid CSV"),
        (MBO + mbo("Z", "B", "1.0", 1, 1), "line 2: action is 'Z'"),
        (MBO + mbo("A", "B", "", 1, 1), "line 2: price is undefined"),
        (MBO + mbo("A", "N", "1.0", 1, 1), "line 2: side is 'N'"),
        (MESSAGES + "34200.4,8,1,1,1,1\n", "line 6: expected time,type,order id"),
        ("symbol,side,price,quantity\nA,mid,1,1\n", "line 2: side is 'mid'"),
        ("symbol,side,price,quantity,op\nA,bid,1,1,set\n", "line 2: op is 'set'"),
    ],
)
def test_what_is_wrong_names_its_line(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        recording(tmp_path, content)
