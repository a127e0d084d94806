"""Counters of the ingestor: plain numbers on the hot path, which Prometheus reads."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from depthcast.ingestor.rejects import Reason
from depthcast.ingestor.runtime.consumer_lags import ConsumerLags
from depthcast.ingestor.runtime.membership import Membership
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.error_replies import ERRORS_TEXT
from depthcast.shared.runtime.server_checks import CHECK_FAILED, CHECK_TEXT, ServerChecks
from depthcast.shared.runtime.stages import ObserveStage, StageTimes, ignore

if TYPE_CHECKING:
    from depthcast.shared.runtime.open_telemetry import Traces

RESULTS: Final = ("applied", "rejected", "ignored")
"""What becomes of an event."""


@dataclass
class PartitionStats:
    """Counters of one partition in this process.

    `applied`, `rejected`, `ignored` count since the partition began; `events` the same in this process, by
    result. `observe`, `traces`: where times go.
    """

    leading: bool = False
    entries_consumed: int = 0
    applied: int = 0
    rejected: int = 0
    ignored: int = 0
    evicted: int = 0
    bad_ts: int = 0
    in_doubt: int = 0
    broadcasts: int = 0
    heartbeats: int = 0
    deltas: int = 0
    snapshots: int = 0
    checkpoints: int = 0
    resends: int = 0
    step_downs: int = 0
    errors: int = 0
    handovers: int = 0
    warm_takeovers: int = 0
    standby_losses: int = 0
    restatements: int = 0
    recovery_failures: int = 0
    following: bool = False
    input_pauses: int = 0
    publish_s: float = 0.0
    symbols: int = 0
    input_lag_s: float = 0.0
    input_lost: int = 0
    lost_entries: int = 0
    symbols_left_out: int = 0
    changes_refused: int = 0
    events: Counter[str] = field(default_factory=Counter)
    rejects_by_reason: dict[Reason, int] = field(default_factory=dict)
    observe: ObserveStage = ignore
    traces: "Traces | None" = None


@dataclass(eq=False)  # a collector is registered by identity
class IngestorStats(Collector):
    """All partitions' counters as Prometheus metrics.

    `consumer_lags`: of consumers that name themselves. `traces`: None if nothing is traced.
    """

    partitions: dict[int, PartitionStats] = field(default_factory=dict)
    membership: Membership | None = None
    checks: ServerChecks | None = None
    stages: StageTimes = field(default_factory=StageTimes)
    consumer_lags: ConsumerLags | None = None
    traces: "Traces | None" = None

    def of(self, partition: int) -> PartitionStats:
        """The counters of one partition; made at first use."""
        found = self.partitions.get(partition)
        if found is None:
            found = self.partitions[partition] = PartitionStats(
                observe=self.stages.observe, traces=self.traces
            )
        return found

    def collect(self) -> Iterable[Metric]:
        """All metrics, at each scrape."""
        for name, text in _COUNTERS.items():
            yield self._family(CounterMetricFamily, name, text)
        for name, text in _GAUGES.items():
            yield self._family(GaugeMetricFamily, name, text)
        yield self._events()
        yield self._rejects()
        yield from self.stages.histogram.collect()
        members = 0 if self.membership is None else self.membership.count()
        yield GaugeMetricFamily(
            "depthcast_ingestor_ingestors", "Ingestors that share the partitions, including this one", members
        )
        lags = self.consumer_lags
        yield self._consumers(*_CONSUMER_LAG, {} if lags is None else lags.seconds)
        yield self._consumers(*_CONSUMER_REPLICA_LAG, {} if lags is None else lags.replica_seconds)
        yield from self._redis()

    def _family(
        self, kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, text: str
    ) -> CounterMetricFamily | GaugeMetricFamily:
        family = kind(f"depthcast_ingestor_{name}", text, labels=["partition"])
        for partition, stats in self.partitions.items():
            family.add_metric([str(partition)], float(getattr(stats, _SOURCES.get(name, name))))
        return family

    def _events(self) -> Metric:
        events = CounterMetricFamily(
            "depthcast_ingestor_events",
            "Events consumed by this process, by result",
            labels=["partition", "result"],
        )
        for partition, stats in self.partitions.items():
            for result in RESULTS:
                events.add_metric([str(partition), result], stats.events[result])
        return events

    def _rejects(self) -> Metric:
        """Every reason from the beginning, so that the first reject is an increase."""
        rejects = CounterMetricFamily(
            "depthcast_ingestor_rejects",
            "Events rejected by this process, by reason",
            labels=["partition", "reason"],
        )
        for partition, stats in self.partitions.items():
            for reason in Reason:
                rejects.add_metric([str(partition), str(reason)], stats.rejects_by_reason.get(reason, 0))
        return rejects

    def _consumers(self, name: str, text: str, seconds: Mapping[tuple[str, int], float]) -> Metric:
        """Each partition by its leader only: one series for each consumer and partition."""
        lags = GaugeMetricFamily(name, text, labels=["consumer", "partition"])
        for (consumer, partition), lag_s in seconds.items():
            stats = self.partitions.get(partition)
            if stats is not None and stats.leading:
                lags.add_metric([consumer, str(partition)], lag_s)
        return lags

    def _redis(self) -> Iterable[Metric]:
        checks = GaugeMetricFamily(CHECK_FAILED, CHECK_TEXT, labels=["check"])
        for name, problem in (self.checks.problems if self.checks else {}).items():
            checks.add_metric([name], float(bool(problem)))
        yield checks
        replies = CounterMetricFamily("depthcast_ingestor_redis_errors", ERRORS_TEXT, labels=["code"])
        for code, count in error_replies.totals().items():
            replies.add_metric([code], float(count))
        yield replies


_CONSUMER_LAG: Final = (
    "depthcast_consumer_lag_seconds",
    "Age of the newest entry that a consumer has delivered",
)
_CONSUMER_REPLICA_LAG: Final = (
    "depthcast_consumer_replica_lag_seconds",
    "How far the replica is behind that a consumer reads a partition from",
)

_COUNTERS: Final[Mapping[str, str]] = {
    "entries_consumed": "Input entries consumed by this process",
    "lost_entries": "Input entries that this process found deleted before they were read",
    "broadcasts": "Intervals published with changes",
    "heartbeats": "Entries published without changes",
    "deltas": "Symbol deltas published",
    "snapshots": "Snapshots written",
    "checkpoints": "Checkpoints written",
    "resends": "Publishes sent again because their outcome was unknown",
    "step_downs": "Leaderships that ended by a fence, a lost lease, an unavailable Redis or an error",
    "errors": "Leaderships that ended by an unexpected error",
    "handovers": "Leaderships ended in favour of a named successor",
    "warm_takeovers": "Leaderships that began from a followed state",
    "standby_losses": "Times a followed state had to be read again",
    "restatements": "Leaderships that wrote lost data to Redis again from memory",
    "recovery_failures": "Times the state in Redis was inconsistent, so that the partition could not be led",
    "input_pauses": "Times that reading input paused because too many rejects were pending",
    "publish_seconds": "Time spent waiting for publishes",
    "evicted_levels": "Levels removed as stale by on_cross = evict, in this process",
    "bad_ts": "Source times left out because they are no microseconds since 1970, in this process",
}
_GAUGES: Final[Mapping[str, str]] = {
    "leading": "1 while this process leads the partition",
    "following": "1 while this process is a hot standby of the partition",
    "symbols": "Symbols of the partition",
    "input_lag_seconds": "Age of the oldest unread input entry at the last publish of this leader",
    "input_lost": "Old name, until the next release: depthcast_ingestor_lost_entries_total",
    "changes_refused": "Instruments whose change is not applied because their book holds levels",
    "symbols_in_doubt": "Symbols whose producer says that their books may be wrong",
    "symbols_left_out": "Instruments beyond symbols_max, whose events are rejected",
    **{
        f"events_{result}": f"Old name, until the next release: depthcast_ingestor_events_total, {result}"
        for result in RESULTS
    },
}
_SOURCES: Final[Mapping[str, str]] = {
    "publish_seconds": "publish_s",
    "evicted_levels": "evicted",
    "input_lag_seconds": "input_lag_s",
    "symbols_in_doubt": "in_doubt",
    **{f"events_{result}": result for result in RESULTS},
}
