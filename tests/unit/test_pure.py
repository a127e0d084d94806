"""Compiled modules also work as Python: the tests that reach them run once more without the compiled files.

All other tests run what is installed, which is already Python if nothing could be compiled.
"""

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

import pytest

import depthcast.shared.book
from depthcast.gateway.runtime import submission
from depthcast.shared.compiled import is_compiled
from tests.mutants.reach import imported_names
from tests.unit.ingestor.test_engine_interleavings import FURTHER_PARTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "broadcaster", "ingestor", "gateway")
DECLARED = sorted(
    ".".join(("depthcast", *path.relative_to(ROOT).with_suffix("").parts))
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.pxd")
)
PURE = {**os.environ, "DEPTHCAST_PURE": "1"}
PROPERTY_TESTS = (
    "fast_path.py",
    "exceptions.py",
    "model.py::test_short_runs_equal_the_model",
    "model.py::test_long_runs_equal_the_model[0]",
)
INTERLEAVINGS = "tests/unit/ingestor/test_engine_interleavings.py"
DEEP_INTERLEAVINGS = [
    "test_two_calls_look_like_one_after_the_other",
    "test_three_calls_look_like_some_order_of_them",
    *(f"test_more_of_the_same[{name}-{part}]" for name, part in FURTHER_PARTS),
    "test_also_between_single_opcodes",
]
"""Tests of these with a deep part. Each is a test here, with the time that one may take."""
FEW = "--hypothesis-profile=few"
"""What is random was tried in full where modules are compiled."""


def files_that_reach(modules: Collection[str], *folders: str) -> list[str]:
    """The files of tests that import one of `modules`, themselves or through what they import."""
    wanted = {found for module in modules if (found := _file_of(module))}
    return [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("test_*.py"))
        if not wanted.isdisjoint(_imported_through(path))
    ]


def files_that_import(modules: Collection[str], *folders: str) -> list[str]:
    """Of the files that reach one of `modules`, those that import one themselves."""
    wanted = {_file_of(module) for module in modules}
    reach = files_that_reach(modules, *folders)
    return [path for path in reach if not wanted.isdisjoint(_imported_by(ROOT / path))]


def _imported_through(path: Path) -> set[Path]:
    seen, waiting = set[Path](), [path]
    while waiting:
        seen.add(file := waiting.pop())
        waiting += _imported_by(file) - seen
    return seen


@cache
def _imported_by(path: Path) -> frozenset[Path]:
    return frozenset(found for name in imported_names(path) if (found := _file_of(name)))


@cache
def _file_of(name: str) -> Path | None:
    """The file of a module of ours, wherever links lead; None for anything else."""
    path = ROOT.joinpath(*name.split("."))
    found = (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())
    return next((each.resolve() for each in found), None)


def test_what_reaches_a_module_imports_it_itself_or_through_others() -> None:
    found = files_that_reach(["depthcast.shared.digest"], "tests/unit/shared", "tests/unit/gateway")
    assert "tests/unit/shared/test_digest.py" in found
    assert "tests/unit/gateway/delivery/test_core.py" in found
    assert "tests/unit/shared/test_backoff.py" not in found


FOLDERS = [f"tests/unit/{package}" for package in PACKAGES]


def own_tests() -> list[str]:
    """Tests of the four packages that import a module with declarations."""
    found = files_that_import(DECLARED, *FOLDERS)
    assert INTERLEAVINGS in found
    return [path for path in found if path != INTERLEAVINGS]


def further_tests() -> list[str]:
    """Those that do so through others."""
    return sorted(set(files_that_reach(DECLARED, *FOLDERS)) - {*own_tests(), INTERLEAVINGS})


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not is_compiled(depthcast.shared.book), reason="nothing is compiled here: all tests ran as Python"
)
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(own_tests, marks=pytest.mark.deep),
        pytest.param(further_tests, marks=pytest.mark.deep),
        lambda: [INTERLEAVINGS],
        *(
            pytest.param(lambda name=name: ["-m", "deep", f"{INTERLEAVINGS}::{name}"], marks=pytest.mark.deep)
            for name in DEEP_INTERLEAVINGS
        ),
        pytest.param(
            lambda: [f"tests/property/test_engine_{name}" for name in PROPERTY_TESTS], marks=pytest.mark.deep
        ),
    ],
    ids=["unit", "further", "interleavings", *DEEP_INTERLEAVINGS, "property"],
)
def test_the_same_tests_pass_without_what_was_compiled(files: Callable[[], list[str]]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", FEW, *files()],
        cwd=ROOT,
        env=PURE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def a_c_compiler_works() -> bool:
    """Whether the one that `setup.py` would take accepts Python's headers."""
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(words[0]) is None:
        return False
    tried = subprocess.run(
        [*words, "-fsyntax-only", "-x", "c", "-I", sysconfig.get_path("include"), "-"],
        input='#include "Python.h"\nint main(void) { return 0; }\n',
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.returncode == 0


def test_whatever_can_be_compiled_is_compiled() -> None:
    """Otherwise a module that fails to compile would just run slower, unnoticed."""
    if os.environ.get("DEPTHCAST_PURE") == "1" or os.environ.get("DEPTHCAST_COMPILE") == "0":
        pytest.skip("nothing shall be compiled here")
    if not a_c_compiler_works():
        pytest.skip("nothing can be compiled here: no C compiler works, or Python's headers are missing")
    assert DECLARED
    for name in DECLARED:
        assert is_compiled(importlib.import_module(name)), name
    assert submission.in_c is not None


def test_every_compiled_module_is_python_when_asked_to() -> None:
    script = """
import importlib, sys
from depthcast.shared.compiled import is_compiled
for name in sys.argv[1:]:
    assert not is_compiled(importlib.import_module(name)), name
from depthcast.gateway.runtime import submission
assert submission.in_c is None
"""
    subprocess.run([sys.executable, "-c", script, *DECLARED], cwd=ROOT, env=PURE, check=True)
