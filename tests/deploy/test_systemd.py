"""The systemd units: what systemd itself says of them, and their settings."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from depthcast.cli.main import SUBCOMMANDS
from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    Settings,
    file_variable,
    known_variables,
    secrets,
)

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE_MAX = 20
"""In tenths of systemd's scale from 0, for a service that can do nothing, to 10."""

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze")
each_service = pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with a program that is there; a template also with an instance."""
    folder = tmp_path_factory.mktemp("units")
    for path in UNITS.glob("depthcast-*.*"):
        text = path.read_text(encoding="utf-8").replace("/opt/depthcast/bin/depthcast", sys.executable)
        (folder / path.name.replace("@", "@8080")).write_text(text, encoding="utf-8")
    return folder


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    done = analyze("verify", "--man=no", *sorted(installed.iterdir()))
    ours = [line for line in done.stderr.splitlines() if "depthcast" in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("name", [path.name.replace("@", "@8080") for path in SERVICES])
def test_a_service_that_is_taken_over_can_do_little(installed: Path, name: str) -> None:
    done = analyze(
        "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", installed / name
    )
    assert done.returncode == 0, done.stdout


@each_service
def test_a_service_runs_a_command_with_settings_that_exist(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=/opt/depthcast/bin/depthcast (\w+)$", text, re.MULTILINE)
    assert command in SUBCOMMANDS
    named = set(re.findall(r"^Environment=(DEPTHCAST_\w+)=", text, re.MULTILINE))
    assert named <= known_variables() | {file_variable(name) for name in secrets()}


@each_service
def test_a_password_is_a_credential_of_its_own(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    role = re.split(r"[-@.]", unit.name)[1]
    assert f"LoadCredential=redis-password:/etc/depthcast/{role}-redis-password\n" in text
    assert "Environment=DEPTHCAST_REDIS_PASSWORD_FILE=%d/redis-password\n" in text


@pytest.mark.parametrize("kind", [Settings, IngestorSettings, GatewaySettings])
def test_the_common_settings_load(kind: type[Settings]) -> None:
    lines = (UNITS / "depthcast.env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert kind.load(given).partitions == 2


def test_all_services_are_confined_alike() -> None:
    parts = {
        path.read_text().split("# It needs the network and nothing else.\n")[1].split("\n\n")[0].strip()
        for path in SERVICES
    }
    assert len(parts) == 1
