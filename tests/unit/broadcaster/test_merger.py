"""The merger: one net change per level and interval, and snapshots of what was drained."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from depthcast.broadcaster import merger as module
from depthcast.broadcaster.merger import Merger, snapshot_of
from depthcast.shared.book import Book
from depthcast.shared.digest import digest_of
from depthcast.shared.types import MAX_INTEGER, Delta, Snapshot

# Dense where the number of digits changes and around the thousands that weights are computed from.
prices = st.sampled_from([0, -1_000, 1_000, 2_000, 10_000, 999_000, -MAX_INTEGER, MAX_INTEGER]).flatmap(
    lambda price: st.integers(max(price - 3, -MAX_INTEGER), min(price + 3, MAX_INTEGER))
)
quantities = st.integers(0, MAX_INTEGER) | st.integers(0, 3) | st.just(MAX_INTEGER)
Change = tuple[int, int, int]
changes = st.lists(st.tuples(st.integers(0, 1), prices, quantities), max_size=30)


class Owner:
    """Changes a book and records old quantities, as the merger requires."""

    def __init__(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        book = Book()
        for side, levels in zip(book.sides, (bids, asks), strict=True):
            for price, quantity in levels.items():
                side.set_level(price, quantity)
        self.merger = Merger(book, seq=10, digest=digest_of(bids.items(), asks.items()))

    def set(self, side: int, price: int, quantity: int) -> None:
        old = self.merger.book.sides[side].set_level(price, quantity)
        self.merger.pending[side].setdefault(price, old)
        self.merger.events += 1


def test_many_changes_of_a_level_are_one_net_change() -> None:
    owner = Owner({100: 5}, {})
    for quantity in (6, 1, 9, 7):
        owner.set(0, 100, quantity)
    delta = owner.merger.drain(11)
    assert delta == Delta(10, 11, [100, 7], [], digest_of([(100, 7)], []), 4)


def test_added_and_deleted_is_nothing_and_seq_stays() -> None:
    owner = Owner({100: 5}, {})
    owner.set(0, 99, 5)
    owner.set(0, 99, 0)
    owner.set(0, 100, 0)
    owner.set(0, 100, 5)
    assert owner.merger.drain(11) is None
    assert (owner.merger.seq, owner.merger.events) == (10, 0)
    assert owner.merger.idle()


def test_events_of_an_interval_without_net_change_are_not_counted_later() -> None:
    owner = Owner({100: 5}, {})
    owner.set(0, 99, 5)
    owner.set(0, 99, 0)
    owner.merger.drain(11)
    owner.set(1, 101, 1)
    delta = owner.merger.drain(11)
    assert delta is not None
    assert (delta.prev_seq, delta.seq, delta.events, delta.asks) == (10, 11, 1, [101, 1])


def test_seq_goes_up_by_one_or_to_the_least_allowed() -> None:
    owner = Owner({}, {})
    seqs = []
    for least in (5, 10, 11, 40, 7):
        owner.set(0, 100, owner.merger.seq)
        delta = owner.merger.drain(least)
        assert delta is not None
        seqs.append((delta.prev_seq, delta.seq, type(delta)))
    assert seqs == [(10, 11, Delta), (11, 12, Delta), (12, 13, Delta), (13, 40, Delta), (40, 41, Delta)]


def test_digest_follows_both_sides() -> None:
    owner = Owner({100: 5, 99: 1}, {101: 2})
    owner.set(0, 99, 0)
    owner.set(1, 101, 3)
    owner.set(1, -7, 2**53 - 1)
    delta = owner.merger.drain(11)
    assert delta is not None
    assert delta.digest == digest_of([(100, 5)], [(101, 3), (-7, 2**53 - 1)])


@given(first=changes, then=changes)
@example([(0, 1_999, 1), (0, 2_000, 1), (0, 999, 1), (0, 1_000, 1), (0, 1_001, 1), (0, 5, 1), (0, 7, 1)], [])
@example([(1, MAX_INTEGER, MAX_INTEGER), (1, -MAX_INTEGER, MAX_INTEGER)], [(1, MAX_INTEGER, 0)])
def test_digest_is_that_of_the_book_whatever_its_prices_and_quantities(
    first: list[tuple[int, int, int]], then: list[tuple[int, int, int]]
) -> None:
    owner = Owner({}, {})
    for seq, events in enumerate((first, then), 11):
        for event in events:
            owner.set(*event)
        owner.merger.drain(seq)
        book = owner.merger.book
        assert owner.merger.digest == digest_of(book.bids.top(), book.asks.top())


def test_snapshot_is_the_drained_state_under_pending_changes() -> None:
    owner = Owner({100: 5, 98: 1, 97: 4}, {101: 2, 103: 1})
    digest = owner.merger.digest
    owner.set(0, 99, 7)  # new
    owner.set(0, 98, 0)  # gone
    owner.set(0, 100, 6)  # changed
    owner.set(1, 101, 0)
    owner.set(1, 102, 1)
    owner.set(1, 102, 0)
    assert snapshot_of(owner.merger.copies()) == Snapshot(
        10, [100, 5, 98, 1, 97, 4], [101, 2, 103, 1], digest, 0
    )
    owner.merger.drain(11)
    after = snapshot_of(owner.merger.copies())
    assert (after.seq, after.bids, after.asks) == (11, [100, 6, 99, 7, 97, 4], [103, 1])


def test_a_copy_does_not_see_what_changes_after_it() -> None:
    owner = Owner({100: 5}, {101: 2})
    copies = owner.merger.copies()
    owner.set(0, 100, 0)
    owner.merger.drain(11)
    assert snapshot_of(copies)[:3] == (10, [100, 5], [101, 2])


def test_absorb_moves_the_digest_without_a_delta() -> None:
    owner = Owner({100: 5}, {})
    owner.set(0, 100, 8)
    owner.merger.absorb()
    assert owner.merger.idle()
    assert owner.merger.digest == digest_of([(100, 8)], [])
    assert owner.merger.drain(11) is None


def test_advance_is_an_empty_delta_that_leaves_changes_pending() -> None:
    owner = Owner({100: 5}, {})
    digest = owner.merger.digest
    owner.set(0, 100, 8)
    assert owner.merger.advance(50) == Delta(10, 50, [], [], digest, 0)
    delta = owner.merger.drain(51)
    assert delta is not None
    assert (delta.prev_seq, delta.bids, delta.events) == (50, [100, 8], 1)


@given(changes, changes, st.integers(0, 4))
def test_work_in_slices_has_the_same_results(before: list[Change], after: list[Change], size: int) -> None:
    owners = [Owner({}, {}) for _ in range(2)]
    for owner in owners:
        for change in before:
            owner.set(*change)
        owner.merger.drain(11)
        for change in after:
            owner.set(*change)
    whole, sliced = (owner.merger for owner in owners)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLICE_LEVELS", max(size, 1))
        expected = snapshot_of(whole.copies())
        assert snapshot_of(sliced.copies()) == expected
        steps = sum(1 for _ in sliced.settle())
        assert (steps > 0) is any(len(pending) > max(size, 1) for pending in whole.pending)
        assert sliced.drain(20) == whole.drain(20)
        assert sliced.digest == whole.digest
        assert sliced.idle()
        assert snapshot_of(sliced.copies()) == snapshot_of(whole.copies())


def test_a_slice_of_a_large_book_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_LEVELS", 10)
    owner = Owner({}, {})
    for price in range(95):
        owner.set(1, price, 1)
    assert sum(1 for _ in owner.merger.settle()) == 10
    assert not any(owner.merger.pending)
    owner.merger.drain(11)
    asks = owner.merger.copies().asks
    assert [len(levels) for levels in asks.slices()] == [20] * 9 + [10]
