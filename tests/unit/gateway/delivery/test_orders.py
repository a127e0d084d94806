"""Subscriptions with the number of orders: what those who asked get, what others get, and who is refused."""

from typing import Any

import pytest

from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.digest import digest_of
from depthcast.shared.types import EntryInfo
from tests.unit.gateway.model_client import ModelClient, connected, kinds
from tests.unit.gateway.small_market import START, OrdersMarket, Published, PublishedOrders

SYMBOL = "ORD"


def market() -> OrdersMarket:
    """An orders feed with two bids and an ask, and a levels feed beside it."""
    made = OrdersMarket(SYMBOL)
    made.books["LVL"] = Published(START.epoch)
    made.list_instruments()
    made.load()
    made.heartbeat()
    publish(made, {-1: 5, -2: 6}, {1: 8}, ({-1: 2, -2: 1}, {1: 3}))
    return made


def publish(
    made: OrdersMarket,
    bids: dict[int, int],
    asks: dict[int, int],
    counts: tuple[dict[int, int], dict[int, int]],
) -> None:
    """One broadcast, with the number of orders at each changed level."""
    book = made.books[SYMBOL]
    assert isinstance(book, PublishedOrders)
    delta = book.move(bids, asks, counts=counts)
    made.apply(made.entry({SYMBOL: delta}))
    made.tick()


def subscriber(made: OrdersMarket, *symbols: str, **fields: Any) -> ModelClient:
    client = connected(made)
    client.subscribe(*(symbols or (SYMBOL,)), **fields)
    return client


def uncount(made: OrdersMarket) -> None:
    """A leader of an older version publishes a change, without the number of orders."""
    book = made.books[SYMBOL]
    delta = Published.move(book, {-1: 9}, {})
    made.position = made.position.next()
    fields = [
        (b"_", encode_info(EntryInfo(made.ts(), "0-0", 0, 0, 0))),
        (SYMBOL.encode(), encode_delta(delta)),
    ]
    entry = made.upstream.reader.read(made.position, fields)
    assert entry is not None
    made.apply(entry)
    made.tick()


def test_who_asked_gets_the_numbers_and_their_digest() -> None:
    made = market()
    client = subscriber(made, depth=1, orders=True)
    subscribed, snapshot = client.take()
    assert (subscribed["type"], subscribed["orders"]) == ("subscribed", True)
    assert (snapshot["bids"], snapshot["asks"]) == ([[-1, 5, 2]], [[1, 8, 3]])
    assert snapshot["digest"] == digest_of([(-1, 5)], [(1, 8)])
    assert snapshot["orders_digest"] == digest_of([(-1, 2)], [(1, 3)])
    publish(made, {-1: 0}, {}, ({-1: 0}, {}))
    [delta] = client.take()
    assert delta["bids"] == [[-1, 0, 0], [-2, 6, 1]]
    assert delta["orders_digest"] == digest_of([(-2, 1)], [(1, 3)])


def test_a_change_of_the_number_alone_goes_to_those_who_asked_and_to_nobody_else() -> None:
    made = market()
    asked, other = subscriber(made, orders=True), subscriber(made)
    assert "orders" not in other.take()[0]
    asked.take()
    publish(made, {-1: 5}, {}, ({-1: 4}, {}))
    [delta] = asked.take()
    assert (delta["bids"], delta["asks"], delta["merged"]) == ([[-1, 5, 4]], [], 1)
    assert other.take() == []
    publish(made, {-1: 6}, {}, ({-1: 4}, {}))
    [delta] = other.take()
    assert (delta["bids"], "orders_digest" in delta) == ([[-1, 6]], False)
    assert asked.take()[0]["bids"] == [[-1, 6, 4]]


def test_who_did_not_ask_gets_the_fields_of_a_levels_feed() -> None:
    made = market()
    found = {}
    for symbol in made.books:
        client = subscriber(made, symbol)
        made.publish(symbol, {-1: 7})
        found[symbol] = [list(message) for message in client.take()]
    assert len(found["LVL"]) == 3
    assert found["LVL"] == found[SYMBOL]


