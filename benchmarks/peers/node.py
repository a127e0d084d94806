"""Peers that run on Node, if Node and npm are there; installed on first use, as package-lock.json says."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent

FOLDER: Final = Path(__file__).parent
BUILD: Final = FOLDER.parents[1] / "build" / "benchmarks" / "node"
MANIFEST: Final = ("package.json", "package-lock.json")
CONTROL: Final = "control.mjs"
INSTALL_S: Final = 120


def command(name: str) -> list[str]:
    """How the peer is started; raises `Absent`."""
    programs = [shutil.which(word) for word in ("node", "npm")]
    if None in programs:
        raise Absent("needs node and npm")
    node, npm = map(str, programs)
    BUILD.mkdir(parents=True, exist_ok=True)
    if not all(_is_copied(file) for file in MANIFEST):
        print("  installing the peers for Node", file=sys.stderr, flush=True)
        _install(npm)
    script = BUILD / f"serve_{name}.mjs"
    for file in (CONTROL, script.name):
        shutil.copy(FOLDER / file, BUILD / file)
    return [node, str(script)]


def _is_copied(file: str) -> bool:
    copy = BUILD / file
    return copy.exists() and copy.read_bytes() == (FOLDER / file).read_bytes()


def _install(npm: str) -> None:
    for file in MANIFEST:
        shutil.copy(FOLDER / file, BUILD / file)
    words = [npm, "ci", "--no-audit", "--no-fund", "--silent", "--omit=optional"]
    try:
        done = subprocess.run(
            words, cwd=BUILD, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
        problem = done.stderr.strip()[-300:] if done.returncode else None
    except subprocess.TimeoutExpired:
        problem = f"npm took more than {INSTALL_S} s"
    if problem is not None:
        (BUILD / MANIFEST[0]).unlink()
        raise Absent(f"npm could not install it: {problem}")
