"""What the dashboards show. A row is what an operator looks at together."""

from typing import NamedTuple

from deploy.grafana.queries import Queries, Query


class Page(NamedTuple):
    """One dashboard. `name`: of its file. `rows`: panels by the title of their row."""

    name: str
    title: str
    rows: dict[str, list[Query]]


def pages(make: Queries) -> list[Page]:
    """Return all dashboards; raises `KeyError` if a metric or a label is gone."""
    return [
        Page("overview", "Depthcast: overview", _overview(make)),
        Page("ingestors", "Depthcast: ingestors", _ingestors(make)),
        Page("gateways", "Depthcast: gateways", _gateways(make)),
        Page("feeds", "Depthcast: live feeds", _feeds(make)),
        Page("relays", "Depthcast: copies", _relays(make)),
    ]


def _overview(make: Queries) -> dict[str, list[Query]]:
    return {
        "Are all books right and live?": [
            make.gauge("Leaders of each partition", "depthcast_ingestor_leading", "partition", how="sum"),
            make.gauge("Stale books", "depthcast_gateway_stale_symbols", "instance"),
            make.gauge("Age of the newest entry", "depthcast_gateway_silence_seconds", "instance"),
            make.rate("Wrong digests", "depthcast_gateway_digest_mismatches_total", "instance"),
            make.gauge("Input lag", "depthcast_ingestor_input_lag_seconds", "partition"),
            make.gauge("Checks of Redis that fail", "depthcast_redis_check_failed", "check"),
        ],
        "From event to client": [
            make.quantile("Median of each stage", "depthcast_stage_seconds", "stage", share=0.5),
            make.quantile("99th percentile of each stage", "depthcast_stage_seconds", "stage"),
            make.gauge("Lag of consumers", "depthcast_consumer_lag_seconds", "consumer", "partition"),
            make.gauge(
                "Replicas behind, of consumers",
                "depthcast_consumer_replica_lag_seconds",
                "consumer",
                "partition",
            ),
        ],
        "Load": [
            make.rate("Events", "depthcast_ingestor_events_total", "result"),
            make.rate("Messages to clients", "depthcast_gateway_messages_total", "type"),
            make.gauge("Clients over WebSocket", "depthcast_gateway_connections", "instance", how="sum"),
        ],
        "Processes": [
            make.rate("Processor time", "process_cpu_seconds_total", "job", "instance"),
            make.gauge("Memory", "process_resident_memory_bytes", "job", "instance", how="sum"),
            make.gauge("Versions", "depthcast_build_info", "tier", "version", how="count"),
        ],
    }


def _ingestors(make: Queries) -> dict[str, list[Query]]:
    return {
        "Leadership": [
            make.gauge("Leading", "depthcast_ingestor_leading", "partition", "instance"),
            make.gauge("Standing by", "depthcast_ingestor_following", "partition", "instance"),
            make.rate("Leaderships that ended", "depthcast_ingestor_step_downs_total", "partition"),
            make.rate("Handovers", "depthcast_ingestor_handovers_total", "partition"),
            make.rate("Errors", "depthcast_ingestor_errors_total", "partition"),
            make.rate("Failed recoveries", "depthcast_ingestor_recovery_failures_total", "partition"),
        ],
        "Input": [
            make.rate("Events", "depthcast_ingestor_events_total", "partition", "result"),
            make.rate("Entries", "depthcast_ingestor_entries_consumed_total", "partition"),
            make.gauge("Input lag", "depthcast_ingestor_input_lag_seconds", "partition"),
            make.rate("Rejects", "depthcast_ingestor_rejects_total", "reason"),
            make.rate("Input lost", "depthcast_ingestor_lost_entries_total", "partition"),
            make.gauge("Symbols in doubt", "depthcast_ingestor_symbols_in_doubt", "partition"),
        ],
        "Output": [
            make.ratio(
                "Events merged into each delta",
                "depthcast_ingestor_events_total",
                "depthcast_ingestor_deltas_total",
                "partition",
                where='{result="applied"}',
                text="Applied events for each delta of a symbol: how much merging saves.",
            ),
            make.rate("Deltas of symbols", "depthcast_ingestor_deltas_total", "partition"),
            make.rate("Broadcasts", "depthcast_ingestor_broadcasts_total", "partition"),
            make.rate("Time spent publishing", "depthcast_ingestor_publish_seconds_total", "partition"),
            make.rate("Snapshots", "depthcast_ingestor_snapshots_total", "partition"),
            make.rate("Error replies of Redis", "depthcast_ingestor_redis_errors_total", "code"),
        ],
        "Time": [
            make.quantile(
                "99th percentile of each stage",
                "depthcast_stage_seconds",
                "stage",
                "partition",
                where=_BY_INGESTOR,
            ),
        ],
    }


