"""The gateway's Prometheus metrics, updated once a second from the counters of the hot path."""

import os
from collections import Counter as Counts
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from depthcast.gateway.counters import GatewayCounters
from depthcast.shared.replica_choice import REASONS
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.error_replies import ERRORS_TEXT
from depthcast.shared.runtime.replicas import ReadingClient
from depthcast.shared.runtime.server_checks import CHECK_FAILED, CHECK_TEXT
from depthcast.shared.runtime.stages import StageTimes

PERIOD_S: Final = 1.0
_PREFIX: Final = "depthcast_gateway_"
FLUSH_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

PLAIN: Final = {
    "entries": "Entries of the deltas streams read.",
    "broadcasts": "Symbol updates in these entries.",
    "flushes": "Ticks and grid times flushed.",
    "bytes_sent": "Bytes of WebSocket frames and events written.",
    "skipped": "Times a client was skipped because it was not ready.",
    "snapshots_in_parts": "Snapshots encoded in parts, each once for all its readers.",
    "deflated": "Messages compressed, each once for all its readers.",
    "deflated_bytes_saved": "Bytes saved by compression, each message counted once.",
    "requests": "Messages received from clients.",
    "unparsable": "Messages received that are neither JSON nor msgpack.",
    "resumed": "Subscriptions resumed without a snapshot.",
    "origins_refused": "WebSockets and event streams refused for their Origin.",
    "request_ids_replaced": "Names of requests by a trusted proxy that were not taken over.",
    "forbidden": "Symbols that were refused or ended because a token does not allow them.",
    "http_refused": "HTTP requests refused before they were served.",
    "tls_failures": "Connections whose TLS failed, and those that did not begin it.",
    "cohorts_made": "Cohorts of sessions with equal subscriptions made.",
    "drained": "Clients sent to another gateway because this one drains.",
    "taken_up": "Symbols taken up because somebody asked for them.",
    "unfollowed": "Symbols let go because nobody asked for them any more.",
    "replaced": "Replicas replaced after a gap, a mismatch or a loss.",
}
LABELLED: Final = {
    "messages": ("Messages sent.", "type", {"deltas": "delta", "snapshots": "snapshot", "others": "control"}),
    "encodings": (
        "Messages encoded.",
        "type",
        {"delta_encodings": "delta", "snapshot_encodings": "snapshot"},
    ),
    "conflated": (
        "Broadcasts that reached a client merged into a later one.",
        "because",
        {
            "conflated_by_buffer": "buffer",
            "conflated_by_credit": "credit",
            "conflated_by_interval": "interval",
            "conflated_otherwise": "other",
        },
    ),
    "timeouts": (
        "Connections closed by a time-out.",
        "type",
        {"stalls": "stall", "silent": "subscribe", "http_timeouts": "http", "unfinished": "message"},
    ),
    "unauthorized": (
        "Requests, messages and connections refused or ended for their token.",
        "type",
        {
            "token_missing": "missing",
            "token_refused": "refused",
            "token_expired": "expired",
            "token_revoked": "revoked",
        },
    ),
    "limits": (
        "Times a limit was reached.",
        "type",
        {
            "limit_subscriptions": "subscriptions_max",
            "limit_full_depth": "full_depth_max",
            "limit_connections": "connections_max",
            "limit_tcp_connections": "tcp_connections_max",
            "limit_address": "connections_per_address_max",
            "limit_connects": "connects_per_address_per_s",
            "limit_token": "connections_per_token_max",
            "limit_origin": "connections_per_origin_max",
            "limit_message_bytes": "message_bytes_max",
            "limit_interval": "interval_max_ms",
            "limit_input_rate": "input_rate",
            "limit_input_buffer": "input_buffer_bytes_max",
            "limit_output_buffer": "output_buffer_bytes_max",
            "limit_history": "history_rows",
            "limit_book_history": "book_history_bytes_max",
            "limit_views": "views_max",
            "limit_parts_bytes": "parts_bytes",
            "limit_groups": "groups_max",
            "limit_groups_per_symbol": "groups_per_symbol_max",
            "limit_http_requests": "http_requests_max",
            "limit_http_rate": "http_requests_per_s",
            "limit_http_answer_bytes": "http_answer_bytes_max",
            "limit_subscription_changes": "subscription_changes_per_s",
            "limit_message_symbols": "message_symbols",
            "limit_errors": "message_errors",
            "limit_gateways": "gateways_max",
        },
    ),
}
OF_PROCESS: Final = {
    "resyncs": "Loads of snapshots after the first.",
    "gaps": "Gaps in a symbol's deltas.",
    "digest_mismatches": "Deltas whose digest did not agree.",
    "redis_troubles": "Times Redis was unavailable to a follower.",
    "registration_failures": "Times this gateway could not be listed in Redis.",
    "io_uring_failures": "Times that io_uring failed, and send() took its place.",
    "tls_reload_failures": "Times the certificate could not be read again.",
}


