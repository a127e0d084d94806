"""State of a levels feed: events that speak of a level's volume, without orders."""

from collections.abc import Sequence
from typing import Any

from ingestor.book_state import BookState
from ingestor.events import ADD, CLEAR, UPDATE, levels_event
from ingestor.rejects import Outcome, Reason, RefusedError
from shared.types import MAX_INTEGER


class LevelsState(BookState):
    """A book fed by level. Removing what is not there is ignored and counted; everything else applies or is refused."""

    __slots__ = ()

    def _run(self, events: Sequence[Any]) -> Outcome:
        applied = ignored = 0
        refused: list[tuple[int, Reason]] = []
        held = (self.book.bids.levels, self.book.asks.levels)
        touched = self._touched
        for index, event in enumerate(events):
            try:
                op, side, price, quantity = levels_event(event)
                if op == CLEAR:
                    self._clear(side)
                    applied += 1
                    continue
                old = held[side].get(price, 0)
                new = quantity if op == UPDATE else _target(op, old, quantity)
                if old and new:  # the commonest case, in place: what `_change` would do
                    if price not in touched[side]:
                        touched[side][price] = old
                    held[side][price] = new
                elif old or new:
                    if new:
                        self._admit(side, price)
                    self._change(side, price, old, new)
                else:
                    ignored += 1
                    continue
                applied += 1
            except RefusedError as refusal:
                refused.append((index, refusal.reason))
                if self._unit:
                    break
        return Outcome(applied, ignored, refused, self._evicted)


def _target(op: int, old: int, quantity: int) -> int:
    """What a level of `old` lots holds after an add, a delete (whose quantity is 0) or a reduce."""
    if op == ADD:
        if old + quantity > MAX_INTEGER:
            raise RefusedError(Reason.OVERFLOW)
        return old + quantity
    if not quantity:
        return 0
    if quantity > old:
        raise RefusedError(Reason.BAD_QUANTITY if old else Reason.UNKNOWN_LEVEL)
    return old - quantity
