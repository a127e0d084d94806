"""One symbol: which status a client at a cursor was last sent, and its views."""

import pytest

from depthcast.gateway.market.listing import STATUS_CHANGES_KEPT, Listing
from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol
from tests.unit.gateway.small_market import lively_market


@pytest.fixture
def listing() -> Listing:
    return Listing(Instrument(Symbol("AAA"), "0.01", "0.001"), Freshness(ServerClock(), 5.0, 5000))


def test_an_odd_number_of_changes_is_a_change(listing: Listing) -> None:
    assert not listing.status_changed_since(0)
    for number, stale in ((10, False), (20, True), (30, False)):
        listing.set_stale(stale, number)
    found = {cursor: listing.status_changed_since(cursor) for cursor in (9, 10, 19, 20, 29, 30)}
    assert found == {9: True, 10: False, 19: False, 20: True, 29: True, 30: False}


def test_another_reason_for_doubt_is_said_while_it_is_stale(listing: Listing) -> None:
    listing.set_stale(True, 10)
    listing.doubt, listing.doubt_changed_at = "gap", 20
    assert [listing.status_changed_since(cursor) for cursor in (10, 19, 20)] == [True, True, False]
    listing.set_stale(False, 30)
    assert [listing.status_changed_since(cursor) for cursor in (10, 19, 29, 30)] == [True, True, True, False]


def test_no_more_changes_are_kept_than_any_client_can_be_behind(listing: Listing) -> None:
    for number in range(2 * STATUS_CHANGES_KEPT):
        listing.set_stale(bool(number % 2), number)
    assert len(listing.status_changes) == STATUS_CHANGES_KEPT
    assert listing.status_changed_since(2 * STATUS_CHANGES_KEPT - 2)
    assert not listing.status_changed_since(2 * STATUS_CHANGES_KEPT - 3)
    kept = listing.status_changes[0]
    assert [listing.status_changed_since(cursor) for cursor in (kept - 2, kept - 1)] == [True, True]


def test_levels_are_those_of_the_longer_side(listing: Listing) -> None:
    assert listing.levels() == 0
    assert lively_market().core.market.listings["AAA"].levels() == 3


def test_a_view_is_the_channels_own_if_there_is_one(listing: Listing) -> None:
    assert listing.view(5) is None
    market = lively_market().core.market
    known = market.listings["AAA"]
    passing = known.view(1)
    assert passing is not None
    assert passing.bids.levels() == [(-1, 5)]
    assert not known.channels
    channel = market.channel(known, 1)
    assert known.view(1) is channel.view
