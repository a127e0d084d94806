"""Views against brute force: a client that applies the rows holds exactly the sorted top N."""

import random

import pytest

from depthcast.gateway.market.view import View, merge
from depthcast.gateway.protocol.messages import DEPTHS, ViewDelta
from depthcast.shared.digest import digest_of
from tests.unit.gateway.model_client import apply_rows
from tests.unit.gateway.small_market import Levels, Published, random_changes, replica_of


class Held:
    """What a client holds of one view."""

    def __init__(self, view: View) -> None:
        self.sides: tuple[Levels, Levels] = (dict(view.bids.levels()), dict(view.asks.levels()))

    def apply(self, delta: ViewDelta) -> None:
        for side, rows in zip(self.sides, (delta.bids, delta.asks), strict=True):
            check_rows(side, rows)
            apply_rows(side, [[price, new] for price, new, _ in rows])

    def digest(self) -> int:
        return digest_of(self.sides[0].items(), self.sides[1].items())


def check_rows(side: Levels, rows: object) -> None:
    assert isinstance(rows, list | tuple)
    prices = [price for price, _, _ in rows]
    assert len(prices) == len(set(prices))
    for price, new, old in rows:
        assert old == side.get(price, 0), "old is what the client held"
        assert new != old


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 5, 10, 25])
def test_rows_make_exactly_the_sorted_top(depth: int) -> None:
    rng = random.Random(depth)
    book = Published(1)
    replica = replica_of(book)
    view, changed = View(replica, depth, 0), 0
    held = Held(view)
    for number in range(3000):
        before = book.view(book.seq, depth)
        delta = book.move(*random_changes(rng, book))
        outcome, changes = replica.apply(delta)
        assert outcome.name == "APPLIED"
        step = view.advance(changes, delta.seq, number)
        assert (step is not None) == (before != book.view(book.seq, depth))
        if step is not None:
            changed += 1
            held.apply(step)
            assert (step.seq, step.digest, view.seq) == (delta.seq, held.digest(), delta.seq)
        assert held.sides == book.view(book.seq, depth)
        assert view.digest == held.digest()
        assert len(view) == len(held.sides[0]) + len(held.sides[1])
    assert changed > 500


def test_large_books_at_every_depth() -> None:
    rng = random.Random(7)
    book = Published(1)
    for price in range(1, 3001):
        book.sides[0][-price] = book.sides[1][price] = price
    replica = replica_of(book)
    views = [View(replica, depth, 0) for depth in DEPTHS]
    held = [Held(view) for view in views]
    for _ in range(300):
        delta = book.move(*_around(rng))
        _, changes = replica.apply(delta)
        for view, client in zip(views, held, strict=True):
            step = view.advance(changes, delta.seq, 0)
            if step is not None:
                client.apply(step)
    for view, client in zip(views, held, strict=True):
        assert client.sides == book.view(book.seq, view.depth)
        assert view.digest == client.digest()


def _around(rng: random.Random) -> tuple[Levels, Levels]:
    """Changes near the edges of the depths served, so that they tighten and loosen."""
    bids, asks = {}, {}
    for _ in range(rng.randint(1, 20)):
        near = max(1, rng.choice(DEPTHS) + rng.randint(-15, 15))
        bids[-near] = rng.choice((0, 5, 9))
        asks[near] = rng.choice((0, 5, 9))
    return bids, asks


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_merging_any_run_equals_applying_it(depth: int) -> None:
    rng = random.Random(depth)
    book = Published(1)
    replica = replica_of(book)
    view = View(replica, depth, 0)
    start = Held(view)
    steps: list[ViewDelta] = []
    for _ in range(400):
        delta = book.move(*random_changes(rng, book))
        step = view.advance(replica.apply(delta)[1], delta.seq, 0)
        if step is not None:
            steps.append(step)
        if len(steps) == 8:
            start.apply(merge(steps))
            assert start.sides == book.view(book.seq, depth)
            assert start.digest() == view.digest
            steps.clear()


def test_a_merge_in_which_all_is_undone_still_moves_seq() -> None:
    there = ViewDelta(1, 2, 0, [(5, 7, 3)], [], 20, 77)
    back = ViewDelta(2, 3, 9, [(5, 3, 7)], [], 10, 66)
    assert merge([there, back]) == ViewDelta(1, 3, 9, [], [], 10, 77)
