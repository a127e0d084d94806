"""One symbol's replica: a book, the seq it stands at and its digest, moved on by deltas.

The rule of continuity (`docs/protocol.md`, section 1) is decided here and nowhere else: a delta applies if and only if
its `prev_seq` equals the replica's `seq`; a lower or equal `seq` was applied already; anything else is a gap.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from shared.book import Book, BookSide
from shared.digest import MASK, WEIGHT
from shared.types import Delta, LevelChange, Snapshot


class Outcome(Enum):
    """What became of a delta offered to a replica."""

    APPLIED = "applied"
    ALREADY = "already applied"
    GAP = "gap"
    MISMATCH = "digest mismatch"


class Changes(NamedTuple):
    """What an applied delta did to each side, only levels whose quantity really differs."""

    bids: Sequence[LevelChange]
    asks: Sequence[LevelChange]


NO_CHANGES: Final = Changes((), ())


class Replica:
    """A book that follows a stream of deltas. `seq` 0: nothing known yet, only a delta from `prev_seq` 0 applies.

    `loaded_ts` is the `ts` of the snapshot it began from (µs), 0 if it began empty.

    After `Outcome.MISMATCH` the replica still holds the state before that delta, but it, or the delta, is wrong:
    the owner takes a snapshot.
    """

    __slots__ = ("book", "digest", "loaded_ts", "seq")

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.book = Book()
        self.seq = 0
        self.digest = 0
        self.loaded_ts = 0
        if snapshot is not None:
            self.book.bids.load(snapshot.bids)
            self.book.asks.load(snapshot.asks)
            self.seq = snapshot.seq
            self.digest = snapshot.digest
            self.loaded_ts = snapshot.ts

    def offer(self, delta: Delta) -> Outcome:
        """Which outcome `delta` would have, `MISMATCH` aside: that shows only in applying."""
        if delta.prev_seq == self.seq:
            return Outcome.APPLIED
        return Outcome.ALREADY if delta.seq <= self.seq else Outcome.GAP

    def apply(self, delta: Delta) -> tuple[Outcome, Changes]:
        """Apply `delta` if it continues this replica and its digest agrees; otherwise nothing changes."""
        outcome = self.offer(delta)
        if outcome is not Outcome.APPLIED:
            return outcome, NO_CHANGES
        bids, moved_bids = _apply_side(self.book.bids, delta.bids)
        asks, moved_asks = _apply_side(self.book.asks, delta.asks)
        digest = (self.digest + moved_bids + moved_asks) & MASK
        if digest != delta.digest:
            _revert_side(self.book.bids, bids)
            _revert_side(self.book.asks, asks)
            return Outcome.MISMATCH, NO_CHANGES
        self.digest = digest
        self.seq = delta.seq
        return outcome, Changes(bids, asks)


def _apply_side(side: BookSide, flat: Sequence[int]) -> tuple[list[LevelChange], int]:
    """Set the levels named by flat `[price, quantity, …]`; returns what changed and how far the digest moved."""
    changes: list[LevelChange] = []
    moved = 0
    levels, sign, weight = side.levels, side.sign, WEIGHT[side.side]
    numbers = iter(flat)
    for price, quantity in zip(numbers, numbers, strict=True):
        old = levels.get(price, 0)
        if quantity == old:
            continue
        if not quantity:
            del levels[price]
            side.leave(price * sign)
        else:
            levels[price] = quantity
            if not old:
                side.enter(price * sign)
        changes.append((price, quantity, old))
        moved += weight(price) * (quantity - old)
    return changes, moved


def _revert_side(side: BookSide, changes: Sequence[LevelChange]) -> None:
    for price, _, old in reversed(changes):
        side.set_level(price, old)
