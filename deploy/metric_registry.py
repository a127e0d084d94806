"""Every metric that a process exports, without running one: for the documents, rules and dashboards."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from depthcast.feed.scale import Scale
from depthcast.feed.symbol_feed import SymbolFeed
from depthcast.gateway.runtime.metrics import Metrics
from depthcast.ingestor.runtime.stats import IngestorStats
from depthcast.runtime.relay_stats import RelayStats
from depthcast.runtime.venue_stats import VenueFeedStats
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.runtime.stages import Stage
from depthcast.shared.types import Symbol

SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
"""What the names of a metric's samples have behind its name, by type; others have nothing."""

OF_PROMETHEUS: Final = frozenset({"job", "instance"})
"""Labels that Prometheus adds."""

_NAME: Final = re.compile(r"\b(?:depthcast|process)_\w+")


def exported() -> dict[str, Metric]:
    """Return each metric by its name; that of a counter ends with `_total`."""
    found: dict[str, Metric] = {}
    for metric in _families():
        known = found.setdefault(metric.name + ("_total" if metric.type == "counter" else ""), metric)
        if known is not metric:
            known.samples.extend(metric.samples)
    return found


def names_of_samples(metrics: Mapping[str, Metric]) -> set[str]:
    """Return all names that a query may have."""
    names = set()
    for metric in metrics.values():
        names |= {metric.name + suffix for suffix in SUFFIXES.get(metric.type, ("",))}
    return names


def names_in(text: str) -> set[str]:
    """Return the names of metrics in a query or a rule; names of recorded metrics are none."""
    return {name for name in _NAME.findall(re.sub(r"\w+:\w+(?::\w+)?", "", text)) if name != "process_"}


def labels_of(metric: Metric) -> frozenset[str]:
    """Return the labels by which a query may divide a metric."""
    labels = {label for sample in metric.samples for label in sample.labels}
    return frozenset(labels | set(getattr(metric, "_labelnames", ()))) | OF_PROMETHEUS


def _families() -> Iterator[Metric]:
    stats = IngestorStats()
    stats.of(0)
    for stage in Stage:
        stats.stages.observe(stage, 0, 0.0)
    yield from stats.collect()
    gateway = Metrics()
    gateway.stages.observe(Stage.READ_TO_WRITTEN, 0, 0.0)
    yield from gateway.registry.collect()
    feed = VenueFeedStats(lambda: 0.0, lambda: 0)
    feed.feeds = [SymbolFeed(Symbol("A"), Scale("1"), Scale("1"), 0.0)]
    yield from feed.collect()
    yield from RelayStats(list).collect()
    yield from ProcessMetrics("gateway", dict).collect()
