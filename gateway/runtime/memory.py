"""Gives memory back to the system after much of it was freed.

The C library keeps freed memory for later. After an attack that is a hundred megabytes that nothing needs.
Objects in cycles wait for the garbage collector, whose walk through everything is a pause that all clients
notice. Connections leave no cycles, and those of requests are mostly found while they are young. So it walks
through everything only if memory has grown all the same, and seldom.

Large blocks are kept apart from small ones: among them, each that is freed leaves a hole that small objects
fill, and the next large one needs new pages.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

RISE_BYTES: Final = 4 * 2**20
"""After memory has risen by this, giving back is worth its time soon."""
WORTH_BYTES: Final = 2**20
"""Less than this given back was not worth the time that it took: some milliseconds."""
WAIT_S: Final = 10.0
WAIT_S_MAX: Final = 640.0
"""Pauses between two times: from the first one on they double while it is not worth the time."""
GROWN_BYTES: Final = 16 * 2**20
GROWN_PART: Final = 8
"""Garbage is looked for in everything after memory has grown by this, and by an eighth."""
COLLECT_S: Final = 60.0
"""Garbage is looked for at most once in this time."""
LARGE_BYTES: Final = 128 * 1024
"""A block as large as this has pages of its own, which go back to the system when it is freed."""
_M_MMAP_THRESHOLD: Final = -3
_STATM: Final = Path("/proc/self/statm")


def trim() -> None:
    """Give freed memory back, if the C library can."""
    if sys.platform != "linux":
        return
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def keep_large_apart() -> None:
    """Give each large block pages of its own for as long as this process lives, if the C library can.

    Left alone, glibc takes the size of the largest block that was ever freed for large: after one full book
    all smaller ones lie among small objects. Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, LARGE_BYTES)


def resident_bytes() -> int:
    """How much memory this process has; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class GivingBack:
    """Calls `give_back` soon after memory rose, again while that helps, and now and then in any case.

    Whether freed memory is kept cannot be asked for at little cost, so it is tried. If memory stays higher
    than it was since garbage was last looked for, `collect` is called too.
    """

    def __init__(
        self,
        give_back: Callable[[], None] = trim,
        collect: Callable[[], object] = gc.collect,
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        self._give_back = give_back
        self._collect = collect
        self._resident = resident
        self._least = resident()
        self._collected_at = -COLLECT_S
        self._last = 0.0
        self._left = 0
        self._wait_s = WAIT_S_MAX

    def observe(self, now: float) -> None:
        """Look at how much memory there is at `now`, in monotonic s; call this about once a second."""
        before = self._resident()
        if before >= self._left + RISE_BYTES:
            self._wait_s = WAIT_S
        if now - self._last < self._wait_s:
            return
        self._give_back()
        left = self._resident()
        due = left >= self._least + max(GROWN_BYTES, self._least // GROWN_PART)
        if due and now - self._collected_at >= COLLECT_S:
            self._collect()
            self._give_back()
            self._collected_at, due = now, False
            self._least = self._resident()
        self._least = min(self._least, left)
        self._last, self._left = now, self._resident()
        worth = due or before - self._left >= WORTH_BYTES
        self._wait_s = WAIT_S if worth else min(2 * self._wait_s, WAIT_S_MAX)
