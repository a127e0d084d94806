"""A program that keeps a book, in a separate process on the measured core, and runs rounds on request."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.harness import Absent
from benchmarks.machine import pin, server_core
from benchmarks.peers import python

FOLDER: Final = Path(__file__).parent
REQUIREMENTS: Final = FOLDER / "requirements.txt"
INSTALLED: Final = python.ENVIRONMENT / ".books-installed"
GO_PROGRAM: Final = python.ROOT / "build" / "benchmarks" / "scan"


class Keeper:
    """Used with `with`; ends when its input does. Raises `Absent` when it does not begin."""

    def __init__(self, name: str, command: Sequence[str | Path], **variables: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            cwd=python.ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        if self._line() != "ready":
            self._process.kill()
            self._process.wait()
            raise Absent(f"{self.name} did not start")
        pin(self._process.pid, {server_core()})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def round(self) -> dict[str, float]:
        """One round: `ns` an event, and `rate` in millions of events a second."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        ns = float(self._line())
        return {"ns": ns, "rate": 1000 / ns}

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def depthcast(feed: str, load: Path, *options: str, compiled: bool = True) -> Keeper:
    """Our own engine, with options of `benchmarks.books.keep_depthcast`, as Python unless `compiled`."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.books.keep_depthcast",
        feed,
        load,
        *options,
    ]
    return Keeper("Depthcast", command, DEPTHCAST_PURE="0" if compiled else "1")


def peer(name: str, load: Path) -> Keeper:
    """A peer in Python."""
    interpreter = python.environment()
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not INSTALLED.exists() or INSTALLED.read_text(encoding="utf-8") != wanted:
        print("  installing the peers that keep books into .venv-bench", file=sys.stderr, flush=True)
        command: list[str | Path] = [
            interpreter,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "-r",
            REQUIREMENTS,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Absent(f"it could not be installed: {done.stderr.strip()[-500:]}")
        INSTALLED.write_text(wanted, encoding="utf-8")
    return Keeper(name, [interpreter, "-m", f"benchmarks.books.keep_{name}", load])


def go_scan(numbers: Path, events: int) -> Keeper:
    """The peer in Go, built each time (the compiler caches); it applies the first `events` of each round."""
    compiler = shutil.which("go")
    if compiler is None:
        raise Absent("there is no Go compiler (on Debian and Ubuntu: apt-get install golang-go)")
    GO_PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [compiler, "build", "-o", GO_PROGRAM, FOLDER / "scan.go"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise Absent(f"go could not build it: {made.stderr.strip()[-500:]}")
    return Keeper("go", [GO_PROGRAM, numbers, str(events)])
