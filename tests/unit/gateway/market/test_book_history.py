"""The changes of books, in pieces: what is kept, what goes, and what is found."""

import pytest

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.book_history import (
    DROPPED_AT_ONCE_MAX,
    PIECE_BYTES_MAX,
    PIECES,
    BookHistories,
    BookHistory,
)
from depthcast.gateway.market.step import ViewState
from depthcast.shared.replica import Changes, CountedChanges, Replica

SECOND = 1_000_000
ROOM = 1 << 26


class Book:
    """A book that moves; `states`: every state so far, and the rows that led to it."""

    def __init__(self, number: int = 0, orders: int | None = None) -> None:
        self.replica = Replica()
        self.replica.orders_digest = orders
        self.history = BookHistory(self.replica, number)
        self.states = [ViewState(number, 0, (orders or 0) << 32)]
        self.rows: list[object] = [None]

    def move(self, histories: BookHistories, number: int, ts: int, levels: int = 1) -> None:
        replica = self.replica
        replica.seq += 3
        replica.digest += 7
        bids = [(price, number, number - 1) for price in range(levels)]
        counted = None
        if replica.orders_digest is not None:
            replica.orders_digest += 1
            counted = CountedChanges([(*row, 2, 1) for row in bids], [])
        histories.append(self.history, number, ts, Changes(bids, [], counted), ts + 1)
        both = (replica.orders_digest or 0) << 32 | replica.digest
        self.states.append(ViewState(number, replica.seq, both))
        self.rows.append(bids if counted is None else counted.bids)

    def kept(self) -> int:
        return len(self.history.since(self.history.state_at(0)))


@pytest.mark.parametrize("orders", [None, 5])
@pytest.mark.parametrize("levels", [1, 40])
def test_every_state_is_found_and_what_followed(levels: int, orders: int | None) -> None:
    histories, book = BookHistories(10, ROOM, GatewayCounters()), Book(4, orders)
    for number in range(5, 85):
        book.move(histories, number, number * SECOND // 20, levels)
    assert len(book.history.pieces) > 3, "by time, and by bytes"
    for index, state in enumerate(book.states):
        assert book.history.state_at(state.seq) == state
        assert book.history.state_at(state.seq + 2) == state, "a change of nothing moves the seq alone"
        steps = book.history.since(state)
        assert [step.state() for step in steps] == book.states[index + 1 :]
        assert [step.delta.bids for step in steps] == book.rows[index + 1 :]
        assert all(step.delta.event_ts == step.delta.ts + 1 for step in steps)
    assert book.history.state_at(-1) == book.states[0], "the oldest, if it is not known"


def test_what_is_young_stays_and_what_is_old_goes_soon() -> None:
    histories = BookHistories(8, ROOM, GatewayCounters())
    still, moving = Book(), Book()
    still.move(histories, 1, 0)
    moved_at = []
    for number in range(2, 400):
        ts = number * SECOND // 10
        moving.move(histories, number, ts)
        moved_at.append(ts)
        young = sum(ts - each < 8 * SECOND for each in moved_at)
        oldest = sum(ts - each <= (8 + 8 / PIECES) * SECOND for each in moved_at)
        assert young <= moving.kept() <= oldest
        assert still.kept() == (ts < (8 + 8 / PIECES) * SECOND), "somebody else's change makes it go"
    assert still.history.state_at(0) == still.states[-1], "what it was last is known"
    assert histories.bytes == sum(piece.size for piece in moving.history.pieces)


def test_pieces_have_a_size_so_that_few_go_at_once() -> None:
    histories, book = BookHistories(600, ROOM, GatewayCounters()), Book()
    for number in range(1, 200):
        book.move(histories, number, 0, 10)
    assert all(len(piece.packed) < PIECE_BYTES_MAX + 400 for piece in book.history.pieces)


def test_many_books_that_are_too_old_go_bit_by_bit() -> None:
    histories, books = BookHistories(1, ROOM, GatewayCounters()), [Book() for _ in range(20)]
    for book in books:
        book.move(histories, 1, 0)
    for number in range(2, 8):
        books[0].move(histories, number, 5 * SECOND)
        gone = sum(not book.kept() for book in books[1:])
        assert gone == min((number - 1) * DROPPED_AT_ONCE_MAX - 1, 19)


def test_bytes_are_a_bound_and_the_oldest_of_all_go() -> None:
    counters = GatewayCounters()
    histories, books = BookHistories(10, 20_000, counters), [Book() for _ in range(3)]
    for number in range(1, 600):
        books[number % 3].move(histories, number, number)
        assert histories.bytes <= 20_000
    assert counters.limit_book_history
    assert histories.bytes == sum(piece.size for book in books for piece in book.history.pieces) > 15_000
    assert max(book.kept() for book in books) - min(book.kept() for book in books) <= 10


def test_a_history_that_ended_gives_all_back_and_harms_no_other() -> None:
    histories, gone, other = BookHistories(10, ROOM, GatewayCounters()), Book(), Book()
    for number in range(1, 60):
        for book in (gone, other):
            book.move(histories, number, number * SECOND // 10)
    histories.end(gone.history)
    assert gone.kept() == 0
    assert histories.bytes == sum(piece.size for piece in other.history.pieces)
    for number in range(60, 300):
        other.move(histories, number, number * SECOND // 10)
    assert 100 <= other.kept() <= 113
    assert histories.bytes == sum(piece.size for piece in other.history.pieces)


@pytest.mark.parametrize(("keep_s", "bytes_max"), [(0, ROOM), (10, 0)])
def test_nothing_is_kept_where_nothing_may_be(keep_s: float, bytes_max: int) -> None:
    histories, book = BookHistories(keep_s, bytes_max, GatewayCounters()), Book()
    for number in range(1, 5):
        book.move(histories, number, number)
    assert histories.bytes == book.kept() == 0
