"""The script that makes the composition's certificates and passwords."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from depthcast.cli.main import main
from depthcast.gateway.protocol.grant import Grant, grant_of
from depthcast.gateway.runtime.token_check import TokenCheck
from depthcast.gateway.runtime.token_keys import parse_keys
from tests.deploy.conftest import make_secrets

ROLES = {"ingestor": "ingestor", "gateway": "gateway", "feed": "feed", "token": "operator"}
"""Services that connect to Redis, with their roles there."""
COMPOSE = (Path(__file__).parents[2] / "docker-compose.yml").read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_service_gets_what_it_needs_and_nothing_of_others(secrets: Path) -> None:
    of_a_process = {"ca.pem", "client.pem", "client-key.pem", "redis-password", "made"}
    found = {folder.name: {path.name for path in folder.iterdir()} for folder in secrets.iterdir()}
    assert found == {
        "redis": {"ca.pem", "redis.pem", "redis-key.pem", "users.acl", "made"},
        "proxy": {"ca.pem", "proxy.pem", "made"},
        **dict.fromkeys(ROLES, of_a_process),
        "gateway": of_a_process | {"keys.json"},
        "token": of_a_process | {"signing.pem"},
        "prometheus": {"metrics-token", "made"},
        "grafana": {"admin-password", "made"},
    }


def test_only_the_reader_of_a_secret_may_read_it(secrets: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in secrets.glob("*/*") if path.name != "made"}
    assert set(modes.values()) == {0o400}


@pytest.mark.parametrize(
    ("certificate", "purpose", "name"),
    [
        ("redis/redis.pem", "sslserver", "redis"),
        ("redis/redis.pem", "sslclient", "redis"),
        ("proxy/proxy.pem", "sslserver", "localhost"),
        ("gateway/client.pem", "sslclient", "gateway"),
    ],
)
def test_a_certificate_is_good_for_its_purpose(
    secrets: Path, certificate: str, purpose: str, name: str
) -> None:
    path = secrets / certificate
    words = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", name]
    done = subprocess.run(
        [*words, "-CAfile", path.parent / "ca.pem", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_redis_knows_the_hashes_of_the_passwords_that_the_processes_have(secrets: Path) -> None:
    acl = (secrets / "redis/users.acl").read_text(encoding="utf-8")
    users = dict(re.findall(r"^user depthcast-(\w+) on #([0-9a-f]{64})\b", acl, re.MULTILINE))
    assert users == {
        role: hashlib.sha256((secrets / name / "redis-password").read_bytes().strip()).hexdigest()
        for name, role in ROLES.items()
    }
    assert len(set(users.values())) == len(ROLES)


def grant(secrets: Path, token: str) -> Grant:
    """What a gateway of the composition takes a token for."""
    keys = parse_keys((secrets / "gateway/keys.json").read_bytes())
    return grant_of(TokenCheck("depthcast", "").claims(token, keys))


def test_prometheus_may_read_metrics_and_no_book(secrets: Path) -> None:
    rights = grant(secrets, (secrets / "prometheus/metrics-token").read_text().strip()).rights
    assert rights.metrics
    assert rights.names == frozenset({"none"})
    assert not rights.patterns


def test_gateways_take_what_the_token_tool_prints(secrets: Path) -> None:
    command = re.search(r"^    command: \[(issue, .*)\]$", COMPOSE, re.MULTILINE)
    assert command is not None
    words = command[1].replace("/secrets/", f"{secrets}/token/").split(", ")
    printed = CliRunner().invoke(main, ["token", *words])
    assert printed.exit_code == 0, printed.output
    made = grant(secrets, printed.output.strip())
    assert (made.subject, made.rights.all_symbols, made.rights.metrics) == ("developer", True, False)


def test_a_second_run_changes_nothing_and_a_lost_folder_everything(secrets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    shutil.copytree(secrets, folder)
    before = contents(folder)
    assert "are there" in make_secrets(folder)
    assert contents(folder) == before

    shutil.rmtree(folder / "feed")
    make_secrets(folder)
    after = contents(folder)
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] == before[name]] == []
