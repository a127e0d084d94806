"""The number of orders at each level, for those who asked: views, merged deltas, resumes and new listings.

Each model client checks every message against the market's history, and who did not ask must get what it got
before: no message for a change of that number alone.
"""

import random
from typing import Any

import pytest

from depthcast.gateway.market.orders_view import OrdersView, digests, merge
from depthcast.gateway.protocol.messages import ViewDelta
from depthcast.shared.digest import digest_of
from depthcast.shared.order_counts import counts_of
from depthcast.shared.replica import Changes, Replica
from tests.property.test_gateway_sessions import DoubtStorm, Storm, check
from tests.seeds import seeds
from tests.unit.gateway.small_market import (
    Levels,
    OrdersMarket,
    PublishedOrders,
    random_changes,
    replica_of,
)


class OrdersStorm(Storm):
    """Some subscriptions are with the number of orders, some without."""

    MARKET = OrdersMarket

    def options(self) -> dict[str, Any]:
        return {"orders": True} if self.rng.random() < 0.7 else super().options()

    def spoil(self, state: dict[str, int]) -> None:
        name = self.rng.choice(list(state))
        if name.endswith("digest"):
            state[name] ^= 1

    def options_again(self, group: int) -> dict[str, Any]:
        """Now and then the client wants more, or less, than it had."""
        return {"orders": True} if self.rng.random() < 0.7 else {"group": group}


class OrdersDoubtStorm(OrdersStorm, DoubtStorm):
    """The same with producers that doubt their books."""


@pytest.mark.parametrize(
    ("kind", "seed"),
    [*seeds(0, 4, 12, OrdersStorm), *seeds(12, 2, 6, OrdersDoubtStorm)],
)
def test_every_client_has_the_right_numbers_and_nobody_else_notices(
    kind: type[OrdersStorm], seed: int
) -> None:
    storm = kind(seed, merged_allowed=True)
    storm.relisting = seed % 2 == 1
    check(storm)
    listings = storm.market.core.market.listings.values()
    assert not any(channel.subscribers for each in listings for channel in each.orders_channels.values())


class Held:
    """What a client holds of a view with the number of orders."""

    def __init__(self, view: OrdersView) -> None:
        self.levels: tuple[Levels, Levels] = ({}, {})
        self.counts: tuple[Levels, Levels] = ({}, {})
        for at, side in enumerate((view.bids, view.asks)):
            for price, quantity, number in side.counted():
                self.levels[at][price], self.counts[at][price] = quantity, number

    def apply(self, delta: ViewDelta) -> None:
        for levels, counts, rows in zip(self.levels, self.counts, (delta.bids, delta.asks), strict=True):
            assert len({row[0] for row in rows}) == len(rows)
            for price, new, old, number, before in rows:
                assert (old, before) == (levels.get(price, 0), counts.get(price, 0)), (
                    "old is what the client held"
                )
                assert (new, number) != (old, before)
                for held, value in ((levels, new), (counts, number)):
                    held[price] = value
                    if not value:
                        del held[price]

    def digests(self) -> tuple[int, int]:
        levels, counts = self.levels, self.counts
        return (
            digest_of(levels[0].items(), levels[1].items()),
            digest_of(counts[0].items(), counts[1].items()),
        )


def move(rng: random.Random, book: PublishedOrders, replica: Replica) -> tuple[int, Changes]:
    """The next state, as the replica has it; returns its seq and the changes."""
    delta = book.move(*random_changes(rng, book))
    outcome, changes = replica.apply_counted(delta, counts_of(book.marks(delta), delta.bids, delta.asks))
    assert outcome.name == "APPLIED"
    return delta.seq, changes


@pytest.mark.parametrize("depth", [0, 1, 2, 5, 10])
def test_rows_make_exactly_the_sorted_top(depth: int) -> None:
    rng = random.Random(depth)
    book = PublishedOrders(1)
    replica = replica_of(book)
    view, changed, only_counts = OrdersView(replica, depth, 0), 0, 0
    held = Held(view)
    for number in range(2_000):
        before = book.view(book.seq, depth), book.count_view(book.seq, depth)
        seq, changes = move(rng, book, replica)
        step = view.advance(changes, seq, number)
        after = book.view(seq, depth), book.count_view(seq, depth)
        assert (step is not None) == (before != after)
        if step is not None:
            changed += 1
            only_counts += before[0] == after[0]
            held.apply(step)
            assert (step.seq, view.seq) == (seq, seq)
        assert (held.levels, held.counts) == after
        assert digests(view.digest) == held.digests()
    assert changed > 500
    assert only_counts > 5


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_merging_any_run_equals_applying_it(depth: int) -> None:
    rng = random.Random(depth)
    book = PublishedOrders(1)
    replica = replica_of(book)
    view = OrdersView(replica, depth, 0)
    held, steps = Held(view), list[ViewDelta]()
    for _ in range(400):
        seq, changes = move(rng, book, replica)
        step = view.advance(changes, seq, 0)
        if step is not None:
            steps.append(step)
        if len(steps) == 8:
            held.apply(merge(steps))
            assert (held.levels, held.counts) == (
                book.view(book.seq, depth),
                book.count_view(book.seq, depth),
            )
            assert held.digests() == digests(view.digest)
            steps.clear()
