"""Garbage collection for a process that makes many objects and no cycles."""

import gc
from typing import Final

COLLECT_AFTER: Final = 50_000
"""The garbage collector runs after this many objects were made and not freed."""
YOUNG_PER_MIDDLE: Final = 10
NEVER: Final = 2**31 - 1


def collect_garbage_less_often() -> None:
    """Collect cyclic garbage less often, and never among the objects that exist now.

    No interval or tick makes objects with cycles; only closed connections leave some. With the defaults, the
    collector would walk again and again through the pending changes of thousands of symbols, and through
    thousands of connections while more arrive.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def collect_old_garbage_only_when_asked() -> None:
    """Never walk through all objects by itself: with 2,000 connections that is a pause of half a second.

    Cycles among old objects then wait for `gc.collect()`. Call this after `collect_garbage_less_often`.
    """
    gc.set_threshold(COLLECT_AFTER, YOUNG_PER_MIDDLE, NEVER)
