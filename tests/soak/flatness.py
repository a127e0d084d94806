"""Whether a measure grew: a line through its last two thirds, in medians of equal parts."""

from collections.abc import Mapping, Sequence
from math import nan
from statistics import linear_regression, median
from typing import Any, Final, NamedTuple

WORK: Final = "work_ms"
"""The column of the CPU time of a fixed piece of work: a machine's speed changes with its neighbours."""
PARTS: Final = 40
"""So many medians are taken, so that a moment's peak is none of the line's business."""
BEGIN: Final = 1 / 3
"""The first third is left out: caches fill, and the allocator reaches what it keeps."""


class Limit(NamedTuple):
    """By how much a column of the samples may grow in an hour: `most`, or that share of its median.

    `timed`: it is judged at the speed of the machine in the median, by `WORK`.
    """

    column: str
    title: str
    unit: str
    most: float
    share: float = 0.0
    timed: bool = False


LIMITS: Final = (
    Limit("rss_mb", "memory", "MB", 6.0),
    Limit("descriptors", "open files", "", 10.0),
    Limit("p50_ms", "median latency", "ms", 2.0, 0.2, timed=True),
    Limit("p99_ms", "99th percentile of latency", "ms", 10.0, 0.2, timed=True),
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


def growth(limit: Limit, rows: Sequence[Mapping[str, Any]]) -> Growth:
    """The growth of one measure; `rows`: `seconds` since the beginning, the measure and `WORK`, in order."""
    rows = [row for row in rows if row.get(limit.column) is not None]
    if len(rows) < PARTS:
        return Growth(limit, nan, nan, limit.most)
    last = [row for row in rows if row["seconds"] >= rows[-1]["seconds"] * BEGIN]
    size = max(1, len(last) // PARTS)
    parts = [last[at : at + size] for at in range(0, len(last), size)]
    values = [_median(part, limit.column) for part in parts]
    if limit.timed:
        work = [_median(part, WORK) for part in parts]
        values = [value * median(work) / now for value, now in zip(values, work, strict=True)]
    usual = median(values)
    slope = linear_regression([_median(part, "seconds") for part in parts], values).slope
    return Growth(limit, usual, slope * 3600, max(limit.most, limit.share * usual))


def _median(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    found: float = median(row[column] for row in rows)
    return found
