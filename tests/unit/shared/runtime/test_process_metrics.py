"""What every process exports of itself, alone and as one of several workers."""

import os
import sys

import pytest
from prometheus_client import CollectorRegistry

from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.version import VERSION

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process uses")

NOBODY = 2**22 + 1
"""More than any process ID."""


def registered(metrics: ProcessMetrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def test_it_says_what_runs() -> None:
    build, *_ = ProcessMetrics("ingestor").collect()
    assert build.name == "depthcast_build_info"
    (sample,) = build.samples
    assert sample.value == 1
    assert (sample.labels["tier"], sample.labels["version"]) == ("ingestor", VERSION)
    assert sample.labels["python"].startswith(f"3.{sys.version_info.minor}.")
    assert sample.labels["compiled"] in ("true", "false")


@linux
def test_a_process_without_workers_has_no_label() -> None:
    registry = registered(ProcessMetrics("feed"))
    names = (
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
        "process_start_time_seconds", "process_virtual_memory_bytes",
    )  # fmt: skip
    for name in names:
        assert (registry.get_sample_value(name) or 0) > 0, name


@linux
def test_each_worker_has_its_label_and_one_that_has_ended_is_left_out() -> None:
    registry = registered(ProcessMetrics("gateway", lambda: {"0": os.getppid(), "1": NOBODY}))

    def memory(worker: str) -> float | None:
        return registry.get_sample_value("process_resident_memory_bytes", {"worker": worker})

    assert (memory("supervisor") or 0) > 0
    assert memory("0") is not None
    assert memory("1") is None
    families = [family.name for family in registry.collect()]
    assert len(families) == len(set(families)), "each family once, with all workers"
