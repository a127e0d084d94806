"""Groupings of a market: made once, shared by depths, bounded, and dropped with their last channel."""

from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.market import Market
from tests.unit.gateway.small_market import SmallMarket, lively_market


def market_of(small: SmallMarket) -> Market:
    return small.core.market


def channel(
    market: Market, group: int, depth: int = 5, symbol: str = "AAA", *, held: bool = False
) -> Channel:
    """A channel of a symbol in a group; `held`: somebody is subscribed to it."""
    found = market.channel(market.listings[symbol], depth, group)
    if held:
        market.hold(found)
    return found


def groups(market: Market, symbol: str = "AAA") -> list[int]:
    return list(market.listings[symbol].groupings)


def test_depths_share_the_grouped_book() -> None:
    small = lively_market()
    market = market_of(small)
    one, five, whole = (channel(market, 2, depth) for depth in (1, 5, 0))
    assert channel(market, 2, 1) is one
    assert market.groupings.count == 1
    assert one.view is not None
    assert five.view is not None
    assert whole.view is not None
    assert one.view.replica is five.view.replica is whole.view.replica
    assert five.view.bids.levels() == [(-2, 11), (-4, 7)]
    assert five.view.asks.levels() == [(2, 17)]
    market.end_tick()
    small.publish("AAA", {-3: 8}, tick=False)
    assert list(market.changed) == [five, whole], "the best level has not changed"
    assert whole.view.bids.levels() == [(-2, 11), (-4, 8)]


def test_a_group_of_one_tick_is_the_book_itself() -> None:
    market = market_of(lively_market())
    assert channel(market, 1) is market.channel(market.listings["AAA"], 5)
    assert market.groupings.count == 0


def test_a_replaced_replica_is_compared_with_what_clients_hold() -> None:
    """A snapshot that changes the view resets history; one that does not changes nothing."""
    small = lively_market()
    market = market_of(small)
    grouped = channel(market, 2)
    market.end_tick()
    for lost, changed in (({-1: 4, -2: 7}, False), ({-1: 3}, True)):
        small.books["AAA"].move(lost, {})  # and nobody publishes it
        small.publish("AAA", tick=False)
        assert not market.changed
        small.load()
        assert (grouped in market.changed) == changed
        market.end_tick()
    assert grouped.view is not None
    assert grouped.view.bids.levels() == [(-2, 10), (-4, 7)]


def test_a_symbol_without_a_book_is_grouped_when_it_comes() -> None:
    small = SmallMarket("AAA")
    market = market_of(small)
    small.books["NEW"] = type(small.books["AAA"])(5)
    small.list_instruments()
    grouped = channel(market, 10, symbol="NEW")
    assert market.listings["NEW"].view(5, 10) is None
    small.books["NEW"].move({11: 1, 12: 2}, {})
    small.load()
    assert grouped.view is not None
    assert grouped.view.bids.levels() == [(10, 3)]
    assert grouped in market.changed


def test_groups_of_a_symbol_are_bounded_and_an_idle_one_makes_room() -> None:
    market = market_of(lively_market(groups_per_symbol_max=2))
    listing = market.listings["AAA"]
    channel(market, 2, held=True)
    busy = channel(market, 3, depth=1, held=True)
    channel(market, 3, depth=10)
    assert market.room_for_group(listing, 2), "it is there already"
    assert market.room_for_group(listing, 1), "this takes none"
    assert market.room_for_group(market.listings["BBB"], 4)
    assert not market.room_for_group(listing, 4)
    market.release(busy)
    assert market.room_for_group(listing, 4)
    assert (groups(market), market.groupings.count, market.channel_count) == ([2], 1, 1)


def test_groups_of_all_symbols_are_bounded_and_the_longest_idle_makes_room() -> None:
    market = market_of(lively_market("AAA", "BBB", "CCC", groups_max=2))
    first, second = channel(market, 2, held=True), channel(market, 2, symbol="BBB", held=True)
    assert not market.room_for_group(market.listings["CCC"], 2)
    for held in (second, first):
        market.release(held)
    assert market.room_for_group(market.listings["CCC"], 2)
    assert (groups(market, "AAA"), groups(market, "BBB")) == ([2], [])


def test_a_group_that_is_used_again_is_not_idle() -> None:
    market = market_of(lively_market(groups_max=1))
    held = channel(market, 2, held=True)
    market.release(held)
    market.hold(held)
    assert not market.room_for_group(market.listings["BBB"], 2)


def test_a_group_goes_with_its_last_channel() -> None:
    market = market_of(lively_market(channel_linger_s=10))
    held = channel(market, 2, held=True)
    channel(market, 2, depth=0)
    for now in (0.0, 10.0):
        market.drop_idle_channels(now)
    assert (groups(market), market.channel_count) == ([2], 1)
    market.release(held)
    for now in (20.0, 30.0):
        market.drop_idle_channels(now)
    assert (groups(market), market.channel_count, market.groupings.count) == ([], 0, 0)
    assert not market.changed


def test_views_of_a_group_count_as_views() -> None:
    market = market_of(lively_market(views_max=1))
    listing = market.listings["AAA"]
    channel(market, 2, held=True)
    assert market.room_for(listing, 5, 2)
    assert not market.room_for(listing, 5)
    assert not market.room_for(listing, 1, 2)


def test_a_removed_symbol_leaves_no_group_behind() -> None:
    market = market_of(lively_market())
    held = channel(market, 2, held=True)
    market.list_instruments({})
    assert (market.channel_count, market.groupings.count) == (0, 0)
    market.release(held)
    assert market.groupings.count == 0


def test_groups_of_a_book_that_grows_too_deep_end_with_it() -> None:
    small = lively_market(full_depth_max=3)
    market = market_of(small)
    grouped = [channel(market, 2), channel(market, 3, depth=0)]
    as_it_is = channel(market, 1)
    assert not market.too_deep(market.listings["AAA"], 5, 2)
    small.publish("AAA", {-4: 1}, tick=False)
    assert list(market.overgrown) == grouped
    assert market.too_deep(market.listings["AAA"], 5, 2)
    market.end_overgrown()
    assert (groups(market), market.groupings.count) == ([], 0)
    assert [market.is_over(each) for each in (*grouped, as_it_is)] == [True, True, False]
    assert market.counters.limit_full_depth == 2


def test_subscriptions_to_a_channel_that_ended_count_no_more() -> None:
    """The book is small again before its channels have ended, so that a new one may join their group."""
    small = lively_market(full_depth_max=3, groups_per_symbol_max=1)
    market = market_of(small)
    ended = channel(market, 2, held=True)
    for quantity in (1, 0):
        small.publish("AAA", {-4: quantity}, tick=False)
    later = channel(market, 2, depth=1, held=True)
    market.end_overgrown()
    market.release(ended)
    assert groups(market) == [2]
    assert not market.room_for_group(market.listings["AAA"], 3)
    market.release(later)
    assert market.room_for_group(market.listings["AAA"], 3)
    assert groups(market) == []
