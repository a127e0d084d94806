"""The secrets of a composition, made by its own script."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import without_settings

SCRIPT = Path(__file__).parents[2] / "deploy" / "make-secrets.sh"


def make_secrets(folder: Path) -> str:
    """Run the script of the composition in a folder; returns what it printed."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**without_settings(), "PATH": programs, "SECRETS": str(folder)}
    done = subprocess.run(["sh", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each service, as the script makes them."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder)
    return folder
