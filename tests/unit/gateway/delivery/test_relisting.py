"""What clients are sent at a new listing: the new sizes, then its snapshot, and nothing of the one before."""

import pytest

from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol
from tests.unit.gateway.model_client import connected, kinds
from tests.unit.gateway.small_market import SmallMarket, lively_market


def listed() -> SmallMarket:
    """A market whose stream names the first listing of AAA."""
    market = lively_market()
    market.relist("AAA", 1, "0.01")
    market.publish("AAA", {-1: 5}, {1: 8})
    return market


def test_subscribers_are_told_the_sizes_before_the_new_book() -> None:
    market = listed()
    clients = [connected(market), connected(market)]
    clients[0].subscribe("AAA", "BBB", depth=5)
    clients[1].subscribe("AAA", depth=0, interval_ms=100)
    for client in clients:
        client.take()
    market.relist("AAA", 2, "0.5")
    for client, depth, interval_ms in zip(clients, (5, 0), (0, 100), strict=True):
        subscribed, snapshot = client.read()
        assert subscribed == {
            "type": "subscribed", "symbol": "AAA", "depth": depth, "interval_ms": interval_ms,
            "tick_size": "0.5", "lot_size": "0.001", "resumed": False,
        }  # fmt: skip
        assert (snapshot["type"], snapshot["bids"], snapshot["seq"]) == (
            "snapshot",
            [],
            market.books["AAA"].seq,
        )
        client.take()
    market.publish("AAA", {-7: 1})
    assert [(m["type"], m["bids"]) for m in clients[0].read()] == [("delta", [[-7, 1]])]


def test_what_was_not_sent_of_the_old_listing_never_is() -> None:
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    market.publish("AAA", {-9: 9}, tick=False)
    market.relist("AAA", 2, "0.5", tick=False)
    market.publish("AAA", {-7: 1}, tick=False)
    market.tick()
    subscribed, snapshot = client.read()
    assert (subscribed["tick_size"], snapshot["bids"]) == ("0.5", [[-7, 1]])


def test_a_slow_client_gets_the_snapshot_when_it_drains() -> None:
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    client.fill()
    market.publish("AAA", {-9: 9})
    market.relist("AAA", 2, "0.5")
    market.publish("AAA", {-7: 1})
    client.drain(100_000)
    client.drain(100_000)
    messages = client.take()
    assert kinds(messages) == ["filler", "subscribed", "snapshot"]
    assert messages[-1]["bids"] == [[-7, 1]]


def test_two_listings_between_ticks_are_one_beginning() -> None:
    market = listed()
    client = connected(market)
    client.subscribe("*")
    client.take()
    market.relist("AAA", 2, "0.5", tick=False)
    market.relist("AAA", 3, "0.25", tick=False)
    market.tick()
    assert [m.get("tick_size") for m in client.read()] == ["0.25", None]


def test_a_withdrawn_symbol_is_stale_and_keeps_what_was_shown() -> None:
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    market.relist("AAA", 1, "0.01", withdrawn=True)
    assert [(m["type"], m["state"]) for m in client.read()] == [("status", "stale")]
    client.take()
    assert kinds(connected(market).subscribe("AAA")) == ["subscribed", "status"]
    market.relist("AAA", 2, "0.01")
    assert kinds(client.read())[:2] == ["subscribed", "snapshot"]
    market.tick()
    client.read()
    assert client.states["AAA"] == "live"


def test_a_listing_goes_on_because_its_withdrawal_was_lost() -> None:
    """A failover lost it: the next leader publishes the same listing, not withdrawn."""
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    market.relist("AAA", 1, "0.01", withdrawn=True)
    client.take()
    market.relist("AAA", 1, "0.01")
    market.publish("AAA", {-7: 1})
    assert kinds(client.read())[:2] == ["subscribed", "snapshot"]
    market.publish("AAA", {-6: 1})
    market.tick()
    client.read()
    assert client.states["AAA"] == "live"
    assert client.views["AAA"] == ({-7: 1, -6: 1}, {})


def test_a_change_in_the_catalog_alone_changes_nothing_that_is_told() -> None:
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    instruments = {s: Instrument(Symbol(s), "0.5", "0.001") for s in market.books}
    market.core.list_instruments(instruments)
    market.tick()
    assert client.read() == []
    assert client.subscribe("AAA")[0]["tick_size"] == "0.01"


def test_sizes_of_the_catalog_are_told_while_the_stream_names_none() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("BBB")
    client.take()
    market.core.list_instruments({s: Instrument(Symbol(s), "0.5", "0.001") for s in market.books})
    market.tick()
    subscribed, snapshot = client.read()
    assert (subscribed["tick_size"], snapshot["type"]) == ("0.5", "snapshot")


@pytest.mark.parametrize("awaited", [2, 7])
def test_a_later_number_in_the_catalog_makes_stale_until_the_stream_has_it(awaited: int) -> None:
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    client.take()
    market.core.list_instruments(
        {s: Instrument(Symbol(s), "0.01", "0.001", listing=awaited) for s in market.books}
    )
    market.tick()
    assert [(m["symbol"], m["state"]) for m in client.read()] == [("AAA", "stale")]
    market.relist("AAA", awaited, "0.01")
    market.tick()
    client.read()
    assert client.states["AAA"] == "live"


def test_channels_of_the_old_listing_are_gone() -> None:
    market = listed()
    client = connected(market)
    client.subscribe("AAA")
    before = market.core.market.channel_count
    market.relist("AAA", 2, "0.5")
    market.tick()
    assert market.core.market.channel_count == before
    market.core.close(client.session)
    market.now += 1000
    for _ in range(2):
        market.core.sweep(market.now)
        market.now += 1000
    assert market.core.market.channel_count == 0
