"""`.ci/run` runs everything on the servers it names, whatever variables the caller has set."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKE = """#!/bin/sh
echo "$*" >>"$CALLS"
env | grep -E '^(ARGS|SERVER|PYTEST_ADDOPTS|DEPTHCAST_[A-Z_]*)=' >>"$CALLS"
case "$*" in "$FAILS"*) exit 2 ;; esac
"""

FOUND = ("chromium", "node", "npm", "go", "haproxy", "promtool", "redis-server", "apt-get", "sudo")
"""Programs that seem to be there, so that nothing is installed."""


def run_with(folder: Path, fails: str) -> tuple[int, list[str]]:
    """Run the script with a `make` that only records its calls; returns the status and the calls."""
    programs, calls = folder / "bin", folder / "calls"
    programs.mkdir()
    for name in ("make", *FOUND):
        (programs / name).write_text(MAKE if name == "make" else "#!/bin/sh\n")
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHON": "true",
        "CALLS": str(calls),
        "FAILS": fails,
        "ARGS": "--collect-only",
        "SERVER": "another",
        "PYTEST_ADDOPTS": "--collect-only",
        "DEPTHCAST_TEST_REDIS_URL": "redis://127.0.0.1:1/0",
        "DEPTHCAST_EMBEDDED_SERVER": "another",
        "DEPTHCAST_PURE": "1",
    }
    done = subprocess.run(
        [ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, calls.read_text().splitlines()


def test_variables_choose_nothing(tmp_path: Path) -> None:
    status, calls = run_with(tmp_path, "nothing")
    assert status == 0
    assert calls[:3] == [f"{target} PYTHON=true" for target in ("lint", "audit", "docs")]
    assert calls[3:6] == [f"{target} PYTHON=true SERVER=bundled" for target in ("test", "deep", "autobahn")]
    assert calls[6] == "servers PYTHON=true"
    servers = [call.split("SERVER=")[1].split()[0] for call in calls[7:]]
    assert servers[0] == "redis-server"
    assert len(servers) > 1
    assert all(call.startswith("test PYTHON=true SERVER=") for call in calls[7:])


def test_one_failure_hides_no_other_run_and_is_not_lost(tmp_path: Path) -> None:
    status, calls = run_with(tmp_path, "lint")
    assert status == 1
    assert len(calls) > 4