def _gateways(make: Queries) -> dict[str, list[Query]]:
    return {
        "Clients": [
            make.gauge("WebSockets", "depthcast_gateway_connections", "instance", how="sum"),
            make.gauge("Event streams", "depthcast_gateway_event_streams", "instance", how="sum"),
            make.gauge("Subscriptions", "depthcast_gateway_subscriptions", "instance", how="sum"),
            make.rate("Limits reached", "depthcast_gateway_limits_total", "type"),
            make.rate("Time-outs", "depthcast_gateway_timeouts_total", "type"),
            make.rate("Refused requests", "depthcast_gateway_http_refused_total", "instance"),
        ],
        "Delivery": [
            make.rate("Messages", "depthcast_gateway_messages_total", "type"),
            make.rate("Bytes", "depthcast_gateway_bytes_sent_total", "instance"),
            make.rate("Conflated broadcasts", "depthcast_gateway_conflated_total", "because"),
            make.ratio(
                "Messages for each message encoded",
                "depthcast_gateway_messages_total",
                "depthcast_gateway_encodings_total",
                "instance",
                text="How many clients share the bytes of a message.",
            ),
            make.quantile("99th percentile of a flush", "depthcast_gateway_flush_seconds", "instance"),
            make.quantile(
                "99th percentile from read to written",
                "depthcast_stage_seconds",
                "instance",
                "worker",
                where='{stage="read_to_written"}',
            ),
        ],
        "Books": [
            make.gauge("Age of the newest entry", "depthcast_gateway_silence_seconds", "instance"),
            make.gauge("Stale books", "depthcast_gateway_stale_symbols", "instance"),
            make.rate("Gaps", "depthcast_gateway_gaps_total", "instance"),
            make.rate("Loads of snapshots", "depthcast_gateway_resyncs_total", "instance"),
            make.gauge("Lag of replicas", "depthcast_gateway_replica_lag_seconds", "instance"),
            make.rate("Replicas left", "depthcast_gateway_replica_fallbacks_total", "reason"),
            make.gauge("Channels", "depthcast_gateway_channels", "instance", how="sum"),
            make.rate("Error replies of Redis", "depthcast_gateway_redis_errors_total", "code"),
        ],
        "What is followed": [
            make.gauge("Symbols followed", "depthcast_gateway_followed_symbols", "instance"),
            make.gauge("Partitions read", "depthcast_gateway_read_partitions", "instance"),
            make.rate("Symbols taken up", "depthcast_gateway_taken_up_total", "instance"),
            make.rate("Symbols let go", "depthcast_gateway_unfollowed_total", "instance"),
        ],
        "Processes": [
            make.rate("Processor time of workers", "process_cpu_seconds_total", "instance", "worker"),
            make.gauge("Memory of workers", "process_resident_memory_bytes", "instance", "worker"),
            make.gauge("Open files", "process_open_fds", "instance", "worker"),
        ],
    }


def _feeds(make: Queries) -> dict[str, list[Query]]:
    return {
        "Books": [
            make.gauge("Live", "depthcast_feed_state", "symbol", where='{state="live"}'),
            make.rate("Doubts", "depthcast_feed_doubts_total", "symbol", "reason"),
            make.gauge("Behind the venue", "depthcast_feed_lag_seconds", "symbol"),
            make.rate("Updates", "depthcast_feed_updates_total", "symbol"),
            make.gauge("Waiting for somebody", "depthcast_feed_remedy_needed", "symbol"),
            make.gauge("Fed by another process, too", "depthcast_feed_other_feeder", "symbol"),
        ],
        "Venues and Redis": [
            make.gauge("Connections", "depthcast_feed_connections", "instance", how="sum"),
            make.rate("Connections that ended", "depthcast_feed_disconnects_total", "reason"),
            make.rate("Events written", "depthcast_feed_events_total", "partition"),
            make.rate("Rejects", "depthcast_feed_rejects_total", "instance"),
            make.gauge("Input lag", "depthcast_feed_input_lag_seconds", "partition"),
            make.rate("Answers of venues", "depthcast_feed_http_answers_total", "status"),
        ],
    }


def _relays(make: Queries) -> dict[str, list[Query]]:
    return {
        "Copies": [
            make.gauge("Copied by", "depthcast_relay_following", "prefix", "partition", how="sum"),
            make.gauge(
                "Age of the newest entry", "depthcast_relay_lag_seconds", "prefix", "partition", how="min"
            ),
            make.gauge("From write to copy", "depthcast_relay_delay_seconds", "prefix", "partition"),
            make.rate("Entries", "depthcast_relay_entries_total", "prefix", "partition"),
            make.rate("Bytes of entries", "depthcast_relay_bytes_total", "prefix"),
            make.rate("Snapshots", "depthcast_relay_snapshots_total", "prefix"),
            make.rate("Copies that began again", "depthcast_relay_replaced_total", "prefix", "partition"),
        ],
        "Servers": [
            make.rate("Failed attempts", "depthcast_relay_failures_total", "prefix", "side"),
            make.rate("Error replies of Redis", "depthcast_relay_redis_errors_total", "code"),
            make.rate("Reads of all instruments", "depthcast_relay_catalog_reads_total", "prefix", "side"),
            make.rate("Reads limited by bytes", "depthcast_relay_limited_total", "prefix", "partition"),
            make.gauge("Bytes read at once", "depthcast_relay_read_bytes", "prefix", "partition"),
            make.gauge("Clock ahead of the source's", "depthcast_relay_clock_offset_seconds", "prefix"),
        ],
    }


_BY_INGESTOR = '{stage=~".*_to_consumed|consumed_to_published"}'
