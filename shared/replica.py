"""One symbol's replica: a book with its seq and digest, kept up to date by deltas.

Only this module implements the rule of continuity (`docs/protocol.md`, section 1): a delta applies if and
only if its `prev_seq` equals the replica's `seq`; a delta with a lower or equal `seq` was applied already;
anything else is a gap.
"""

from array import array
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from depthcast.shared.book import Book, BookSide
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.digest import SideWeights
from depthcast.shared.level_rows import LevelRows, numbers_for, rows_of
from depthcast.shared.listing import Listing
from depthcast.shared.order_counts import OrderCounts
from depthcast.shared.types import Delta, LevelChange, Snapshot

COMPILED: Final = is_compiled_at(__file__)


class ApplyResult(Enum):
    """The result of offering a delta to a replica."""

    APPLIED = "applied"
    ALREADY = "already applied"
    GAP = "gap"
    MISMATCH = "digest mismatch"
    UNCOUNTED = "the number of orders before it is not known"


_APPLIED: Final = ApplyResult.APPLIED
"""Stored once, because looking up a member costs a call, and nearly every delta has this result."""


CountedChange = tuple[int, int, int, int, int]
"""One level's net change: price, new and old quantity, new and old number of orders; 0 = no such level."""


class CountedChanges(NamedTuple):
    """The levels per side whose quantity or number of orders differs."""

    bids: Sequence[CountedChange]
    asks: Sequence[CountedChange]


class Changes(NamedTuple):
    """The level changes of an applied delta per side; only levels whose quantity differs.

    `counted`: of a delta that says the number of orders, these changes and those of that number.
    """

    bids: Sequence[LevelChange]
    asks: Sequence[LevelChange]
    counted: CountedChanges | None = None


NO_CHANGES: Final = Changes((), ())

_MASK: Final = 0xFFFFFFFF
"""That of `depthcast.shared.digest`, here a C constant when compiled."""

_new_tuple = tuple.__new__
"""Makes a named tuple without the Python function call that its class would cost."""


class Replica:
    """A book that follows a stream of deltas.

    `seq` 0: nothing is known yet, and only a delta from `prev_seq` 0 applies. `loaded_ts`: the `ts` of the
    snapshot it was loaded from (µs), 0 if it started empty. `weights`: digest weights of bids and of asks.
    `listing`: what the book stands for; None while the stream has not said it. `doubt`: why a producer calls
    the book stale; None while it does not. `event_ts`: source time of the last delta that had one (µs), None
    if none had. `input_ts`: when the last input came, by the server's clock (µs), 0 if that is not known.

    `orders_digest`: digest of the number of orders at each level; None if these numbers are not known, as in
    every levels feed. Then `orders` of the book's sides is None too.

    After `ApplyResult.MISMATCH` the replica still holds the state before that delta. One of the two is wrong,
    so the owner loads a snapshot.
    """

    __slots__ = (
        "book", "digest", "doubt", "event_ts", "input_ts", "listing", "loaded_ts", "orders_digest", "seq",
        "weights",
    )  # fmt: skip

    def __init__(self, snapshot: Snapshot | None = None, counts: OrderCounts | None = None) -> None:
        self.book = Book()
        self.seq = 0
        self.digest = 0
        self.orders_digest: int | None = None
        self.loaded_ts = 0
        self.listing: Listing | None = None
        self.doubt: str | None = None
        self.event_ts: int | None = None
        self.input_ts = 0
        self.weights = (SideWeights(0), SideWeights(1))
        if snapshot is not None:
            self.book.bids.load(snapshot.bids, None if counts is None else counts.bids)
            self.book.asks.load(snapshot.asks, None if counts is None else counts.asks)
            self.seq = snapshot.seq
            self.digest = snapshot.digest
            self.loaded_ts = snapshot.ts
            self.orders_digest = None if counts is None else counts.digest

    def forget_orders(self) -> None:
        """Forget the number of orders at each level, because nobody says how it goes on."""
        self.orders_digest = None
        for side in self.book.sides:
            side.orders = None

    def offer(self, delta: Delta) -> ApplyResult:
        """The result that `apply` would have, except `MISMATCH`, which only `apply` detects."""
        if delta.prev_seq == self.seq:
            return _APPLIED
        return ApplyResult.ALREADY if delta.seq <= self.seq else ApplyResult.GAP

    def apply(self, delta: Delta) -> tuple[ApplyResult, Changes]:
        """Apply `delta` if it continues this replica and the digest agrees; otherwise change nothing."""
        if delta[0] != self.seq:  # nearly every delta continues the book: no call for that
            outcome = self.offer(delta)
            if outcome is not _APPLIED:
                return outcome, NO_CHANGES
        digest = delta[4]
        changes = _apply_levels(self.book, self.weights, delta, self.digest, digest)
        if changes is None:
            return ApplyResult.MISMATCH, NO_CHANGES
        self.digest = digest
        self.seq = delta[1]
        return _APPLIED, changes

    def apply_counted(self, delta: Delta, counts: OrderCounts) -> tuple[ApplyResult, Changes]:
        """Apply `delta` as `apply` does, and the number of orders at its levels, which must agree too.

        The result is `UNCOUNTED`, and nothing changes, if the numbers before it are not known.
        """
        outcome = self.offer(delta)
        if outcome is not _APPLIED:
            return outcome, NO_CHANGES
        if not self._counts_orders():
            return ApplyResult.UNCOUNTED, NO_CHANGES
        counted = CountedChanges(
            _counted_side(self.book.bids, delta.bids, counts.bids),
            _counted_side(self.book.asks, delta.asks, counts.asks),
        )
        moved = sum(
            weights.moved_by([(price, orders, before) for price, _, _, orders, before in changes])
            for weights, changes in zip(self.weights, counted, strict=True)
        )
        assert self.orders_digest is not None
        if counts.digest != (self.orders_digest + moved) & _MASK:
            return ApplyResult.MISMATCH, NO_CHANGES
        outcome, changes = self.apply(delta)
        if outcome is not _APPLIED:
            return outcome, NO_CHANGES
        self.orders_digest = counts.digest
        for side, changed in zip(self.book.sides, counted, strict=True):
            _count_side(side, changed)
        return outcome, changes._replace(counted=counted)

    def _counts_orders(self) -> bool:
        """Whether the number of orders at each level is known; an empty book has none."""
        if self.orders_digest is None and not any(self.book.sides):
            self.orders_digest = 0
            for side in self.book.sides:
                side.orders = {}
        return self.orders_digest is not None


