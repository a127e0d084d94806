"""The states of a channel, and its table of transitions.

Two things decide what a channel's clients need: what happened since the last tick, and whether the book was
replaced by one that must wait. A replaced book with other rows waits until its seq is higher than the seq
clients have seen, because clients must see a higher seq whenever rows change.
"""

from enum import Enum
from typing import Final


class ChannelState(Enum):
    """What happened since the last tick. `..._WAITING`: a replaced book waits for a higher seq."""

    NO_BOOK = "the symbol has no book yet"
    UNCHANGED = "every change was flushed"
    CHANGED = "there are deltas that were not flushed"
    RESET = "history was reset: clients need a snapshot"
    UNCHANGED_WAITING = "every change was flushed, and a replaced book waits"
    CHANGED_WAITING = "there are deltas that were not flushed, and a replaced book waits"
    RESET_WAITING = "history was reset, and a replaced book waits"

    # Members are dictionary keys on the hot path, and Enum's own hash is a Python function.
    __hash__ = object.__hash__


class ChannelEvent(Enum):
    """What happens to a channel."""

    DELTA = "a broadcast changed the view"
    HISTORY_RESET = "the view is another, and no delta leads to it"
    BOOK_HELD_BACK = "the book was replaced by another with a seq that clients have seen"
    TICK_ENDED = "everything up to here was flushed"

    __hash__ = object.__hash__


WAITING: Final = frozenset(
    (ChannelState.UNCHANGED_WAITING, ChannelState.CHANGED_WAITING, ChannelState.RESET_WAITING)
)
WAS_RESET: Final = frozenset((ChannelState.RESET, ChannelState.RESET_WAITING))


def _table() -> dict[ChannelEvent, dict[ChannelState, ChannelState]]:
    state = ChannelState
    with_book = [each for each in state if each is not state.NO_BOOK]
    return {
        ChannelEvent.DELTA: {
            state.UNCHANGED: state.CHANGED,
            state.CHANGED: state.CHANGED,
            state.RESET: state.RESET,
        },
        ChannelEvent.HISTORY_RESET: dict.fromkeys(state, state.RESET),
        ChannelEvent.BOOK_HELD_BACK: {
            state.UNCHANGED: state.UNCHANGED_WAITING,
            state.CHANGED: state.CHANGED_WAITING,
            state.RESET: state.RESET_WAITING,
            state.UNCHANGED_WAITING: state.UNCHANGED_WAITING,
            state.CHANGED_WAITING: state.CHANGED_WAITING,
            state.RESET_WAITING: state.RESET_WAITING,
        },
        ChannelEvent.TICK_ENDED: {
            each: state.UNCHANGED_WAITING if each in WAITING else state.UNCHANGED for each in with_book
        },
    }


NEXT_STATE: Final = _table()
"""By event, then by state; missing pairs cannot happen."""
