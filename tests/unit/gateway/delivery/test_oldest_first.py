"""Serving groups that have a cursor per channel: order, marks, credit, intervals."""

from typing import Any

import orjson
import pytest

from depthcast.gateway.delivery.cursor import NeedsSnapshot
from depthcast.gateway.delivery.oldest_first import send_oldest_first
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from tests.unit.gateway.delivery.parts import MARK_BYTES, Parts, writer_of
from tests.unit.gateway.model_client import split_frames
from tests.unit.gateway.small_market import lively_market

ALWAYS = 1 << 62


@pytest.fixture
def parts() -> Parts:
    return Parts(lively_market("AAA", "BBB", "CCC", stale_ms=1000))


def serve(
    parts: Parts, *groups: SubscriptionGroup, due_below: int = ALWAYS, most: int = ALWAYS
) -> set[SubscriptionGroup]:
    """Serve, and return the groups with something left to send."""
    send_oldest_first(groups, parts.market, lambda interval_ms: due_below if interval_ms else ALWAYS, most)
    return {group for group in groups if group.owes}


def received(group: SubscriptionGroup) -> list[dict[str, Any]]:
    return [orjson.loads(data) for _, data in split_frames(writer_of(group).taken)]


def test_the_channel_that_waited_longest_goes_first(parts: Parts) -> None:
    group = parts.group("AAA", "BBB", "CCC")
    for symbol in ("CCC", "AAA", "BBB", "CCC"):
        parts.broadcast(symbol, 100 + parts.market.number)
    assert serve(parts, group) == set()
    assert [message["symbol"] for message in received(group)] == ["CCC", "CCC", "AAA", "BBB"]
    assert set(group.cursors.values()) == {parts.market.number}
    assert writer_of(group).writes == 1
    assert serve(parts, group) == set()
    assert writer_of(group).writes == 1, "nothing is left"


def test_groups_of_one_session_take_turns(parts: Parts) -> None:
    first = parts.group("AAA", "BBB")
    second = parts.group("CCC", interval_ms=50)
    second.sender, second.writer = first.sender, first.writer
    for symbol in ("AAA", "CCC", "BBB"):
        parts.broadcast(symbol, 4)
    assert serve(parts, first, second) == set()
    assert [message["symbol"] for message in received(first)] == ["AAA", "CCC", "BBB"]


def test_a_write_ends_at_the_mark_and_all_writes_where_the_writer_is_paused(parts: Parts) -> None:
    group = parts.group("AAA", "BBB", "CCC", reads=False)
    group.sender.write_bytes_max = 1
    for symbol in ("BBB", "AAA", "CCC"):
        parts.broadcast(symbol, 4)
    writer_of(group).mark_bytes = 300
    assert serve(parts, group) == {group}
    assert writer_of(group).writes == 2
    assert writer_of(group).paused
    assert group.cursors[parts.channel("CCC")] != parts.market.number
    writer_of(group).drain(MARK_BYTES)
    assert serve(parts, group) == set()
    assert writer_of(group).writes == 3


def test_it_stops_at_the_end_of_credit(parts: Parts) -> None:
    group = parts.group("AAA", "BBB", "CCC")
    group.sender.add_credit(2)
    for symbol in ("BBB", "AAA", "CCC"):
        parts.broadcast(symbol, 4)
    assert serve(parts, group) == {group}
    assert [message["symbol"] for message in received(group)] == ["BBB", "AAA"]
    assert group.sender.credit == 0
    assert serve(parts, group) == {group}
    assert received(group) == []


def test_too_little_credit_for_each_broadcast_buys_them_merged(parts: Parts) -> None:
    group = parts.group("AAA")
    group.sender.add_credit(2)
    for quantity in (4, 3, 2):
        parts.broadcast(quantity=quantity)
    assert serve(parts, group) == set()
    assert [message["merged"] for message in received(group)] == [3]
    assert group.sender.credit == 1
    assert parts.counters.conflated == 2


def test_what_is_not_due_waits_for_the_grid(parts: Parts) -> None:
    group = parts.group("AAA", "BBB", interval_ms=50)
    parts.broadcast("BBB", 4)
    before = parts.market.number
    parts.broadcast("AAA", 4)
    assert serve(parts, group, due_below=before) == {group}
    assert [message["symbol"] for message in received(group)] == ["BBB"]
    assert serve(parts, group, due_below=before + 1) == set()
    assert [message["symbol"] for message in received(group)] == ["AAA"]


def test_a_first_snapshot_waits_for_no_grid_and_brings_its_status(parts: Parts) -> None:
    group = parts.group("AAA", "BBB", interval_ms=50)
    for symbol in ("AAA", "BBB"):
        group.add(parts.channel(symbol), NeedsSnapshot(parts.market.number))
    group.sender.add_credit(2)
    parts.market.listings["BBB"].set_stale(True, parts.market.number)
    assert serve(parts, group, due_below=0) == set()
    kinds = [(message["type"], message["symbol"]) for message in received(group)]
    assert kinds == [("snapshot", "AAA"), ("snapshot", "BBB"), ("status", "BBB")]
    assert group.sender.credit == 0
    assert parts.counters.snapshots == 2


def test_an_older_snapshot_goes_before_a_newer_delta(parts: Parts) -> None:
    group = parts.group("AAA", "BBB")
    group.add(parts.channel("BBB"), NeedsSnapshot(parts.market.number))
    parts.broadcast("AAA", 4)
    serve(parts, group)
    assert [message["type"] for message in received(group)] == ["snapshot", "delta"]


def test_statuses_need_neither_data_nor_credit(parts: Parts) -> None:
    group = parts.group("AAA")
    group.sender.add_credit(1)
    group.sender.credit = 0
    parts.small.now += 2
    parts.market.update_statuses(parts.small.now)
    parts.broadcast(quantity=4)
    assert serve(parts, group) == {group}
    assert [message["type"] for message in received(group)] == ["status"]
