"""Garbage collection as a process needs it that makes much and leaves no cycles."""

import gc
from typing import Final

COLLECT_AFTER: Final = 50_000
"""Objects made and not freed before the garbage collector looks at them."""


def collect_garbage_less_often() -> None:
    """Look for cyclic garbage less often, and never in what is there already.

    Nothing that is made for an interval or a tick has cycles; only connections that end leave some. By default thousands of
    symbols' changes, alive together between a drain and its publication, and thousands of connections while more of them
    come, would be walked through again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
