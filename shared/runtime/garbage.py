"""Garbage collection as a process needs it that makes much and leaves no cycles."""

import gc
from typing import Final

COLLECT_AFTER: Final = 50_000


def collect_less() -> None:
    """Look for cyclic garbage less often, and never in what is there already.

    Nothing that is made for an interval has cycles. By default each would be walked through many times over: thousands
    of symbols' changes are alive together between a drain and its publication, and every book with them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
