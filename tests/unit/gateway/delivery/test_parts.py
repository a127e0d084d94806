"""Snapshots in parts: their order, what comes between them, and what a client holds after the last one."""

from typing import Any

import pytest

from tests.unit.gateway.model_client import ModelClient, connected
from tests.unit.gateway.small_market import SmallMarket, lively_market


def small_parts(**settings: Any) -> SmallMarket:
    """A market whose books have five levels, and parts of up to two, unless `settings` say otherwise."""
    market = lively_market(**{"part_levels_max": 2, **settings})
    market.heartbeat()
    return market


@pytest.fixture
def market() -> SmallMarket:
    return small_parts()


def slow(market: SmallMarket) -> ModelClient:
    """A client that is sent nothing more until it has taken what waits, one message at a time."""
    client = connected(market)
    slow_down(client)
    return client


def slow_down(client: ModelClient) -> None:
    client.writer.reads = False
    client.writer.mark_bytes = 0
    client.session.sender.write_bytes_max = 0


def subscribe(client: ModelClient, *symbols: str, **fields: Any) -> None:
    client.subscribe(*symbols, **{"depth": 10, "parts": True} | fields)


def taken(client: ModelClient) -> list[tuple[Any, ...]]:
    """What the client takes at once: type, symbol, and part, state or None."""
    client.drain(1_000_000)
    return [
        (message["type"], message["symbol"], message.get("part", message.get("state")))
        for message in client.take()
    ]


def taken_until_quiet(client: ModelClient) -> list[list[tuple[Any, ...]]]:
    found = []
    while batch := taken(client):
        found.append(batch)
    return found


def part(number: int, symbol: str = "AAA") -> tuple[Any, ...]:
    return ("snapshot", symbol, number)


def delta(symbol: str = "AAA") -> tuple[Any, ...]:
    return ("delta", symbol, None)


def waiting(market: SmallMarket) -> ModelClient:
    """A slow client that has read of its subscription to AAA; the first part waits."""
    client = slow(market)
    subscribe(client, "AAA")
    assert taken(client) == [("subscribed", "AAA", None)]
    return client


def far_behind(market: SmallMarket, *symbols: str) -> ModelClient:
    """A client that had the books, and has read nothing of three broadcasts of each."""
    client = connected(market)
    subscribe(client, *symbols)
    client.take()
    slow_down(client)
    for quantity in (4, 3, 2):
        for symbol in symbols:
            market.publish(symbol, {-1: quantity})
    return client


def beside(market: SmallMarket) -> ModelClient:
    """A client with a small view of BBB that became slow, and then asked for AAA."""
    client = connected(market)
    subscribe(client, "BBB", depth=1)
    client.take()
    slow_down(client)
    subscribe(client, "AAA")
    return client


def test_who_asks_for_parts_gets_them_and_nobody_else(market: SmallMarket) -> None:
    clients = [connected(market) for _ in range(3)]
    subscribe(clients[0], "AAA")
    subscribe(clients[1], "AAA", parts=False)
    subscribe(clients[2], "AAA", depth=1)
    assert [message.get("parts") for message in clients[0].take()] == [None, 3, 3, 3]
    assert [message.get("parts") for message in clients[1].take()] == [None, None]
    assert [message.get("parts") for message in clients[2].take()] == [None, None], "it is small"
    for client in clients:
        client.check_current()


def test_what_others_are_owed_comes_between_parts(market: SmallMarket) -> None:
    client = beside(market)
    assert taken(client) == [("subscribed", "AAA", None)]
    market.publish("BBB", {-1: 50})
    market.publish("AAA", {-1: 60})
    assert taken_until_quiet(client) == [[part(1)], [part(2)], [delta("BBB")], [part(3)], [delta()]]
    client.check_current()


def test_deltas_of_others_do_not_keep_parts_away(market: SmallMarket) -> None:
    client = beside(market)
    got = []
    for quantity in range(10, 20):
        market.publish("BBB", {-1: quantity})
        got += taken(client)
    assert [each for each in got if each[1] == "AAA"] == [("subscribed", "AAA", None), *map(part, (1, 2, 3))]


def test_one_snapshot_at_a_time_is_sent_in_parts(market: SmallMarket) -> None:
    client = slow(market)
    subscribe(client, "AAA", "BBB")
    assert len(taken(client)) == 2
    expected = [part(number, symbol) for symbol in ("AAA", "BBB") for number in (1, 2, 3)]
    assert taken_until_quiet(client) == [[each] for each in expected]


def test_a_small_snapshot_does_not_wait_for_a_large_one(market: SmallMarket) -> None:
    client = waiting(market)
    subscribe(client, "BBB", depth=1)
    assert taken(client) == [part(1), ("subscribed", "BBB", None)]
    assert taken_until_quiet(client) == [[("snapshot", "BBB", None)], [part(2)], [part(3)]]


