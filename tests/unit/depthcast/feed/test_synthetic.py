"""The synthetic market: always valid, the same for the same seed, at the requested rate, and bounded."""

from random import Random
from typing import Any

import msgpack
import pytest

from depthcast.feed.synthetic import Venue
from depthcast.feed.synthetic_activity import STEP_S, Activity
from depthcast.feed.synthetic_orders import RestingOrders
from depthcast.feed.synthetic_profiles import MARKET, MarketSymbol
from depthcast.ingestor.engine import Engine
from depthcast.shared.instruments import Feed
from depthcast.shared.types import Side, Symbol

EVENTS = 35_000
"""Of each market of the property test: more than 200,000 in all."""

both_feeds = pytest.mark.parametrize("feed", list(Feed))


def venue(name: str, feed: Feed | None = None, *, seed: int = 1, rate: float | None = None) -> Venue:
    item = MARKET[Symbol(name)]
    instrument = item.instrument._replace(feed=feed or item.instrument.feed)
    return Venue(instrument, Random(seed), mid=item.mid, profile=item.profile, rate=rate)


class Fed:
    """An engine fed by a venue, entry by entry as the command sends them."""

    def __init__(self, source: Venue) -> None:
        self.venue = source
        self.symbol = source.instrument.symbol
        self.engine = Engine(0, 1)
        self.engine.register(source.instrument)
        self.engine.drain()
        self.sent = 0
        self.feed(source.open())

    def feed(self, events: list[Any]) -> None:
        fields = [(self.symbol.encode(), msgpack.packb(events))]
        if self.venue.instrument.feed is Feed.LEVELS:
            fields.append((b"_", msgpack.packb({"atomic": True})))
        self.sent += len(events)
        self.engine.apply("1-0", fields)

    def check(self) -> None:
        """Everything applied, and the engine's book is the venue's."""
        interval = self.engine.drain()
        assert (interval.rejects, interval.rejected, interval.ignored) == ([], 0, 0)
        assert interval.applied == self.sent
        snapshot = self.engine.snapshot(self.symbol)
        assert list(snapshot.bids) == self.venue.book.bids.flat()
        assert list(snapshot.asks) == self.venue.book.asks.flat()
        assert snapshot.bids[0] < snapshot.asks[0]


@pytest.mark.parametrize("name", ["ETH-PERP", "LTC-USD", "XRP-USD"])
@both_feeds
def test_nothing_is_ever_rejected_and_the_books_agree(name: str, feed: Feed) -> None:
    fed = Fed(venue(name, feed, seed=7, rate=6_000))
    while fed.sent < EVENTS:
        for _ in range(25):
            fed.feed(fed.venue.step())
        fed.check()


@both_feeds
def test_the_same_seed_makes_the_same_market(feed: Feed) -> None:
    def market(seed: int) -> list[Any]:
        source = venue("ETH-USD", feed, seed=seed)
        return [source.open(), *(source.step() for _ in range(300))]

    assert market(3) == market(3)
    assert market(3) != market(4)


@both_feeds
@pytest.mark.parametrize("name", ["ETH-PERP", "LTC-USD"])
@pytest.mark.parametrize("rate", [5, 300])
def test_the_mean_rate_is_as_configured(name: str, feed: Feed, rate: float) -> None:
    source = venue(name, feed, rate=rate)
    source.open()
    seconds = 60
    events = sum(len(source.step()) for _ in range(round(seconds / STEP_S)))
    assert events / seconds == pytest.approx(rate, rel=0.25)


def test_activity_has_mean_one_over_minutes() -> None:
    activity = Activity(Random(1))
    levels = [activity.step()[0] for _ in range(60_000)]
    assert sum(levels) / len(levels) == pytest.approx(1, abs=0.05)
    assert min(levels) >= 0


def test_it_has_bursts_and_quiet_spells() -> None:
    source = venue("BTC-USD")
    source.open()
    seconds = [sum(len(source.step()) for _ in range(100)) for _ in range(30)]
    assert max(seconds) > 3 * source.rate
    assert min(seconds) < source.rate / 2


def test_prices_move_within_seconds_and_stay_in_range() -> None:
    source = venue("BTC-USD", rate=5_000)
    source.open()
    begun = source.book.bids.top(1)[0][0]
    bests = []
    for _ in range(800):
        source.step()
        bests.append(source.book.bids.top(1)[0][0])
    assert len(set(bests)) > 10
    assert all(abs(best / begun - 1) < 0.25 for best in bests)


def test_orders_and_levels_are_bounded() -> None:
    source = venue("ETH-PERP", Feed.ORDERS, rate=50_000)
    source.open()
    orders, most = source._orders, source._orders.orders_most
    for _ in range(25):
        source.step()
        assert 0.2 * most < len(orders) < 0.8 * most
        assert len(orders._ends) <= 2 * most
        assert sum(map(len, source.book.sides)) <= len(orders)


def test_an_opening_replaces_what_was_there() -> None:
    fed = Fed(venue("SOL-USD", Feed.ORDERS))
    for _ in range(50):
        fed.feed(fed.venue.step())
    fed.feed(fed.venue.open())
    fed.check()


def test_too_many_orders_end_the_one_whose_end_is_nearest() -> None:
    orders = RestingOrders(Feed.ORDERS, 2)
    orders.add(Side.BID, 10, 1, end=9.0)
    orders.make_room()
    assert orders.due(5.0) is None
    orders.add(Side.BID, 9, 1, end=8.0)
    orders.take()
    orders.make_room()
    assert orders.take() == [[2, None, None, None, 2]]
    assert orders.due(10.0) == 1
    assert orders.due_at == 9.0


def test_a_level_that_comes_and_goes_within_a_step_is_no_event() -> None:
    orders = RestingOrders(Feed.LEVELS, 10)
    orders.add(Side.BID, 10, 5, end=1.0)
    orders.add(Side.BID, 9, 5, end=1.0)
    orders.remove(2)
    assert orders.take() == [[1, 0, 10, 5]]
    orders.reduce(1, 2)
    assert orders.take() == [[1, 0, 10, 3]]
    orders.amend(1, 11, 4, end=2.0)
    assert orders.take() == [[1, 0, 10, 0], [1, 0, 11, 4]]


@pytest.mark.parametrize("item", MARKET.values(), ids=lambda item: item.instrument.symbol)
def test_every_built_in_symbol_opens_tight_and_deep(item: MarketSymbol) -> None:
    source = venue(item.instrument.symbol)
    source.open()
    bid, ask = source.book.bids.top(1)[0][0], source.book.asks.top(1)[0][0]
    assert (bid, ask) == (item.mid, item.mid + 1)
    assert min(map(len, source.book.sides)) > 100
    assert min(source.book.bids.levels) > 0
