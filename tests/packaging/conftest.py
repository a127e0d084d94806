"""Builds shared by all tests here; the workers of a test run make each build once."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.builds import build_context, build_sdist, build_wheel, environment

Make = Callable[[Path], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Make], Path]:
    """Make something in a named folder, or use it if another worker has made it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "packaging"

    def get(name: str, make: Make) -> Path:
        shared.mkdir(exist_ok=True)
        note = shared / f"{name}.txt"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                (shared / name).mkdir()
                note.write_text(str(make(shared / name)))
        return Path(note.read_text())

    return get


@pytest.fixture(scope="session")
def sdist(once: Callable[[str, Make], Path]) -> Path:
    """An sdist of the checkout."""
    return once("sdist", lambda folder: build_sdist(build_context(folder / "source"), folder))


@pytest.fixture(scope="session")
def pure_wheel(once: Callable[[str, Make], Path]) -> Path:
    """A wheel built from the checkout, with nothing compiled."""
    return once(
        "pure_wheel",
        lambda folder: build_wheel(build_context(folder / "source"), folder, DEPTHCAST_COMPILE="0"),
    )


@pytest.fixture(scope="session")
def wheel(once: Callable[[str, Make], Path], sdist: Path) -> Path:
    """A wheel built from the sdist, compiled if there is a C compiler."""
    return once("wheel", lambda folder: build_wheel(sdist, folder))


@pytest.fixture(scope="session")
def client_python(once: Callable[[str, Make], Path], pure_wheel: Path) -> Path:
    """Python with what `pip install depthcast` brings."""
    return once("client", lambda folder: environment(folder / "venv", pure_wheel))


@pytest.fixture(scope="session")
def full_python(once: Callable[[str, Make], Path], wheel: Path) -> Path:
    """Python with what `pip install 'depthcast[all]'` brings."""
    return once("full", lambda folder: environment(folder / "venv", wheel, "all"))
