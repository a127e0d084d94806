"""Node and packages of npm for tests; a test that needs what is missing is skipped, with the reason."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

INSTALL_S: Final = 120


@cache
def node(least: tuple[int, int] = (20, 0)) -> str:
    """Return the path of Node; skips the test if there is none of version `least` or later."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node on the PATH")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < least:
        pytest.skip(f"node {said.strip()} is older than {least[0]}.{least[1]}")
    return path


def npm() -> str:
    """Return the path of npm; skips the test if there is none."""
    path = shutil.which("npm")
    if path is None:
        pytest.skip("no npm on the PATH")
    return path


def install(manifests: Path, folder: Path) -> None:
    """Install what `manifests/package-lock.json` names into `folder`; skips the test if that fails."""
    words = [npm(), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(manifests / name, folder / name)
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm took more than {INSTALL_S} s")
    if done.returncode:
        pytest.skip(f"npm could not install {manifests.name}: {done.stderr.strip()[-300:]}")
