"""Counters of the ingestor: plain numbers on the hot path, which Prometheus reads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from depthcast.ingestor.rejects import Reason
from depthcast.ingestor.runtime.membership import Membership
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.error_replies import ERRORS_TEXT
from depthcast.shared.runtime.server_checks import CHECK_FAILED, CHECK_TEXT, ServerChecks


@dataclass
class PartitionStats:
    """Counters of one partition in this process. `applied`, `rejected`, `ignored` count since it began."""

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
    symbols_left_out: int = 0
    changes_refused: int = 0
    rejects_by_reason: dict[Reason, int] = field(default_factory=dict)


@dataclass(eq=False)  # a collector is registered by identity
class IngestorStats(Collector):
    """All partitions' counters as Prometheus metrics."""

    partitions: dict[int, PartitionStats] = field(default_factory=dict)
    membership: Membership | None = None
    checks: ServerChecks | None = None

    def of(self, partition: int) -> PartitionStats:
        """The counters of one partition; made at first use."""
        return self.partitions.setdefault(partition, PartitionStats())

    def collect(self) -> Iterable[Metric]:
        """All metrics, at each scrape."""
        for name, text in _COUNTERS.items():
            yield self._family(CounterMetricFamily, name, text)
        for name, text in _GAUGES.items():
            yield self._family(GaugeMetricFamily, name, text)
        rejects = CounterMetricFamily(
            "depthcast_ingestor_rejects",
            "Events rejected by this process, by reason",
            labels=["partition", "reason"],
        )
        for partition, stats in self.partitions.items():
            for reason, count in stats.rejects_by_reason.items():
                rejects.add_metric([str(partition), str(reason)], count)
        yield rejects
        members = 0 if self.membership is None else self.membership.count()
        yield GaugeMetricFamily(
            "depthcast_ingestor_ingestors", "Ingestors that share the partitions, including this one", members
        )

        checks = GaugeMetricFamily(CHECK_FAILED, CHECK_TEXT, labels=["check"])
        for name, problem in (self.checks.problems if self.checks else {}).items():
            checks.add_metric([name], float(bool(problem)))
        yield checks
        replies = CounterMetricFamily("depthcast_ingestor_redis_errors", ERRORS_TEXT, labels=["code"])
        for code, count in error_replies.counts.items():
            replies.add_metric([code], float(count))
        yield replies

    def _family(
        self, kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, text: str
    ) -> CounterMetricFamily | GaugeMetricFamily:
        family = kind(f"depthcast_ingestor_{name}", text, labels=["partition"])
        for partition, stats in self.partitions.items():
            family.add_metric([str(partition)], float(getattr(stats, _SOURCES.get(name, name))))
        return family


_COUNTERS: Mapping[str, str] = {
    "entries_consumed": "Input entries consumed by this process",
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
_GAUGES: Mapping[str, str] = {
    "leading": "1 while this process leads the partition",
    "following": "1 while this process is a hot standby of the partition",
    "symbols": "Symbols of the partition",
    "input_lag_seconds": "Age of the oldest unread input entry at the last publish of this leader",
    "input_lost": "Input entries deleted before they were read, since the partition's beginning",
    "changes_refused": "Instruments whose change is not applied because their book holds levels",
    "symbols_in_doubt": "Symbols whose producer says that their books may be wrong",
    "symbols_left_out": "Instruments beyond symbols_max, whose events are rejected",
    "events_applied": "Events applied since the partition's beginning",
    "events_rejected": "Events rejected since the partition's beginning",
    "events_ignored": "Events ignored since the partition's beginning",
}
_SOURCES: Mapping[str, str] = {
    "publish_seconds": "publish_s",
    "evicted_levels": "evicted",
    "input_lag_seconds": "input_lag_s",
    "symbols_in_doubt": "in_doubt",
    "events_applied": "applied",
    "events_rejected": "rejected",
    "events_ignored": "ignored",
}
