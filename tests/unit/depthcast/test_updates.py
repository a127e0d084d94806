"""How unseen updates are merged, and how updates are converted and delivered."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from depthcast.shared.book import Book
from depthcast.shared.errors import CodecError
from depthcast.shared.sizes import Sizes
from depthcast.updates import BookUpdate, Kind, State, conflate, deliver, names_of

BOOK = Book()
SNAPSHOT = BookUpdate("X", Kind.SNAPSHOT, State.LIVE, 3, BOOK)
FIRST = BookUpdate("X", Kind.DELTA, State.LIVE, 4, BOOK, [(1, 5), (2, 6)], [(9, 1)], merged=2, ts=10)
SECOND = BookUpdate("X", Kind.DELTA, State.LIVE, 5, BOOK, [(1, 0)], [], merged=1, ts=11)
STALE = BookUpdate("X", Kind.STATUS, State.STALE, 5, BOOK)


def test_last_write_wins_per_level() -> None:
    both = conflate(FIRST, SECOND)
    assert (dict(both.bids), dict(both.asks)) == ({1: 0, 2: 6}, {9: 1})
    assert (both.seq, both.merged, both.ts) == (5, 3, 11)


def test_a_snapshot_stays_one() -> None:
    both = conflate(SNAPSHOT, FIRST)
    assert (both.kind, both.seq, both.bids, both.merged) == (Kind.SNAPSHOT, 4, (), 0)
    assert conflate(FIRST, SNAPSHOT) is SNAPSHOT


def test_a_status_changes_only_the_state() -> None:
    assert conflate(FIRST, STALE) == FIRST._replace(state=State.STALE, seq=5)
    assert conflate(STALE, SECOND) is SECOND


@pytest.mark.parametrize(
    ("first", "second", "both"), [(None, None, None), (5, None, 5), (None, 5, 5), (7, 5, 7), (5, 7, 7)]
)
def test_the_newest_source_time_stays(first: int | None, second: int | None, both: int | None) -> None:
    for before in (FIRST, SNAPSHOT):
        merged = conflate(before._replace(event_ts=first), SECOND._replace(event_ts=second))
        assert merged.event_ts == both
    assert conflate(FIRST._replace(event_ts=first), STALE).event_ts == first


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (None, None, None),
        (None, "interval", "interval"),
        ("interval", None, "interval"),
        ("interval", "credit", "credit"),
        ("buffer", "credit", "buffer"),
        ("credit", "of a later version", "credit"),
        ("an earlier one", "a later one", "a later one"),
    ],
)
def test_the_most_severe_cause_stays(first: str | None, second: str | None, both: str | None) -> None:
    first_update, second_update = FIRST._replace(because=first), SECOND._replace(because=second)
    assert conflate(first_update, second_update).because == both
    assert conflate(SNAPSHOT, second_update).because is None


def test_changes_in_decimals() -> None:
    book = Book()
    book.sizes = Sizes("0.5", "0.001")
    changed = FIRST._replace(book=book).changes()
    assert changed.bids == [(Decimal("0.5"), Decimal("0.005")), (Decimal("1.0"), Decimal("0.006"))]
    assert changed.asks == [(Decimal("4.5"), Decimal("0.001"))]
    assert STALE._replace(book=book).changes() == ([], [])
    with pytest.raises(CodecError, match="nobody has said"):
        FIRST.changes()


def test_a_text_is_one_name() -> None:
    assert list(names_of("BTC-USD")) == ["BTC-USD"]
    assert names_of(["A", "B"]) == ["A", "B"]


async def test_updates_are_delivered_to_functions_and_to_coroutine_functions() -> None:
    async def updates() -> AsyncIterator[BookUpdate]:
        yield FIRST
        yield SECOND

    seen: list[BookUpdate] = []

    async def later(update: BookUpdate) -> None:
        await asyncio.sleep(0)
        seen.append(update)

    await deliver(updates(), seen.append)
    await deliver(updates(), later)
    assert seen == [FIRST, SECOND, FIRST, SECOND]
