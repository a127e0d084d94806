"""Garbage collection for a process that makes many objects and no cycles."""

import gc
from typing import Final

COLLECT_AFTER: Final = 50_000
"""Objects made and not freed before the garbage collector runs."""


def collect_garbage_less_often() -> None:
    """Collect cyclic garbage less often, and never among the objects that exist now.

    Nothing that is made for an interval or a tick has cycles; only closed connections leave some. With the
    defaults, the collector would walk again and again through the changes of thousands of symbols that wait
    to be published, and through thousands of connections while more of them come.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
