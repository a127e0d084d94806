"""How unseen updates are merged."""

from depthcast.shared.book import Book
from depthcast.updates import BookUpdate, Kind, State, conflate

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
