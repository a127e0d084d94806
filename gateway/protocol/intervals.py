"""The intervals of subscriptions. They are few, so that clients share grid times and bytes."""

from bisect import bisect_left
from typing import Final

INTERVALS_MS: Final = (
    0, 10, 20, 50, 100, 200, 250, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000,
    60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
)  # fmt: skip


def rounded(interval_ms: int, interval_max_ms: int) -> int:
    """Return the interval that applies: the next longer one, or the gateway's longest."""
    if interval_ms >= interval_max_ms:
        return interval_max_ms
    return min(INTERVALS_MS[bisect_left(INTERVALS_MS, interval_ms)], interval_max_ms)
