"""Builds of the checkout, and virtual environments with exactly what a requirement would install.

Nothing is downloaded: an environment's libraries are links to those this test run uses. So a library that a
requirement does not bring is missing there, and the checkout's own editable installation cannot leak in.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

SOME = ("shared/level_table", "shared/rank_blocks", "shared/book", "gateway/protocol/frames")
"""Modules that a wheel has compiled in each run: one that declares types of two others, and a small one."""


def build_context(folder: Path) -> Path:
    """A copy of what `.dockerignore` lets through and of what an sdist needs, links kept as links."""
    wanted = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    ]
    folder.mkdir()
    for name in [*wanted, "MANIFEST.in", "CHANGELOG.md"]:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc")
            shutil.copytree(source, folder / name, symlinks=True, ignore=ignored)
        else:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the settings of Depthcast and Python; a failure shows its output."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("DEPTHCAST_", "PYTHON", "COV_"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, "PIP_NO_INDEX": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def build_sdist(source: Path, folder: Path) -> Path:
    """Build an sdist with the backend that pyproject.toml names."""
    _build("sdist", source, folder)
    (found,) = folder.glob("*.tar.gz")
    return found


def build_wheel(source: Path, folder: Path, **variables: str) -> Path:
    """Build a wheel of a folder with the same backend."""
    _build("wheel", source, folder, **variables)
    (found,) = folder.glob("*.whl")
    return found


def _build(what: str, source: Path, folder: Path, **variables: str) -> None:
    code = f"import sys; from setuptools import build_meta; build_meta.build_{what}(sys.argv[1])"
    run(sys.executable, "-c", code, folder, cwd=source, **variables)


def unpacked(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist; returns its folder."""
    shutil.unpack_archive(sdist, folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def environment(folder: Path, wheel: Path, extra: str = "") -> Path:
    """A virtual environment with `wheel[extra]` installed; returns its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python),
        *("install", "--quiet", "--no-deps", "--no-compile", wheel),
        cwd=folder,
    )
    site = site_of(folder)
    (metadata,) = site.glob("depthcast-*.dist-info")
    for library in _required(Distribution.at(metadata), {extra}):
        link(library, site)
    return python


def _required(package: Distribution, extras: set[str]) -> Iterator[Distribution]:
    """All direct and indirect requirements of a package with some extras, each once."""
    seen: dict[str, set[str]] = {}
    waiting = [(package, extras)]
    while waiting:
        needing, wanted = waiting.pop()
        for text in needing.requires or []:
            needed = Requirement(text)
            if needed.marker and not any(needed.marker.evaluate({"extra": name}) for name in wanted | {""}):
                continue
            name = canonicalize_name(needed.name)
            if name in seen and needed.extras <= seen[name]:
                continue
            found = package if name == canonicalize_name(package.name) else distribution(name)
            if name not in seen and found is not package:
                yield found
            seen.setdefault(name, set()).update(needed.extras)
            waiting.append((found, set(needed.extras)))


def site_of(venv: Path) -> Path:
    """Where an environment has its libraries."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))


def link(library: Distribution, site: Path) -> None:
    """Make a library of this test run one of another environment."""
    tops = {
        file.parts[0] for file in library.files or [] if not file.parts[0].startswith((".", "__pycache__"))
    }
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(library.locate_file(top))).resolve())


def libraries(python: Path) -> set[str]:
    """Names of what is installed in an environment."""
    code = "from importlib.metadata import distributions as d; print(*[found.name for found in d()])"
    return {canonicalize_name(name) for name in run(python, "-c", code, cwd=python.parent).stdout.split()}


def foreign_packages(folder: Path) -> Path:
    """A user's project whose own packages have the names of our folders."""
    folder.mkdir()
    for name in ("shared", "gateway", "ingestor", "broadcaster"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f'OWNER = "the user\'s {name}"\n')
    return folder
