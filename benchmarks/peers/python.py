"""The Python peers' environment: `.venv-bench`, made on first use from pinned versions."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.harness import Absent

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
ENVIRONMENT: Final = ROOT / ".venv-bench"
REQUIREMENTS: Final = FOLDER.parent / "requirements-peers.txt"
MADE: Final = ENVIRONMENT / ".installed"


def environment() -> Path:
    """Its interpreter; raises `Absent` if it cannot be made."""
    interpreter = ENVIRONMENT / "bin" / "python"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not MADE.exists() or MADE.read_text(encoding="utf-8") != wanted:
        print("  installing the peers into .venv-bench", file=sys.stderr, flush=True)
        _do([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        _do([str(interpreter), "-m", "pip", "install", "-q", "--no-deps", "-r", str(REQUIREMENTS)])
        MADE.write_text(wanted, encoding="utf-8")
    return interpreter


def module(name: str) -> list[str]:
    """How the peer is started, with that interpreter in any folder."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; "
    return ["-c", start + f"runpy.run_module('benchmarks.peers.serve_{name}', run_name='__main__')"]


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Absent(f"the peers' environment could not be made: {done.stderr.strip()[-500:]}")
