"""Gives memory back to the system after much of it was freed.

The C library keeps freed memory for later. After an attack that is a hundred megabytes that nothing needs.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Final

PEAK_BYTES_LEAST: Final = 2 * 2**20
"""Below this peak, giving back is not worth the time that it takes."""
CHANNEL_BYTES: Final = 4096
"""A channel, with its view and history, takes about this much."""
EVERY_S: Final = 10.0
"""Giving back takes some milliseconds, so it is not done more often."""


def trim() -> None:
    """Give freed memory back, if the C library can."""
    if sys.platform != "linux":
        return
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


class GivingBack:
    """Calls `give_back` once what was large, in buffers and channels, is small again."""

    def __init__(self, give_back: Callable[[], None] = trim) -> None:
        self._give_back = give_back
        self._peak = 0
        self._last = -EVERY_S

    def observe(self, count: int, now: float) -> None:
        """Look at the bytes in buffers and channels at `now`, in monotonic s."""
        self._peak = max(self._peak, count)
        if self._peak < PEAK_BYTES_LEAST or count * 4 > self._peak or now - self._last < EVERY_S:
            return
        self._peak, self._last = count, now
        self._give_back()
