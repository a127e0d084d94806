"""What clients are sent at a new listing: the new sizes, then its snapshot, and nothing of the one before."""

import pytest

from depthcast.gateway.delivery import announcements
from depthcast.gateway.delivery.subscription_group import GroupState
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


# --- some at a time ----------------------------------------------------------------------------------------


def announced_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "STEP_COST_MAX", 0.001)


def test_a_client_that_was_not_told_yet_gets_nothing_of_the_new_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced_one_by_one(monkeypatch)
    market = listed()
    clients = [connected(market) for _ in range(8)]
    for number, client in enumerate(clients):
        client.subscribe("AAA", "BBB", interval_ms=50 * (number % 2))
        if number % 4 >= 2:
            client.send(op="credit", messages=100)
    for _ in range(3):
        market.publish("BBB", {-1: 9})
        market.publish("BBB", {-1: 5})
        market.grid()
    assert {group.state for client in clients for group in client.session.groups} == {
        GroupState.SYNCED, GroupState.ONE_CURSOR,
    }  # fmt: skip
    for client in clients:
        client.take()
    market.relist("AAA", 2, "0.5")
    steps, waiting = 0, list(clients)
    while waiting:
        steps += 1
        assert steps < 100
        market.publish("AAA", {-steps: 1})
        market.grid()
        for client in tuple(waiting):
            if of_aaa := [m for m in client.take() if m.get("symbol") == "AAA"]:
                assert kinds(of_aaa)[:2] == ["subscribed", "snapshot"], "nothing before, no status either"
                waiting.remove(client)
    assert steps >= len(clients)
    for _ in range(3):
        market.grid()
    assert not market.core.market.outdated
    market.publish("AAA", {-99: 1})
    market.grid()
    for client in clients:
        client.read()
        client.check_current()
        assert client.states["AAA"] == "live"


def test_a_listing_that_follows_a_withdrawal_is_not_live_before_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced_one_by_one(monkeypatch)
    market = listed()
    clients = [connected(market) for _ in range(4)]
    for client in clients:
        client.subscribe("AAA")
    market.relist("AAA", 1, "0.01", withdrawn=True)
    for client in clients:
        client.take()
    market.relist("AAA", 2, "0.01")
    for _ in range(20):
        market.tick()
        for client in clients:
            of_aaa = kinds([m for m in client.take() if m.get("symbol") == "AAA"])
            assert of_aaa[:1] in ([], ["subscribed"])
            if of_aaa:
                clients.remove(client)
                break
    assert not clients


def test_a_withdrawal_while_sessions_are_told_reaches_all(monkeypatch: pytest.MonkeyPatch) -> None:
    announced_one_by_one(monkeypatch)
    market = listed()
    clients = [connected(market) for _ in range(4)]
    for client in clients:
        client.subscribe("AAA")
    market.relist("AAA", 2, "0.5")
    market.grid()
    market.relist("AAA", 2, "0.5", withdrawn=True)
    for _ in range(30):
        market.grid()
        market.heartbeat()
    for client in clients:
        client.read()
        assert client.states["AAA"] == "stale"


def test_further_listings_do_not_keep_the_last_session_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    announced_one_by_one(monkeypatch)
    market = listed()
    clients = [connected(market) for _ in range(5)]
    for client in clients:
        client.subscribe("AAA")
        client.take()
    notified: set[int] = set()
    for number in range(2, 60):
        market.relist("AAA", number, f"0.{number}")
        notified |= {place for place, client in enumerate(clients) if client.take()}
    assert notified == set(range(5))


def test_symbols_that_come_and_go_are_told_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    announced_one_by_one(monkeypatch)
    market = lively_market()
    everyone, one, gone = (connected(market) for _ in range(3))
    everyone.subscribe("*")
    one.subscribe("AAA", "BBB")
    gone.subscribe("AAA")
    market.books["CCC"] = type(market.books["AAA"])(5)
    aaa = market.books.pop("AAA")
    market.list_instruments()
    market.core.close(gone.session)
    market.books["AAA"] = aaa
    market.list_instruments()
    for _ in range(50):
        market.tick()
        market.grid()
    market.load()
    market.tick()
    everyone.read()
    one.read()
    assert everyone.depths.keys() == {"AAA", "BBB", "CCC"}
    assert one.depths.keys() == {"AAA", "BBB"}, "it was told at most that its symbol begins anew"
    assert not market.core.announcements
    everyone.send(op="unsubscribe", symbols=["CCC"])
    del market.books["BBB"]
    market.list_instruments()
    for _ in range(20):
        market.grid()
    assert everyone.read()[-1] == {"type": "unsubscribed", "symbol": "BBB", "reason": "removed"}
    assert everyone.depths.keys() == {"AAA"}, "what was announced once is not announced again"
