"""Peers that run on Node, if Node and npm are there; installed on first use, in pinned versions."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent

FOLDER: Final = Path(__file__).parent
BUILD: Final = FOLDER.parents[1] / "build" / "benchmarks" / "node"
INSTALL_S: Final = 120


def command(name: str) -> list[str]:
    """How the peer is started; raises `Absent`."""
    programs = [shutil.which(word) for word in ("node", "npm")]
    if None in programs:
        raise Absent("needs node and npm")
    node, npm = map(str, programs)
    manifest = FOLDER / "package.json"
    BUILD.mkdir(parents=True, exist_ok=True)
    installed = BUILD / "package.json"
    if not installed.exists() or installed.read_bytes() != manifest.read_bytes():
        print("  installing the peers for Node", file=sys.stderr, flush=True)
        _install(npm, manifest)
    script = BUILD / f"serve_{name}.mjs"
    shutil.copy(FOLDER / script.name, script)
    return [node, str(script)]


def _install(npm: str, manifest: Path) -> None:
    installed = BUILD / "package.json"
    shutil.copy(manifest, installed)
    words = [npm, "install", "--no-audit", "--no-fund", "--silent"]
    try:
        done = subprocess.run(
            words, cwd=BUILD, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
        problem = done.stderr.strip()[-300:] if done.returncode else None
    except subprocess.TimeoutExpired:
        problem = f"npm took more than {INSTALL_S} s"
    if problem is not None:
        installed.unlink()
        raise Absent(f"npm could not install it: {problem}")
