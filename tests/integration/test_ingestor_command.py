"""The command with bad settings: status 2, and a text with the setting, the value and the remedy."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from depthcast.ingestor.runtime.command import ingestor
from depthcast.shared.settings import NOT_SETTINGS


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove this machine's settings; restore logging afterwards."""
    for name in list(os.environ):
        if name.startswith("DEPTHCAST_") and name not in NOT_SETTINGS:
            monkeypatch.delenv(name)
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    yield
    root.handlers[:] = kept
    root.setLevel(level)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "instruments.toml"


def invoke(redis_url: str, prefix: str, **environment: object) -> Result:
    given = {f"DEPTHCAST_{name.upper()}": str(value) for name, value in environment.items()}
    return CliRunner().invoke(
        ingestor, env={"DEPTHCAST_REDIS_URL": redis_url, "DEPTHCAST_PREFIX": prefix, **given}
    )


def test_another_number_of_partitions(redis_url: str, prefix: str) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.hset(f"{prefix}:meta", mapping={"protocol": 1, "partitions": 4})
        result = invoke(redis_url, prefix, partitions=2)
        assert result.exit_code == 2
        for said in ("DEPTHCAST_PARTITIONS", "2 here", "created with 4", "remove the setting or use 4"):
            assert said in result.output
        assert client.hgetall(f"{prefix}:meta") == {b"protocol": b"1", b"partitions": b"4"}


def test_another_protocol(redis_url: str, prefix: str) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.hset(f"{prefix}:meta", mapping={"protocol": 2, "partitions": 1})
    result = invoke(redis_url, prefix)
    assert result.exit_code == 2
    assert "protocol is set to 1 here, but the deployment was created with 2" in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[A", "not valid TOML"),
        (b"[A]\nfeed = 5", "instrument 'A': feed is 5; it must be one of levels, orders"),
        (b"[A]\ntick_size = 0.01", "tick_size is 0.01; write a positive decimal as text"),
        (b"\xff\xfe", "cannot be read"),
        (None, "No such file"),
    ],
)
def test_a_bad_file(redis_url: str, prefix: str, file: Path, text: bytes | None, says: str) -> None:
    if text is not None:
        file.write_bytes(text)
    result = invoke(redis_url, prefix, instruments=file)
    assert result.exit_code == 2
    assert "DEPTHCAST_INSTRUMENTS" in result.output
    assert str(file) in result.output
    assert says in result.output


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:port/0",
        "redis://h:99999/0",
        "redis://h/0?no_such_option=1",
        "redis://[::1/0",
        "redis://u:secret@h:x",
    ],
)
def test_a_bad_address(prefix: str, url: str) -> None:
    result = invoke(url, prefix)
    assert result.exit_code == 2
    assert "DEPTHCAST_REDIS_URL" in result.output
    assert "is not a usable address" in result.output
    assert "secret" not in result.output


def test_an_admin_port_that_is_taken(redis_url: str, prefix: str) -> None:
    port = redis_url.rpartition(":")[2].partition("/")[0]
    result = invoke(redis_url, prefix, admin_port=port)
    assert result.exit_code == 2
    assert f"DEPTHCAST_ADMIN_PORT: {port} cannot be served on" in result.output


def test_the_process_itself(prefix: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ingestor", "--interval-ms", "-1"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "--interval-ms: -1 must be from 0 to 60000 ms" in " ".join(ended.stderr.split())
    assert ended.stdout == ""
