"""The composition with a password at Redis: the same server, and no command line that shows the password."""

import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

ROOT = Path(__file__).parents[2]
OVERLAY = (ROOT / "deploy" / "redis-password.yml").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SECRET = "S3cr3tValue"
PATH = "/run/secrets/redis_password"


def script() -> str:
    """The script that starts the server, as its shell sees it."""
    (indented,) = re.findall(r"- sh\n\s+- -c\n\s+- \|\n((?: {8}.*\n)+)", OVERLAY)
    return str(re.sub(r"^ {8}", "", indented, flags=re.MULTILINE)).replace("$$", "$")


def test_the_server_has_the_options_that_it_has_without_a_password() -> None:
    plain = COMPOSE.split("- redis-server\n")[1].split("    user:")[0]
    options = re.findall(r"--[\w-]+ \S+", plain)
    assert len(options) == 5
    assert re.findall(r"--[\w-]+ \S+", script()) == options


def test_every_process_that_reaches_redis_reads_the_password() -> None:
    assert re.findall(r"^  (\w+):", OVERLAY.split("services:")[1], re.MULTILINE) == [
        "redis",
        "ingestor",
        "gateway",
        "feed",
    ]
    assert f"DEPTHCAST_REDIS_PASSWORD_FILE: {PATH}" in OVERLAY


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server")
def test_the_password_is_set_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "redis_password"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    here = f"redis-server - --port {port} --bind 127.0.0.1 --dir {tmp_path}"
    text = script().replace("redis-server -", here).replace(PATH, str(file))
    process = subprocess.Popen(["sh", "-c", text], stdout=subprocess.DEVNULL)
    try:
        patient = Retry(ConstantBackoff(0.05), 200, supported_errors=(redis.ConnectionError,))
        with redis.Redis(port=port, password=SECRET, retry=patient) as client:
            assert client.ping()
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        shown = Path(f"/proc/{process.pid}/cmdline")
        if shown.exists():
            assert SECRET.encode() not in shown.read_bytes()
            assert b"redis-server" in shown.read_bytes()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)
