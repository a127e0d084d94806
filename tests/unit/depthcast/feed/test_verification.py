"""Comparing with oracles, in whatever order the three sides report."""

from itertools import permutations

import pytest

from depthcast.feed.entry import FeedEntry
from depthcast.feed.oracle import BestPrices
from depthcast.feed.verification import FAILURES_SHOWN, ObservedBook, Verification
from depthcast.shared.position import Position
from depthcast.shared.types import Symbol

ORACLE = BestPrices((1, 5), (2, 6))
RIGHT, WRONG = ObservedBook(11, 77, [(1, 5)], [(2, 6)]), ObservedBook(11, 77, [(1, 5)], [(3, 6)])
BEFORE, AFTER = ObservedBook(10, 76, [(1, 4)], [(2, 6)]), ObservedBook(12, 78, [(1, 5)], [(2, 6)])


def entry(oracle: BestPrices | None = ORACLE) -> FeedEntry:
    return FeedEntry(Symbol("X"), [], None, None, True, oracle, 7)


def at(n: int) -> Position:
    return Position(1, n)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_any_interleaving_of_consumer_and_client_agrees(order: tuple[int, ...]) -> None:
    check = Verification()
    check.loaded("X", BEFORE)
    check.client_received("X", BEFORE, 0)
    check.sent(0, at(1), entry())
    steps = [
        lambda: check.consumer_read(0, at(1), {"X": RIGHT}),
        lambda: check.client_received("X", RIGHT, 1),
        lambda: None,
    ]
    for step in order:
        steps[step]()
    assert (check.consumer.agreed, check.client.agreed, check.in_flight) == (1, 1, 0)
    assert check.agreed


def test_without_a_net_change_the_last_state_stands() -> None:
    check = Verification()
    check.loaded("X", RIGHT)
    check.client_received(
        "X", RIGHT._replace(seq=9), 0
    )  # the gateway's seq is that of the view's last change
    check.sent(0, at(1), entry())
    check.consumer_read(0, at(1), {})
    assert (check.client.agreed, check.in_flight) == (1, 0)
    check.sent(0, at(2), entry())
    check.consumer_read(0, at(2), {"X": AFTER})
    check.sent(0, at(3), entry())
    check.consumer_read(0, at(3), {})
    assert check.in_flight == 2
    check.client_received("X", AFTER, 1)
    assert (check.client.agreed, check.consumer.agreed, check.in_flight) == (3, 3, 0)


def test_disagreement_is_told_in_words() -> None:
    check = Verification()
    for n in range(FAILURES_SHOWN + 3):
        check.sent(0, at(n), entry())
        check.consumer_read(0, at(n), {"X": WRONG})
        check.client_received("X", WRONG, 1)
    assert not check.agreed
    assert check.consumer.agreed == check.client.agreed == 0
    assert len(check.client.disagreeing) == FAILURES_SHOWN
    assert "line 7, X: best bid [(1, 5)], best ask [(3, 6)] at seq 11" in check.client.disagreeing[0]


def test_a_client_that_never_shows_the_state_disagrees() -> None:
    check = Verification()
    check.sent(0, at(1), entry())
    check.consumer_read(0, at(1), {"X": RIGHT})
    check.client_received("X", AFTER, 2)
    assert (check.client.compared, check.client.agreed, check.merged) == (1, 0, 1)
    assert not check.agreed


def test_without_an_oracle_both_places_must_hold_the_same_book() -> None:
    check = Verification()
    check.sent(0, at(1), entry(None))
    check.consumer_read(0, at(1), {"X": RIGHT})
    check.client_received("X", RIGHT._replace(digest=1), 1)
    assert check.client.compared == 0
    assert not check.agreed
    assert "the two places differ" in check.client.disagreeing[0]


def test_entries_that_shared_a_broadcast_are_noticed() -> None:
    check = Verification()
    check.loaded("X", BEFORE)
    check.sent(0, at(1), entry())
    check.sent(0, at(2), entry())
    check.consumer_read(0, at(2), {"X": RIGHT})
    assert (check.shared, check.consumer.agreed) == (1, 1)


def test_partitions_have_their_own_positions() -> None:
    check = Verification()
    check.sent(1, at(1), entry())
    check.consumer_read(0, at(5), {})
    assert check.consumer.compared == 0
    check.consumer_read(1, at(1), {"X": RIGHT})
    assert check.consumer.compared == 1
