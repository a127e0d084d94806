"""A gateway's counters: plain integers, cheap enough for the hot path.

`depthcast.gateway.runtime.metrics` publishes them once a second.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class GatewayCounters:
    """Totals since the process began.

    `deltas`, `snapshots` and `others` are messages sent to clients, `bytes_sent` their bytes. `conflated_…`
    count broadcasts that reached a client merged into a later one, for each view by what held it back: a full
    buffer, no credit, or an interval; otherwise, the client was away or the gateway late. `skipped` counts
    flushes that skipped a client because it was not ready. `delta_encodings` and `snapshot_encodings` count
    messages encoded, each once for all its readers; `snapshots_in_parts` counts the snapshots of them that
    were encoded in parts. `deflated` counts messages compressed, each once for all its readers, and
    `deflated_bytes_saved` the bytes this saved. `cohorts_made` counts cohorts of sessions with equal
    subscriptions. `drained` counts clients that were sent away because the gateway drains.
    """

    entries: int = 0
    broadcasts: int = 0
    flushes: int = 0
    deltas: int = 0
    snapshots: int = 0
    others: int = 0
    bytes_sent: int = 0
    conflated_by_buffer: int = 0
    conflated_by_credit: int = 0
    conflated_by_interval: int = 0
    conflated_otherwise: int = 0
    skipped: int = 0
    delta_encodings: int = 0
    snapshot_encodings: int = 0
    snapshots_in_parts: int = 0
    deflated: int = 0
    deflated_bytes_saved: int = 0
    requests: int = 0
    unparsable: int = 0
    resumed: int = 0
    heartbeats: int = 0
    cohorts_made: int = 0
    replaced: int = 0
    taken_up: int = 0
    unfollowed: int = 0
    drained: int = 0
    limit_subscriptions: int = 0
    limit_full_depth: int = 0
    limit_connections: int = 0
    limit_tcp_connections: int = 0
    limit_address: int = 0
    limit_connects: int = 0
    limit_token: int = 0
    limit_origin: int = 0
    limit_message_bytes: int = 0
    limit_interval: int = 0
    limit_input_rate: int = 0
    limit_input_buffer: int = 0
    limit_output_buffer: int = 0
    limit_history: int = 0
    limit_book_history: int = 0
    origins_refused: int = 0
    request_ids_replaced: int = 0
    forbidden: int = 0
    token_missing: int = 0
    token_refused: int = 0
    token_expired: int = 0
    token_revoked: int = 0
    http_refused: int = 0
    http_timeouts: int = 0
    tls_failures: int = 0
    limit_http_requests: int = 0
    limit_http_rate: int = 0
    limit_http_answer_bytes: int = 0
    limit_views: int = 0
    limit_parts_bytes: int = 0
    limit_groups: int = 0
    limit_groups_per_symbol: int = 0
    limit_subscription_changes: int = 0
    limit_message_symbols: int = 0
    limit_errors: int = 0
    limit_gateways: int = 0
    stalls: int = 0
    unfinished: int = 0
    silent: int = 0

    @property
    def conflated(self) -> int:
        """Broadcasts that reached a client merged into a later one, whatever held them back."""
        return (
            self.conflated_by_buffer
            + self.conflated_by_credit
            + self.conflated_by_interval
            + self.conflated_otherwise
        )

    def conflate(self, merged: Iterable[tuple[str | None, int]], clients: int = 1) -> None:
        """Count broadcasts that were merged for each of `clients`, by what held them back.

        That is `buffer`, `credit` or `interval`, and None for anything else.
        """
        for because, broadcasts in merged:
            if because == "buffer":
                self.conflated_by_buffer += broadcasts * clients
            elif because == "interval":
                self.conflated_by_interval += broadcasts * clients
            elif because == "credit":
                self.conflated_by_credit += broadcasts * clients
            else:
                self.conflated_otherwise += broadcasts * clients
