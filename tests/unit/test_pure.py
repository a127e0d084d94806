"""Compiled modules also work as Python: their tests run once more without the compiled files.

All other tests run what is installed, which is already Python if nothing could be compiled.
"""

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import depthcast.shared.book
from depthcast.shared.compiled import is_compiled

ROOT = Path(__file__).parents[2]
DECLARED = sorted(
    ".".join(("depthcast", *path.relative_to(ROOT).with_suffix("").parts))
    for package in ("shared", "broadcaster", "ingestor", "gateway")
    for path in (ROOT / package).rglob("*.pxd")
)
PURE = {**os.environ, "DEPTHCAST_PURE": "1"}


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not is_compiled(depthcast.shared.book), reason="nothing is compiled here: all tests ran as Python"
)
@pytest.mark.parametrize(
    "folders",
    [
        ["tests/unit/ingestor"],
        ["tests/unit/shared", "tests/unit/broadcaster", "tests/unit/gateway"],
        ["tests/property/test_engine_fast_path.py", "tests/property/test_engine_model.py"],
        ["tests/property/test_engine_exceptions.py"],
    ],
    ids=["ingestor", "others", "property", "exceptions"],
)
def test_the_same_tests_pass_without_what_was_compiled(folders: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *folders],
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


def test_every_compiled_module_is_python_when_asked_to() -> None:
    script = """
import importlib, sys
from depthcast.shared.compiled import is_compiled
for name in sys.argv[1:]:
    assert not is_compiled(importlib.import_module(name)), name
"""
    subprocess.run([sys.executable, "-c", script, *DECLARED], cwd=ROOT, env=PURE, check=True)
