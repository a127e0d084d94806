"""What every process exports of itself: what it is, its memory, its processor time and its open files."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from depthcast.shared import book
from depthcast.shared.compiled import is_compiled
from depthcast.shared.version import VERSION

BUILD_METRIC: Final = "depthcast_build_info"
SUPERVISOR: Final = "supervisor"
"""The label `worker` of a process that runs workers."""

Workers = Callable[[], Mapping[str, int]]
"""Returns the process ID of each worker, by the value of its label."""


class ProcessMetrics(Collector):
    """`depthcast_build_info`, and the usual `process_…`, which only Linux tells.

    `tier`: `ingestor`, `gateway`, `feed` or `relay`. `workers`: of a supervisor, which exports the
    `process_…` of all with the label `worker`; None in a process without workers, whose `process_…` have no
    label.
    """

    def __init__(self, tier: str, workers: Workers | None = None) -> None:
        self.tier = tier
        self.workers = workers

    def collect(self) -> Iterable[Metric]:
        """All metrics, at each scrape."""
        build = GaugeMetricFamily(
            BUILD_METRIC, "1; the labels say what runs here", labels=["tier", "version", "python", "compiled"]
        )
        python = ".".join(map(str, sys.version_info[:3]))
        build.add_metric([self.tier, VERSION, python, str(is_compiled(book)).lower()], 1)
        yield build
        if self.workers is None:
            yield from _of_process("self")
        else:
            yield from self._of_workers(self.workers())

    def _of_workers(self, workers: Mapping[str, int]) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        processes: dict[str, int | str] = {SUPERVISOR: "self"}
        processes.update(workers)
        for worker, process in processes.items():
            for one in _of_process(process):
                family = families.setdefault(one.name, Metric(one.name, one.documentation, one.type))
                for sample in one.samples:
                    family.add_sample(sample.name, {"worker": worker}, sample.value)
        return families.values()


def _of_process(process: int | str) -> Iterable[Metric]:
    """The metrics of one process; none of one that has ended."""
    return ProcessCollector(pid=lambda: process, registry=None).collect()
