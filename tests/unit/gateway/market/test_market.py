"""The market: broadcast numbers, changed channels, statuses, instruments, idle channels."""

import pytest

from depthcast.gateway.market.market import DROPPED_AT_ONCE_MAX, Market
from tests.unit.gateway.small_market import Published, SmallMarket, lively_market


@pytest.fixture
def small() -> SmallMarket:
    return lively_market("AAA", "BBB", stale_ms=1000, full_depth_max=3, channel_linger_s=10)


def market_of(small: SmallMarket) -> Market:
    return small.core.market


def status(small: SmallMarket) -> dict[str, bool]:
    return {symbol: listing.stale for symbol, listing in market_of(small).listings.items()}


# --- broadcasts -------------------------------------------------------------------------------------------


def test_every_entry_takes_the_next_number(small: SmallMarket) -> None:
    market = market_of(small)
    before, entries = market.number, market.counters.entries
    small.publish("AAA", {-1: 4}, tick=False)
    small.apply(small.entry({}))
    assert market.number == before + 2
    assert market.counters.entries == entries + 2


def test_only_channels_whose_view_changed_are_marked(small: SmallMarket) -> None:
    market = market_of(small)
    top, deep = (market.channel(market.listings["AAA"], depth) for depth in (1, 5))
    market.end_tick()
    small.publish("AAA", {-2: 4}, tick=False)
    assert list(market.changed) == [deep]
    assert (deep.head, top.head < deep.head) == (market.number, True)
    market.end_tick()
    assert not market.changed
    assert not deep.fresh


def test_a_channel_is_made_once_and_shows_the_book_there_is(small: SmallMarket) -> None:
    market = market_of(small)
    channel = market.channel(market.listings["AAA"], 5)
    assert market.channel(market.listings["AAA"], 5) is channel
    assert channel.view is not None
    assert channel.view.bids.levels() == [(-1, 5), (-2, 6), (-3, 7)]
    assert channel.head == market.number


def test_a_book_that_grows_beyond_what_is_served_is_noted_if_somebody_has_it(small: SmallMarket) -> None:
    market = market_of(small)
    listing = market.listings["AAA"]
    small.publish("AAA", {-4: 1}, tick=False)
    assert not market.overgrown
    assert market.too_deep(listing, 0)
    assert not market.too_deep(listing, 1000)
    full = market.channel(listing, 0)
    small.publish("AAA", {-5: 1}, tick=False)
    assert list(market.overgrown) == [full]


# --- live or stale ----------------------------------------------------------------------------------------


def test_silence_makes_every_book_stale_and_an_entry_makes_it_live(small: SmallMarket) -> None:
    market = market_of(small)
    assert not market.update_statuses(small.now + 1.0)
    before = market.number
    assert market.update_statuses(small.now + 1.1)
    assert status(small) == {"AAA": True, "BBB": True}
    assert market.stale_count() == 2
    assert market.number == market.last_status_change == before + 1, "one number for all of them"
    small.now += 1.1
    small.apply(small.entry({}))
    assert market.update_statuses(small.now)
    assert status(small) == {"AAA": False, "BBB": False}
    assert not market.update_statuses(small.now)


def test_a_gap_concerns_its_symbol_until_its_snapshot(small: SmallMarket) -> None:
    small.lose("AAA")
    small.publish("AAA", {-1: 4})
    assert status(small) == {"AAA": True, "BBB": False}
    small.load()
    small.tick()
    assert status(small) == {"AAA": False, "BBB": False}


def test_a_lost_reader_makes_every_book_stale(small: SmallMarket) -> None:
    small.upstream.reader.mark_lost("for a test")
    small.tick()
    assert status(small) == {"AAA": True, "BBB": True}


def test_a_load_is_no_sign_of_life(small: SmallMarket) -> None:
    small.now += 0.5
    small.upstream.reader.mark_lost("for a test")
    small.load()
    assert small.upstream.freshness.age_s(small.now) == 0.5
    small.heartbeat()
    assert small.upstream.freshness.age_s(small.now) == 0.0


