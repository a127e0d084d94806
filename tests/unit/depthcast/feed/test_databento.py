"""Databento's schemas MBO and MBP-10 as CSV: what records mean, and what puts a book in doubt."""

from pathlib import Path

import pytest

from depthcast.feed.entry import ADD, CLEAR, REDUCE, UPDATE
from depthcast.runtime.feed_file import RecordedFeed
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from tests.unit.depthcast.feed.databento_rows import (
    BAD_TS_RECV,
    CLEARED,
    LAST,
    MAYBE_BAD_BOOK,
    MBO,
    MBP,
    SNAPSHOT,
    mbo,
    mbp,
)
from tests.unit.depthcast.feed.replayed import final, recording


def marks(feed: RecordedFeed) -> list[tuple[str, bool]]:
    return [(entry.stale, entry.live) for entry in feed.entries()]


def test_orders(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        MBO
        + CLEARED
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
    assert feed.account.problems() == []


def test_a_snapshot_has_no_time_of_receipt(tmp_path: Path) -> None:
    flags = SNAPSHOT | BAD_TS_RECV
    feed = recording(
        tmp_path,
        MBO
        + CLEARED
        + mbo("A", "B", "1.0", 7, 1, flags, at=-5000)
        + mbo("A", "B", "1.0", 2, 2, flags | LAST, at=-7000)
        + mbo("A", "B", "1.0", 1, 3, at=1),
    )
    assert final(feed) == {"ES": ([(1, 10)], [])}
    assert feed.account.problems() == []
    assert [entry.at_us for entry in feed.entries()] == [None, 1703116800001000]


def test_a_book_goes_on_when_it_is_cleared(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        MBO
        + CLEARED
        + mbo("A", "B", "1.0", 7, 1)
        + mbo("A", "A", "2.0", 3, 2, LAST | MAYBE_BAD_BOOK)
        + mbo("A", "A", "2.5", 3, 4)
        + mbo("R", flags=0)
        + mbo("A", "B", "1.5", 2, 3),
    )
    assert final(feed) == {"ES": ([(15, 2)], [])}
    assert feed.account.problems() == ["1 gap"]
    assert marks(feed) == [("", True), ("gap", False), ("", True)]


GOOD = MBO + CLEARED + mbo("A", "B", "1.0", 7, 1, at=1) + mbo("A", "A", "2.0", 3, 2, at=2)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (mbo("A", "A", "2.0", 3, 3, LAST | MAYBE_BAD_BOOK), "flag F_MAYBE_BAD_BOOK"),
        (mbo("C", "B", "1.0", 7, 9), "order 9 is not known"),
        (mbo("C", "B", "1.0", 8, 1), "cancels 8 of order 1, which has 7"),
        (mbo("A", "B", "1.0", 7, 1, at=3), "order 1 is added again"),
        (mbo("M", "A", "3.0", 7, 1), "order 1 changes its side"),
        (mbo("A", "B", "0.9", 7, 3, at=1), "is older than the record before it"),
        (mbo("C", "B", "1.0", 2, 1, at=3) * 2, "is there twice"),
        (mbo("A", "B", "1.0", 7, 3, LAST | 64), "flag F_TOB or F_MBP"),
        (mbo("A", "B", "1.0", 7, 3, instrument=7), "is instrument 7 from here, not 5482"),
        (
            mbo("T", "B", "1.0", 7, 3, instrument=7) + mbo("C", "B", "1.0", 7, 1, instrument=7),
            "is instrument 7",
        ),
    ],
)
def test_what_cannot_follow_puts_the_book_in_doubt_until_it_is_cleared(
    tmp_path: Path, rows: str, problem: str
) -> None:
    feed = recording(tmp_path, GOOD + rows + mbo("A", "B", "0.5", 1, 8))
    books = final(feed)
    assert books["ES"][1] == [(2, 3)]
    assert [mark for mark in marks(feed) if mark != ("", False)][-1][0]
    assert any(problem in line for line in feed.account.lines())
    assert "no later snapshot of ES" in feed.account.problems()
    feed = recording(tmp_path, GOOD + rows + mbo("R", flags=0) + mbo("A", "B", "0.5", 1, 8))
    assert final(feed) == {"ES": ([(5, 1)], [])}
    assert marks(feed)[-1] == ("", True)


def test_a_file_that_ends_within_an_event_is_said(tmp_path: Path) -> None:
    feed = recording(tmp_path, GOOD + mbo("A", "A", "2.0", 3, 3, 0))
    assert final(feed) == {"ES": ([(1, 7)], [(2, 3)])}
    assert feed.account.problems() == ["1 malformed", "no later snapshot of ES"]


