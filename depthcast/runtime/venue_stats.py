"""Metrics of a live feed: plain numbers of its parts, which Prometheus reads."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from depthcast.feed.symbol_feed import FeedState, SymbolFeed
from depthcast.runtime.venue_connection import ConnectionCounts
from depthcast.runtime.venue_writer import WriterCounts
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.error_replies import ERRORS_TEXT

AGE_UNKNOWN: Final = -1.0


class VenueFeedStats(Collector):
    """The metrics of one process. `now`: the clock of the feed, in seconds; `now_us`: µs since 1970."""

    def __init__(self, now: Callable[[], float], now_us: Callable[[], int]) -> None:
        self.now = now
        self.now_us = now_us
        self.feeds: list[SymbolFeed] = []
        self.connections = ConnectionCounts()
        self.writers: Mapping[int, WriterCounts] = {}
        self.connected: Callable[[], int] = lambda: 0
        self.rejects: Callable[[], int] = lambda: 0
        self.input_lag_ms: Callable[[], Mapping[int, int]] = dict
        self.answers: Mapping[int, int] = {}
        self.handovers: Callable[[], int] = lambda: 0
        self.other_feeders: Mapping[str, str] = {}

    def collect(self) -> Iterable[Metric]:
        """All metrics, at each scrape."""
        yield from self._of_symbols()
        yield from self._of_connections()
        yield from self._of_writers()
        errors = CounterMetricFamily("depthcast_feed_redis_errors", ERRORS_TEXT, labels=["code"])
        for code, count in error_replies.totals().items():
            errors.add_metric([code], count)
        yield errors

    def _of_symbols(self) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            "depthcast_feed_state", "1 for the state that a symbol is in", labels=["symbol", "state"]
        )
        doubts = CounterMetricFamily(
            "depthcast_feed_doubts", "Times that a live book was in doubt", labels=["symbol", "reason"]
        )
        snapshots = CounterMetricFamily(
            "depthcast_feed_snapshots", "Times that a book was replaced by a snapshot", labels=["symbol"]
        )
        updates = CounterMetricFamily("depthcast_feed_updates", "Updates of live books", labels=["symbol"])
        lag = GaugeMetricFamily(
            "depthcast_feed_lag_seconds",
            "Time since the venue's time of the last published message; -1 if it names none",
            labels=["symbol"],
        )
        relistings = CounterMetricFamily(
            "depthcast_feed_relistings",
            "Listings asked for because the venue has other sizes",
            labels=["symbol"],
        )
        remedies = GaugeMetricFamily(
            "depthcast_feed_remedy_needed",
            "1 while somebody has to run a command so that the book gets the venue's sizes",
            labels=["symbol"],
        )
        others = GaugeMetricFamily(
            "depthcast_feed_other_feeder", "1 while another process feeds the symbol", labels=["symbol"]
        )
        for feed in self.feeds:
            for each in FeedState:
                state.add_metric([feed.symbol, str(each)], float(feed.state is each))
            for reason, count in feed.doubts.items():
                doubts.add_metric([feed.symbol, reason], count)
            snapshots.add_metric([feed.symbol], feed.snapshots)
            updates.add_metric([feed.symbol], feed.updates)
            relistings.add_metric([feed.symbol], feed.relistings)
            remedies.add_metric([feed.symbol], float(bool(feed.remedy)))
            lag_s = AGE_UNKNOWN if feed.ts is None else (self.now_us() - feed.ts) / 1e6
            lag.add_metric([feed.symbol], lag_s)
            others.add_metric([feed.symbol], float(feed.symbol in self.other_feeders))
        yield from (state, doubts, snapshots, updates, lag, relistings, remedies, others)

    def _of_connections(self) -> Iterable[Metric]:
        counts = self.connections
        yield GaugeMetricFamily(
            "depthcast_feed_connections", "Open connections to the venue", self.connected()
        )
        yield CounterMetricFamily("depthcast_feed_connects", "Connections opened", counts.connects)
        ends = CounterMetricFamily(
            "depthcast_feed_disconnects", "Connections that ended unwanted, by reason", labels=["reason"]
        )
        for reason, count in counts.disconnects.items():
            ends.add_metric([reason], count)
        yield ends
        yield CounterMetricFamily(
            "depthcast_feed_handovers", "Connections replaced in time by a new one", self.handovers()
        )
        yield CounterMetricFamily("depthcast_feed_messages", "Messages of the venue", counts.messages)
        skipped = CounterMetricFamily(
            "depthcast_feed_skipped", "Messages that concern no book, by kind", labels=["kind"]
        )
        for kind, count in counts.skipped.items():
            skipped.add_metric([kind], count)
        yield skipped
        age_s = self.now() - counts.last_message_at if counts.last_message_at else AGE_UNKNOWN
        yield GaugeMetricFamily(
            "depthcast_feed_last_message_age_seconds", "Age of the venue's last message; -1 before it", age_s
        )
        answers = CounterMetricFamily(
            "depthcast_feed_http_answers", "Answers to requests, by status; 0: none came", labels=["status"]
        )
        for status, count in self.answers.items():
            answers.add_metric([str(status)], count)
        yield answers
        yield CounterMetricFamily(
            "depthcast_feed_resubscriptions",
            "Times that a symbol was subscribed again",
            counts.resubscriptions,
        )
        checks = CounterMetricFamily(
            "depthcast_feed_checks", "Checks of books of which nothing came, by result", labels=["result"]
        )
        for result, count in counts.checks.items():
            checks.add_metric([result], count)
        yield checks

    def _of_writers(self) -> Iterable[Metric]:
        for name, text in _WRITTEN.items():
            family = CounterMetricFamily(f"depthcast_feed_{name}", text, labels=["partition"])
            for partition, counts in self.writers.items():
                family.add_metric([str(partition)], getattr(counts, name))
            yield family
        yield CounterMetricFamily(
            "depthcast_feed_rejects", "Rejects of fed symbols, whoever wrote the events", self.rejects()
        )
        lag = GaugeMetricFamily(
            "depthcast_feed_input_lag_seconds", "Input lag as the leader published it", labels=["partition"]
        )
        for partition, lag_ms in self.input_lag_ms().items():
            lag.add_metric([str(partition)], lag_ms / 1000)
        yield lag


_WRITTEN: Final = {
    "entries": "Entries written to the input log",
    "events": "Events in them",
    "resends": "Attempts to write again because no answer came",
    "backlogs": "Times that more waited than the limit, so that books were written whole afterwards",
    "lost": "Times that Redis had lost confirmed entries, so that a book was written whole",
}
