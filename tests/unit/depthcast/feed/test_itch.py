"""ITCH 5.0: messages by the published layout become an orders feed."""

import gzip
import sys
from pathlib import Path

import pytest

from depthcast.feed import itch
from depthcast.feed.entry import ADD, CLEAR, DELETE, REDUCE
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from tests.unit.depthcast.feed.itch_messages import (
    add,
    cancelled,
    deleted,
    directory,
    executed,
    halt,
    replaced,
    system,
    trade,
)
from tests.unit.depthcast.feed.replayed import final, recording

pytest.importorskip("itch.messages", reason="itchfeed is not installed")

BEGIN = system(b"O") + directory(b"AAPL") + directory(b"BRK.A", 8)
END = system(b"C", at=2**47)
DAY = (
    BEGIN
    + add(1, b"B", 100, 1_500_000)
    + add(2, b"S", 50, 1_500_100, mpid=b"NSDQ")
    + add(3, b"B", 10, 6_000_000_000 // 4, b"BRK.A", 8)
    + executed(1, 30)
    + executed(2, 10, price=1_500_100)
    + cancelled(1, 20)
    + trade()
    + halt()
    + replaced(1, 4, 60, 1_499_900)
    + deleted(2)
    + add(5, b"S", 5, 1_500_200)
)


def test_orders(tmp_path: Path) -> None:
    feed = recording(tmp_path, DAY + END, "01302020.NASDAQ_ITCH50")
    assert feed.format is itch.FORMAT
    assert feed.recording.recorded["AAPL"].instrument.feed is Feed.ORDERS
    assert [entry.events for entry in feed.entries()] == [
        [(CLEAR, None, None, None, None), (ADD, 0, 15000, 100, 1)],
        [(ADD, 1, 15001, 50, 2)],
        [(CLEAR, None, None, None, None), (ADD, 0, 150000, 10, 3)],
        [(REDUCE, None, None, 30, 1)],
        [(REDUCE, None, None, 10, 2)],
        [(REDUCE, None, None, 20, 1)],
        [(DELETE, None, None, None, 1), (ADD, 0, 14999, 60, 4)],
        [(DELETE, None, None, None, 2)],
        [(ADD, 1, 15002, 5, 5)],
    ]
    assert final(feed) == {"AAPL": ([(14999, 60)], [(15002, 5)]), "BRK.A": ([(150000, 10)], [])}
    assert (feed.account.problems(), feed.account.notes) == ([], [])
    assert feed.account.skipped == {
        "system events": 2, "stock directory messages": 2, "trades": 1, "trading halts": 1,
    }  # fmt: skip


def test_an_order_that_is_used_up_is_gone(tmp_path: Path) -> None:
    feed = recording(tmp_path, BEGIN + add(1, b"B", 100, 1_500_000) + executed(1, 100) + deleted(1) + END)
    assert feed.account.problems() == []
    final(feed)
    assert feed.account.problems() == ["1 gap", "no later snapshot of AAPL"]


def test_compressed_and_with_the_mark_of_its_end(tmp_path: Path) -> None:
    for content in (gzip.compress(DAY + END), DAY + END + b"\0\0"):
        assert len(final(recording(tmp_path, content))) == 2


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (deleted(9), "order 9 is not known"),
        (cancelled(4, 61), "takes 61 from order 4, which has 60"),
        (executed(4, 61), "takes 61 from order 4, which has 60"),
        (executed(4, 61, price=1), "takes 61 from order 4, which has 60"),
        (add(4, b"B", 1, 1), "order 4 is added again"),
        (replaced(4, 5, 1, 1), "order 5 is added again"),
        (replaced(9, 10, 1, 1), "order 9 is not known"),
        (deleted(3), "order 3 is of BRK.A"),
        (add(6, b"B", 1, 1, b"MSFT"), "names MSFT, the stock of this number is AAPL"),
        (add(6, b"N", 1, 1), "buy/sell indicator is b'N'"),
        (deleted(4, at=5), "is older than the message before it"),
        (cancelled(4, 1, at=10**12) * 2, "is there twice"),
    ],
)
def test_what_cannot_follow_puts_the_book_in_doubt(tmp_path: Path, wrong: bytes, problem: str) -> None:
    later = add(20, b"B", 1, 1_400_000, at=2**46) + add(21, b"B", 1, 6_000_000, b"BRK.A", 8, at=2**46)
    feed = recording(tmp_path, DAY + wrong + later + END)
    books = final(feed)
    assert len(books["AAPL"][0]) == 1
    assert len(books["BRK.A"][0]) == 2, "another book was harmed"
    assert [entry.symbol for entry in feed.entries() if entry.stale] == ["AAPL"]
    assert feed.account.problems() == ["1 gap", "no later snapshot of AAPL"]
    assert any(problem in line for line in feed.account.lines())


def test_a_file_that_begins_within_the_day_is_in_doubt(tmp_path: Path) -> None:
    content = executed(1, 5) + add(2, b"B", 5, 10_000) + deleted(1) + add(3, b"B", 1, 10_000) + END
    feed = recording(tmp_path, content)
    assert final(feed) == {"AAPL": ([(1, 6)], [])}
    assert [(entry.stale, entry.live) for entry in feed.entries()] == [
        ("partial", False),
        ("", False),
        ("", False),
    ]
    assert feed.account.skipped["messages about orders from before the file"] == 2
    assert feed.account.problems() == ["1 partial", "no later snapshot of AAPL"]


def test_a_message_before_the_stock_directory_puts_the_book_in_doubt(tmp_path: Path) -> None:
    feed = recording(tmp_path, system(b"O") + deleted(1) + directory(b"AAPL") + add(2, b"B", 5, 10_000) + END)
    assert final(feed) == {"AAPL": ([(1, 5)], [])}
    assert feed.account.problems() == ["1 partial", "no later snapshot of AAPL"]


def test_a_day_without_its_end_is_said(tmp_path: Path) -> None:
    feed = recording(tmp_path, DAY)
    final(feed)
    assert feed.account.notes == [
        "line 14: the file ends without the system event that ends a day: was it cut off?"
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (DAY[:-1], "line 13: is cut off: 37 bytes after this message are no whole one"),
        (DAY + b"\0", "line 14: is cut off: 1 bytes"),
        (DAY + b"\0\0" + END, "line 14: a message without bytes follows"),
        (DAY + END + deleted(5), "line 16: follows the end of messages"),
        (BEGIN + b"\0\x02D\0" + END, "line 4: 2 bytes, not the 19 of the type D"),
        (BEGIN + b"\0\x03Z\0\0" + END, "line 4: is of the type b'Z', which ITCH 5.0 does not have"),
        (BEGIN + END, "has no orders"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        recording(tmp_path, content)


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "itch.messages", None)
    with pytest.raises(FeedError, match=r"pip install 'depthcast\[itch\]'"):
        recording(tmp_path, DAY)