def test_a_book_that_was_in_doubt_when_its_parts_began_is_stale_until_what_repaired_it(
    market: SmallMarket,
) -> None:
    market.doubt("AAA", "gap")
    client = waiting(market)
    market.doubt("AAA", None, {-1: 99})
    assert taken_until_quiet(client) == [
        [part(1)],
        [part(2)],
        [part(3), ("status", "AAA", "stale")],
        [delta(), ("status", "AAA", "live")],
    ]


def test_a_book_that_is_stale_since_its_parts_began_is_said_to_be(market: SmallMarket) -> None:
    client = waiting(market)
    assert taken(client) == [part(1)]
    market.doubt("AAA", "gap")
    assert taken_until_quiet(client) == [[part(2)], [part(3), ("status", "AAA", "stale")]]
    market.doubt("AAA", None)
    assert taken_until_quiet(client) == [[("status", "AAA", "live")]]


def test_a_client_far_behind_keeps_its_book_until_the_last_part() -> None:
    market = small_parts(history_deltas=1)
    client = far_behind(market, "AAA")
    assert taken(client) == [delta()]
    market.doubt("AAA", "gap")
    assert taken(client) == [part(1)]
    assert taken(client) == [part(2), ("status", "AAA", "stale")]
    market.doubt("AAA", None, {-1: 99})
    assert taken_until_quiet(client) == [[part(3)], [delta(), ("status", "AAA", "live")]]
    client.check_current()
    assert market.core.counters.conflated == 1, "the snapshot stands for two broadcasts"


def test_live_waits_for_the_last_part_and_what_follows_it() -> None:
    market = small_parts(history_deltas=1, part_levels_max=1)
    client = far_behind(market, "AAA")
    client.drain(1_000_000)
    market.doubt("AAA", "gap")
    client.drain(1_000_000)
    assert client.take()[-1].get("part") == 1
    assert taken(client) == [("snapshot", "AAA", 2), ("status", "AAA", "stale")]
    market.doubt("AAA", None, {-1: 99})
    assert taken_until_quiet(client) == [
        [part(3)],
        [part(4)],
        [part(5)],
        [delta(), ("status", "AAA", "live")],
    ]


def test_of_two_books_far_behind_one_at_a_time_is_sent_in_parts() -> None:
    market = small_parts(history_deltas=1)
    client = far_behind(market, "AAA", "BBB")
    assert taken(client) == [delta()]
    begun = taken(client) + taken(client)
    first = begun[0][1]
    [other] = {"AAA", "BBB"} - {first}
    market.publish(other, {-1: 1})
    got = begun + [each for batch in taken_until_quiet(client) for each in batch]
    assert got == [part(number, symbol) for symbol in (first, other) for number in (1, 2, 3)]
    client.check_current()


def test_who_waits_goes_on_when_the_first_is_unsubscribed(market: SmallMarket) -> None:
    client = slow(market)
    subscribe(client, "AAA", "BBB")
    taken(client)
    client.send(op="unsubscribe", symbols=["AAA"])
    assert taken(client) == [part(1), ("unsubscribed", "AAA", None)]
    assert taken_until_quiet(client) == [[part(number, "BBB")] for number in (1, 2, 3)]


def test_a_new_listing_ends_the_parts_of_the_old_one(market: SmallMarket) -> None:
    client = waiting(market)
    market.relist("AAA", 2, "0.5")
    market.publish("AAA", {-1: 1, -2: 2, -3: 3})
    assert taken(client)[:2] == [part(1), ("subscribed", "AAA", None)]
    assert taken_until_quiet(client) == [[part(1)], [part(2)]], "it is told in parts again"
    client.check_current()


def test_unsubscribed_or_replaced_amid_its_parts(market: SmallMarket) -> None:
    client = slow(market)
    subscribe(client, "AAA", "BBB")
    taken(client)
    client.send(op="unsubscribe", symbols=["AAA"])
    subscribe(client, "BBB", parts=False)
    assert taken(client) == [part(1), ("unsubscribed", "AAA", None), ("subscribed", "BBB", None)]
    assert taken_until_quiet(client) == [[("snapshot", "BBB", None)]]
    client.check_current()


def test_a_full_book_that_grows_beyond_the_limit_amid_its_parts() -> None:
    market = small_parts(full_depth_max=3)
    client = slow(market)
    subscribe(client, "AAA", depth=0)
    taken(client)
    market.publish("AAA", {-9: 1})
    assert [each[0] for each in taken(client)] == ["snapshot", "error", "unsubscribed"]
    assert taken_until_quiet(client) == []