@pytest.mark.parametrize("orders", [False, None])
def test_no_number_is_asked_for(*, orders: bool | None) -> None:
    fields = {} if orders is None else {"orders": orders}
    assert "orders" not in subscriber(market(), **fields).take()[0]


@pytest.mark.parametrize("orders", [None, 1, "true", [], {}])
def test_anything_but_a_boolean_fails_the_message(orders: Any) -> None:
    [error] = connected(market()).subscribe(SYMBOL, orders=orders, id=1)
    assert (error["code"], error["id"]) == ("bad_request", 1)
    assert "orders must be true or false, not" in error["message"]


def test_a_levels_feed_is_refused_and_the_other_symbols_are_served() -> None:
    client = connected(market())
    got = client.subscribe("LVL", SYMBOL, orders=True, id=1)
    assert kinds(got) == ["error", "subscribed", "snapshot"]
    assert (got[0]["code"], got[0]["symbol"], got[0]["id"]) == ("no_orders", "LVL", 1)
    assert "names levels, not orders; subscribe without orders" in got[0]["message"]


def test_a_refusal_leaves_the_subscription_that_is_there() -> None:
    made = market()
    client = subscriber(made, "LVL")
    client.take()
    client.subscribe("LVL", orders=True)
    made.publish("LVL", {-1: 1})
    assert kinds(client.take()) == ["error", "delta"]


def test_a_subscription_is_replaced_by_one_with_the_numbers_and_back() -> None:
    made = market()
    client = subscriber(made)
    assert kinds(client.take()) == ["subscribed", "snapshot"]
    client.subscribe(SYMBOL, orders=True)
    assert client.take()[1]["bids"] == [[-1, 5, 2], [-2, 6, 1]]
    client.subscribe(SYMBOL)
    assert client.take()[1]["bids"] == [[-1, 5], [-2, 6]]


@pytest.mark.parametrize(
    ("spoilt", "resumed"), [(None, True), ("digest", False), ("orders_digest", False), ("left out", False)]
)
def test_resumes_by_both_digests(spoilt: str | None, *, resumed: bool) -> None:
    """A state whose number of orders was another has the same digest of levels."""
    made = market()
    client = subscriber(made, orders=True)
    snapshot = client.take()[1]
    publish(made, {-1: 5}, {}, ({-1: 4}, {}))
    client.take()
    state = {name: snapshot[name] for name in ("seq", "digest", "orders_digest")}
    if spoilt == "left out":
        del state["orders_digest"]
    elif spoilt is not None:
        state[spoilt] ^= 1
    later = connected(made)
    later.counts[SYMBOL] = ({-1: 2, -2: 1}, {1: 3})
    later.views[SYMBOL] = ({-1: 5, -2: 6}, {1: 8})
    got = later.subscribe(SYMBOL, orders=True, resume={SYMBOL: state})
    assert (got[0]["resumed"], got[1]["type"]) == (resumed, "delta" if resumed else "snapshot")
    assert got[1]["bids"][0] == [-1, 5, 4]


def test_a_digest_of_numbers_that_is_no_integer_fails_the_message() -> None:
    state = {"seq": 1, "digest": 2, "orders_digest": "3"}
    [error] = connected(market()).subscribe(SYMBOL, orders=True, resume={SYMBOL: state})
    assert (error["code"], "orders_digest" in error["message"]) == ("bad_request", True)


def test_a_slow_client_gets_one_merged_delta() -> None:
    made = market()
    client = subscriber(made, orders=True)
    client.take()
    client.fill()
    for number in (3, 4, 5):
        publish(made, {-1: 5}, {}, ({-1: number}, {}))
    client.writer.reads = True
    client.drain(1_000_000)
    [delta] = [message for message in client.take() if message["type"] == "delta"]
    assert (delta["bids"], delta["merged"]) == ([[-1, 5, 5]], 3)


def test_a_new_listing_of_the_same_feed_goes_on_with_the_numbers() -> None:
    made = market()
    client = subscriber(made, orders=True)
    client.take()
    made.relist(SYMBOL, 2, "0.5")
    subscribed, snapshot = client.take()[:2]
    assert (subscribed["tick_size"], subscribed["orders"]) == ("0.5", True)
    assert (snapshot["bids"], snapshot["orders_digest"]) == ([], 0)


