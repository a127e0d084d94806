"""Options made from settings, and exit statuses: 0 clean, 2 bad settings, 1 anything else."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator

import click
import pytest
from click.testing import CliRunner

from depthcast.shared.errors import (
    DeploymentMismatch,
    InstrumentsError,
    RecoveryError,
    RedisUnavailable,
    SettingsError,
)
from depthcast.shared.runtime.command import run_service, settings_options
from depthcast.shared.runtime.stop import Stop, set_within
from depthcast.shared.settings import GatewaySettings, IngestorSettings, described

seen: list[IngestorSettings] = []


@click.command()
@click.option("--other", default="thing")
@settings_options(IngestorSettings)
def command(settings: IngestorSettings, other: str) -> None:
    """Do nothing."""
    seen.append(settings)
    click.echo(other)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove this machine's settings; restore logging afterwards."""
    seen.clear()
    for name in list(os.environ):
        if name.startswith("DEPTHCAST_"):
            monkeypatch.delenv(name)
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    yield
    root.handlers[:] = kept
    root.setLevel(level)


def test_every_setting_is_an_option() -> None:
    output = CliRunner().invoke(command, ["--help"], terminal_width=10_000).output
    for name, text in described(IngestorSettings):
        assert f"--{name.replace('_', '-')} VALUE" in output
        assert text in output


def test_options_win_over_the_environment() -> None:
    result = CliRunner().invoke(
        command,
        ["--interval-ms", "5", "--other", "one"],
        env={"DEPTHCAST_INTERVAL_MS": "7", "DEPTHCAST_LEASE_MS": "900"},
    )
    assert (result.exit_code, result.output) == (0, "one\n")
    assert (seen[0].interval_ms, seen[0].lease_ms) == (5, 900)


@click.command()
@settings_options(GatewaySettings)
def renamed(settings: GatewaySettings) -> None:
    """Print a setting that had another name."""
    click.echo(settings.stall_timeout_s)


def test_an_old_name_works_with_a_warning() -> None:
    result = CliRunner().invoke(renamed, ["--stall-timeout", "3"])
    assert (result.exit_code, result.stdout) == (0, "3.0\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Warning: --stall-timeout is now called --stall-timeout-s;")

    result = CliRunner().invoke(renamed, [], env={"DEPTHCAST_STALL_TIMEOUT": "4"})
    assert (result.exit_code, result.stdout) == (0, "4.0\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Warning: DEPTHCAST_STALL_TIMEOUT is now called DEPTHCAST_STALL_TIMEOUT_S;")

    assert CliRunner().invoke(renamed, ["--stall-timeout-s", "5"]).stderr == ""
    assert "--stall-timeout " not in CliRunner().invoke(renamed, ["--help"]).output


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        (["--interval-ms", "fast"], {}, "--interval-ms: 'fast' must be an integer"),
        ([], {"DEPTHCAST_LEASE_MS": "1"}, "DEPTHCAST_LEASE_MS: 1 must be from 100 to 60000 ms"),
        ([], {"DEPTHCAST_INTERVALL": "1"}, "DEPTHCAST_INTERVALL: '***' is set, but no setting has that name"),
        (["--no-such"], {}, "No such option"),
    ],
)
def test_bad_settings_end_with_2(words: list[str], environment: dict[str, str], says: str) -> None:
    result = CliRunner().invoke(command, words, env=environment, terminal_width=10_000)
    assert result.exit_code == 2
    assert says in result.output
    assert not seen


def raising(error: Exception) -> Callable[[Stop], Awaitable[None]]:
    async def main(_stop: Stop) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("DEPTHCAST_X", 5, "must be 6"), 2),
        (InstrumentsError("A", "is odd"), 2),
        (DeploymentMismatch("DEPTHCAST_PARTITIONS", 2, 4), 2),
        (RecoveryError(3, "does not add up"), 1),
        (RedisUnavailable("gone"), 1),
    ],
)
def test_what_went_wrong_is_said_and_sets_the_status(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_service(raising(error), IngestorSettings())
    assert caught.value.code == status
    assert capsys.readouterr().err.startswith(f"Error: {error}")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (SettingsError("DEPTHCAST_ADMIN_PORT", 80, "cannot be served on"), "--admin-port: 80 cannot be"),
        (DeploymentMismatch("DEPTHCAST_PARTITIONS", 2, 4), "--partitions is set to 2 here"),
        (SettingsError("DEPTHCAST_PREFIX", "x", "is odd"), "DEPTHCAST_PREFIX: 'x' is odd"),
    ],
)
def test_what_goes_wrong_later_names_the_option_that_was_typed(
    error: Exception, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = IngestorSettings.load(
        {"DEPTHCAST_PREFIX": "x", "DEPTHCAST_PARTITIONS": "3"}, {"admin_port": "80", "partitions": "2"}
    )
    with pytest.raises(SystemExit) as caught:
        run_service(raising(error), settings)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"Error: {says}")


def test_the_unexpected_is_logged_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_service(raising(KeyError("odd")), IngestorSettings())
    assert caught.value.code == 1
    assert "KeyError: 'odd'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    ended = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), number)
        await stop.wait()
        ended.append(True)

    run_service(main, IngestorSettings())
    assert ended


@pytest.mark.parametrize("other", [False, True])
def test_the_same_signal_a_second_time_ends_it_at_once(other: bool) -> None:
    asked = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        asked.append(stop.at_once.is_set())
        os.kill(os.getpid(), signal.SIGINT if other else signal.SIGTERM)
        asked.append(await set_within(stop.at_once, 0.1 if other else 60))

    run_service(main, IngestorSettings())
    assert asked == [False, not other], "Ctrl-C reaches a worker beside the SIGTERM of its supervisor"
