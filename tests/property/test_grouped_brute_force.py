"""Grouped books against brute force: rounded, summed, sorted and cut, at any price and quantity."""

import random

import pytest

from depthcast.gateway.market.grouped_replica import GroupedReplica
from depthcast.gateway.market.view import View, merge
from depthcast.gateway.protocol.messages import ViewDelta
from depthcast.shared.replica import ApplyResult
from depthcast.shared.types import MAX_INTEGER
from tests.property.test_view_brute_force import Held
from tests.unit.gateway.small_market import Levels, Published, replica_of

GROUPS = (1, 2, 3, 10, 64, 2**40, MAX_INTEGER)
DEPTHS = (0, 1, 3, 25)
EDGES = (0, 1, 2, 9, 10, 11, 2**40, 2**52, MAX_INTEGER - 1, MAX_INTEGER)
QUANTITIES = (0, 0, 0, 1, 2, 5, 2**31, 2**52, MAX_INTEGER)


class Grouped:
    """A grouped book, its views at all depths, and what their clients hold.

    `hidden`: broadcasts that changed the book and no view.
    """

    def __init__(self, book: Published, group: int) -> None:
        self.book = book
        self.group = group
        self.replica = replica_of(book)
        self.grouped = GroupedReplica(self.replica, group)
        self.views = {depth: View(self.grouped, depth, 0, group) for depth in DEPTHS}
        self.held = {depth: Held(view) for depth, view in self.views.items()}
        self.hidden = 0
        self.check()

    def move(self, bids: Levels, asks: Levels) -> list[ViewDelta]:
        """One broadcast; every client applies what its view says. Returns the steps of the full view."""
        delta = self.book.move(bids, asks)
        outcome, changes = self.replica.apply(delta)
        assert outcome is ApplyResult.APPLIED
        changes = self.grouped.advance(changes)
        steps = {depth: view.advance(changes, delta.seq, 0) for depth, view in self.views.items()}
        for depth, step in steps.items():
            before = self.book.view(delta.prev_seq, depth, self.group)
            assert (step is None) == (before == self.book.view(delta.seq, depth, self.group))
            if step is not None:
                self.held[depth].apply(step)
        self.hidden += self.book.states[delta.prev_seq] != self.book.states[delta.seq] and steps[0] is None
        self.check()
        return [step for step in (steps[0],) if step is not None]

    def check(self) -> None:
        for depth, held in self.held.items():
            assert held.sides == self.book.view(self.book.seq, depth, self.group)
            assert self.views[depth].digest == held.digest()
        assert self.grouped.seq == self.book.seq


def changes_of(rng: random.Random, book: Published) -> tuple[Levels, Levels]:
    """Levels around zero, which is nobody's best, at the ends of the range, and at edges of buckets."""
    changes: tuple[Levels, Levels] = ({}, {})
    for side, levels in zip(book.sides, changes, strict=True):
        if side and rng.random() < 0.3:
            levels[rng.choice(list(side))] = rng.choice(QUANTITIES)
        for _ in range(rng.randint(0, 4)):
            price = rng.choice(EDGES) if rng.random() < 0.3 else rng.randint(0, 60)
            levels[rng.choice((price, -price))] = rng.choice(QUANTITIES)
    return changes


@pytest.mark.parametrize("group", GROUPS)
def test_every_view_is_what_the_contract_says(group: int) -> None:
    """Sides are independent here: a crossed book of the test is grouped like any other."""
    rng = random.Random(group)
    followed = Grouped(Published(1), group)
    for number in range(250):
        followed.move(*changes_of(rng, followed.book))
        if number == 50:  # a replica that is loaded now is grouped alike
            followed = Grouped(followed.book, group)
    if group == 1:
        assert not followed.hidden
    if group >= 10:
        assert followed.hidden, "a change within the largest sum shows nothing"


@pytest.mark.parametrize("group", [2, 10, MAX_INTEGER])
def test_a_merged_delta_leads_to_the_same_book(group: int) -> None:
    rng = random.Random(-group)
    followed = Grouped(Published(1), group)
    behind, steps = Held(followed.views[0]), list[ViewDelta]()
    for _ in range(300):
        steps += followed.move(*changes_of(rng, followed.book))
        if len(steps) >= 7:
            behind.apply(merge(steps))
            assert behind.sides == followed.held[0].sides
            steps.clear()


@pytest.mark.parametrize("group", [2, 5, 7, 2**40])
def test_a_grouped_book_is_never_crossed(group: int) -> None:
    rng = random.Random(group)
    for _ in range(500):
        best_bid = rng.randint(-100, 100)
        book = Published(1)
        book.move({best_bid: 1, best_bid - 3: 4}, {best_bid + 1: 1, best_bid + 9: 2})
        assert not GroupedReplica(replica_of(book), group).book.crossed()