def test_a_new_listing_by_levels_ends_the_subscription() -> None:
    made = market()
    asked, other = subscriber(made, orders=True), subscriber(made)
    for client in (asked, other):
        client.take()
    made.books[SYMBOL] = Published(made.books[SYMBOL].seq)
    made.relist(SYMBOL, 2, "0.5")
    error, ended = asked.take()
    assert (error["code"], error["symbol"]) == ("no_orders", SYMBOL)
    assert ended == {"type": "unsubscribed", "symbol": SYMBOL, "reason": "no_orders"}
    assert kinds(other.take())[:2] == ["subscribed", "snapshot"]


def test_numbers_that_nobody_says_any_more_end_the_subscription_and_no_other() -> None:
    made = market()
    asked, other = subscriber(made, orders=True), subscriber(made)
    for client in (asked, other):
        client.take()
    uncount(made)
    error, ended = asked.take()
    assert (error["code"], ended["reason"]) == ("no_orders", "no_orders")
    assert "an older version" in error["message"]
    assert other.take()[0]["bids"] == [[-1, 9]]
    assert kinds(asked.subscribe(SYMBOL, orders=True)) == ["error"]
    assert made.core.market.listings[SYMBOL].orders_channels == {}


def test_everything_with_the_numbers_refuses_each_levels_feed_also_later() -> None:
    made = market()
    client = connected(made)
    got = client.subscribe("*", orders=True)
    assert sorted(kinds(got)) == ["error", "snapshot", "subscribed"]
    client.take()
    for symbol, kind in (("NEW", PublishedOrders), ("OLD", Published)):
        made.books[symbol] = kind(START.epoch)
    made.list_instruments()
    made.load()
    made.tick()
    types = {(message.get("symbol"), message["type"]) for message in client.take()}
    assert {("NEW", "subscribed"), ("NEW", "snapshot"), ("OLD", "error")} <= types
    assert ("OLD", "subscribed") not in types


def test_a_full_book_with_the_numbers_is_limited_too() -> None:
    made = OrdersMarket(SYMBOL, full_depth_max=3)
    publish(made, {-1: 5}, {}, ({-1: 1}, {}))
    client = subscriber(made, depth=0, orders=True)
    client.take()
    publish(made, {-2: 1, -3: 1, -4: 1}, {}, ({-2: 1, -3: 1, -4: 1}, {}))
    error, ended = [message for message in client.take() if message["type"] != "status"]
    assert (error["code"], ended["reason"]) == ("limit", "limit")


def test_a_large_snapshot_comes_in_parts_with_the_numbers() -> None:
    made = OrdersMarket(SYMBOL, part_levels_max=2)
    publish(made, {-1: 5, -2: 6, -3: 7}, {1: 8}, ({-1: 2, -2: 1, -3: 3}, {1: 3}))
    client = subscriber(made, depth=0, orders=True, parts=True)
    first, second = [message for message in client.take() if message["type"] == "snapshot"]
    assert (first["bids"], first["asks"]) == ([[-1, 5, 2], [-2, 6, 1]], [])
    assert (second["bids"], second["asks"]) == ([[-3, 7, 3]], [[1, 8, 3]])
    whole = digest_of([(-1, 2), (-2, 1), (-3, 3)], [(1, 3)])
    assert (first["orders_digest"], second["orders_digest"]) == (whole, whole)
    publish(made, {-3: 7}, {}, ({-3: 1}, {}))
    assert client.take()[0]["bids"] == [[-3, 7, 1]]
    client.check_current()


def test_views_with_the_numbers_count_as_views_of_their_own() -> None:
    made = OrdersMarket(SYMBOL, views_max=1)
    publish(made, {-1: 5}, {}, ({-1: 1}, {}))
    first = subscriber(made)
    assert "error" not in kinds(first.take())
    assert kinds(connected(made).subscribe(SYMBOL, orders=True)) == ["error"]
    first.send(op="unsubscribe", symbols=[SYMBOL])
    assert kinds(connected(made).subscribe(SYMBOL, orders=True))[:2] == ["subscribed", "snapshot"]
    assert made.core.market.channel_count == 1
