"""What the supervisor passes to its workers."""

from dataclasses import replace

import pytest

from depthcast.gateway.runtime.supervisor import worker_environment
from depthcast.shared.settings import GatewaySettings

SETTINGS = GatewaySettings(
    port=0, workers=3, admin_port=9100, partitions=4, wildcard=False, stall_timeout_s=7.5, cors_origin="*"
)


@pytest.mark.parametrize("settings", [SETTINGS, GatewaySettings()])
def test_a_worker_has_the_settings_of_its_supervisor(
    monkeypatch: pytest.MonkeyPatch, settings: GatewaySettings
) -> None:
    """Wherever these came from: variables that options had won over are not handed on, old names neither."""
    monkeypatch.setenv("DEPTHCAST_WORKERS", "5")
    monkeypatch.setenv("DEPTHCAST_STALL_TIMEOUT", "1")
    environment = worker_environment(settings, 8123)
    assert GatewaySettings.old_names(environment, {}) == []
    loaded = GatewaySettings.load(environment)
    assert loaded == replace(settings, port=8123, workers=1, admin_port=None)


def test_a_worker_runs_compiled_only_if_its_supervisor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTHCAST_PURE", "1")
    assert worker_environment(SETTINGS, 8123)["DEPTHCAST_PURE"] == "1"
    monkeypatch.delenv("DEPTHCAST_PURE")
    assert "DEPTHCAST_PURE" not in worker_environment(SETTINGS, 8123)