class Metrics:
    """The metric objects; `publish` updates them. `worker`: the number of this process among several."""

    def __init__(self, worker: int | None = None) -> None:
        several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        # With several workers, the supervisor's collector reads their files.
        self.registry = CollectorRegistry()
        self._counters = {name: self._counter(name, text) for name, text in PLAIN.items()}
        for family, (text, label, members) in LABELLED.items():
            metric = self._counter(family, text, (label,))
            self._counters |= {name: metric.labels(value) for name, value in members.items()}
        self._counters |= {name: self._counter(name, text) for name, text in OF_PROCESS.items()}
        self._published = dict.fromkeys(self._counters, 0)
        total = "livesum" if several else "all"
        worst = "livemax" if several else "all"
        self.connections = self._gauge("connections", "WebSocket connections open.", total)
        self.draining = self._gauge("draining", "Processes that take no new clients and will end.", total)
        self.io_uring = self._gauge("io_uring", "Processes that send to clients by io_uring.", total)
        self.event_streams = self._gauge("event_streams", "Event streams open.", total)
        self.tcp_connections = self._gauge(
            "tcp_connections", "TCP connections open, WebSockets and event streams included.", total
        )
        self.input_buffered = self._gauge(
            "input_buffered_bytes", "Bytes of unfinished messages and requests.", total
        )
        self.subscriptions = self._gauge("subscriptions", "Subscriptions.", total)
        self.book_history = self._gauge(
            "book_history_bytes", "Bytes of the changes of books kept for clients that resume.", total
        )
        self.channels = self._gauge("channels", "Channels kept.", total)
        self.groups = self._gauge("groups", "Grouped books kept.", total)
        self.followed = self._gauge("followed_symbols", "Symbols whose book is kept up to date.", worst)
        self.read_partitions = self._gauge("read_partitions", "Partitions whose entries are read.", worst)
        self.stale_symbols = self._gauge("stale_symbols", "Symbols whose book is stale.", worst)
        self.silence = self._gauge(
            "silence_seconds", "Age of the newest entry applied, of the quietest partition.", worst
        )
        self.input_lag = self._gauge("input_lag_seconds", "Longest input lag of a partition.", worst)
        self.input_age = self._gauge("input_age_seconds", "Longest age of the last input of a symbol.", worst)
        self.token_keys_failing = self._gauge(
            "token_keys_failing_seconds", "For how long the keys of tokens could not be read.", worst
        )
        self.revocations_failing = self._gauge(
            "revocations_failing_seconds", "For how long the revoked tokens could not be read.", worst
        )
        self.certificate_end = self._gauge(
            "certificate_expiry_timestamp_seconds",
            "When the certificate expires; 0 where there is none.",
            "livemin" if several else "all",
        )
        self._read_from_replica = self._gauge(
            "read_from_replica",
            "1 while a partition is read from a replica, 0 from the primary, by partition.",
            "livemin" if several else "all",
            ("partition",),
        )
        self._replica_lag = self._gauge(
            "replica_lag_seconds",
            "How far the replica that a partition is read from is behind, by partition.",
            worst,
            ("partition",),
        )
        self._fallbacks = self._counter(
            "replica_fallbacks", "Times a replica was not read any more, by reason.", ("reason",)
        )
        self._fallbacks_published: Counts[str] = Counts()
        for reason in REASONS:
            self._fallbacks.labels(reason)
        self.stages = StageTimes(self.registry, worker=str(worker or 0))
        self.flush = Histogram(
            _PREFIX + "flush_seconds", "Time a flush took.", buckets=FLUSH_BUCKETS, registry=self.registry
        )

        self.check_failed = Gauge(
            CHECK_FAILED,
            CHECK_TEXT + ".",
            ("check",),
            registry=self.registry,
            multiprocess_mode=worst,  # type: ignore[arg-type]
        )
        self._redis_errors = self._counter("redis_errors", ERRORS_TEXT + ".", ("code",))
        self._errors_published = Counts(error_replies.counts)
        for code in error_replies.totals():
            self._redis_errors.labels(code)

    def publish_redis(self, problems: Mapping[str, str]) -> None:
        """Publish the server's checks and the error replies since the last call."""
        for name, problem in problems.items():
            self.check_failed.labels(name).set(bool(problem))
        for code, count in error_replies.counts.items():
            self._redis_errors.labels(code).inc(count - self._errors_published[code])
            self._errors_published[code] = count

    def publish_replicas(self, clients: Mapping[int, ReadingClient]) -> None:
        """Publish which partitions are read from replicas, how far these are behind, and what was left."""
        left: Counts[str] = Counts()
        for number, client in clients.items():
            self._read_from_replica.labels(number).set(client.at_replica)
            self._replica_lag.labels(number).set((client.lag_ms or 0) / 1000)
            left += client.fallbacks
        for reason, count in left.items():
            self._fallbacks.labels(reason).inc(count - self._fallbacks_published[reason])
        self._fallbacks_published = left

    def publish(self, counters: GatewayCounters, of_process: dict[str, int]) -> None:
        """Add the counts since the last call."""
        for name, metric in self._counters.items():
            value = of_process[name] if name in of_process else getattr(counters, name)
            metric.inc(value - self._published[name])
            self._published[name] = value

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(_PREFIX + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(
            _PREFIX + name,
            text,
            labels,
            registry=self.registry,
            multiprocess_mode=mode,  # type: ignore[arg-type]
        )


class WorkersMetrics(Collector):
    """The metrics that workers leave in `directory`, and in their sums what the supervisor refuses itself.

    `counters` are the supervisor's: whoever asks it for metrics without a right token is counted there.
    """

    _FAMILY: Final = "unauthorized"

    def __init__(self, directory: str, counters: GatewayCounters) -> None:
        self._workers = MultiProcessCollector(None, path=directory)  # type: ignore[no-untyped-call]
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """Yield every family once."""
        families: dict[str, Metric] = {family.name: family for family in self._workers.collect()}  # type: ignore[no-untyped-call]
        text, label, members = LABELLED[self._FAMILY]
        sums = CounterMetricFamily(_PREFIX + self._FAMILY, text, labels=[label])
        of_workers = families.pop(sums.name, None)
        for name, value in members.items():
            counted = [
                sample.value
                for sample in (of_workers.samples if of_workers else ())
                if sample.labels[label] == value
            ]
            sums.add_metric([value], sum(counted) + getattr(self._counters, name))
        yield from families.values()
        yield sums
