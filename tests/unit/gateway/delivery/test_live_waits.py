"""`live` never comes before what made the book right, however late a client gets that."""

from typing import Any

import pytest

from depthcast.gateway.delivery import announcements
from tests.unit.gateway.model_client import ModelClient, connected
from tests.unit.gateway.small_market import SmallMarket, lively_market


@pytest.fixture
def market() -> SmallMarket:
    made = lively_market()
    made.heartbeat()
    return made


def follower(market: SmallMarket, *symbols: str, interval_ms: int = 0) -> ModelClient:
    client = connected(market)
    client.subscribe(*symbols, depth=5, interval_ms=interval_ms)
    client.take()
    return client


def said(client: ModelClient) -> list[Any]:
    """Types, symbols and states of what was received, in order."""
    return [(message["type"], message.get("symbol"), message.get("state")) for message in client.take()]


def repair(market: SmallMarket, symbol: str = "AAA") -> None:
    market.doubt(symbol, None, {-1: 99})


STALE, DELTA, LIVE = ("status", "AAA", "stale"), ("delta", "AAA", None), ("status", "AAA", "live")


@pytest.mark.parametrize("joined", [True, False], ids=["cohort", "cursors"])
def test_an_interval_delays_live_as_it_delays_the_levels(market: SmallMarket, joined: bool) -> None:
    client = follower(market, "AAA", "BBB", interval_ms=100)
    if joined:
        market.grid()
        market.tick()
    market.doubt("AAA", "gap")
    market.doubt("BBB", "gap")
    assert said(client) == [STALE, ("status", "BBB", "stale")]
    repair(market)
    market.doubt("BBB", None)
    assert said(client) == [("status", "BBB", "live")], "nothing is owed of it"
    market.tick()
    assert said(client) == []
    market.grid()
    assert said(client) == [DELTA, LIVE]
    market.grid()
    market.heartbeat()
    assert said(client) == []


def test_what_is_stale_again_was_never_live(market: SmallMarket) -> None:
    client = follower(market, "AAA", interval_ms=100)
    market.doubt("AAA", "gap")
    repair(market)
    market.doubt("AAA", "gap")
    assert said(client) == [STALE, STALE], "the reason is told anew"
    market.grid()
    assert said(client) == [DELTA]
    market.doubt("AAA", None)
    market.grid()
    assert said(client) == [LIVE]


@pytest.mark.parametrize("symbols", [["AAA"], ["AAA", "BBB"]])
def test_without_credit_nobody_is_live_who_is_owed_something(market: SmallMarket, symbols: list[str]) -> None:
    client = follower(market, *symbols)
    client.send(op="credit", messages=1)
    market.doubt("AAA", "gap", {-1: 98})
    assert said(client) == [DELTA, STALE]
    repair(market)
    assert said(client) == []
    client.send(op="credit", messages=1)
    assert said(client) == [DELTA, LIVE]


def test_a_full_client_gets_the_levels_first(market: SmallMarket) -> None:
    client = follower(market, *market.books)
    market.doubt("AAA", "gap")
    client.take()
    client.fill()
    repair(market)
    market.tick()
    client.drain(1_000_000)
    client.take()
    client.drain(1_000_000)
    assert said(client) == [DELTA, LIVE]


@pytest.mark.parametrize("interval_ms", [0, 100])
def test_a_view_of_a_book_in_doubt_is_not_resumed_once_the_book_is_right(
    market: SmallMarket, interval_ms: int
) -> None:
    old = follower(market, "AAA", interval_ms=interval_ms)
    market.doubt("AAA", "gap", {-1: 98})
    market.grid()
    old.take()
    state = {"seq": old.seqs["AAA"], "digest": old.digests["AAA"]}
    offer: dict[str, Any] = {"depth": 5, "interval_ms": interval_ms, "resume": {"AAA": state}}
    during = connected(market)
    during.views["AAA"], during.seqs["AAA"] = old.views["AAA"], state["seq"]
    during.subscribe("AAA", **offer)
    subscribed, *others = during.take()
    assert subscribed["resumed"]
    assert [(message["type"], message["state"]) for message in others] == [("status", "stale")]
    repair(market)
    after = connected(market)
    after.subscribe("AAA", **offer)
    subscribed, snapshot = after.take()
    assert not subscribed["resumed"]
    assert snapshot["bids"][0] == [-1, 99]
    market.grid()
    assert said(during) == [DELTA, LIVE]
    assert after.states == {"AAA": "live"}


def test_a_view_that_a_doubt_did_not_change_is_resumed(market: SmallMarket) -> None:
    old = follower(market, "AAA")
    market.doubt("AAA", "gap")
    market.doubt("AAA", None)
    new = connected(market)
    new.views["AAA"], new.seqs["AAA"] = old.views["AAA"], old.seqs["AAA"]
    state = {"seq": old.seqs["AAA"], "digest": old.digests["AAA"]}
    new.subscribe("AAA", depth=5, resume={"AAA": state})
    (subscribed,) = new.take()
    assert subscribed["resumed"]


@pytest.mark.parametrize("symbols", [["AAA"], ["AAA", "BBB"]])
@pytest.mark.parametrize("held", [True, False], ids=["held", "stale"])
@pytest.mark.parametrize("joined", [True, False], ids=["cohort", "cursors"])
def test_live_of_a_new_listing_waits_until_its_sizes_are_told(
    market: SmallMarket, monkeypatch: pytest.MonkeyPatch, symbols: list[str], held: bool, joined: bool
) -> None:
    market.relist("AAA", 1, "0.01")
    market.publish("AAA", {-1: 5})
    clients = [follower(market, *symbols, interval_ms=100) for _ in range(6)]
    if joined:
        market.grid()
        market.tick()
    market.doubt("AAA", "gap", {-1: 98})
    if held:
        repair(market)
    for client in clients:
        assert said(client) == [STALE]
    monkeypatch.setattr(announcements, "STEP_COST_MAX", 0.001)
    market.relist("AAA", 2, "0.5")
    notified: set[int] = set()
    for step in range(60):
        market.publish("AAA", {-1: 1 + step})
        market.publish("BBB", {-1: 1 + step})
        market.grid()
        for number, client in enumerate(clients):
            of_aaa = [kind for kind, symbol, _ in said(client) if symbol == "AAA"]
            if number not in notified and of_aaa:
                assert of_aaa[:2] == ["subscribed", "snapshot"]
                notified.add(number)
        assert step or len(notified) < len(clients), "they are told one after the other"
    market.grid()
    for client in clients:
        client.read()
        client.check_current()
        assert client.states == dict.fromkeys(symbols, "live")
