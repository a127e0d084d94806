"""One symbol's replica: a book with its seq and digest, kept up to date by deltas.

Only this module implements the rule of continuity (`docs/protocol.md`, section 1): a delta applies if and
only if its `prev_seq` equals the replica's `seq`; a delta with a lower or equal `seq` was applied already;
anything else is a gap.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from depthcast.shared.book import Book, BookSide
from depthcast.shared.digest import MASK, SideWeights
from depthcast.shared.listing import Listing
from depthcast.shared.types import Delta, LevelChange, Snapshot


class ApplyResult(Enum):
    """The result of offering a delta to a replica."""

    APPLIED = "applied"
    ALREADY = "already applied"
    GAP = "gap"
    MISMATCH = "digest mismatch"


_APPLIED: Final = ApplyResult.APPLIED
"""Stored once, because looking up a member costs a call, and nearly every delta has this result."""


class Changes(NamedTuple):
    """The level changes of an applied delta per side; only levels whose quantity differs."""

    bids: Sequence[LevelChange]
    asks: Sequence[LevelChange]


NO_CHANGES: Final = Changes((), ())

_new_tuple = tuple.__new__
"""Makes a named tuple without the Python function call that its class would cost."""


class Replica:
    """A book that follows a stream of deltas.

    `seq` 0: nothing is known yet, and only a delta from `prev_seq` 0 applies. `loaded_ts`: the `ts` of the
    snapshot it was loaded from (µs), 0 if it started empty. `weights`: digest weights of bids and of asks.
    `listing`: what the book stands for; None while the stream has not said it. `doubt`: why a producer calls
    the book stale; None while it does not. `event_ts`: source time of the last delta that had one (µs), None
    if none had. `input_ts`: when the last input came, by the server's clock (µs), 0 if that is not known.

    After `ApplyResult.MISMATCH` the replica still holds the state before that delta. One of the two is wrong,
    so the owner loads a snapshot.
    """

    __slots__ = (
        "book", "digest", "doubt", "event_ts", "input_ts", "listing", "loaded_ts", "seq", "weights",
    )  # fmt: skip

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.book = Book()
        self.seq = 0
        self.digest = 0
        self.loaded_ts = 0
        self.listing: Listing | None = None
        self.doubt: str | None = None
        self.event_ts: int | None = None
        self.input_ts = 0
        self.weights = (SideWeights(0), SideWeights(1))
        if snapshot is not None:
            self.book.bids.load(snapshot.bids)
            self.book.asks.load(snapshot.asks)
            self.seq = snapshot.seq
            self.digest = snapshot.digest
            self.loaded_ts = snapshot.ts

    def offer(self, delta: Delta) -> ApplyResult:
        """The result that `apply` would have, except `MISMATCH`, which only `apply` detects."""
        if delta.prev_seq == self.seq:
            return _APPLIED
        return ApplyResult.ALREADY if delta.seq <= self.seq else ApplyResult.GAP

    def apply(self, delta: Delta) -> tuple[ApplyResult, Changes]:
        """Apply `delta` if it continues this replica and the digest agrees; otherwise change nothing."""
        outcome = self.offer(delta)
        if outcome is not _APPLIED:
            return outcome, NO_CHANGES
        _, seq, bids, asks, digest, _ = delta
        book = self.book
        changed_bids, changed_asks = _apply_side(book.bids, bids), _apply_side(book.asks, asks)
        bid_weights, ask_weights = self.weights
        moved = bid_weights.moved_by(changed_bids) + ask_weights.moved_by(changed_asks)
        if digest != (self.digest + moved) & MASK:
            _revert_side(book.bids, changed_bids)
            _revert_side(book.asks, changed_asks)
            return ApplyResult.MISMATCH, NO_CHANGES
        self.digest = digest
        self.seq = seq
        return outcome, _new_tuple(Changes, (changed_bids, changed_asks))


def _apply_side(side: BookSide, flat: Sequence[int]) -> list[LevelChange]:
    """Set the levels of flat `[price, quantity, …]`; returns what changed."""
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


def _revert_side(side: BookSide, changes: Sequence[LevelChange]) -> None:
    for price, _, old in reversed(changes):
        side.set_level(price, old)
