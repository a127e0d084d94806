"""What Prometheus reads of an ingestor."""

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from depthcast.ingestor.rejects import Reason
from depthcast.ingestor.runtime.stats import IngestorStats
from depthcast.shared.runtime.error_replies import CODES
from depthcast.shared.runtime.stages import Stage


def registered(stats: IngestorStats) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(stats)
    return registry


def test_every_reason_and_every_code_is_there_before_its_first_time() -> None:
    """Otherwise the first one is no increase, and no alert fires."""
    stats = IngestorStats()
    stats.of(0)
    registry = registered(stats)
    for reason in Reason:
        labels = {"partition": "0", "reason": str(reason)}
        assert registry.get_sample_value("depthcast_ingestor_rejects_total", labels) == 0
    for code in (*CODES, "other"):
        assert registry.get_sample_value("depthcast_ingestor_redis_errors_total", {"code": code}) is not None


def test_events_by_result() -> None:
    stats = IngestorStats()
    stats.of(3).events.update(applied=5, ignored=2)
    registry = registered(stats)

    def count(result: str) -> float | None:
        return registry.get_sample_value(
            "depthcast_ingestor_events_total", {"partition": "3", "result": result}
        )

    assert [count(result) for result in ("applied", "rejected", "ignored")] == [5, 0, 2]


def test_a_partitions_times_are_those_of_the_process() -> None:
    stats = IngestorStats()
    stats.of(2).observe(Stage.INPUT_TO_CONSUMED, 2, 0.5)
    assert stats.of(2) is stats.of(2)
    labels = {"stage": "input_to_consumed", "partition": "2"}
    assert registered(stats).get_sample_value("depthcast_stage_seconds_sum", labels) == 0.5


def test_the_lag_of_a_consumer_is_exported_by_the_leader_only() -> None:
    lags: Any = SimpleNamespace(
        seconds={("risk", 0): 1.5, ("risk", 1): 2.5, ("risk", 9): 3.5},
        replica_seconds={("risk", 0): 0.5, ("risk", 1): 0.25},
    )
    stats = IngestorStats(consumer_lags=lags)
    stats.of(0).leading = True
    stats.of(1).following = True
    registry = registered(stats)
    for name, seconds in (
        ("depthcast_consumer_lag_seconds", 1.5),
        ("depthcast_consumer_replica_lag_seconds", 0.5),
    ):
        assert registry.get_sample_value(name, {"consumer": "risk", "partition": "0"}) == seconds
        for elsewhere in ("1", "9"):
            assert registry.get_sample_value(name, {"consumer": "risk", "partition": elsewhere}) is None
