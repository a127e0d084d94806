"""Builds shared by all tests here; the processes of a test run make each build once."""

from pathlib import Path

import pytest

from tests.packaging.builds import SOME, build_context, build_sdist, build_wheel, environment, unpacked
from tests.sharing import Once


@pytest.fixture(scope="session")
def sdist(once: Once) -> Path:
    """An sdist of the checkout."""
    return once("sdist", lambda folder: build_sdist(build_context(folder / "source"), folder))


@pytest.fixture(scope="session")
def pure_wheel(once: Once) -> Path:
    """A wheel built from the checkout, with nothing compiled."""
    return once(
        "pure_wheel",
        lambda folder: build_wheel(build_context(folder / "source"), folder, DEPTHCAST_COMPILE="0"),
    )


@pytest.fixture(scope="session")
def wheel(once: Once, sdist: Path) -> Path:
    """A wheel built from the sdist, of whose modules some are compiled if there is a C compiler.

    Quickly, as nothing is measured: the declarations of all others are taken away before.
    """

    def make(folder: Path) -> Path:
        source = unpacked(sdist, folder / "source")
        for declared in (source / "depthcast").rglob("*.pxd"):
            if str(declared.relative_to(source / "depthcast").with_suffix("")) not in SOME:
                declared.unlink()
        return build_wheel(source, folder, CFLAGS="-O0")

    return once("wheel", make)


@pytest.fixture(scope="session")
def whole_wheel(once: Once, sdist: Path) -> Path:
    """The same with all modules compiled that have declarations."""
    return once(
        "whole-wheel", lambda folder: build_wheel(unpacked(sdist, folder / "source"), folder, CFLAGS="-O0")
    )


@pytest.fixture(scope="session")
def client_python(once: Once, pure_wheel: Path) -> Path:
    """Python with what `pip install depthcast` brings."""
    return once("client", lambda folder: environment(folder / "venv", pure_wheel))


@pytest.fixture(scope="session")
def full_python(once: Once, wheel: Path) -> Path:
    """Python with what `pip install 'depthcast[all]'` brings, of which some modules are compiled."""
    return once("full", lambda folder: environment(folder / "venv", wheel, "all"))


@pytest.fixture(scope="session")
def whole_python(once: Once, whole_wheel: Path) -> Path:
    """The same with all modules compiled that have declarations."""
    return once("whole", lambda folder: environment(folder / "venv", whole_wheel, "all"))
