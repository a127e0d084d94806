"""Runs in a separate process: a package's tests with a module replaced, or with coverage measured.

Nothing of the program is imported before the process starts, so every import finds the mutant.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import coverage
import hypothesis
import pytest
from hypothesis import is_hypothesis_test

MEMORY_BYTES_MAX: Final = 4 << 30
EXAMPLES_MAX: Final = 25
QUIET: Final = (
    "-q",
    "--tb=short",
    "-pno:randomly",
    "-pno:cacheprovider",
    "-pno:faulthandler",
    "-pno:pytest_cov",
    "-pno:xdist",
    "-pno:xdist.looponfail",
    # Plugins were imported earlier, once for all trials.
    "-Wignore::pytest.PytestAssertRewriteWarning",
)


class Replacement(importlib.abc.MetaPathFinder):
    """Finds one module, to be loaded from `source` instead of its file."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self._module = module
        self._loader = _Loader(module, path, source)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, module: str, path: Path, source: str) -> None:
        super().__init__(module, str(path))
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile `source`, and leave no trace of it on the disk."""
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code


class Repeatable:
    """Makes hypothesis choose the same few examples each time, and does not let it look for simpler ones."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        hypothesis.settings.register_profile(
            "mutants",
            hypothesis.settings(),
            derandomize=True,
            database=None,
            max_examples=EXAMPLES_MAX,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        hypothesis.settings.load_profile("mutants")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            test = getattr(item, "obj", None)
            if is_hypothesis_test(test):
                _limit_examples(test)


def _limit_examples(test: Any) -> None:
    """A test that requests more examples also gets `EXAMPLES_MAX`."""
    inner = getattr(test, "__func__", test)
    asked = inner._hypothesis_internal_use_settings
    inner._hypothesis_internal_use_settings = hypothesis.settings(
        asked, max_examples=min(asked.max_examples, EXAMPLES_MAX)
    )


class Chosen:
    """Keeps the requested tests, in the requested order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._place = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._place), key=lambda item: self._place[item.nodeid]
        )


class Reach:
    """Records which test reaches which lines, and how long it takes."""

    def __init__(self, files: Sequence[str]) -> None:
        self._coverage = coverage.Coverage(data_file=None, include=list(files), config_file=False)
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        before = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - before
        self._coverage.switch_context("")
        return result  # how a wrapper returns the result of what it wraps

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def start(self) -> None:
        self._coverage.start()

    def lines(self) -> dict[str, dict[int, list[str]]]:
        """The tests by file and line; an empty name is the import of the tests."""
        self._coverage.stop()
        data = self._coverage.get_data()
        return {file: data.contexts_by_lineno(file) for file in data.measured_files()}


def measure(
    root: Path, files: Sequence[str], tests: Sequence[str], left_out: Sequence[str], out: Path, log: Path
) -> None:
    """Run all tests, and write what they reach to `out` as JSON."""
    _enter(root, log)
    reach = Reach(files)
    reach.start()
    ignored = [f"--ignore={path}" for path in left_out]
    status = pytest.main([*QUIET, *ignored, *tests], plugins=[Repeatable(), reach])
    found = {
        "status": int(status),
        "failed": reach.failed,
        "seconds": reach.seconds,
        "lines": reach.lines(),
    }
    out.write_text(json.dumps(found), encoding="utf-8")


def attempt(
    root: Path, module: str, path: Path, source: str, tests: Sequence[str], seconds: float, log: Path
) -> None:
    """Run `tests` up to the first that fails, with `source` in place of a module; exit with pytest's status.

    It gets at most `seconds` of processor time; then `SIGXCPU` ends it.
    """
    _enter(root, log)
    most = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 5))
    replacement = Replacement(module, root / path, source)
    sys.meta_path.insert(0, replacement)
    importlib.import_module(module.partition(".")[0])  # may put its own finders in front
    sys.meta_path.remove(replacement)
    sys.meta_path.insert(0, replacement)
    files = sorted({test.partition("::")[0] for test in tests})
    status = pytest.main([*QUIET, "-x", *files], plugins=[Repeatable(), Chosen(tests)])
    sys.stdout.flush()
    os._exit(int(status))  # whatever a mutant left running


def _enter(root: Path, log: Path) -> None:
    """Start a new session, so that all its processes can be ended; limit memory; send output to `log`."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(root)
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = False  # what all trials load is compiled once; a mutant's code is never written
    gc.freeze()  # pytest collects garbage several times: exempt existing objects
