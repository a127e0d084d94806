"""What adapters have in common that keep their books: one doubt at a time, and what begins anew."""

import pytest

from depthcast.feed.venue import Doubt, DoubtReason, Skipped, Snapshot, Update, VenueLevel
from depthcast.feed.venues.kept_books import KeptBook, KeptBooks, State

BID, ASK = [("5.1", "1")], [("5.2", "2")]


def proven(ts: int | None = 10) -> KeptBook:
    book = KeptBook("A")
    assert isinstance(book.replace(BID, ASK, ts=ts)[0], Snapshot)
    return book


@pytest.mark.parametrize(
    "bids", [[("5.1", "1"), ("5.10", "2")], [("5.1", "0")], [("5.1", "1"), ("5", "0.00")]]
)
def test_a_snapshot_has_each_price_once_and_no_empty_level(bids: list[VenueLevel]) -> None:
    (doubt,) = KeptBook("A").replace(bids, ASK)
    assert isinstance(doubt, Doubt)
    assert doubt.reason is DoubtReason.MALFORMED


def test_a_doubt_is_said_once_until_a_snapshot_or_a_subscription() -> None:
    books = KeptBooks()
    books.subscribe(["A"])
    book = books.get("A")
    assert book is not None
    assert book.doubt(DoubtReason.GAP, "x" * 500) == [Doubt("A", DoubtReason.GAP, "x" * 200)]
    assert book.doubt(DoubtReason.GAP, "") == []
    assert books.doubt_all(DoubtReason.SUSPENDED, "") == []
    assert books.malformed("A", "") == books.malformed(None, "") == [Skipped("malformed message")]
    books.subscribe(["A"])
    assert book.state is State.WAITING
    assert len(books.malformed("A", "")) == 1
    assert isinstance(book.replace(BID, ASK)[0], Snapshot)
    assert books.top("A", 5) == (BID, ASK)
    assert len(books.malformed("B", "that names no book of ours")) == 1
    assert books.top("A", 5) is None


@pytest.mark.parametrize("wrong", [True, False])
def test_a_wrong_snapshot_of_a_book_in_doubt_is_silent_but_proves_nothing(*, wrong: bool) -> None:
    book = proven()
    book.doubt(DoubtReason.GAP, "")
    crossed = [("5.2", "1")] if wrong else BID
    assert book.replace(crossed, ASK, checksum=lambda _: wrong) == []
    assert book.state is State.DOUBTED


def test_what_is_older_than_the_last_message_is_not_taken() -> None:
    book = proven(10)
    assert isinstance(book.change([("5.1", "3")], [], ts=10)[0], Update)
    assert isinstance(book.change([("5.1", "4")], [], ts=5, ordered=False)[0], Update)
    (doubt,) = book.change([("5.1", "5")], [], ts=9)
    assert isinstance(doubt, Doubt)
    assert book.replace(BID, ASK, ts=9) == [Skipped("snapshot from before the last message")]
    assert isinstance(book.replace(BID, ASK, ts=11)[0], Snapshot)
    (doubt,) = book.replace(BID, ASK, ts=10)
    assert isinstance(doubt, Doubt)
    assert doubt.reason is DoubtReason.RESET


def test_an_ended_subscription_takes_nothing_and_a_lost_connection_remembers_only_subscriptions() -> None:
    books = KeptBooks()
    books.subscribe(["A", "B", "C"])
    for symbol in "ABC":
        book = books.get(symbol)
        assert book is not None
        book.replace(BID, ASK, ts=10)
    books.unsubscribe(["A"])
    assert books.get("A") is None
    assert books.top("A", 1) is None
    assert books.doubt_all(DoubtReason.SUSPENDED, "") == [
        Doubt(symbol, DoubtReason.SUSPENDED, "") for symbol in "BC"
    ]
    books.unsubscribe(["C"])
    assert [doubt.symbol for doubt in books.lost()] == ["B"]
    assert books.get("A") is None
    book = books.get("B")
    assert book is not None
    assert (book.state, book.newest) == (State.WAITING, None)


def test_the_last_subscription_that_ends_leaves_nothing_to_take() -> None:
    books = KeptBooks()
    books.subscribe(["A"])
    books.unsubscribe(["A"])
    assert books.get("A") is None
