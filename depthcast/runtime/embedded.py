"""An embedded Redis-compatible server, for the demo, tests and trials on one machine.

It listens on 127.0.0.1, on a free port unless one is named, and keeps its files in a temporary folder. It
ends with this process, even after SIGKILL; the temporary folder then stays. A deployment runs its own server
instead.
"""

import asyncio
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from depthcast.runtime.child import Child
from depthcast.runtime.ports import HOST, free_port
from depthcast.runtime.server_binary import ServerBinary, ServerNotFoundError, find_server
from depthcast.shared.errors import EmbeddedServerError

__all__ = [
    "EmbeddedServer",
    "PortTakenError",
    "ServerBinary",
    "ServerNotFoundError",
    "ServerStartError",
    "find_server",
]

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.01
PORT_TRIES_MAX = 5
LOG_LINES_SHOWN = 15
PORT_TAKEN = "Address already in use"


class ServerStartError(EmbeddedServerError):
    """The server ended, or did not answer in time; `log` has the last lines of its log."""

    def __init__(self, binary: ServerBinary, problem: str, log: str) -> None:
        self.binary = binary
        self.problem = problem
        self.log = log
        super().__init__(
            f"{binary.product} at {binary.path} {problem}; the last lines of its log:\n{log or '(none)'}"
        )


class PortTakenError(EmbeddedServerError):
    """Another program listens on the requested port."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(
            f"port {port} of {HOST} is taken: use the server that listens there, "
            "or name another port with --port"
        )


class EmbeddedServer:
    """A server that runs as a child process during a `with` or `async with` block.

    Args:
        port: Port to listen on; 0 takes a free one.
        binary: The server to start; by default the result of `find_server`.
        append_only: Keep the data across a `restart`; otherwise a restarted server is empty.
        folder: Folder for the files, kept at the end; by default a temporary folder, which is removed.
        options: Further settings of the server, such as `{"maxmemory": "8mb"}`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        binary: ServerBinary | None = None,
        append_only: bool = False,
        folder: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.folder = folder
        self._binary = binary
        self._append_only = append_only
        self._temporary = folder is None
        self._options = dict(options or {})
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Address for Redis clients, known after the first start."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._child is not None, "not running"
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServerNotFoundError: There is no usable binary.
            PortTakenError: Another program listens on the chosen port.
            ServerStartError: The server ended or did not answer in time.
        """
        assert not self.running, "already running"
        self._binary = self._binary or find_server()
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="depthcast-server-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start_on_a_port(self._binary)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server cleanly and remove the temporary folder; repeated calls do nothing."""
        self._end(signal.SIGTERM)
        if self._temporary and self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def kill(self) -> None:
        """End the server at once, as a crash would; its folder stays for `restart`."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End the server if it runs, and start it on the same port. Raises the errors of `start`."""
        self._end(signal.SIGTERM)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be interrupted: let it finish, so that nothing is left running.
            await asyncio.wait([starting])
            await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _start_on_a_port(self, binary: ServerBinary) -> None:
        # Another program may take a free port before the server does. A first start then tries another port;
        # a restart tries the same one again, because clients know it.
        keep_port = self.port != 0
        deadline = time.monotonic() + START_TIMEOUT_S
        for attempt in range(1, PORT_TRIES_MAX + 1):
            if not keep_port:
                self.port = free_port()
            try:
                self._start_once(binary, deadline)
            except ServerStartError as error:
                if PORT_TAKEN not in error.log:
                    raise
                if attempt == PORT_TRIES_MAX:
                    raise (PortTakenError(self.port) if keep_port else error) from error
                time.sleep(POLL_INTERVAL_S * 2**attempt)
            else:
                return

    def _start_once(self, binary: ServerBinary, deadline: float) -> None:
        assert self.folder is not None
        log_path = self.folder / "server.log"
        with log_path.open("wb") as log:
            self._child = Child(self._command(binary, self.folder), log)
        while not self._answers(self._child.pid):
            if self._child.wait(POLL_INTERVAL_S):
                raise ServerStartError(binary, f"ended with status {self._child.returncode}", _tail(log_path))
            if time.monotonic() > deadline:
                self.kill()
                raise ServerStartError(binary, f"did not answer in {START_TIMEOUT_S:g} s", _tail(log_path))

    def _command(self, binary: ServerBinary, folder: Path) -> list[str | Path]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            # Evicting a stream would reset its last ID, and readers would wait for ever.
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        return [binary.path, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def _answers(self, pid: int) -> bool:
        """Return whether the server that answers on the port is ours."""
        client = redis.Redis(
            host=HOST, port=self.port, socket_timeout=1, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        try:
            return bool(client.ping()) and dict(client.info("server")).get("process_id") == pid
        except (redis.RedisError, OSError):
            return False  # not listening yet, or still loading
        finally:
            client.close()

    def _end(self, signal_number: int) -> None:
        child = self._child
        if child is None:
            return
        child.send(signal_number)
        if not child.wait(STOP_TIMEOUT_S):
            child.send(signal.SIGKILL)
            child.wait(STOP_TIMEOUT_S)
        self._child = None


def _tail(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return "".join(deque(lines, LOG_LINES_SHOWN)).rstrip()
