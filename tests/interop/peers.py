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
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.sharing import Once

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
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
    command: Callable[[Once], list[str]]
    declines: bool = True


def _python(library: str) -> Peer:
    return Peer(library, lambda _: [sys.executable, "-m", "tests.interop.python_client", library])


def _node(library: str, *, declines: bool = True) -> Peer:
    def command(once: Once) -> list[str]:
        return [_node_program(), str(FOLDER / "node_client.mjs"), library, str(once("node", _node_modules))]

    return Peer(library, command, declines)


def _go(library: str) -> Peer:
    def command(once: Once) -> list[str]:
        needed = (GO_IMPORTS[library], "github.com/vmihailenco/msgpack/v5")
        if not all((GO_SOURCES / name).is_dir() for name in needed):
            pytest.skip(f"Go's libraries are missing; on Debian: apt-get install {GO_PACKAGES}")
        sources = [FOLDER / "go" / name for name in ("follow.go", f"{library}.go")]
        return [str(once(f"go-{library}", partial(go_built, sources)))]

    return Peer(library, command)


PEERS: Final = (
    _python("websockets"),
    _python("aiohttp"),
    _node("ws"),
    _node("undici", declines=False),
    _go("gorilla"),
    _go("nhooyr"),
)


def _node_program() -> str:
    """Node, if it is new enough for the libraries."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("no node and npm on the PATH")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < (20, 18):
        pytest.skip(f"node {said.strip()} is older than 20.18")
    return node


def _node_modules(folder: Path) -> Path:
    """Have npm install into `folder` what `package-lock.json` names."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, folder / name)
    words = ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm took more than {INSTALL_S} s")
    if done.returncode:
        pytest.skip(f"npm could not install the clients: {done.stderr.strip()[-300:]}")
    return folder


def go_built(sources: Sequence[Path], folder: Path) -> Path:
    """Build a program of `sources` in `folder`, with Debian's packages; skips the test without Go."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"no Go; on Debian: apt-get install {GO_PACKAGES}")
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(GO_SOURCES.parent), "GOFLAGS": ""}
    if "HOME" not in environment:
        environment["GOCACHE"] = str(folder / "cache")
    program = folder / "program"
    subprocess.run(
        [go, "build", "-o", str(program), *(source.name for source in sources)],
        cwd=sources[0].parent,
        env=environment,
        check=True,
    )
    return program
