"""No command shows a secret: not in output, logs, answers or a command line, even if a server quotes it."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from depthcast.cli.main import main
from depthcast.runtime.deployment import local_deployment
from depthcast.runtime.embedded import EmbeddedServer
from tests.environment import without_settings
from tests.waiting import eventually_sync

SECRET = "S3cr3tValue"
QUOTED = f"{SECRET}/é@#?&% "
"""A password that no URL can carry as it is."""

INGESTOR = ("ingestor",)
GATEWAY = ("gateway", "--port", "0")
WATCHED_S = 3.0
"""At most: less where a process has tried several times, and answers by HTTP."""


class QuotingServer:
    """Answers everything like a command that it does not know: by an error that quotes the arguments."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def often(self) -> bool:
        """Whether the secret came again and again."""
        return self.heard.count(SECRET.encode()) > 3

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(65_536):
                self.heard += data
                words = re.findall(rb"\$\d+\r\n([^\r]*)\r\n", data)
                quoted = b" ".join(b"'%s'" % word for word in words[1:])
                command = words[0] if words else b""
                connection.sendall(
                    b"-ERR unknown command '%s', with args beginning with: %s \r\n" % (command, quoted)
                )


@pytest.fixture
def quoting() -> Iterator[QuotingServer]:
    server = QuotingServer()
    yield server
    server.socket.close()


def answers(said: str) -> list[str]:
    """What the addresses answer that a process announces."""
    found = []
    for address in re.findall(r"listening on (http://\S+)", said):
        for path in ("/readyz", "/healthz", "/metrics", "/v1/symbols"):
            try:
                with urllib.request.urlopen(address + path, timeout=5) as answer:  # noqa: S310  # http only
                    found.append(answer.read().decode())
            except urllib.error.HTTPError as error:
                found.append(error.read().decode())
            except OSError:  # it has ended, or has no answer yet
                continue
    return found


WORDS = {
    "ingestor": INGESTOR,
    "gateway": GATEWAY,
    "workers": (*GATEWAY, "--workers", "2"),
    "feed": ("feed", "synthetic", "--register"),
    "partition": ("partition", "BTC-USD"),
    "demo": ("demo", "--seconds", "2", "--port", "0", "--workers", "1"),
}
ADDRESSED = ("workers", "partition")
"""Of these, an address with a password is tried in each run too; a password alone with all."""


@pytest.mark.parametrize(
    ("words", "way"),
    [
        *(pytest.param(words, "password", id=f"password-{name}") for name, words in WORDS.items()),
        *(
            pytest.param(
                words, "address", id=f"address-{name}", marks=[pytest.mark.deep] * (name not in ADDRESSED)
            )
            for name, words in WORDS.items()
        ),
    ],
)
@pytest.mark.slow
def test_a_server_that_quotes_a_password_does_not_make_us_say_it(
    words: tuple[str, ...], way: str, quoting: QuotingServer, tmp_path: Path
) -> None:
    file, log = tmp_path / "secret", tmp_path / "log"
    address = f"redis://127.0.0.1:{quoting.port}/0"
    if way == "password":
        file.write_text(f"{QUOTED}\n", encoding="utf-8")
        variables = {"DEPTHCAST_REDIS_URL": address, "DEPTHCAST_REDIS_PASSWORD_FILE": str(file)}
    else:
        file.write_text(address.replace("//", f"//user:{SECRET}@"), encoding="utf-8")
        variables = {"DEPTHCAST_REDIS_URL_FILE": str(file)}
    variables |= {"DEPTHCAST_LOG_LEVEL": "debug"} | (
        {"DEPTHCAST_ADMIN_PORT": "0"} if words[0] in ("ingestor", "gateway") else {}
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "depthcast", *words], env=without_settings() | variables, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        lines, said = "", list[str]()
        try:
            eventually_sync(lambda: process.poll() is not None or SECRET.encode() in quoting.heard)
            watched = time.monotonic() + WATCHED_S
            while process.poll() is None and time.monotonic() < watched and not (quoting.often and said):
                lines += command_lines(os.getpgid(process.pid))
                said = answers(log.read_text(encoding="utf-8"))
                time.sleep(0.1)
        finally:
            process.kill()  # its children end with it
            process.wait()
    assert SECRET.encode() in quoting.heard, log.read_text(encoding="utf-8")
    for text in (log.read_text(encoding="utf-8"), lines, *said):
        assert SECRET not in text


def command_lines(session: int) -> str:
    """The command lines of all processes below one: what `ps` shows to everybody."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session or _parent(folder) == session:
                found.append((folder / "cmdline").read_bytes().decode("utf-8", "replace"))
        except (OSError, ProcessLookupError):
            continue
    return "\n".join(found)


def _parent(folder: Path) -> int:
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    "words", [INGESTOR, GATEWAY, ("feed", "synthetic"), ("partition", "X"), ("demo", "--seconds", "1")]
)
def test_credentials_on_a_command_line_end_a_process_at_once(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*words, "--redis-url", f"redis://:{SECRET}@127.0.0.1:1/0"])
    assert done.exit_code == 2, done.output
    assert SECRET not in done.output
    assert "DEPTHCAST_REDIS_PASSWORD_FILE" in re.sub(r"\s", "", done.output)


@pytest.mark.parametrize(
    "words", [("watch", "BTC-USD", "--url"), ("feed", "replay", __file__, "--verify", "--gateway-url")]
)
@pytest.mark.parametrize("address", [f"http://u:{SECRET}@h:1", f"ws://h:1/v1/ws?token={SECRET}"])
def test_an_address_of_a_gateway_with_a_secret_is_no_option(words: tuple[str, ...], address: str) -> None:
    done = CliRunner().invoke(main, [*words, address])
    assert done.exit_code == 2, done.output
    assert SECRET not in done.output
    assert "DEPTHCAST_GATEWAY_URL" in re.sub(r"[\s│]", "", done.output)


def test_an_address_of_a_gateway_with_a_secret_comes_from_the_environment() -> None:
    environment = without_settings() | {"DEPTHCAST_GATEWAY_URL": f"http://u:{SECRET}@127.0.0.1:1"}
    command = [sys.executable, "-m", "depthcast", "watch", "BTC-USD"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "unreachable: ws" in done.stderr or "http://***@127.0.0.1:1" in done.stderr
    assert SECRET not in done.stdout + done.stderr


async def test_the_services_of_a_deployment_get_the_password_unseen() -> None:
    with EmbeddedServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", SECRET)
        address = server.url.replace("//", f"//:{SECRET}@")
        async with local_deployment("", redis_url=address) as deployment:
            deployment.check()
            lines = await asyncio.to_thread(_ours)
            assert "depthcast.ingestor" in lines
            assert "depthcast.gateway" in lines
            assert SECRET not in lines


def _ours() -> str:
    return "\n".join(
        (folder / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
        for folder in Path("/proc").glob("[0-9]*")
        if (folder / "cmdline").exists() and _parent(folder) == os.getpid()
    )
