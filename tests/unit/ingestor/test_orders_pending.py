"""What an event leaves pending for the merger: nothing if nothing changed."""

from depthcast.ingestor.orders import OrdersState


def test_an_update_that_changes_nothing_leaves_nothing_pending() -> None:
    state = OrdersState(evicts=False)
    assert state.apply([["add", "bid", 5, 3, "x"]], atomic=False).applied == 1
    state.merger.absorb()
    assert state.apply([["update", "bid", 5, 3, "x"]], atomic=False).applied == 1
    assert state.merger.pending == ({}, {})
    assert state.merger.events == 1
