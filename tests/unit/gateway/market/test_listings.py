"""Listings are made when they are asked for."""

import pytest

from depthcast.gateway.market.listings import Listings
from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

INSTRUMENTS = {symbol: Instrument(Symbol(symbol)) for symbol in ("A", "B", "C")}


@pytest.fixture
def listings() -> Listings:
    freshness = Freshness(ServerClock(), 1.0, 1000)
    made = Listings(lambda _: freshness)
    made.replace(INSTRUMENTS)
    return made


def test_they_are_those_of_the_catalog(listings: Listings) -> None:
    assert list(listings) == ["A", "B", "C"]
    assert len(listings) == 3
    assert "B" in listings
    assert "D" not in listings
    assert listings.get("D") is None


def test_nothing_is_made_before_somebody_asks(listings: Listings) -> None:
    assert not listings.made
    found = listings["B"]
    assert found.instrument == INSTRUMENTS["B"]
    assert listings["B"] is found is listings.get("B")
    assert list(listings.made) == ["B"]


def test_a_look_keeps_nothing(listings: Listings) -> None:
    assert listings.peek("A").instrument == INSTRUMENTS["A"]
    assert not listings.made
    assert listings.peek("B") is not listings["B"]
    assert listings.peek("B") is listings["B"]
    with pytest.raises(KeyError):
        listings.peek("D")


def test_one_that_was_removed_is_given_back_if_it_was_made(listings: Listings) -> None:
    found = listings["A"]
    listings.replace({"C": INSTRUMENTS["C"]})
    assert listings.pop("A") is found
    assert listings.pop("B") is None
    assert [listings.get(symbol) for symbol in ("A", "B")] == [None, None]
