"""`depthcast server`: a server in the foreground, on the given port, gone after a signal."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from depthcast.runtime.ports import free_port
from tests.waiting import eventually_sync

DEADLINE_S = 60


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command, and the URL that it printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "depthcast", "server", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            said = re.fullmatch(r"server listening on (\S+); Ctrl-C ends it\n", line)
            assert said is not None, line
            yield process, said[1]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_listens_where_it_is_told_and_ends_with_its_server(number: signal.Signals) -> None:
    port = free_port()
    with serving("--port", str(port)) as (process, url):
        assert url == f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url, protocol=2) as client:
            assert client.ping()
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 0
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_a_folder_keeps_the_data_for_the_next_start(tmp_path: Path) -> None:
    for start in range(2):
        with (
            serving("--port", "0", "--folder", str(tmp_path)) as (process, url),
            redis.Redis.from_url(url, protocol=2) as client,
        ):
            assert client.xlen("log") == start
            client.xadd("log", {"start": str(start)})
            process.terminate()
            assert process.wait(DEADLINE_S) == 0


def test_a_taken_port_is_one_line_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "depthcast", "server", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Error: port {port} of 127.0.0.1 is taken: use the server that listens there, "
        "or name another port with --port\n"
    )


def test_a_server_that_ends_by_itself_ends_the_command_with_an_error() -> None:
    with serving("--port", "0") as (process, url):
        with redis.Redis.from_url(url, protocol=2) as client:
            client.shutdown(nosave=True)
        eventually_sync(lambda: process.poll() is not None, DEADLINE_S, "the command ends after its server")
        assert process.returncode == 1
