"""What the supervisor passes to its workers."""

from dataclasses import replace

import pytest

from depthcast.gateway.runtime.supervisor import worker_environment, worker_options
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


def test_a_worker_gets_what_was_typed_as_options_so_that_its_errors_say_so() -> None:
    typed = {"host": "127.0.0.2", "workers": "3", "admin_port": "9100", "wildcard": "no", "prefix": "p"}
    settings = GatewaySettings.load(
        {"DEPTHCAST_PARTITIONS": "4"}, typed | {"port": "0", "drain_timeout": "1"}
    )
    words = worker_options(settings, 8123)
    assert words == [
        *("--prefix=p", "--host=127.0.0.2", "--port=8123"),
        *("--wildcard=False", "--drain-timeout-s=1.0"),
    ]
    given = dict(word.removeprefix("--").replace("-", "_").split("=") for word in words)
    worker = GatewaySettings.load(worker_environment(settings, 8123), given)
    assert worker == replace(settings, port=8123, workers=1, admin_port=None)
    assert worker.typed["DEPTHCAST_HOST"] == "--host"


def test_a_worker_gets_no_secret_as_an_option() -> None:
    environment = {"DEPTHCAST_REDIS_PASSWORD": "S3cr3t"}
    typed = {"redis_url": "redis://h:1/0", "redis_username": "u"}
    settings = GatewaySettings.load(environment, typed)
    assert worker_options(settings, 8123) == ["--redis-username="]
    worker = GatewaySettings.load(worker_environment(settings, 8123), {"redis_username": ""})
    assert worker.redis_url == settings.redis_url == "redis://u:S3cr3t@h:1/0"
