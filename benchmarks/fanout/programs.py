"""Programs under measurement, and what they run on: each pinned to its core, each gone at the end."""

import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.harness import Absent
from benchmarks.machine import cpu_seconds, load_cores, memory_bytes, pin, server_core, with_children
from depthcast.runtime.child import Child

START_S: Final = 30.0
STOP_S: Final = 12.0
POLL_S: Final = 0.02


class Program:
    """A running program, used with `with`. `said`: groups of the pattern in its line when it was ready."""

    def __init__(
        self, name: str, command: Sequence[str | Path], ready: str, *, measured: bool = True
    ) -> None:
        self.name = name
        self.command = command
        self.ready = re.compile(ready)
        self.cores = frozenset({server_core()}) if measured else load_cores()
        self.said: tuple[str, ...] = ()
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        assert self._child is not None
        return self._child.returncode

    def cpu_s(self) -> float:
        """CPU time used so far, with that of workers."""
        return sum(map(cpu_seconds, with_children(self.pid)))

    def memory(self) -> int:
        """Bytes of memory of its own, with that of workers."""
        return sum(map(memory_bytes, with_children(self.pid)))

    def __enter__(self) -> Self:
        with tempfile.TemporaryDirectory(prefix="depthcast-bench-") as folder:
            log = Path(folder) / "output"
            with log.open("wb") as output:
                self._child = Child(self.command, output)
            try:
                self.said = self._wait(log)
                for pid in with_children(self.pid):
                    pin(pid, self.cores)
            except BaseException:
                self.stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it."""
        assert self._child is not None
        self._child.send(signal.SIGTERM)
        if not self._child.wait(STOP_S):
            self._child.send(signal.SIGKILL)
            self._child.wait(STOP_S)

    def _wait(self, log: Path) -> tuple[str, ...]:
        assert self._child is not None
        deadline = time.monotonic() + START_S
        while True:
            text = log.read_text(encoding="utf-8", errors="replace")
            if found := self.ready.search(text):
                return found.groups()
            if self._child.returncode is not None or time.monotonic() > deadline:
                raise Absent(f"{self.name} did not start; it said: {text[-2000:].strip() or 'nothing'}")
            time.sleep(POLL_S)


def python_module(name: str, **settings: object) -> list[str]:
    """A command that runs a module of the project as it is shipped, with these settings."""
    return module_of(None, name, **settings)


def module_of(python: str | None, name: str, /, **settings: object) -> list[str]:
    """The same of another version, whose Python this is; None: of this one."""
    words = [f"--{setting.replace('_', '-')}={value}" for setting, value in settings.items()]
    # -P: else modules of the working directory come first.
    return [python or sys.executable, "-P", "-m", f"depthcast.{name}", *words]
