"""Levels feeds: events name levels, without orders."""

from array import array
from collections.abc import Sequence
from typing import Any, Final

from depthcast.ingestor.book_state import BookState
from depthcast.ingestor.events import ADD, CLEAR, DELETE, UPDATE, levels_event, op_named, side_named
from depthcast.ingestor.packed_events import ITEMS, PackedEvents
from depthcast.ingestor.rejects import ArrayResult, Reason, RefusedError
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.types import INTEGER_BITS, MAX_INTEGER

FETCHED_MIN: Final = 20_000
"""With so many levels in a book, the processor's caches do not hold its tables any more."""
FETCHED_EVENTS: Final = 64
"""Of so many events, the slots of levels are asked for at first: the memory brings them side by side."""

COMPILED: Final = is_compiled_at(__file__)


class LevelsState(BookState):
    """A book fed by level.

    Removing a missing level is ignored and counted; every other event applies or is refused.
    """

    __slots__ = ()

    def _run(self, events: Sequence[Any]) -> ArrayResult:  # noqa: C901, PLR0912  # calls would cost more
        """Apply the common case, a valid update or delete of four items; `_apply_one` handles the rest."""
        if COMPILED and type(events) is PackedEvents:
            return self._run_packed(events.numbers)
        applied = ignored = 0
        refused: list[tuple[int, Reason]] = []
        sides = tuple(zip(self._levels, self._pending_levels, strict=True))
        integer, bits, logs = int, INTEGER_BITS, self._undo_log is not None
        for event in events:
            try:
                if type(event) is list and len(event) == 4:
                    op, side, price, quantity = event
                    if type(op) is not integer:
                        op = op_named(op)
                    if type(side) is not integer:
                        side = side_named(side)
                    # The shift gives 0 for exactly the quantities in range, in one operation.
                    if (
                        (side == 0 or side == 1)  # noqa: PLR1714  # whatever it is, it need not be hashable
                        and type(price) is integer is type(quantity)
                        and not quantity >> bits
                    ):
                        levels, pending = sides[side]
                        old = levels.get(price)
                        if old is not None:
                            if op == UPDATE and quantity:
                                if logs:
                                    self._record_level(side, price, old)
                                elif price not in pending:
                                    pending[price] = old
                                levels[price] = quantity
                                applied += 1
                                continue
                            if op == UPDATE or op == DELETE:  # noqa: PLR1714, SIM109  # no tuple each time
                                self._remove_level(side, price, old)
                                applied += 1
                                continue
                        elif op == UPDATE and quantity and -MAX_INTEGER <= price <= MAX_INTEGER:
                            self._add_level(side, price, quantity)
                            applied += 1
                            continue
                if self._apply_one(event):
                    applied += 1
                else:
                    ignored += 1
            except RefusedError as refusal:
                refused.append((applied + ignored + len(refused), refusal.reason))
                if self._atomic:
                    break
        return ArrayResult(applied, ignored, refused, self._evicted)

    def _run_packed(self, numbers: "array[int]") -> ArrayResult:  # noqa: PLR0912  # likewise
        """The same for events whose items are known to be integers in range. Used only if compiled."""
        applied = ignored = at = 0
        refused: list[tuple[int, Reason]] = []
        logs = self._undo_log is not None
        step, update, delete = ITEMS, UPDATE, DELETE  # C numbers
        items = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        end = len(numbers)
        bids: Any
        asks: Any
        bids, asks = self._levels
        fetched = 0 if len(bids) + len(asks) >= FETCHED_MIN else end
        while at < end:
            try:
                while at < end:
                    if at >= fetched:
                        fetched = min(at + FETCHED_EVENTS * step, end)
                        self._fetch(items, at, fetched)
                    op, side, price, lots = items[at], items[at + 1], items[at + 2], items[at + 3]
                    at += step
                    levels = asks if side else bids
                    place = levels.place_of(price)
                    if op == update and lots:
                        if place < 0:
                            self._add_level(side, price, lots)
                        else:
                            if logs:
                                self._record_level(side, price, levels.value_at(place))
                            else:
                                pending: Any = self._pending_levels[side]
                                pending.note(price, levels.value_at(place))
                            levels.set_at(place, lots)
                        applied += 1
                    elif place >= 0 and op in (update, delete):
                        self._remove_level(side, price, levels.value_at(place))
                        applied += 1
                    elif self._apply_one([op, side, price, lots]):
                        applied += 1
                    else:
                        ignored += 1
            except RefusedError as refusal:
                refused.append((at // step - 1, refusal.reason))
                if self._atomic:
                    break
        return ArrayResult(applied, ignored, refused, self._evicted)

    def _fetch(self, items: "array[int]", start: int, end: int) -> None:
        """Ask the processor for the memory that events will read and write, without waiting for it."""
        step = ITEMS
        levels: Any
        pending: Any
        at = start
        while at < end:
            side, price = items[at + 1], items[at + 2]
            levels, pending = self._levels[side], self._pending_levels[side]
            levels.fetch(price)
            pending.fetch(price)
            at += step
        at = start
        while at < end:
            side, price = items[at + 1], items[at + 2]
            levels = self._levels[side]
            if not items[at + 3] or levels.place_of(price) < 0:
                book_side: Any = self.book.sides[side]
                book_side.ranks.fetch(price if side == 0 else -price)
            at += step

    def _apply_one(self, event: Any) -> bool:
        """Apply any event; False if it is ignored. Raises `RefusedError`."""
        op, side, price, quantity = levels_event(event)
        if op == CLEAR:
            self._clear(side)
            return True
        old = self._levels[side].get(price, 0)
        new = quantity if op == UPDATE else _target(op, old, quantity)
        if old and new:
            self._record_level(side, price, old)
            self._levels[side][price] = new
        elif new:
            self._add_level(side, price, new)
        elif old:
            self._remove_level(side, price, old)
        return bool(old or new)


def _target(op: int, old: int, quantity: int) -> int:
    """The quantity of a level of `old` lots after an add, a delete (`quantity` 0) or a reduce."""
    if op == ADD:
        if old + quantity > MAX_INTEGER:
            raise RefusedError(Reason.OVERFLOW)
        return old + quantity
    if not quantity:
        return 0
    if quantity > old:
        raise RefusedError(Reason.BAD_QUANTITY if old else Reason.UNKNOWN_LEVEL)
    return old - quantity