def test_a_book_that_nothing_cleared_is_in_doubt_and_unknown_orders_are_counted(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        MBO
        + mbo("T", "B", "1.0", 1)
        + mbo("A", "B", "1.0", 7, 1)
        + mbo("C", "B", "2.0", 3, 9)
        + mbo("C", "B", "1.0", 2, 1),
    )
    assert final(feed) == {"ES": ([(1, 5)], [])}
    assert marks(feed) == [("partial", False), ("", False), ("", False)]
    assert feed.account.problems() == ["1 partial", "no later snapshot of ES"]
    assert feed.account.skipped["records about orders from before the file"] == 1


def test_a_book_whose_instrument_gets_another_name_is_in_doubt(tmp_path: Path) -> None:
    feed = recording(tmp_path, GOOD + mbo("R", symbol="NQ") + mbo("A", "B", "1.0", 5, 8, symbol="NQ"))
    assert final(feed) == {"ES": ([(1, 7)], [(2, 3)]), "NQ": ([(1, 5)], [])}
    assert feed.account.problems() == ["no later snapshot of ES"]
    feed = recording(tmp_path, GOOD + mbo("R", instrument=7) + mbo("R", symbol="NQ"))
    final(feed)
    assert feed.account.problems() == []
    level = ("4799.25", 21, "4799.00", 3)
    feed = recording(tmp_path, MBP + mbp(*level) + mbp(*level).replace("ESH4", "NQH4"))
    final(feed)
    assert feed.account.problems() == ["no later snapshot of ESH4"]


def test_a_second_clear_at_the_same_time_puts_the_book_in_doubt(tmp_path: Path) -> None:
    feed = recording(tmp_path, GOOD + CLEARED)
    assert final(feed) == {"ES": ([(1, 7)], [(2, 3)])}
    assert feed.account.problems() == ["1 gap", "no later snapshot of ES"]


def test_each_publisher_of_a_symbol_has_a_book(tmp_path: Path) -> None:
    feed = recording(
        tmp_path,
        MBO
        + CLEARED
        + mbo("R", publisher=2)
        + mbo("A", "B", "1.0", 7, 1)
        + mbo("A", "B", "1.0", 5, 1, publisher=2),
    )
    assert final(feed) == {"ES": ([(1, 7)], []), "ES.2": ([(1, 5)], [])}
    assert feed.account.problems() == []


def test_best_levels_lose_what_left_them(tmp_path: Path) -> None:
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


def test_best_levels_of_another_instrument_begin_anew(tmp_path: Path) -> None:
    feed = recording(
        tmp_path, MBP + mbp("4799.25", 21, "4799.00", 3) + mbp("4799.25", 21, "4799.00", 3, instrument=7)
    )
    assert [entry.live for entry in feed.entries()] == [True, True]


@pytest.mark.parametrize("flags", [LAST | MAYBE_BAD_BOOK, LAST])
def test_best_levels_in_doubt_come_back_with_the_next_record(tmp_path: Path, flags: int) -> None:
    wrong = mbp("4799.25", 20, "4799.00", 3, flags, at=5 if flags == LAST else 11)
    rows = MBP + mbp("4799.25", 21, "4799.00", 3, at=10) + wrong
    feed = recording(tmp_path, rows)
    assert final(feed) == {"ESH4": ([(479925, 21), (479900, 3)], [(479950, 14)])}
    assert feed.account.problems() == ["1 gap", "no later snapshot of ESH4"]
    feed = recording(tmp_path, rows + mbp("4799.25", 19, "4799.00", 3, at=12))
    assert final(feed) == {"ESH4": ([(479925, 19), (479900, 3)], [(479950, 14)])}
    assert feed.account.problems() == ["1 gap"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (MBO + mbo("Z", "B", "1.0", 1, 1), "line 2: action is 'Z'"),
        (MBO + mbo("A", "B", "", 1, 1), "line 2: price is undefined"),
        (MBO + mbo("A", "N", "1.0", 1, 1), "line 2: side is 'N'"),
        (MBP + mbp("4799.25", 21, "4799.25", 3), "line 2: has the bid price 4799.25 twice"),
        (
            MBP.replace("ask_px_01", "x") + mbp("4799.25", 21, "4799.00", 3),
            "has no column 'ask_px_01'; it has 2 levels",
        ),
        (MBP + mbp("", 21, "4799.25", 3), "line 2: has a bid of 21 without a price"),
    ],
)
def test_what_is_wrong_names_its_line(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        recording(tmp_path, content)