def test_books_are_stale_at_the_start_until_an_ingestor_is_heard(small: SmallMarket) -> None:
    begun = SmallMarket("AAA", stale_ms=1000)
    for _ in range(3):
        assert status(begun) == {"AAA": True}
        begun.now += 0.2
        begun.tick()
    begun.heartbeat()
    assert status(begun) == {"AAA": False}


def test_input_lag_makes_books_stale_until_it_has_been_small_for_a_second() -> None:
    small = lively_market("AAA", input_lag_max_ms=1000)
    found = []
    for lag_ms in (1000, 1001, 501, 400, 400, 0, 400):
        small.now += 0.6
        small.heartbeat(lag_ms)
        found.append(status(small)["AAA"])
    assert found == [False, True, True, True, True, False, False]
    assert "lag_ms" not in market_of(small).listings["AAA"].status_message()
    small.heartbeat(7000)
    assert market_of(small).listings["AAA"].status_message() == {
        "type": "status", "symbol": "AAA", "state": "stale", "lag_ms": 7000,
    }  # fmt: skip


def test_doubt_concerns_its_symbol_until_the_producer_ends_it(small: SmallMarket) -> None:
    market = market_of(small)
    listing = market.listings["AAA"]
    small.doubt("AAA", "gap", {-1: 4})
    assert status(small) == {"AAA": True, "BBB": False}
    assert market.stale_count() == 1
    assert market.was_live, "one symbol makes no gateway unready"
    assert listing.status_message() == {
        "type": "status", "symbol": "AAA", "state": "stale", "reason": "gap",
    }  # fmt: skip
    small.publish("AAA", {-1: 5})
    assert status(small) == {"AAA": True, "BBB": False}
    before = market.last_status_change
    small.doubt("AAA", "checksum")
    assert market.last_status_change > before
    assert listing.status_message()["reason"] == "checksum"
    small.doubt("AAA", None, {-1: 6})
    assert status(small) == {"AAA": False, "BBB": False}
    assert listing.status_message() == {"type": "status", "symbol": "AAA", "state": "live"}


def test_a_book_in_doubt_stays_so_through_silence_and_a_load(small: SmallMarket) -> None:
    small.doubt("AAA", "gap")
    small.now += 1.1
    small.tick()
    assert status(small) == {"AAA": True, "BBB": True}
    small.heartbeat()
    assert status(small) == {"AAA": True, "BBB": False}
    small.lose("AAA")
    small.publish("AAA", {-1: 4})
    small.load()
    small.tick()
    assert status(small) == {"AAA": False, "BBB": False}, "the snapshot of this test has no mark"
    assert market_of(small).listings["AAA"].doubt is None


def test_a_gateway_is_ready_though_input_is_late() -> None:
    small = SmallMarket("AAA", input_lag_max_ms=1000)
    assert not market_of(small).was_live
    small.heartbeat(5000)
    assert status(small) == {"AAA": True}
    assert market_of(small).was_live


def test_all_books_were_live_once(small: SmallMarket) -> None:
    late = SmallMarket("AAA")
    assert not market_of(late).was_live, "no living ingestor was heard of"
    late.heartbeat()
    assert market_of(late).was_live
    empty = SmallMarket()
    assert not market_of(empty).was_live, "instruments may be registered any moment"
    empty.heartbeat()
    empty.list_instruments()
    empty.tick()
    assert market_of(empty).was_live, "an ingestor has been there, so there are none"
    small.now += 2
    small.tick()
    assert market_of(small).was_live, "once is enough"


# --- instruments ------------------------------------------------------------------------------------------


def test_symbols_come_and_go(small: SmallMarket) -> None:
    market = market_of(small)
    channel = market.channel(market.listings["AAA"], 0)
    small.publish("AAA", {-4: 1}, tick=False)
    assert channel in market.changed
    assert channel in market.overgrown
    listed = {symbol: listing.instrument for symbol, listing in market.listings.items()}
    new = listed.pop("AAA")._replace(symbol="CCC")  # type: ignore[arg-type]
    assert market.list_instruments(listed | {"CCC": new}) == (["CCC"], ["AAA"])
    assert set(market.listings) == small.upstream.symbols == {"BBB", "CCC"}
    assert not market.changed
    assert not market.overgrown
    assert market.list_instruments(listed | {"CCC": new}) == ([], [])


