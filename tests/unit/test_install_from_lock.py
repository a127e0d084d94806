"""A lock keeps installing the same versions after later releases: make's commands, on a local index."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.builds import link, site_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements-run.lock", "requirements.lock")


def environment(index: Path) -> dict[str, str]:
    """Variables for which pip knows nothing but `index`, and make nothing of a make that runs this test."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE", "MFLAGS"))
    }
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}


@dataclass(frozen=True)
class Place:
    """An index of wheels, a folder with locks, and a virtual environment."""

    index: Path
    folder: Path
    python: Path

    def publish(self, name: str, version: str, *requires: str, extra: str = "") -> str:
        """A wheel that holds one module; returns its requirement as a lock has it."""
        info = f"{name}-{version}.dist-info"
        fields = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        fields += [f"Provides-Extra: {extra}"] if extra else []
        fields += [f"Requires-Dist: {required}" for required in requires]
        files = {
            f"{name}.py": f'VERSION = "{version}"\n',
            f"{info}/METADATA": "\n".join(fields) + "\n",
            f"{info}/WHEEL": (
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            ),
        }
        digests = {path: hashlib.sha256(text.encode()).digest() for path, text in files.items()}
        rows = [
            f"{path},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},"
            for path, digest in digests.items()
        ]
        files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
        wheel = self.index / f"{name}-{version}-py3-none-any.whl"
        with ZipFile(wheel, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"

    def lock(self, name: str, *requirements: str) -> None:
        (self.folder / name).write_text("".join(requirements), encoding="utf-8")

    def do(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=environment(self.index),
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, lock: str) -> subprocess.CompletedProcess[str]:
        return self.do(self._one_command(f"--requirement {lock}"))

    def check(self) -> subprocess.CompletedProcess[str]:
        return self.do(self._one_command("pip --disable-pip-version-check check"))

    def versions(self) -> dict[str, str]:
        """What is installed, by name."""
        code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
        listed = self.do(f"{self.python} -c '{code}'").stdout.splitlines()
        return dict(line.split() for line in listed)

    def clean(self) -> None:
        for left in self.python.parents[1].glob("lib/python*/site-packages/*"):
            if left.name.startswith(("app-", "app.py", "base-", "base.py")):
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    def _one_command(self, part: str) -> str:
        """The command that make would run and that has `part`, once it is there."""
        venv = self.python.parents[1]
        planned = subprocess.run(
            ["make", "--dry-run", "--always-make", f"VENV={venv}", f"{venv}/.dev-installed"],
            cwd=ROOT,
            env=environment(self.index),
            capture_output=True,
            text=True,
            check=True,
        )
        (command,) = {line for line in planned.stdout.splitlines() if part in line}
        return command


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the pip of this one, which came with Python, as in an environment of make."""
    venv = tmp_path_factory.mktemp("installs") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    link(distribution("pip"), site_of(venv))
    return venv / "bin" / "python"


@pytest.fixture
def place(python: Path, tmp_path: Path) -> Iterator[Place]:
    """A place with `app`, which needs `base[more]>=1`, and `base` in two versions, the newer added later."""
    made = Place(tmp_path / "index", tmp_path / "folder", python)
    made.index.mkdir()
    made.folder.mkdir()
    yield made
    made.clean()


@pytest.fixture
def pinned(place: Place) -> list[str]:
    """What the lock has; the index has a newer `base` as well."""
    found = [place.publish("app", "1.0", "base[more]>=1"), place.publish("base", "1.0", extra="more")]
    place.publish("base", "2.0", extra="more")
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_newer_release_changes_nothing(place: Place, pinned: list[str], lock: str) -> None:
    place.lock(lock, *pinned)
    done = place.install(lock)
    assert done.returncode == 0, done.stderr
    versions = place.versions()
    assert (versions["app"], versions["base"]) == ("1.0", "1.0")
    assert place.check().returncode == 0


def test_what_a_lock_forgot_is_said(place: Place, pinned: list[str]) -> None:
    app, _ = pinned
    place.lock(LOCKS[0], app)
    assert place.install(LOCKS[0]).returncode == 0
    checked = place.check()
    assert checked.returncode == 1
    assert "app 1.0 requires base, which is not installed" in checked.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_what_has_another_hash_is_refused(place: Place, pinned: list[str], lock: str) -> None:
    app, base = pinned
    place.publish("base", "1.0", "app", extra="more")
    place.lock(lock, app, base)
    done = place.install(lock)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "base" not in place.versions()


@pytest.mark.parametrize("path", ["Makefile", "deploy/Dockerfile", ".ci/run"])
def test_nothing_is_installed_but_by_name_or_from_a_lock(path: str) -> None:
    """Every installation says --no-deps, so that none of them depends on what was released since."""
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"(?:pip|PIP\)|python)[^&|\n]* install [^&|\n]*", text)
    assert len(commands) == {"Makefile": 6, "deploy/Dockerfile": 4, ".ci/run": 0}[path]
    assert [command for command in commands if "--no-deps" not in command] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
