"""Defaults and bounds that operators rely on: changing one changes deployments, or refuses their settings."""

from dataclasses import fields

import pytest

from depthcast.shared.settings import GatewaySettings, IngestorSettings, Settings


@pytest.mark.parametrize(
    ("kind", "name", "default", "least", "most", "unit"),
    [
        (Settings, "redis_url", "redis://127.0.0.1:6379/0", None, None, ""),
        (Settings, "redis_username", "", None, None, ""),
        (Settings, "redis_password", "", None, None, ""),
        (Settings, "redis_tls_ca", "", None, None, ""),
        (Settings, "redis_tls_cert", "", None, None, ""),
        (Settings, "redis_tls_key", "", None, None, ""),
        (Settings, "prefix", "depthcast", None, None, ""),
        (Settings, "partitions", None, 1, 4096, ""),
        (Settings, "admin_host", "127.0.0.1", None, None, ""),
        (Settings, "admin_port", None, 0, 65_535, ""),
        (Settings, "log_level", "info", None, None, ""),
        (IngestorSettings, "instruments", None, None, None, ""),
        (IngestorSettings, "interval_ms", 50, 0, 60_000, "ms"),
        (IngestorSettings, "snapshot_interval_ms", 5000, 50, 3_600_000, "ms"),
        (IngestorSettings, "retention_s", 30.0, 0, 86_400, "s"),
        (IngestorSettings, "lease_ms", 2000, 100, 60_000, "ms"),
        (IngestorSettings, "rejects_max", 10_000, 1, 10_000_000, ""),
        (IngestorSettings, "input_batch", 500, 1, 100_000, ""),
        (IngestorSettings, "pending_rejects_max", 10_000, 1, 1_000_000, ""),
        (GatewaySettings, "host", "127.0.0.1", None, None, ""),
        (GatewaySettings, "port", 8080, 0, 65_535, ""),
        (GatewaySettings, "tls_cert", "", None, None, ""),
        (GatewaySettings, "tls_key", "", None, None, ""),
        (GatewaySettings, "tls_client_ca", "", None, None, ""),
        (GatewaySettings, "workers", 1, 1, 256, ""),
        (GatewaySettings, "heartbeat_ms", 5000, 100, 600_000, "ms"),
        (GatewaySettings, "stale_ms", 5000, 100, 600_000, "ms"),
        (GatewaySettings, "input_lag_max_ms", 5000, 100, 86_400_000, "ms"),
        (GatewaySettings, "input_age_max_ms", None, 100, 86_400_000, "ms"),
        (GatewaySettings, "stall_timeout_s", 30.0, 0.1, 86_400, "s"),
        (GatewaySettings, "close_linger_s", 30.0, 0, 86_400, "s"),
        (GatewaySettings, "subscribe_timeout_s", 30.0, 0.1, 86_400, "s"),
        (GatewaySettings, "connections_max", 20_000, 1, 1_000_000, ""),
        (GatewaySettings, "subscriptions_max", 5000, 1, 1_000_000, ""),
        (GatewaySettings, "wildcard", True, None, None, ""),
        (GatewaySettings, "interval_max_ms", 60_000, 1, 3_600_000, "ms"),
        (GatewaySettings, "full_depth_max", 20_000, 1, 10_000_000, "levels"),
        (GatewaySettings, "part_levels_max", 1000, 1, 10_000_000, "levels"),
        (GatewaySettings, "message_bytes_max", 1_048_576, 128, 67_108_864, "B"),
        (GatewaySettings, "write_buffer_bytes", 8192, 1024, 67_108_864, "B"),
        (GatewaySettings, "send_buffer_bytes", 16_384, 2048, 67_108_864, "B"),
        (GatewaySettings, "submit", "send", None, None, ""),
        (GatewaySettings, "deflate_bytes_min", 512, 0, 67_108_864, "B"),
        (GatewaySettings, "history_deltas", 256, 1, 1_000_000, ""),
        (GatewaySettings, "book_history_s", 10.0, 0, 600, "s"),
        (GatewaySettings, "book_history_bytes_max", 67_108_864, 0, 68_719_476_736, "B"),
        (GatewaySettings, "channel_linger_s", 60.0, 0, 86_400, "s"),
        (GatewaySettings, "drain_delay_s", 3.0, 0, 600, "s"),
        (GatewaySettings, "drain_spread_s", 5.0, 0, 3600, "s"),
        (GatewaySettings, "drain_timeout_s", 5.0, 0, 9, "s"),
        (GatewaySettings, "cors_origin", "", None, None, ""),
        (GatewaySettings, "anonymous", None, None, None, ""),
        (GatewaySettings, "token_keys", "", None, None, ""),
        (GatewaySettings, "token_jwks_url", "", None, None, ""),
        (GatewaySettings, "token_secret", "", None, None, ""),
        (GatewaySettings, "token_keys_interval_s", 300.0, 1, 86_400, "s"),
        (GatewaySettings, "token_audience", "depthcast", None, None, ""),
        (GatewaySettings, "token_issuer", "", None, None, ""),
        (GatewaySettings, "token_warning_s", 30.0, 0, 3600, "s"),
        (GatewaySettings, "auth_timeout_s", 10.0, 0.1, 3600, "s"),
    ],
)
def test_a_setting(
    kind: type[Settings], name: str, default: object, least: float | None, most: float | None, unit: str
) -> None:
    found = {item.name: item for item in fields(kind)}[name]
    assert found.default == default
    assert found.metadata == {
        "meaning": found.metadata["meaning"],
        "unit": unit,
        "least": least,
        "most": most,
        "secret": name in ("redis_url", "redis_password", "token_secret"),
    }
    assert len(found.metadata["meaning"].split()) > 1
