"""The programs: how each is started, which it is, and what the tests read from it.

A program is started as `PROGRAM… URL ENCODING COMPRESSION ENDING`. It subscribes to AAA and BBB at depth 100,
in fragments and with a ping between where its library can. It prints a line of JSON after each step:

1. the snapshots are there: `protocol` and `extensions` as negotiated;
2. the books are at the seqs that a line on standard input asks for: `books`, and `counts` by message type;
3. the connection has ended: `code` and `reason` of the close frame that was received.

`ENDING` says how it ends: `close` closes with 4000, `misuse` sends a frame of the wrong type, `wait` does
nothing. Whatever breaks a rule of the protocol ends the program with a status other than 0.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
BUILD: Final = ROOT / "build" / f"interop-{os.getpid()}"
"""Each process of a test run builds its own programs, and removes them."""
INSTALL_S: Final = 120
GO_SOURCES: Final = Path("/usr/share/gocode/src")
GO_IMPORTS: Final = {"gorilla": "github.com/gorilla/websocket", "nhooyr": "nhooyr.io/websocket"}
GO_PACKAGES: Final = (
    "golang-go golang-github-gorilla-websocket-dev golang-nhooyr-websocket-dev "
    "golang-github-vmihailenco-msgpack.v5-dev"
)


class Peer(NamedTuple):
    """A client. `command` skips the test if it cannot run; `declines`: it may choose not to compress."""

    name: str
    command: Callable[[], list[str]]
    declines: bool = True


def _python(library: str) -> Peer:
    return Peer(library, lambda: [sys.executable, "-m", "tests.interop.python_client", library])


def _node(library: str, *, declines: bool = True) -> Peer:
    def command() -> list[str]:
        node, modules = _node_modules()
        return [node, str(FOLDER / "node_client.mjs"), library, str(modules)]

    return Peer(library, command, declines)


def _go(library: str) -> Peer:
    return Peer(library, lambda: [_built(library)])


PEERS: Final = (
    _python("websockets"),
    _python("aiohttp"),
    _node("ws"),
    _node("undici", declines=False),
    _go("gorilla"),
    _go("nhooyr"),
)


@cache
def _node_modules() -> tuple[str, Path]:
    """Node, and the folder into which npm installed what `package-lock.json` names."""
    programs = [shutil.which(word) for word in ("node", "npm")]
    if None in programs:
        pytest.skip("no node and npm on the PATH")
    node, npm = map(str, programs)
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < (20, 18):
        pytest.skip(f"node {said.strip()} is older than 20.18")
    folder = BUILD / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, folder / name)
    words = [npm, "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm took more than {INSTALL_S} s")
    if done.returncode:
        pytest.skip(f"npm could not install the clients: {done.stderr.strip()[-300:]}")
    return node, folder


@cache
def _built(library: str) -> str:
    """The program, built from Debian's packages."""
    go = shutil.which("go")
    needed = (GO_IMPORTS[library], "github.com/vmihailenco/msgpack/v5")
    if go is None or not all((GO_SOURCES / name).is_dir() for name in needed):
        pytest.skip(f"no Go, or not with its libraries; on Debian: apt-get install {GO_PACKAGES}")
    program = BUILD / library
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(GO_SOURCES.parent), "GOFLAGS": ""}
    if "HOME" not in environment:
        environment["GOCACHE"] = str(BUILD / "go-cache")
    subprocess.run(
        [go, "build", "-o", str(program), "follow.go", f"{library}.go"],
        cwd=FOLDER / "go",
        env=environment,
        check=True,
    )
    return str(program)
