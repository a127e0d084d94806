"""Large views listed in slices: the message is that of one moment, and others have their turn."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from depthcast.gateway.market.grouped_replica import GroupedReplica
from depthcast.gateway.market.orders_view import OrdersView
from depthcast.gateway.market.view import View
from depthcast.gateway.runtime import slices
from depthcast.gateway.runtime.slices import grouped_in_slices, snapshot_in_slices
from depthcast.shared.types import MAX_INTEGER
from tests.unit.gateway.small_market import Levels, Published, PublishedOrders, lively_market, replica_of


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", 3)


def side(rng: random.Random, sign: int) -> Levels:
    """Forty levels, some too large to be added up, and one at the end of the range of prices."""
    quantities = (1, 2, 3, MAX_INTEGER)
    prices = [*rng.sample(range(1, 200), 40), MAX_INTEGER]
    return {sign * price: rng.choice(quantities) for price in prices}


@pytest.mark.parametrize("group", [2, 7, 10**6, MAX_INTEGER])
@pytest.mark.parametrize("depth", [0, 1, 5, 100])
def test_groups_are_those_of_a_subscription(group: int, depth: int) -> None:
    rng = random.Random(depth)
    book = Published(1)
    book.move(side(rng, -1), side(rng, 1))
    replica = replica_of(book)
    found = asyncio.run(grouped_in_slices("AAA", replica, depth, group, 7))
    assert found == View(GroupedReplica(replica, group), depth, 7, group).snapshot_message("AAA")


@pytest.mark.parametrize("depth", [0, 5])
@pytest.mark.parametrize("kind", [View, OrdersView])
def test_levels_are_those_of_the_view(depth: int, kind: type[View]) -> None:
    rng = random.Random(depth)
    book = PublishedOrders(1)
    book.move(side(rng, -1), side(rng, 1))
    view = kind(replica_of(book), depth, 7)
    assert asyncio.run(snapshot_in_slices("AAA", view)) == view.snapshot_message("AAA")


def test_an_empty_book() -> None:
    replica = replica_of(Published(1))
    for found in (
        grouped_in_slices("AAA", replica, 5, 10, 7),
        snapshot_in_slices("AAA", View(replica, 0, 7)),
    ):
        message = asyncio.run(found)
        assert (message["bids"], message["asks"], message["digest"]) == ([], [], 0)


def test_it_is_of_one_moment_though_the_book_moves_on() -> None:
    async def check() -> None:
        market = lively_market("AAA")
        replica = market.core.market.listings["AAA"].replica
        assert replica is not None
        before = View(GroupedReplica(replica, 2), 0, 7, 2).snapshot_message("AAA")
        listing = asyncio.create_task(grouped_in_slices("AAA", replica, 0, 2, 7))
        await asyncio.sleep(0)
        assert not listing.done()
        market.publish("AAA", {-1: 0, -2: 1}, {1: 0, 2: 1})
        assert await listing == before

    asyncio.run(check())


def test_others_have_their_turn_and_no_more_is_read_than_needed() -> None:
    async def passes_of(work: Coroutine[Any, Any, object]) -> int:
        task, count = asyncio.create_task(work), 0
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        return count

    async def check() -> None:
        book = Published(1)
        book.move({-price: 1 for price in range(1, 301)}, dict.fromkeys(range(1, 301), 1))
        replica = replica_of(book)
        assert await passes_of(snapshot_in_slices("AAA", View(replica, 0, 7))) >= 200
        assert await passes_of(grouped_in_slices("AAA", replica, 0, 10**6, 7)) >= 200
        assert await passes_of(grouped_in_slices("AAA", replica, 1, 2, 7)) < 10

    asyncio.run(check())
