"""One symbol's authoritative book: the part that levels feeds and orders feeds have in common.

The modules `levels` and `orders` decide what an event does. This module changes levels, records old
quantities for the merger, caches the best prices, checks for crossing, evicts, and undoes atomic arrays.

A refused event changes nothing, because all checks come before the first change. An atomic array is undone
backwards, from a log of the quantities that each change replaced; levels that are back at their old quantity
are no longer pending.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from depthcast.broadcaster.merger import Merger, Pending
from depthcast.ingestor.events import NO_SIDE
from depthcast.ingestor.limits import DEFAULT, Limits
from depthcast.ingestor.rejects import WHOLE, ArrayResult, Reason, RefusedError
from depthcast.ingestor.undo_log import UndoLog, new_log
from depthcast.shared.book import Book
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.types import MAX_INTEGER

NO_KEY: Final = 2 * (MAX_INTEGER + 1)
"""Best key of an empty side: so large that its sum with any key of the other side is positive: no cross."""

COMPILED: Final = is_compiled_at(__file__)


class BookState:
    """One symbol's authoritative book and its pending changes. Not thread-safe: the engine's lock guards it.

    `evicts`: an event that would cross the book removes the opposite levels in its way. If False, it is
    refused.
    """

    __slots__ = (
        "_atomic",
        "_best_keys",
        "_checks_crossing",
        "_evicted",
        "_evicts",
        "_levels",
        "_levels_max",
        "_pending_levels",
        "_undo_log",
        "book",
        "merger",
    )  # fmt: skip

    def __init__(self, *, evicts: bool) -> None:
        self.book = Book()
        self.merger = Merger(self.book)
        self._levels = (self.book.bids.levels, self.book.asks.levels)
        self._levels_max = DEFAULT.levels_max
        # Keys as in BookSide. A bid's key is its negative price, so best bid ≥ best ask means a sum ≤ 0.
        self._best_keys = [NO_KEY, NO_KEY]
        self._evicts = evicts
        self._evicted = 0
        self._atomic = False
        self._checks_crossing = True
        self._pending_levels: Pending = self.merger.pending
        # Side, price, old quantity, … of all changes in the current atomic array; None outside an array.
        self._undo_log: list[int] | UndoLog | None = None

    def set_limits(self, limits: Limits) -> None:
        """Refuse levels beyond these limits from now on; those that the book has stay."""
        self._levels_max = limits.levels_max

    def apply(self, events: Sequence[Any], *, atomic: bool) -> ArrayResult:
        """Apply an array of events one by one, or all or nothing if `atomic`; refuses, but never raises."""
        self.begin_array(atomic=atomic)
        return self.end_array(self._run(events))

    def begin_array(self, *, atomic: bool) -> None:
        """Begin an array that is applied in pieces: `run` each, then `end_array`."""
        self._atomic = atomic
        self._checks_crossing = self._evicts or not atomic
        self._evicted = 0
        self._undo_log = new_log() if atomic else None

    def run(self, events: Sequence[Any]) -> ArrayResult:
        """Apply a piece of the array; after a refused event of an atomic array no other piece may follow."""
        return self._run(events)

    def _run(self, events: Sequence[Any]) -> ArrayResult:
        """Apply events in order; an atomic array ends at the first refused one. Each feed implements it."""
        raise NotImplementedError

    def end_array(self, outcome: ArrayResult) -> ArrayResult:
        """End the array, whose pieces had `outcome` together, and undo it if it was refused."""
        log = self._undo_log
        if log is not None:
            self._undo_log = None
            refused = outcome.refused
            if not refused and self._best_keys[0] + self._best_keys[1] <= 0:
                refused = [(WHOLE, Reason.CROSSED)]
            if refused:
                self._undo(log)
                return ArrayResult(0, 0, refused, 0)
        self.merger.events += outcome.applied
        return outcome

    def _undo(self, log: list[int] | UndoLog) -> None:
        sides = self.book.sides
        for at in range(len(log) - 3, -1, -3):
            sides[log[at]].set_level(log[at + 1], log[at + 2])
        # A symbol without applied events is not drained, so records of refused arrays would accumulate.
        for at in range(0, len(log), 3):
            side, price = log[at], log[at + 1]
            if self._is_back(side, price):
                del self._pending_levels[side][price]
        self._find_best_keys()

    def _is_back(self, side: int, price: int) -> bool:
        """Whether a pending level is as it was at the last drain."""
        return self._pending_levels[side].get(price) == self._levels[side].get(price, 0)

    def _find_best_keys(self) -> None:
        for number, side in enumerate(self.book.sides):
            best = side.nth_key(0)
            self._best_keys[number] = NO_KEY if best is None else best

    def _add_level(self, side: int, price: int, quantity: int) -> None:
        """Add a level at a free price; if it would cross the book, evict the levels in its way or refuse."""
        book_side = self.book.sides[side]
        levels = book_side.levels
        if len(levels) >= self._levels_max:
            raise RefusedError(Reason.TOO_MANY_LEVELS)
        key = price if side else -price
        best = self._best_keys
        opposite, own = best[1 - side], best[side]  # C numbers if compiled, and so are price and quantity
        if self._checks_crossing and key + opposite <= 0:
            self._evict_or_refuse(side, price)
        self._record_level(side, price, 0)
        if COMPILED:
            levels.enter(price, quantity)  # type: ignore[attr-defined]  # a table
        else:
            levels[price] = quantity
        book_side.add_key(key)
        if key < own:
            best[side] = key

    def _remove_level(self, side: int, price: int, old: int) -> None:
        """Remove a level that holds `old` lots."""
        book_side = self.book.sides[side]
        levels = book_side.levels
        self._record_level(side, price, old)
        if COMPILED:
            levels.drop(price)  # type: ignore[attr-defined]  # a table
        else:
            del levels[price]
        key = price if side else -price
        book_side.remove_key(key)
        best = self._best_keys
        own = best[side]
        if key == own:
            following = book_side.nth_key(0)
            best[side] = NO_KEY if following is None else following

    def _record_level(self, side: int, price: int, old: int) -> None:
        """Record the quantity `old` (0 = no level) of a level before it changes."""
        pending = self._pending_levels[side]
        if COMPILED:
            pending.note(price, old)  # type: ignore[attr-defined]  # a table
        elif price not in pending:
            pending[price] = old
        log = self._undo_log
        if log is None:
            return
        if COMPILED:
            log.push(side, price, old)  # type: ignore[union-attr]  # no list
        else:
            log.extend((side, price, old))  # type: ignore[union-attr]  # a list

    def _evict_or_refuse(self, side: int, price: int) -> None:
        """Remove the opposite levels that a new level at `price` would cross, or refuse the new level."""
        if not self._evicts:
            raise RefusedError(Reason.CROSSED)
        stale = self.book.sides[1 - side].through(price)
        self._evicted += len(stale)
        for level in stale:
            self._evict(1 - side, level)

    def _evict(self, side: int, price: int) -> None:
        """Remove a level that a newer event shows to be stale."""
        self._remove_level(side, price, self._levels[side][price])

    def _clear(self, side: int) -> None:
        """Remove all levels of `side`; `NO_SIDE` means both."""
        for number in (0, 1) if side == NO_SIDE else (side,):
            self._clear_side(number)

    def _clear_side(self, side: int) -> None:
        book_side = self.book.sides[side]
        for price, old in book_side.top():  # in the same order in every process, which `levels` is not
            self._record_level(side, price, old)
        book_side.clear()
        self._best_keys[side] = NO_KEY

    def load_levels(self, seq: int, bids: Sequence[int], asks: Sequence[int], digest: int) -> None:
        """Load a published state from flat `[price, quantity, …]` sides. Nothing is pending afterwards."""
        self.book.bids.load(bids)
        self.book.asks.load(asks)
        self._find_best_keys()
        self.merger.seq = seq
        self.merger.digest = digest

    def load_book(self, seq: int, book: Book, digest: int) -> None:
        """Load a published state and take over its book without a copy. Nothing is pending afterwards."""
        self.book = book
        self.merger = Merger(book, seq, digest)
        self._levels = (book.bids.levels, book.asks.levels)
        self._pending_levels = self.merger.pending
        self._find_best_keys()


def flat_of(levels: dict[int, int]) -> list[int]:
    """Turn price → quantity into flat `[price, quantity, …]`."""
    return list(chain.from_iterable(levels.items()))
