"""The C programs of the benchmarks, built on first use: the load that drains, the limit that only sends."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent

SOURCES: Final = Path(__file__).parent
BUILD: Final = SOURCES.parents[1] / "build" / "benchmarks"
FLAGS: Final = ("-O2", "-Wall", "-Wextra", "-std=gnu11")


def program(name: str) -> Path:
    """Return the program of that name, built if its source is newer. Raises `Absent` without a compiler."""
    source, built = SOURCES / f"{name}.c", BUILD / name
    newest = max(path.stat().st_mtime for path in (source, *SOURCES.glob("*.h")))
    if built.exists() and built.stat().st_mtime > newest:
        return built
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Absent(
            "there is no C compiler: install cc (on Debian and Ubuntu: apt-get install gcc libc6-dev) "
            "or set CC"
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        [compiler, *FLAGS, "-o", str(built), str(source)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise Absent(f"{compiler} could not build {source.name}: {made.stderr.strip()}")
    return built
