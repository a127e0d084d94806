"""Whether a measure grew: a line through its last two thirds, in medians of equal parts."""

from collections.abc import Sequence
from math import nan
from statistics import linear_regression, median
from typing import Final, NamedTuple

PARTS: Final = 40
"""So many medians are taken, so that a moment's peak is none of the line's business."""
BEGIN: Final = 1 / 3
"""The first third is left out: caches fill, and the allocator reaches what it keeps."""


class Limit(NamedTuple):
    """By how much a column of the samples may grow in an hour: `most`, or that share of its median."""

    column: str
    title: str
    unit: str
    most: float
    share: float = 0.0


LIMITS: Final = (
    Limit("rss_mb", "memory", "MB", 6.0),
    Limit("descriptors", "open files", "", 10.0),
    Limit("p50_ms", "median latency", "ms", 2.0, 0.2),
    Limit("p99_ms", "99th percentile of latency", "ms", 10.0, 0.2),
)
"""Memory that grows by 0.1 MB a minute is a leak that somebody would see after a week."""


class Growth(NamedTuple):
    """How a measure changed: in its unit per hour, by the line, and how much is allowed."""

    limit: Limit
    median: float
    per_hour: float
    allowed: float

    @property
    def flat(self) -> bool:
        """False also where too little was sampled."""
        return self.per_hour <= self.allowed


def growth(limit: Limit, samples: Sequence[tuple[float, float]]) -> Growth:
    """The growth of one measure; `samples`: seconds since the beginning and value, in order."""
    if len(samples) < PARTS:
        return Growth(limit, nan, nan, limit.most)
    last = [sample for sample in samples if sample[0] >= samples[-1][0] * BEGIN]
    size = max(1, len(last) // PARTS)
    parts = [last[at : at + size] for at in range(0, len(last), size)]
    points = [(median(at for at, _ in part), median(value for _, value in part)) for part in parts]
    usual = median(value for _, value in points)
    slope = linear_regression([at for at, _ in points], [value for _, value in points]).slope
    return Growth(limit, usual, slope * 3600, max(limit.most, limit.share * usual))
