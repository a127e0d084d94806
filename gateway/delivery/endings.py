"""Undoes what ended sessions and cohorts left in the registers, a bounded number of channels at a time.

Thousands of subscriptions may end at once, even of several clients in the same moment. What others can see
changes at once, and nothing more is sent; what is left is bookkeeping by channel. It waits here for its turn.
Until then a channel counts as subscribed, so that it is kept.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

AT_ONCE_MAX: Final = 32
"""An ending with up to this many channels does not wait, if no other does."""
STEP_CHANNELS: Final = 512
"""Channels whose bookkeeping is undone in one turn of the event loop, approximately."""


class Endings:
    """What is still to be undone, oldest first: iterators that yield how many channels they just undid."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Iterator[int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, ending: Iterator[int], channels: int) -> None:
        """Undo `channels` channels by `ending`: now if they are few, otherwise in later steps."""
        if channels <= AT_ONCE_MAX and not self._waiting:
            for _ in ending:
                pass
        else:
            self._waiting.append(ending)

    def step(self) -> None:
        """Undo about `STEP_CHANNELS` channels."""
        waiting, left = self._waiting, STEP_CHANNELS
        while waiting and left > 0:
            undone = next(waiting[0], None)
            if undone is None:
                waiting.popleft()
                left -= 1
            else:
                left -= undone
