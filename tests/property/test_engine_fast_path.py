"""The fast path for common events gives the same result as checking every event one by one."""

import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from depthcast.ingestor.book_state import BookState
from depthcast.ingestor.levels import LevelsState
from depthcast.ingestor.orders import OrdersState
from depthcast.ingestor.rejects import ArrayResult, Reason, RefusedError
from tests.engine_check import check_consistent
from tests.random_events import JUNK, LIMIT, OPS, random_event

OP_ITEMS: list[Any] = [*OPS, 5, -1, 2**70, "ADD", True, 1.0, None, [], {}]
SIDE_ITEMS: list[Any] = ["bid", "ask", 0, 1, 2, -1, "", "Bid", True, False, 0.0, None, [], {}]
PRICE_ITEMS: list[Any] = [
    -3,
    3,
    9,
    LIMIT,
    LIMIT + 1,
    -LIMIT,
    -LIMIT - 1,
    2**64,
    "3",
    3.0,
    True,
    None,
    [],
    float("nan"),
]
QUANTITY_ITEMS: list[Any] = [0, 1, 5, -1, LIMIT, LIMIT + 1, -(2**63), 2**70, "5", 5.0, True, False, None, []]
ID_ITEMS: list[Any] = [
    1,
    2,
    3,
    "1",
    "é" * 32,
    "é" * 33,
    "a" * 64,
    "a" * 65,
    "\ud800",
    -1,
    -(2**63),
    2**63,
    2**64,
]
ID_ITEMS += [2**64 - 1, -(2**63) - 1, True, 1.0, None, [], ""]


class SlowLevels(LevelsState):
    """Levels state without the fast path."""

    __slots__ = ()

    def _run(self, events: Any) -> ArrayResult:
        applied = ignored = 0
        refused: list[tuple[int, Reason]] = []
        for index, event in enumerate(events):
            try:
                if self._apply_one(event):
                    applied += 1
                else:
                    ignored += 1
            except RefusedError as refusal:
                refused.append((index, refusal.reason))
                if self._atomic:
                    break
        return ArrayResult(applied, ignored, refused, self._evicted)


class SlowOrders(OrdersState):
    """Orders state without the fast path."""

    __slots__ = ()

    def _run(self, events: Any) -> ArrayResult:
        applied = 0
        refused: list[tuple[int, Reason]] = []
        for index, event in enumerate(events):
            try:
                self._apply_one(event)
                applied += 1
            except RefusedError as refusal:
                refused.append((index, self._reason(event, refusal.reason)))
                if self._atomic:
                    break
        return ArrayResult(applied, 0, refused, self._evicted)


STATES: list[tuple[type[BookState], type[BookState]]] = [(LevelsState, SlowLevels), (OrdersState, SlowOrders)]
both_feeds = pytest.mark.parametrize(("fast_type", "slow_type"), STATES)
both_policies = pytest.mark.parametrize("evicts", [False, True])


class Pair:
    """The same events applied with and without the fast path."""

    def __init__(self, fast: BookState, slow: BookState) -> None:
        self.fast, self.slow = fast, slow
        self.results: dict[str, int] = {}

    def apply(self, events: Sequence[Any], *, atomic: bool = False) -> None:
        outcome = self.fast.apply(events, atomic=atomic)
        assert outcome == self.slow.apply(events, atomic=atomic), events
        for _, reason in outcome.refused:
            self.results[reason] = self.results.get(reason, 0) + 1
        self.results["applied"] = self.results.get("applied", 0) + outcome.applied

    def compare(self) -> None:
        check_consistent(self.fast)
        for fast, slow in zip(self.fast.book.sides, self.slow.book.sides, strict=True):
            assert fast.levels == slow.levels
            assert {type(number) for level in fast.levels.items() for number in level} <= {int}
        assert self.fast.merger.pending == self.slow.merger.pending
        if isinstance(self.fast, OrdersState) and isinstance(self.slow, OrdersState):
            assert self.fast._orders == self.slow._orders
            assert self.fast._counts == self.slow._counts
            assert self.fast.merger.pending_orders == self.slow.merger.pending_orders
            assert {type(order_id) for side in self.fast._orders for order_id in side} <= {int, str}


@both_feeds
def test_every_combination_of_items(fast_type: type[BookState], slow_type: type[BookState]) -> None:
    pair = Pair(fast_type(evicts=False), slow_type(evicts=False))
    ids = ID_ITEMS if fast_type is OrdersState else [None]
    rng = Random(2)
    events = [list(items) for items in itertools.product(OP_ITEMS, SIDE_ITEMS, PRICE_ITEMS, QUANTITY_ITEMS)]
    rng.shuffle(events)
    for event in events:
        order_id = rng.choice(ids)
        pair.apply([event if fast_type is LevelsState else [*event, order_id]])
    pair.compare()
    assert pair.results["applied"] > 500
    assert pair.results["malformed"] > 500
    assert min(pair.results[reason] for reason in ("bad_price", "bad_quantity", "overflow", "crossed")) > 0


@both_feeds
@both_policies
@pytest.mark.parametrize("seed", range(3))
def test_random_arrays(
    fast_type: type[BookState], slow_type: type[BookState], evicts: bool, seed: int
) -> None:
    rng = Random(seed)
    pair = Pair(fast_type(evicts=evicts), slow_type(evicts=evicts))
    for _ in range(3_000):
        events = [near(rng, fast_type is LevelsState) for _ in range(rng.randint(1, 5))]
        pair.apply(events, atomic=rng.random() < 0.3)
        if rng.random() < 0.1:
            pair.compare()
            pair.fast.merger.drain(pair.fast.merger.seq + 1)
            pair.slow.merger.drain(pair.slow.merger.seq + 1)
    assert len(pair.results) > 5


def near(rng: Random, levels: bool) -> Any:
    """An event that often has the number of items that the fast path looks for."""
    event = random_event(rng)
    if not isinstance(event, list) or rng.random() < 0.1:
        return event
    if levels:
        event = event[:4]
    if event and rng.random() < 0.05:
        event[rng.randrange(len(event))] = rng.choice(JUNK)
    return event
