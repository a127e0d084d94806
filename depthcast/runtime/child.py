"""A child process that never outlives this one, whichever way this one ends."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from depthcast.runtime import child_guard

GUARD = "prctl" if sys.platform == "linux" else "pipe"


class Child:
    """A running program, started through `child_guard`; `pid` is the program's own.

    Linux ties a child's life to the thread that started it, so a thread of its own starts it and waits for it. It
    may thus be started from any thread. Leave `guard` alone except to test the other one.
    """

    def __init__(self, command: Sequence[str | Path], output: IO[bytes], guard: str = GUARD) -> None:
        self._command = [str(word) for word in command]
        self._output = output
        self._guard = guard
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        started = threading.Event()
        # A daemon, so that a forgotten child does not keep this process from ending, and so ends with it.
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
        """Sends a signal, unless it has ended."""
        if not self._ended.is_set():
            assert self._process is not None
            self._process.send_signal(signal_number)

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within the time."""
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
                start_new_session=True,  # Ctrl-C is for us: we stop the child when its last user is gone
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
