"""Garbage collection for a process that makes many objects and no cycles."""

import gc
from typing import Final

COLLECT_AFTER: Final = 50_000
"""The garbage collector runs after this many objects were made and not freed."""


def collect_garbage_less_often() -> None:
    """Collect cyclic garbage less often, and never among the objects that exist now.

    No interval or tick makes objects with cycles; only closed connections leave some. With the defaults, the
    collector would walk again and again through the pending changes of thousands of symbols, and through
    thousands of connections while more arrive.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
