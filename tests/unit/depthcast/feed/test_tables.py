"""Formats of tables: tardis.dev and plain CSV."""

from pathlib import Path

import pytest

from depthcast.feed.entry import CLEAR, UPDATE
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
    assert feed.account.skipped == {"messages before a snapshot": 1}
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
    assert feed.account.skipped == {"messages before a snapshot": 1}
    feed = recording(tmp_path, line.format("true", 2, 1, 1) + cut + lost)
    final(feed)
    assert feed.account.problems() == ["no later snapshot of X"]


def test_an_older_tardis_message_puts_its_book_in_doubt(tmp_path: Path) -> None:
    rows = TARDIS.splitlines(keepends=True)
    feed = recording(tmp_path, "".join([*rows[:4], *rows[5:], rows[1]]))
    assert final(feed) == {"BTC-PERPETUAL": ([(64020, 2000), (64015, 4800)], [(64025, 51070)])}
    assert feed.account.problems() == ["1 gap", "no later snapshot of BTC-PERPETUAL"]


def test_a_last_line_without_its_end_is_said(tmp_path: Path) -> None:
    feed = recording(tmp_path, TARDIS)
    final(feed)
    assert feed.account.notes == []
    feed = recording(tmp_path, TARDIS[:-1])
    final(feed)
    assert feed.account.notes == ["the last line has no end: was the file cut off?"]


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
        ("symbol,side,price,quantity\nA,mid,1,1\n", "line 2: side is 'mid'"),
        ("symbol,side,price,quantity,op\nA,bid,1,1,set\n", "line 2: op is 'set'"),
    ],
)
def test_what_is_wrong_names_its_line(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        recording(tmp_path, content)
