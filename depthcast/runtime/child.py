"""A child process that never outlives this one, however this one ends."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from depthcast.runtime import child_guard

GUARD = "prctl" if sys.platform == "linux" else "pipe"


class Child:
    """A running program, started through `child_guard`; `pid` is the program's own.

    Linux ends a guarded child together with the thread that started it. So a separate thread starts the child
    and waits for it, and a `Child` may be made in any thread. Only tests pass `guard`, to try the other
    guard. `environment`: that of the program, by default this process's.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        output: IO[bytes],
        guard: str = GUARD,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(word) for word in command]
        self._output = output
        self._guard = guard
        self._environment = environment
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        started = threading.Event()
        # A daemon thread does not keep this process from ending, and the child ends with the process.
        threading.Thread(target=self._keep, args=(started,), name="child-keeper", daemon=True).start()
        started.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative signal number if a signal ended it."""
        return self._process.returncode if self._process is not None and self._ended.is_set() else None

    def send(self, signal_number: int) -> None:
        """Send a signal, unless the child has ended."""
        if not self._ended.is_set():
            assert self._process is not None
            self._process.send_signal(signal_number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the child ends; returns whether it did within the time."""
        return self._ended.wait(timeout_s)

    def _keep(self, started: threading.Event) -> None:
        read_fd, write_fd = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", child_guard.__file__),
                    *(self._guard, str(os.getpid()), str(read_fd)),
                    *self._command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=[read_fd],
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops the child
            )
        except OSError as error:
            self._failure = error
            return
        finally:
            os.close(read_fd)
            if self._process is None:
                os.close(write_fd)
            started.set()
        self._process.wait()
        os.close(write_fd)
        self._ended.set()
