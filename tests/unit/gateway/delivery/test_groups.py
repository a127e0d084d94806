"""Clients with a `group`: what they are sent, and that all others are sent what they were before."""

import pytest

from depthcast.gateway.delivery import request_handler
from depthcast.gateway.protocol.messages import Encoding
from tests.unit.gateway.model_client import connected, kinds
from tests.unit.gateway.small_market import SmallMarket, lively_market


def test_every_message_of_a_grouped_view_names_the_group() -> None:
    market = lively_market()
    client = connected(market)
    subscribed, snapshot = client.subscribe("AAA", depth=5, group=2)
    assert (subscribed["group"], snapshot["group"]) == (2, 2)
    assert (snapshot["bids"], snapshot["asks"]) == ([[-2, 11], [-4, 7]], [[2, 17]])
    market.publish("AAA", {-1: 6, -2: 5})
    assert client.read() == [], "the sum is the same"
    seq = market.publish("AAA", {-1: 7})
    [delta] = client.read()
    assert (delta["group"], delta["seq"], delta["prev_seq"]) == (2, seq, snapshot["seq"])
    assert (delta["bids"], delta["asks"], delta["merged"]) == ([[-2, 12]], [], 1)


def test_depth_counts_buckets() -> None:
    client = connected(lively_market())
    assert client.subscribe("AAA", depth=1, group=2)[-1]["bids"] == [[-2, 11]]


@pytest.mark.parametrize("group", [1, 1.0, None])
def test_clients_without_a_group_get_the_bytes_of_before(group: float | None) -> None:
    market = lively_market()
    asked = {} if group is None else {"group": group}
    client, grouped = connected(market), connected(market)
    grouped.subscribe("AAA", group=2)
    messages = client.subscribe("AAA", **asked)
    market.publish("AAA", {-1: 6})
    messages += client.read()
    assert kinds(messages) == ["subscribed", "snapshot", "delta"]
    assert not any("group" in message for message in messages)


def test_a_group_is_computed_and_encoded_once_for_all_its_clients() -> None:
    market = lively_market()
    clients = [connected(market) for _ in range(5)]
    for client in clients:
        client.subscribe("AAA", group=2)
    counters = market.core.counters
    assert counters.snapshot_encodings == 1
    market.tick()
    market.publish("AAA", {-1: 6})
    assert [kinds(client.read()) for client in clients] == [["delta"]] * 5
    assert counters.delta_encodings == 1
    assert market.core.market.groupings.count == 1


def test_another_group_replaces_the_subscription() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("AAA", group=2)
    assert kinds(client.subscribe("AAA", group=3)) == ["subscribed", "snapshot"]
    market.publish("AAA", {-1: 6})
    assert [message["group"] for message in client.read()] == [3]
    assert kinds(client.subscribe("AAA")) == ["subscribed", "snapshot"]
    market.publish("AAA", {-1: 7})
    assert [message["bids"] for message in client.read()] == [[[-1, 7]]]


@pytest.mark.parametrize("encoding", [Encoding.JSON, Encoding.MSGPACK])
def test_a_slow_client_ends_with_the_same_grouped_view(encoding: Encoding) -> None:
    market = lively_market()
    client = connected(market, encoding)
    client.subscribe("AAA", group=2)
    client.fill()
    for quantity in (8, 9, 10):
        market.publish("AAA", {-1: quantity, -9: quantity})
    client.take()
    client.drain(100_000)
    client.drain(100_000)
    [delta] = [message for message in client.take() if message["type"] == "delta"]
    assert (delta["merged"], delta["group"]) == (3, 2)
    client.check_current()


def test_a_grouped_view_is_resumed_and_no_other() -> None:
    market = lively_market()
    before = connected(market)
    before.subscribe("AAA", group=2)
    state = {"AAA": {"seq": before.seqs["AAA"], "digest": before.digests["AAA"]}}
    market.core.close(before.session)
    market.publish("AAA", {-1: 6})
    again = connected(market)
    again.views["AAA"] = before.views["AAA"]
    assert [m["type"] for m in again.subscribe("AAA", group=2, resume=state)] == ["subscribed", "delta"]
    other = connected(market)
    assert kinds(other.subscribe("AAA", group=3, resume=state)) == ["subscribed", "snapshot"]
    assert other.messages[0]["resumed"] is False


def test_everything_in_groups_includes_later_symbols() -> None:
    market = lively_market()
    client = connected(market)
    client.subscribe("*", group=2)
    market.books["CCC"] = type(market.books["AAA"])(5)
    market.list_instruments()
    assert [(m["symbol"], m["group"]) for m in client.read() if m["type"] == "subscribed"] == [("CCC", 2)]


def test_a_new_listing_is_grouped_alike() -> None:
    market = lively_market()
    market.relist("AAA", 1, "0.01")
    client = connected(market)
    client.subscribe("AAA", depth=5, group=2)
    client.take()
    market.relist("AAA", 2, "0.5")
    subscribed, snapshot = client.read()
    assert (subscribed["group"], snapshot["group"], snapshot["bids"]) == (2, 2, [])
    market.publish("AAA", {-7: 1})
    assert client.read()[-1]["bids"] == [[-8, 1]]


def test_a_book_that_grows_too_deep_ends_its_groups() -> None:
    market = lively_market(full_depth_max=3)
    grouped, other = connected(market), connected(market)
    grouped.subscribe("AAA", depth=5, group=2)
    other.subscribe("AAA", depth=5)
    market.publish("AAA", {-4: 1})
    error, unsubscribed = grouped.take()[2:]
    assert (error["code"], error["symbol"]) == ("limit", "AAA")
    assert "subscribe without group" in error["message"]
    assert unsubscribed == {"type": "unsubscribed", "symbol": "AAA", "reason": "limit"}
    assert kinds(other.read()) == ["delta"]


def test_a_group_of_before_makes_room_for_a_new_one() -> None:
    market = lively_market(groups_per_symbol_max=1)
    first, second = connected(market), connected(market)
    first.subscribe("AAA", group=2)
    assert kinds(second.subscribe("AAA", group=3)) == ["error"]
    market.core.close(first.session)
    assert kinds(second.subscribe("AAA", group=3)) == ["subscribed", "snapshot"]


def changes_left(market: SmallMarket, group: int) -> float:
    """What is left of a client's allowance after its first subscription."""
    client = connected(market)
    client.subscribe("AAA", depth=1, group=group)
    return client.session.changes.left


def test_a_new_group_counts_by_the_levels_that_have_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_handler, "LEVELS_PER_CHANGE", 1)
    market = lively_market(subscriptions_max=10, subscription_changes_per_s=1)
    assert [changes_left(market, group) for group in (1, 2, 2, 3)] == [19, 16, 19, 16]