def test_an_entry_of_an_unlisted_symbol_changes_nothing(small: SmallMarket) -> None:
    market = market_of(small)
    small.books["NEW"] = Published(5)
    delta = small.books["NEW"].move({-1: 1}, {})
    broadcasts = market.counters.broadcasts
    small.apply(small.entry({"NEW": delta._replace(prev_seq=0)}))
    assert market.counters.broadcasts == broadcasts


def test_a_changed_instrument_is_taken(small: SmallMarket) -> None:
    market = market_of(small)
    listed = {symbol: listing.instrument for symbol, listing in market.listings.items()}
    listed["AAA"] = listed["AAA"]._replace(tick_size="0.5")
    assert market.list_instruments(listed) == ([], [])
    assert market.listings["AAA"].instrument.tick_size == "0.5"


# --- idle channels ----------------------------------------------------------------------------------------


def test_a_channel_nobody_uses_is_dropped_after_a_while(small: SmallMarket) -> None:
    market = market_of(small)
    listing = market.listings["AAA"]
    channel = market.channel(listing, 5)
    market.hold(channel)
    for now in (0.0, 100.0):
        market.drop_idle_channels(now)
    market.release(channel)
    market.drop_idle_channels(200.0)
    market.drop_idle_channels(209.9)
    assert listing.channels == {5: channel}
    market.hold(channel)
    market.drop_idle_channels(209.95)
    market.release(channel)
    market.drop_idle_channels(210.0)
    small.publish("AAA", {-1: 4}, tick=False)
    market.drop_idle_channels(219.9)
    assert listing.channels == {5: channel}
    market.drop_idle_channels(220.0)
    assert (listing.channels, market.changed, market.channel_count) == ({}, {}, 0)


def test_views_are_bounded_and_idle_ones_make_room() -> None:
    market = market_of(lively_market("AAA", "BBB", views_max=2))
    first, second = market.listings["AAA"], market.listings["BBB"]
    for listing in (first, second):
        market.hold(market.channel(listing, 5))
    assert market.room_for(first, 5), "it is there already"
    assert not market.room_for(first, 10)
    market.release(second.channels[5])
    assert market.room_for(first, 10)
    assert (second.channels, market.channel_count) == ({}, 1)
    market.channel(first, 10)
    assert market.room_for(first, 25), "a view that was never subscribed to is idle"
    assert list(first.channels) == [5]


def test_many_channels_are_dropped_a_few_at_a_time() -> None:
    symbols = [f"S{number}" for number in range(DROPPED_AT_ONCE_MAX + 100)]
    market = market_of(lively_market(*symbols))
    for symbol in symbols:
        market.channel(market.listings[symbol], 5)
    before = market.channel_count
    market.drop_idle_channels(0.0)
    for left in (before - DROPPED_AT_ONCE_MAX, 0):
        market.drop_idle_channels(1e9)
        assert market.channel_count == left


def test_channels_share_the_history_of_a_worker() -> None:
    market = market_of(lively_market("AAA", "BBB", history_deltas=5, history_deltas_total=8))
    for depth, kept in ((1, 5), (5, 4), (10, 2)):
        market.channel(market.listings["AAA"], depth)
        assert market.history_bound.steps_max == kept
    market.drop_idle_channels(0.0)
    market.drop_idle_channels(1e9)
    assert market.history_bound.steps_max == 5


def test_a_removed_symbol_leaves_no_view_behind(small: SmallMarket) -> None:
    market = market_of(small)
    channel = market.channel(market.listings["AAA"], 5)
    market.hold(channel)
    before = market.channel_count
    market.list_instruments({})
    assert market.channel_count == before - 1
    market.release(channel)
    market.drop_idle_channels(0.0)
    market.drop_idle_channels(1e9)
    assert market.channel_count == 0
