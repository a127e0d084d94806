"""What an event leaves pending for the merger: nothing if nothing changed."""

import pytest

from depthcast.broadcaster import merger
from depthcast.broadcaster.merger import snapshot_of
from depthcast.ingestor.orders import OrdersState
from depthcast.shared.digest import digest_of
from depthcast.shared.order_counts import OrderCounts


def test_an_update_that_changes_nothing_leaves_nothing_pending() -> None:
    state = OrdersState(evicts=False)
    assert state.apply([["add", "bid", 5, 3, "x"]], atomic=False).applied == 1
    state.merger.absorb()
    assert state.apply([["update", "bid", 5, 3, "x"]], atomic=False).applied == 1
    assert state.merger.pending == ({}, {})
    assert state.merger.events == 1


def fed() -> OrdersState:
    """A level of 5 lots, one order."""
    state = OrdersState(evicts=False)
    assert state.apply([["add", "bid", 100, 5, 1]], atomic=False).applied == 1
    assert state.merger.drain(1) is not None
    assert state.merger.take_counts() == OrderCounts([1], [], digest_of([(100, 1)], []))
    return state


def replace(state: OrdersState) -> None:
    """Another two orders take the place of the one: as many lots, but not as many orders."""
    events = [["delete", None, None, None, 1], ["add", "bid", 100, 2, 2], ["add", "bid", 100, 3, 3]]
    assert state.apply(events, atomic=False).applied == 3


def test_a_change_of_the_number_of_orders_alone_is_a_net_change() -> None:
    state = fed()
    replace(state)
    delta = state.merger.drain(1)
    assert delta is not None
    assert (delta.bids, delta.asks, delta.digest, delta.events) == (
        [100, 5],
        [],
        digest_of([(100, 5)], []),
        3,
    )
    assert state.merger.take_counts() == OrderCounts([2], [], digest_of([(100, 2)], []))
    assert state.merger.take_counts() == OrderCounts([], [], digest_of([(100, 2)], []))


def test_a_number_that_is_back_is_no_net_change() -> None:
    state = fed()
    replace(state)
    assert (
        state.apply([["delete", None, None, None, 2], ["update", "bid", 100, 5, 3]], atomic=False).applied
        == 2
    )
    assert state.merger.drain(1) is None
    assert state.merger.pending_orders == ({}, {})


def test_a_refused_array_does_not_take_an_earlier_change_of_the_number_with_it() -> None:
    """It puts the quantity back to that of the last drain; the number of orders had changed before it."""
    state = fed()
    replace(state)
    refused = state.apply([["add", "bid", 100, 7, 4], ["delete", None, None, None, "nobody"]], atomic=True)
    assert (refused.applied, len(refused.refused)) == (0, 1)
    assert (state.book.bids.levels, state.book.bids.orders) == ({100: 5}, {100: 2})
    delta = state.merger.drain(1)
    assert delta is not None
    assert (delta.bids, state.merger.take_counts().bids) == ([100, 5], [2])


def test_a_refused_array_leaves_nothing_pending() -> None:
    state = fed()
    refused = state.apply([["add", "bid", 99, 7, 4], ["clear"], ["delete", None, None, None, 1]], atomic=True)
    assert refused.refused
    assert (state.merger.pending, state.merger.pending_orders) == (({}, {}), ({}, {}))
    assert state.book.bids.orders == {100: 1}
    assert state.merger.drain(1) is None


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_large_interval_is_settled_in_slices_with_its_numbers(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [fed(), fed()]
    for state in states:
        replace(state)
        events = [
            ["add", ("bid", "ask")[at % 2], (90, 110)[at % 2] + at % 7, 4, f"x{at}"] for at in range(60)
        ]
        assert state.apply(events, atomic=False).applied == 60
    whole, sliced = (state.merger for state in states)
    monkeypatch.setattr(merger, "SLICE_LEVELS", size)
    assert snapshot_of(sliced.copies()) == snapshot_of(whole.copies())
    assert (sum(1 for _ in sliced.settle()) > 0) is (size < 10)
    assert sliced.drain(9) == whole.drain(9)
    assert sliced.take_counts() == whole.take_counts()
    assert (sliced.digest, sliced.orders_digest) == (whole.digest, whole.orders_digest)
    assert snapshot_of(sliced.copies()) == snapshot_of(whole.copies())
