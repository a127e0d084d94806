"""What processes export: by the conventions of Prometheus, and as rules and documents name it."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from deploy.metric_registry import exported, labels_of, names_in, names_of_samples
from depthcast.gateway.runtime.metrics import Metrics
from depthcast.ingestor.runtime.stats import IngestorStats
from depthcast.runtime.venue_stats import VenueFeedStats
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.runtime.stages import Stage
from tests.unit.deploy.promtool import needs_promtool, promtool


def text_of(tier: str) -> str:
    """What a process serves on `/metrics`."""
    registry = CollectorRegistry()
    if tier == "ingestor":
        stats = IngestorStats()
        stats.of(0).observe(Stage.INPUT_TO_CONSUMED, 0, 0.1)
        registry.register(stats)
    elif tier == "gateway":
        metrics = Metrics()
        metrics.stages.observe(Stage.READ_TO_WRITTEN, 0, 0.1)
        registry = metrics.registry
    else:
        registry.register(VenueFeedStats(lambda: 0.0, lambda: 0))
    registry.register(ProcessMetrics(tier))
    return generate_latest(registry).decode()


@needs_promtool
@pytest.mark.parametrize("tier", ["ingestor", "gateway", "feed"])
def test_promtool_likes_what_a_process_exports(tier: str) -> None:
    assert promtool("check", "metrics", said=text_of(tier)) == ""


def test_names_and_labels() -> None:
    metrics = exported()
    assert "depthcast_gateway_messages_total" in metrics
    assert labels_of(metrics["depthcast_gateway_messages_total"]) == {"type", "job", "instance"}
    assert labels_of(metrics["depthcast_stage_seconds"]) >= {"stage", "partition", "worker"}
    assert labels_of(metrics["depthcast_feed_doubts_total"]) >= {"symbol", "reason"}
    names = names_of_samples(metrics)
    assert {"depthcast_stage_seconds_bucket", "depthcast_gateway_messages_total"} <= names
    assert not {"depthcast_stage_seconds", "depthcast_gateway_messages"} & names


def test_names_in_a_query() -> None:
    query = "sum(rate(depthcast_a_total[5m])) / tier:process_cpu_seconds:rate5m * process_max_fds{a='b'}"
    assert names_in(query) == {"depthcast_a_total", "process_max_fds"}
