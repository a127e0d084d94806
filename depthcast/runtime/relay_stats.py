"""The metrics of `depthcast relay`."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from depthcast.runtime.relay_sides import SOURCE, TARGET
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.error_replies import ERRORS_TEXT

if TYPE_CHECKING:
    from depthcast.runtime.relay import DeploymentRelay

_GAUGES: Final[Mapping[str, str]] = {
    "following": "1 while this process copies the partition, and the copy goes on from its source",
    "lag_seconds": "Age of the newest entry in the copy, by the clock of the source",
    "delay_seconds": "Time from the write of an entry at the source to that of the copy, of the last one",
    "read_bytes": "Bytes of the last reply of the source with entries",
}
_COUNTERS: Final[Mapping[str, str]] = {
    "entries": "Entries copied by this process",
    "bytes": "Bytes of entries copied by this process",
    "snapshots": "Snapshots copied by this process",
    "limited": "Reads of fewer entries or snapshots than wanted, because of the limit of bytes",
    "replaced": "Times that the copy began again, because its source did not go on from it",
}


class RelayStats(Collector):
    """All deployments' counters as Prometheus metrics, read at each scrape from `deployments`."""

    def __init__(self, deployments: Callable[[], Iterable["DeploymentRelay"]]) -> None:
        self.deployments = deployments

    def collect(self) -> Iterable[Metric]:
        """All metrics, at each scrape."""
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"depthcast_relay_{name}", text, labels=["prefix", "partition"])
            self._fill(gauge, name)
            yield gauge
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"depthcast_relay_{name}", text, labels=["prefix", "partition"])
            self._fill(counter, name)
            yield counter
        failures = CounterMetricFamily(
            "depthcast_relay_failures", "Attempts that failed at a server", labels=["prefix", "side"]
        )
        reads = CounterMetricFamily(
            "depthcast_relay_catalog_reads",
            "Times that all instruments were read, because they may have changed",
            labels=["prefix", "side"],
        )
        offset = GaugeMetricFamily(
            "depthcast_relay_clock_offset_seconds",
            "What the clock of the copy's server is ahead of that of the source",
            labels=["prefix"],
        )
        for deployment in self.deployments():
            counts = deployment.failures()
            for side in (SOURCE, TARGET):
                failures.add_metric([deployment.source.prefix, side], counts[side])
                reads.add_metric([deployment.source.prefix, side], deployment.catalog.whole_reads[side])
            if deployment.catalog.offset_us is not None:
                offset.add_metric([deployment.source.prefix], deployment.catalog.offset_us / 1e6)
        yield failures
        yield reads
        yield offset
        replies = CounterMetricFamily("depthcast_relay_redis_errors", ERRORS_TEXT, labels=["code"])
        for code, count in error_replies.totals().items():
            replies.add_metric([code], float(count))
        yield replies

    def _fill(self, family: GaugeMetricFamily | CounterMetricFamily, name: str) -> None:
        for deployment in self.deployments():
            for number, values in deployment.values().items():
                if (value := values[name]) is not None:
                    family.add_metric([deployment.source.prefix, str(number)], value)
