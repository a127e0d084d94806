"""The JavaScript client: its own tests under Node, and every runtime."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser.fake_gateway import fake_gateway
from tests.npm import node

FOLDER = Path(__file__).parent


def run_under_node(*names: str, **variables: str) -> None:
    """Run test files of this folder under Node's own runner."""
    # Before version 22, Node's WebSocket needs the option.
    words = [node(), "--experimental-websocket", "--no-warnings", "--test", *names]
    environment = os.environ | variables
    run = subprocess.run(
        words, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_its_own_tests_under_node(name: str) -> None:
    run_under_node(name)


def test_it_survives_everything_with_the_websockets_of_packages(npm_folder: Path) -> None:
    run_under_node("robust.test.mjs", TESTED_NODE_MODULES=str(npm_folder))


RUNTIMES = {
    "node": ["--experimental-websocket", "--no-warnings"],
    "deno": ["run", "--quiet", "--allow-net", "--allow-read"],
    "bun": ["run"],
}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_comes_back_on_every_runtime(runtime: str) -> None:
    path = shutil.which(runtime)
    if path is None:
        pytest.skip(f"no {runtime} on the PATH")
    with fake_gateway("faults") as url:
        words = [path, *RUNTIMES[runtime], "one_book.mjs", url]
        run = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    reconnects, price = run.stdout.split()
    assert int(reconnects) >= 4
    assert price == "65000.10"
