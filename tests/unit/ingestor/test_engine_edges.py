"""The engine before anything has happened, and pending changes that must go with their symbol."""

from types import TracebackType

import pytest

from depthcast.broadcaster.numbering import ORIGIN_MS
from depthcast.ingestor.engine import Engine
from depthcast.shared.book import Book
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.types import Snapshot, Symbol

A, B = Symbol("A"), Symbol("B")
GOOD = b'[["add","bid",5,3]]'


class CountingLock:
    """Counts how often it is taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> None:
        self.taken += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def test_the_lock_that_is_handed_in_is_the_one_that_is_taken() -> None:
    lock = CountingLock()
    engine = Engine(0, 1, lock=lock)
    for call in (
        lambda: engine.register(Instrument(A)),
        lambda: engine.apply("1-0", [(b"A", GOOD)]),
        engine.drain,
        lambda: engine.snapshot(A),
        engine.dirty,
        engine.stats,
        engine.symbols,
        engine.pending_rejects,
        lambda: engine.digest(A),
        lambda: engine.begin_epoch(ORIGIN_MS + 1),
        lambda: engine.withdraw(A),
    ):
        before = lock.taken
        call()
        assert lock.taken == before + 1


def test_nothing_is_known_yet() -> None:
    engine = Engine(0, 4)
    engine.apply("1-0", [(b"A", GOOD)])
    assert [reject.reason for reject in engine.drain().rejects] == ["unknown_symbol"]
    assert engine.evicted == 0
    assert engine.stats() == (0, 0, 0)


def test_a_state_that_is_restored_takes_the_place_of_what_is_pending() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(A))
    engine.register(Instrument(B))
    engine.drain()
    engine.apply("1-0", [(b"A", GOOD), (b"B", GOOD)])
    engine.restore(Instrument(A), 7, [9, 1], [], 5, None)
    interval = engine.drain()
    assert [symbol for symbol, _ in interval.deltas] == [B]
    assert engine.snapshot(A) == Snapshot(7, [9, 1], [], 5, 0)


def test_a_birth_that_is_due_goes_with_a_restored_state() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(A))
    engine.restore(Instrument(A), 7, [], [], 0, None)
    interval = engine.drain()
    assert (interval.born, interval.deltas) == ([], [])


def test_a_book_that_is_adopted_takes_the_place_of_what_is_pending() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(A))
    book = Book()
    book.bids.set_level(9, 1)
    engine.restore_book(Instrument(A), 7, book, 5)
    interval = engine.drain()
    assert (interval.born, interval.deltas) == ([], [])
    assert engine.snapshot(A) == Snapshot(7, [9, 1], [], 5, 0)


def test_a_book_that_is_adopted_again_is_what_it_is_then() -> None:
    """With the changes that others made to it; another book, or one of another listing, takes its place."""
    engine, book, other = Engine(0, 1), Book(), Book()
    book.bids.set_level(9, 1)
    engine.restore_book(Instrument(A), 7, book, 5)
    book.bids.set_level(8, 2)
    engine.restore_book(Instrument(A), 8, book, 6)
    assert engine.snapshot(A) == Snapshot(8, [9, 1, 8, 2], [], 6, 0)
    other.bids.set_level(4, 4)
    engine.restore_book(Instrument(A), 8, other, 6)
    assert engine.snapshot(A) == Snapshot(8, [4, 4], [], 6, 0)
    engine.restore_book(Instrument(A, on_cross=OnCross.EVICT, listing=2), 8, other, 6)
    assert engine.listing(A).number == 2
    engine.apply("1-0", [(b"A", b'[["update","ask",3,1]]')])
    assert engine.drain().deltas[0][1].bids == [4, 0], "it evicts now"


def test_dropped_symbols_leave_nothing_pending() -> None:
    engine = Engine(0, 1)
    for symbol in (A, B, "C"):
        engine.register(Instrument(Symbol(symbol)))
    engine.drain()
    engine.register(Instrument(Symbol("D")))
    engine.apply("1-0", [(b"A", GOOD), (b"B", GOOD)])
    engine.withdraw("C")
    engine.keep_only({A})
    interval = engine.drain()
    assert [symbol for symbol, _ in interval.deltas] == [A]
    assert (interval.born, engine.symbols(), engine.stats().symbols) == ([], [A], 1)
    assert not engine.dirty()


@pytest.mark.parametrize("feed", Feed)
def test_a_replayed_state_stands_at_the_seq_it_is_given(feed: Feed) -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(A, feed=feed))
    engine.drain()
    engine.set_seq(A, 1234)
    assert engine.snapshot(A).seq == 1234


def test_a_lost_log_is_continued_where_it_is_said() -> None:
    engine = Engine(0, 1)
    assert engine.last_consumed() == "0-0"
    engine.apply("1-0", [])
    engine.continue_from("9-0")
    assert engine.last_consumed() == "9-0"
    assert engine.drain().src == "9-0"
