"""How long an event takes from its source to the socket of a client, stage by stage, as one histogram.

Each process observes its own stages, a few times for each entry or batch and never for each delivery. Stages
that begin at the source (`SOURCE_TO_CONSUMED`, `SOURCE_TO_WRITTEN`) are as exact as two clocks agree.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Histogram

STAGE_METRIC: Final = "depthcast_stage_seconds"
STAGE_TEXT: Final = "Time that an event or the entry with it spent in a stage"
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

PLAUSIBLE_S: Final = 86_400.0
"""A longer time comes from a `ts` or an entry's ID that is no time of today; one would spoil the sum."""

PARTITIONS_MAX: Final = 32
"""Partitions with series of their own; the others share one, because each stage of each has 18 series."""
OTHERS: Final = "others"


class Stage(StrEnum):
    """A part of the way.

    - `SOURCE_TO_CONSUMED`: from the newest `ts` of an interval to the batch in which it was consumed.
    - `INPUT_TO_CONSUMED`: from `XADD`, by the server's clock, of the oldest entry of a batch to consumption.
    - `CONSUMED_TO_PUBLISHED`: from the first input of an interval to the answer that its result was written.
    - `PUBLISHED_TO_READ`: from that write, by the server's clock, to a gateway.
    - `READ_TO_WRITTEN`: to the end of the flush that passed it to the sockets of clients that are ready.
    - `SOURCE_TO_WRITTEN`: all of it, for the newest `ts` in an entry.
    """

    SOURCE_TO_CONSUMED = "source_to_consumed"
    INPUT_TO_CONSUMED = "input_to_consumed"
    CONSUMED_TO_PUBLISHED = "consumed_to_published"
    PUBLISHED_TO_READ = "published_to_read"
    READ_TO_WRITTEN = "read_to_written"
    SOURCE_TO_WRITTEN = "source_to_written"


ObserveStage = Callable[[Stage, int, float], None]
"""Takes a stage, a partition and a time in seconds."""


def ignore(_stage: Stage, _partition: int, _seconds: float) -> None:
    """Observe nothing."""


class StageTimes:
    """The histogram of one process. `labels`: labels beside stage and partition, with their values."""

    def __init__(self, registry: CollectorRegistry | None = None, **labels: str) -> None:
        self.histogram = Histogram(
            STAGE_METRIC, STAGE_TEXT, ("stage", "partition", *labels), buckets=BUCKETS, registry=registry
        )
        self._labels = tuple(labels.values())
        self._series: dict[tuple[Stage, int], Histogram] = {}

    def observe(self, stage: Stage, partition: int, seconds: float) -> None:
        """Count one time: 0 if it is negative, because clocks differ; none if it is implausible."""
        if seconds > PLAUSIBLE_S:
            return
        series = self._series.get((stage, partition))
        if series is None:
            name = str(partition) if partition < PARTITIONS_MAX else OTHERS
            series = self._series[stage, partition] = self.histogram.labels(stage, name, *self._labels)
        series.observe(max(seconds, 0.0))
