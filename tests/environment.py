"""Describes what the tests run on (`python -m tests.environment`); environments of tested programs."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from depthcast.runtime.server_binary import ServerNotFoundError, find_server
from depthcast.shared.compiled import is_compiled
from depthcast.shared.redis_url import without_credentials
from depthcast.shared.settings import NOT_SETTINGS, VARIABLE_PREFIX
from tests.browser.chromium import NAMES as CHROMIUM_NAMES

ROOT = Path(__file__).parents[1]
PROGRAM_TIMEOUT_S = 30.0


def without_settings() -> dict[str, str]:
    """Return the variables for a program under test: no settings, only the choice of server and modules."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(VARIABLE_PREFIX) or name in NOT_SETTINGS
    }


def description() -> str:
    """Return the versions found and what is missing. Raises `ServerNotFoundError` without a server."""
    return "on " + ", ".join(_parts())


def _parts() -> Iterator[str]:
    yield f"{platform.python_implementation()} {platform.python_version()}"
    yield f"pip {importlib.metadata.version('pip')}"
    yield "compiled" if all(_compiled()) else "in part compiled" if any(_compiled()) else "not compiled"
    server = find_server()
    yield f"{server.product} {'.'.join(map(str, server.version))} ({server.found})"
    if shared := os.environ.get("DEPTHCAST_TEST_REDIS_URL"):
        yield f"shared server {without_credentials(shared)}"
    yield _program("Node", ("node",), "--version")
    yield _program("Go", ("go",), "version")
    yield _program("Chromium", CHROMIUM_NAMES, "--version")
    yield _program("HAProxy", ("haproxy",), "-v")
    yield _program("Prometheus", ("prometheus",), "--version")
    yield _program("container engine", ("docker",), "info", "--format", "{{.ServerVersion}}")


def _compiled() -> list[bool]:
    declared = [*ROOT.glob("depthcast/*/*.pxd"), *ROOT.glob("depthcast/*/*/*.pxd")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in declared]
    return [is_compiled(importlib.import_module(name)) for name in names]


def _program(label: str, names: tuple[str, ...], *words: str) -> str:
    """Return the version printed by the first of `names` that runs."""
    for path in filter(None, map(shutil.which, names)):
        try:
            done = subprocess.run(
                [path, *words], capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        version = re.search(r"\d+(\.\d+)+", done.stdout)
        if done.returncode == 0 and version:
            return f"{label} {version[0]}"
    return f"no {label}"


if __name__ == "__main__":
    try:
        sys.stdout.write(description() + "\n")
    except ServerNotFoundError as error:
        sys.exit(str(error))
