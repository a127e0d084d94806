"""A client resumes where nobody has looked at its view yet, as at another gateway."""

import random
from typing import Any

import pytest

from depthcast.gateway.market.market import Market
from tests.unit.gateway.model_client import ModelClient, connected
from tests.unit.gateway.small_market import OrdersMarket, SmallMarket, random_changes

KINDS: list[dict[str, Any]] = [
    *({"depth": depth} for depth in (0, 1, 5, 10)),
    *({"depth": depth, "group": group} for depth, group in ((0, 3), (1, 2), (5, 10))),
    *({"depth": depth, "orders": True} for depth in (0, 1, 5)),
]


def forget_channels(market: Market) -> None:
    """As at a gateway where nobody was subscribed."""
    for listing in market.listings.values():
        market._forget_channels(listing)


def move(market: SmallMarket, rng: random.Random, times: int) -> None:
    for _ in range(times):
        bids, asks = random_changes(rng, market.books["AAA"])
        market.publish("AAA", bids, asks)
        if rng.random() < 0.3:
            market.publish("BBB", {-1: rng.randint(1, 9)})


def comes_back(market: SmallMarket, old: ModelClient, kind: dict[str, Any]) -> tuple[ModelClient, bool]:
    new = connected(market)
    offer = new.take_over(old, "AAA")
    bids, asks = old.views["AAA"]
    new.views["AAA"] = (dict(bids), dict(asks))
    answer, *_ = new.subscribe("AAA", **kind, resume={"AAA": offer})
    assert answer["type"] == "subscribed"
    return new, answer["resumed"]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(f"{k}={v}" for k, v in kind.items()))
def test_whatever_it_held_it_resumes(kind: dict[str, Any], seed: int) -> None:
    rng = random.Random(f"{kind}{seed}")
    market = (OrdersMarket if "orders" in kind else SmallMarket)("AAA", "BBB")
    move(market, rng, 30)
    for _ in range(6):
        others: list[ModelClient] = []
        old = connected(market)
        old.subscribe("AAA", **kind)
        move(market, rng, rng.randint(0, 12))
        old.read()
        market.core.close(old.session)
        move(market, rng, rng.choice((0, 1, 2, 10, 40)))
        if rng.random() < 0.8:
            forget_channels(market.core.market)
        if rng.random() < 0.3:
            other = connected(market)  # it has made the channel, and holds it under the seq of the book
            other.subscribe("AAA", **kind)
            move(market, rng, rng.randint(0, 3))
            others.append(other)
        before = market.core.counters.snapshots
        new, resumed = comes_back(market, old, kind)
        assert resumed
        new.check_current()
        move(market, rng, rng.randint(1, 10))
        new.read()
        new.check_current()
        # A snapshot where that is smaller than the merged delta is right.
        assert market.core.counters.snapshots <= before + 1
        if rng.random() < 0.5:
            another, resumed = comes_back(market, old, kind)
            assert resumed, "a second one finds the same"
            another.check_current()
            others.append(another)
        for each in (new, *others):
            each.read()
            each.check_current()
            market.core.close(each.session)


def test_a_wrong_book_never_resumes() -> None:
    market = SmallMarket("AAA", "BBB")
    rng = random.Random(1)
    move(market, rng, 30)
    old = connected(market)
    old.subscribe("AAA", depth=5)
    market.core.close(old.session)
    move(market, rng, 10)
    forget_channels(market.core.market)
    old.digests["AAA"] ^= 1
    new, resumed = comes_back(market, old, {"depth": 5})
    assert not resumed
    new.check_current()


def test_what_is_older_than_the_history_gets_a_snapshot_unless_it_is_the_same() -> None:
    market = SmallMarket("AAA", "BBB", book_history_bytes_max=600)
    market.publish("AAA", {-1: 5}, {1: 6})
    old = connected(market)
    old.subscribe("AAA", depth=1)
    market.core.close(old.session)
    for quantity in range(1, 30):
        market.publish("AAA", {-9: quantity})
    forget_channels(market.core.market)
    assert comes_back(market, old, {"depth": 1})[1], "its view has not changed"
    market.publish("AAA", {-1: 7})
    for quantity in range(1, 30):
        market.publish("AAA", {-9: quantity})
    forget_channels(market.core.market)
    assert market.core.counters.limit_book_history > 0
    assert not comes_back(market, old, {"depth": 1})[1]


def test_without_a_history_only_what_is_the_same_resumes() -> None:
    market = SmallMarket("AAA", "BBB", book_history_s=0)
    market.publish("AAA", {-1: 5}, {1: 6})
    old = connected(market)
    old.subscribe("AAA", depth=1)
    market.core.close(old.session)
    market.publish("AAA", {-1: 7})
    forget_channels(market.core.market)
    assert market.core.market.histories.bytes == 0
    assert not comes_back(market, old, {"depth": 1})[1]


def test_not_over_the_end_of_a_doubt() -> None:
    market = SmallMarket("AAA", "BBB")
    market.publish("AAA", {-1: 5}, {1: 6})
    market.doubt("AAA", "gap")
    old = connected(market)
    old.subscribe("AAA", depth=1)
    market.core.close(old.session)
    market.doubt("AAA", None, {-1: 7})
    forget_channels(market.core.market)
    assert not comes_back(market, old, {"depth": 1})[1], "what it holds may have been wrong"


def test_not_over_a_listing() -> None:
    market = SmallMarket("AAA", "BBB")
    market.publish("AAA", {-1: 5}, {1: 6})
    old = connected(market)
    old.subscribe("AAA", depth=1)
    market.core.close(old.session)
    market.relist("AAA", 2, "0.1")
    market.publish("AAA", {-1: 7})
    new, resumed = comes_back(market, old, {"depth": 1})
    assert not resumed
    new.check_current()


def test_the_history_is_bounded_in_bytes_and_gives_all_back() -> None:
    market = SmallMarket("AAA", "BBB", book_history_bytes_max=5_000)
    histories = market.core.market.histories
    move(market, random.Random(3), 300)
    kept = [listing.history for listing in market.core.market.listings.values()]
    assert all(kept)
    counted = sum(piece.size for each in kept if each is not None for piece in each.pieces)
    assert 4_000 < histories.bytes <= 5_000
    assert counted == histories.bytes
    market.core.list_instruments({})
    assert histories.bytes == 0