def test_each_part_costs_credit(market: SmallMarket) -> None:
    client = connected(market)
    client.send(op="credit", messages=2)
    subscribe(client, "AAA")
    assert [message.get("part") for message in client.take()] == [None, 1, 2]
    market.publish("AAA", {-1: 77})
    assert client.take() == []
    client.send(op="credit", messages=1)
    assert [message.get("part") for message in client.take()] == [3]
    client.send(op="credit", messages=1)
    assert [message["type"] for message in client.take()] == ["delta"]
    client.check_current()


def test_parts_wait_for_no_grid(market: SmallMarket) -> None:
    client = slow(market)
    subscribe(client, "AAA", interval_ms=100)
    taken(client)
    market.publish("AAA", {-1: 77})
    assert taken_until_quiet(client) == [[part(1)], [part(2)], [part(3)]]
    market.grid()
    assert taken_until_quiet(client) == [[delta()]]
    client.check_current()


def test_clients_that_keep_up_get_a_replaced_book_in_parts(market: SmallMarket) -> None:
    clients = [connected(market) for _ in range(2)]
    for client in clients:
        subscribe(client, "AAA")
        client.take()
    encoded = market.core.counters.snapshot_encodings
    market.lose("AAA")
    market.publish("AAA", {-1: 77})
    market.load()
    market.tick()
    for client in clients:
        assert [message.get("part") for message in client.take() if message["type"] != "status"] == [1, 2, 3]
        client.check_current()
    assert market.core.counters.snapshot_encodings == encoded + 1


def test_parts_are_shared_by_all_who_begin_at_the_same_view(market: SmallMarket) -> None:
    clients = [slow(market) for _ in range(4)]
    for client in clients:
        subscribe(client, "AAA")
        taken(client)
    counters = market.core.counters
    assert (counters.snapshot_encodings, counters.snapshots_in_parts) == (1, 1)
    assert counters.snapshots == 4, "of each the first part"


@pytest.mark.parametrize("credit", [None, 50])
def test_a_snapshot_that_was_given_up_starts_over(market: SmallMarket, credit: int | None) -> None:
    market.core.market.parts_bound.bytes_max = 1
    client = slow(market)
    if credit is not None:
        client.send(op="credit", messages=credit)
    subscribe(client, "AAA")
    taken(client)
    market.publish("AAA", {-1: 77})
    other = connected(market)
    subscribe(other, "AAA")
    assert market.core.counters.limit_parts_bytes == 1
    got = taken_until_quiet(client)
    assert [each for batch in got for each in batch] == [part(1), part(1), part(2), part(3)]
    assert len(got) == (2 if credit is None else 4), "at once, or as far as credit goes"
    client.check_current()
    market.publish("AAA", {-1: 78})
    assert taken_until_quiet(client) == [[delta()]]


def test_a_doubted_book_that_starts_over_is_said_to_be_stale(market: SmallMarket) -> None:
    market.core.market.parts_bound.bytes_max = 1
    client = slow(market)
    subscribe(client, "AAA")
    taken(client)
    market.doubt("AAA", "gap", {-1: 77})
    subscribe(connected(market), "AAA")
    assert taken(client) == [part(1)]
    assert taken(client) == [part(1), part(2), part(3), ("status", "AAA", "stale")]


def test_everything_in_parts_also_what_is_listed_later(market: SmallMarket) -> None:
    client = connected(market)
    subscribe(client, "*", depth=0)
    assert sum("part" in message for message in client.take()) == 6
    market.books["CCC"] = type(market.books["AAA"])(5)
    market.list_instruments()
    client.take()
    market.books["CCC"].move({-1: 1, -2: 2}, {1: 1})
    market.load()
    market.tick()
    assert [message.get("part") for message in client.take() if message["type"] == "snapshot"] == [1, 2]


def test_a_lost_connection_leaves_nothing_behind(market: SmallMarket) -> None:
    client = slow(market)
    subscribe(client, "AAA", "BBB")
    taken(client)
    market.core.close(client.session)
    for _ in range(5):
        market.grid()
    assert (market.core.flusher.split, market.core.flusher.readers) == ({}, {})
    market.publish("AAA", {-1: 77})
    market.publish("BBB", {-1: 77})
    market.core.market.parts_bound.bytes_max = 0
    subscribe(connected(market), "AAA")
    assert market.core.counters.limit_parts_bytes == 0, "the parts of before were freed"


@pytest.mark.parametrize("given_up", [False, True])
def test_a_client_without_credit_is_told_with_the_last_part_what_it_missed(
    market: SmallMarket, given_up: bool
) -> None:
    market.core.market.parts_bound.bytes_max = 1
    client = connected(market)
    client.send(op="credit", messages=1)
    subscribe(client, "AAA")
    assert taken(client) == [("subscribed", "AAA", None), part(1)]
    market.doubt("AAA", "gap", {-1: 77})
    assert taken(client) == [], "a client without a book needs no status"
    if given_up:
        subscribe(connected(market), "AAA")
    client.send(op="credit", messages=10)
    assert client.states["AAA"] == "stale"
    client.check_current()