def _apply_levels(
    book: Book, weights: tuple[SideWeights, SideWeights], delta: Delta, before: int, after: int
) -> Changes | None:
    """Set the levels of `delta`; None, with nothing changed, if digest `before` does not become `after`."""
    bids, asks = book.bids, book.asks
    bid_weights, ask_weights = weights
    changed_bids, changed_asks = _apply_side(bids, delta[2]), _apply_side(asks, delta[3])
    moved = bid_weights.moved_64(changed_bids) + ask_weights.moved_64(changed_asks)
    if after != (before + moved) & _MASK:
        _revert_side(bids, changed_bids)
        _revert_side(asks, changed_asks)
        return None
    return _new_tuple(Changes, (changed_bids, changed_asks, None))


def _apply_side(side: BookSide, flat: Sequence[int]) -> Sequence[LevelChange]:
    """Set the levels of flat `[price, quantity, …]`; returns what changed, of an array as `LevelRows`."""
    if COMPILED and isinstance(flat, array) and flat.itemsize == 8 and len(flat) % 2 == 0:
        return _apply_numbers(side, flat)  # type: ignore[return-value]  # registered as a sequence
    changes: list[LevelChange] = []
    levels, sign = side.levels, side.sign
    for at in range(0, len(flat), 2):
        price, quantity = flat[at], flat[at + 1]
        old = levels.get(price, 0)
        if quantity == old:
            continue
        if not quantity:
            del levels[price]
            side.remove_key(price * sign)
        else:
            levels[price] = quantity
            if not old:
                side.add_key(price * sign)
        changes.append((price, quantity, old))
    return changes


def _apply_numbers(side: BookSide, flat: "array[int]") -> LevelRows:
    """Set the levels of an array as `_apply_side` does, without objects. Only if compiled."""
    given: array[int] = flat.data.as_longlongs  # type: ignore[attr-defined]  # as Cython sees an array
    count = len(flat) // 2
    numbers = numbers_for(count)
    rows: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined]
    levels, ranks, sign = side.levels, side.ranks, side.sign
    end = 0
    for at in range(count):
        price, quantity = given[2 * at], given[2 * at + 1]
        place = levels.place_of(price)  # type: ignore[attr-defined]  # a table
        old = levels.value_at(place) if place >= 0 else 0  # type: ignore[attr-defined]
        if quantity == old:
            continue
        if not quantity:
            levels.drop_at(place)  # type: ignore[attr-defined]
            ranks.remove(-price * sign)
        elif old:
            levels.set_at(place, quantity)  # type: ignore[attr-defined]
        else:
            levels.enter(price, quantity)  # type: ignore[attr-defined]
            ranks.add(-price * sign)  # type: ignore[union-attr]
        rows[end], rows[end + 1], rows[end + 2] = price, quantity, old
        end += 3
    return rows_of(numbers if end == 3 * count else numbers[:end])


def _revert_side(side: BookSide, changes: Sequence[LevelChange]) -> None:
    for price, _, old in reversed(changes):
        side.set_level(price, old)


def _counted_side(side: BookSide, flat: Sequence[int], counts: Sequence[int]) -> list[CountedChange]:
    """What a delta's levels and the number of orders at them change."""
    assert side.orders is not None
    changes: list[CountedChange] = []
    levels, orders = side.levels, side.orders
    at = 0
    for count in counts:
        price, quantity = flat[at], flat[at + 1]
        at += 2
        old, before = levels.get(price, 0), orders.get(price, 0)
        if quantity != old or count != before:
            changes.append((price, quantity, old, count, before))
    return changes


def _count_side(side: BookSide, changes: Sequence[CountedChange]) -> None:
    """Take over the number of orders at the levels of a delta that was applied."""
    orders = side.orders
    assert orders is not None
    for price, _, _, count, _ in changes:
        if count:
            orders[price] = count
        else:
            orders.pop(price, None)
