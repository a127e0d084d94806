"""The types of the merger's results, and when nothing is pending."""

import pytest

from depthcast.broadcaster.merger import Merger, snapshot_of
from depthcast.shared.book import Book
from depthcast.shared.types import MAX_INTEGER, Delta


def changed(merger: Merger, side: int, price: int, quantity: int) -> None:
    """Change a level without counting an event."""
    merger.pending[side].setdefault(price, merger.book.sides[side].set_level(price, quantity))


def test_a_snapshot_is_of_whole_numbers() -> None:
    """A float would be another type on the wire, and not carry the last digits of a large price."""
    merger = Merger(Book())
    for side, price in ((0, MAX_INTEGER - 1), (0, 5), (1, MAX_INTEGER), (1, MAX_INTEGER - 2)):
        changed(merger, side, price, 1)
    merger.drain(1)
    changed(merger, 0, MAX_INTEGER - 1, 0)
    changed(merger, 1, MAX_INTEGER - 2, 0)
    snapshot = snapshot_of(merger.copies())
    assert snapshot.bids == [MAX_INTEGER - 1, 1, 5, 1]
    assert snapshot.asks == [MAX_INTEGER - 2, 1, MAX_INTEGER, 1]
    assert {type(number) for number in (*snapshot.bids, *snapshot.asks)} == {int}


def test_a_new_merger_is_idle() -> None:
    assert Merger(Book()).idle()


@pytest.mark.parametrize("side", [0, 1])
def test_a_pending_change_of_either_side_alone_is_not_idle(side: int) -> None:
    merger = Merger(Book())
    changed(merger, side, 100, 1)
    assert not merger.idle()
    merger.drain(1)
    assert merger.idle()


def test_an_event_alone_is_not_idle() -> None:
    merger = Merger(Book())
    merger.events += 1
    assert not merger.idle()


def test_what_was_absorbed_is_counted_in_no_delta() -> None:
    merger = Merger(Book(), seq=7)
    changed(merger, 0, 100, 1)
    merger.events += 3
    merger.absorb()
    changed(merger, 0, 100, 0)
    merger.events += 1
    assert merger.drain(8) == Delta(7, 8, [100, 0], [], 0, 1)
