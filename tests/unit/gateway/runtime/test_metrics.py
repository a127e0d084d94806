"""What Prometheus reads of a gateway."""

from dataclasses import fields

import pytest

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.runtime.metrics import LABELLED, OF_PROCESS, PLAIN, Metrics
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.error_replies import CODES
from depthcast.shared.runtime.stages import Stage

NOTHING = dict.fromkeys(OF_PROCESS, 0)
NOT_EXPORTED = {"heartbeats"}


def test_every_counter_is_exported() -> None:
    named = set(PLAIN) | {name for _, _, members in LABELLED.values() for name in members}
    assert {field.name for field in fields(GatewayCounters)} == named | NOT_EXPORTED


def test_broadcasts_that_were_merged_by_what_held_them_back() -> None:
    counters, metrics = GatewayCounters(), Metrics()
    counters.conflate([("buffer", 1), ("credit", 2), (None, 4)])
    counters.conflate([("interval", 1)], clients=3)
    assert counters.conflated == 10
    metrics.publish(counters, NOTHING)

    def merged(because: str) -> float | None:
        return metrics.registry.get_sample_value("depthcast_gateway_conflated_total", {"because": because})

    assert [merged(because) for because in ("buffer", "credit", "interval", "other")] == [1, 2, 3, 4]


def test_every_code_is_there_before_its_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()

    def count(code: str) -> float | None:
        return metrics.registry.get_sample_value("depthcast_gateway_redis_errors_total", {"code": code})

    assert {count(code) for code in (*CODES, "other")} == {0}
    monkeypatch.setitem(error_replies.counts, "OOM", error_replies.counts["OOM"] + 2)
    metrics.publish_redis({})
    assert count("OOM") == 2


@pytest.mark.parametrize(("worker", "label"), [(None, "0"), (0, "0"), (3, "3")])
def test_times_have_the_number_of_the_worker(worker: int | None, label: str) -> None:
    metrics = Metrics(worker)
    metrics.stages.observe(Stage.READ_TO_WRITTEN, 1, 0.5)
    labels = {"stage": "read_to_written", "partition": "1", "worker": label}
    assert metrics.registry.get_sample_value("depthcast_stage_seconds_sum", labels) == 0.5
