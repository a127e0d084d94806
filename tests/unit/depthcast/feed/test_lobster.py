"""LOBSTER: the message file, alone and with the order-book file beside it."""

from pathlib import Path

import pytest

from depthcast.feed.entry import ADD, CLEAR, DELETE, REDUCE
from depthcast.feed.oracle import BestPrices
from depthcast.shared.errors import FeedError
from tests.unit.depthcast.feed.replayed import Replayed, final, recording

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


def with_books(tmp_path: Path, messages: str, books: str) -> list[tuple[str, dict[int, int], dict[int, int]]]:
    """Return after each entry its doubt, and the book."""
    (tmp_path / NAME.replace("message", "orderbook")).write_text(books)
    feed = recording(tmp_path, messages, NAME)
    replayed, found = Replayed(), []
    for entry in feed.entries():
        book = replayed.apply(entry)
        found.append((entry.stale, dict(book.bids.top(9)), dict(book.asks.top(9))))
    return found


def test_orders_from_before_the_file_come_from_the_order_book(tmp_path: Path) -> None:
    (tmp_path / NAME.replace("message", "orderbook")).write_text(BOOKS)
    feed = recording(tmp_path, MESSAGES, NAME)
    assert final(feed) == {"AMZN": ([(58533, 60)], [(58591, 18)])}
    oracles = [entry.oracle for entry in feed.entries(verify=True)]
    assert oracles[-1] == BestPrices((58533, 60), (58591, 18))
    assert sum(oracle is not None for oracle in oracles) == 3
    assert feed.account.skipped["executions of hidden orders"] == 1
    assert feed.account.problems() == []


def test_without_the_order_book_the_book_is_in_doubt_and_unknown_orders_are_counted(tmp_path: Path) -> None:
    feed = recording(tmp_path, MESSAGES, "lobster.csv", {"": "AMZN"})
    assert [entry.events[0][0] if entry.events else entry.stale for entry in feed.entries()] == [
        "partial",
        ADD,
        ADD,
        REDUCE,
    ]
    assert feed.account.problems() == ["1 partial", "no later snapshot of lobster"]
    assert feed.account.skipped["messages about orders from before the file or beyond its depth"] == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("34200.4,1,16113575,5,5853300,1\n", "order 16113575 is new again"),
        ("34200.4,2,16113575,11,5853300,1\n", "takes 11 from order 16113575, which has 10"),
        ("34200.4,3,16113575,9,5853300,1\n", "takes 9 from order 16113575, which has 10"),
    ],
)
def test_a_contradiction_among_messages_is_said(tmp_path: Path, line: str, problem: str) -> None:
    feed = recording(tmp_path, MESSAGES + line, "lobster.csv", {"": "AMZN"})
    assert final(feed) == {"AMZN": ([(58533, 10)], [(58591, 18)])}
    assert any(problem in text for text in feed.account.lines())


def test_levels_that_the_depth_shows_and_hides_follow_the_order_book(tmp_path: Path) -> None:
    """One level: the ask behind the best one is known by the order-book file only."""
    messages = (
        "1.1,1,1,5,1010000,-1\n"  # a better ask: the one of before leaves the depth
        "1.2,3,1,5,1010000,-1\n"  # and comes back, larger, as nobody was told
        "1.3,4,8,3,1020000,-1\n"  # some order of it is executed
    )
    books = "1010000,5,1000000,7\n1020000,9,1000000,7\n1020000,6,1000000,7\n"
    assert with_books(tmp_path, messages, books) == [
        ("", {100: 7}, {101: 5}),
        ("", {100: 7}, {102: 9}),
        ("", {100: 7}, {102: 6}),
    ]


def test_a_level_that_leaves_takes_its_orders_along(tmp_path: Path) -> None:
    messages = "1.1,1,1,5,1010000,-1\n1.2,1,2,4,1005000,-1\n1.3,3,2,4,1005000,-1\n1.4,3,1,5,1010000,-1\n"
    books = "1010000,5,1000000,7\n1005000,4,1000000,7\n1010000,5,1000000,7\n1030000,1,1000000,7\n"
    (tmp_path / NAME.replace("message", "orderbook")).write_text(books)
    feed = recording(tmp_path, messages, NAME)
    earlier = "before:a:101.0000"
    assert [entry.events for entry in feed.entries()] == [
        [(CLEAR, None, None, None, None), (ADD, 0, 1000, 7, "before:b:100.0000"), (ADD, 1, 1010, 5, earlier)],
        [(ADD, 1, 1005, 4, 2), (DELETE, None, None, None, earlier)],
        [(REDUCE, None, None, 4, 2), (ADD, 1, 1010, 5, earlier)],
        [(REDUCE, None, None, 5, earlier), (ADD, 1, 1030, 1, "before:a:103.0000")],
    ]


def test_files_that_contradict_each_other_put_the_book_in_doubt_until_they_agree(tmp_path: Path) -> None:
    lines, books = MESSAGES.splitlines(keepends=True), BOOKS.splitlines(keepends=True)
    swapped = [lines[0], lines[3], lines[2], lines[1], *lines[4:]]
    found = with_books(tmp_path, "".join(swapped), BOOKS)
    assert [stale for stale, *_ in found] == ["", "gap", "", "gap", ""]
    assert found[-1][1:] == ({58533: 60}, {58591: 18})
    (tmp_path / NAME.replace("message", "orderbook")).write_text("".join(books[:-1]))
    with pytest.raises(FeedError, match="differ in their number of lines"):
        recording(tmp_path, MESSAGES, NAME)


@pytest.mark.parametrize(
    ("book", "row"),
    [
        ("a level between two others", "5859100,18,5853300,60,5859200,30,5853200,1\n"),
        ("another size", "5859100,17,5853300,60,9999999999,0,-9999999999,0\n"),
        ("a level less", "9999999999,0,5853300,60,9999999999,0,-9999999999,0\n"),
    ],
)
def test_an_order_book_that_no_message_explains_is_in_doubt(tmp_path: Path, book: str, row: str) -> None:
    books = "".join([*BOOKS.splitlines(keepends=True)[:-1], row])
    assert [stale for stale, *_ in with_books(tmp_path, MESSAGES, books)][-1] == "gap", book


def test_what_is_wrong_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="line 6: expected time,type,order id"):
        recording(tmp_path, MESSAGES + "34200.4,8,1,1,1,1\n", NAME)
