"""A replica with the number of orders at each level: both digests must agree, or nothing changes."""

from random import Random

import pytest

from depthcast.shared.digest import digest_of
from depthcast.shared.order_counts import OrderCounts
from depthcast.shared.replica import NO_CHANGES, ApplyResult, CountedChanges, Replica
from depthcast.shared.types import Delta, Snapshot

START = Snapshot(10, [100, 5, 99, 7], [101, 3], digest_of([(100, 5), (99, 7)], [(101, 3)]), 0)
COUNTS = OrderCounts([2, 7], [1], digest_of([(100, 2), (99, 7)], [(101, 1)]))


def replica() -> Replica:
    return Replica(START, COUNTS)


def state(of: Replica) -> tuple[object, ...]:
    bids, asks = of.book.bids, of.book.asks
    return of.seq, of.digest, of.orders_digest, dict(bids.levels), dict(asks.levels), bids.orders, asks.orders


def change(digest: int, orders_digest: int) -> tuple[Delta, OrderCounts]:
    """The bid 100 keeps its quantity but has one order, 99 goes, 98 comes, and the ask falls to 2."""
    return (
        Delta(10, 11, [100, 5, 99, 0, 98, 4], [101, 2], digest, 3),
        OrderCounts([1, 0, 3], [1], orders_digest),
    )


DIGESTS = (digest_of([(100, 5), (98, 4)], [(101, 2)]), digest_of([(100, 1), (98, 3)], [(101, 1)]))


def test_takes_quantities_and_counts() -> None:
    followed = replica()
    outcome, changes = followed.apply_counted(*change(*DIGESTS))
    assert outcome is ApplyResult.APPLIED
    assert list(changes.bids) == [(99, 0, 7), (98, 4, 0)]
    assert changes.counted == CountedChanges(
        [(100, 5, 5, 1, 2), (99, 0, 7, 0, 7), (98, 4, 0, 3, 0)], [(101, 2, 3, 1, 1)]
    )
    assert state(followed) == (11, *DIGESTS, {100: 5, 98: 4}, {101: 2}, {100: 1, 98: 3}, {101: 1})


@pytest.mark.parametrize(("levels", "orders"), [(1, 0), (0, 1), (1, 1)])
def test_a_mismatch_of_either_digest_leaves_the_state_as_it_was(levels: int, orders: int) -> None:
    followed = replica()
    wrong = change(DIGESTS[0] ^ levels, DIGESTS[1] ^ orders)
    assert followed.apply_counted(*wrong) == (ApplyResult.MISMATCH, NO_CHANGES)
    assert state(followed) == state(replica())
    assert followed.apply_counted(*change(*DIGESTS))[0] is ApplyResult.APPLIED


def test_what_does_not_continue_it_changes_nothing() -> None:
    delta, counts = change(*DIGESTS)
    for prev_seq, seq, outcome in ((9, 10, ApplyResult.ALREADY), (11, 12, ApplyResult.GAP)):
        followed = replica()
        given = delta._replace(prev_seq=prev_seq, seq=seq)
        assert followed.apply_counted(given, counts) == (outcome, NO_CHANGES)
        assert state(followed) == state(replica())


def test_counts_cannot_go_on_from_nothing_but_an_empty_book() -> None:
    uncounted = Replica(START)
    before = state(uncounted)
    assert uncounted.apply_counted(*change(*DIGESTS)) == (ApplyResult.UNCOUNTED, NO_CHANGES)
    assert state(uncounted) == before
    empty = Replica(Snapshot(10, [], [], 0, 0))
    first = Delta(10, 11, [100, 5], [], digest_of([(100, 5)], []), 1)
    counts = OrderCounts([2], [], digest_of([(100, 2)], []))
    assert empty.apply_counted(first, counts)[0] is ApplyResult.APPLIED
    assert (empty.book.bids.orders, empty.book.asks.orders) == ({100: 2}, {})


def test_what_is_forgotten_is_not_guessed() -> None:
    followed = replica()
    followed.forget_orders()
    assert state(followed) == (10, START.digest, None, {100: 5, 99: 7}, {101: 3}, None, None)


def test_random_deltas_right_and_wrong() -> None:
    rng = Random(7)
    followed = Replica(Snapshot(1, [], [], 0, 0), OrderCounts([], [], 0))
    levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
    orders: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for seq in range(2, 1_500):
        flats: list[list[int]] = [[], []]
        numbers: list[list[int]] = [[], []]
        for side in (0, 1):
            for price in rng.sample(range(-9, 9), rng.randint(0, 4)):
                quantity = rng.choice([0, 1, 2, 2**53 - 1, levels[side].get(price, 0)])
                number = rng.randint(1, min(quantity, 3)) if quantity else 0
                flats[side] += [price, quantity]
                numbers[side].append(number)
                for held, value in ((levels[side], quantity), (orders[side], number)):
                    held.pop(price, None)
                    if value:
                        held[price] = value
        digest = digest_of(levels[0].items(), levels[1].items())
        orders_digest = digest_of(orders[0].items(), orders[1].items())
        delta, counts = (
            Delta(seq - 1, seq, flats[0], flats[1], digest, 1),
            OrderCounts(numbers[0], numbers[1], orders_digest),
        )
        before = state(followed)
        wrong = counts._replace(digest=orders_digest ^ rng.randint(1, 9))
        assert followed.apply_counted(delta, wrong)[0] is ApplyResult.MISMATCH
        assert state(followed) == before
        assert followed.apply_counted(delta, counts)[0] is ApplyResult.APPLIED
        assert state(followed) == (seq, digest, orders_digest, *levels, *orders)
