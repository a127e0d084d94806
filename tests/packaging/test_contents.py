"""The contents of the sdist and the wheels."""

import os
import shutil
import sysconfig
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.builds import ROOT, SOME, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PACKAGES = ("shared", "broadcaster", "ingestor", "gateway")
DECLARED = sorted(
    path.relative_to(ROOT).with_suffix("") for name in PACKAGES for path in (ROOT / name).rglob("*.pxd")
)
IN_C = Path("gateway/runtime/_batch")
COMPILER = shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0])


def members(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_links_lead_to_the_real_folders() -> None:
    for name in PACKAGES:
        link = ROOT / "depthcast" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..", name)


def test_a_wheel_has_one_package(pure_wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in members(pure_wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"depthcast"}


def test_a_wheel_has_the_page_and_the_marks_of_types(pure_wheel: Path) -> None:
    held = members(pure_wheel)
    files = [path for path in (ROOT / "web").rglob("*") if path.is_file()]
    page = {f"depthcast/gateway/web/{path.relative_to(ROOT / 'web').as_posix()}" for path in files}
    assert "depthcast/gateway/web/page/main.js" in page
    assert page <= held
    assert "depthcast/py.typed" in held


def test_a_wheel_has_every_module(pure_wheel: Path) -> None:
    modules = {
        f"depthcast/{path.relative_to(ROOT)}" for name in PACKAGES for path in (ROOT / name).rglob("*.py")
    } | {str(path.relative_to(ROOT)) for path in (ROOT / "depthcast").rglob("*.py")}
    assert {name for name in members(pure_wheel) if name.endswith(".py")} == modules


def test_declarations_stay_out_of_wheels(wheel: Path, pure_wheel: Path) -> None:
    """They would promise a C interface that nobody keeps stable."""
    assert [name for name in members(wheel) | members(pure_wheel) if name.endswith((".pxd", ".c"))] == []


def test_an_sdist_has_files_for_links_and_the_declarations(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    assert [name for name, member in found.items() if not (member.isfile() or member.isdir())] == []
    assert DECLARED
    for path in DECLARED:
        assert f"depthcast/{path}.pxd" in found
        assert f"depthcast/{path}.py" in found
    assert [name for name in found if name.endswith((".c", ".so", ".pyc"))] == [f"depthcast/{IN_C}.c"]
    assert {name.partition("/")[0] for name in found} <= {
        *("", "depthcast", "depthcast.egg-info", "pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in"),
        *("PKG-INFO", "README.md", "CHANGELOG.md", "LICENSE"),
    }


needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler, so nothing is compiled")


def compiled(wheel: Path) -> set[str]:
    """The modules that a wheel for this Python has compiled."""
    assert not wheel.name.endswith("-any.whl")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    found = {name for name in members(wheel) if name.endswith(".so")}
    assert all(name.endswith(suffix) for name in found)
    return {name.removeprefix("depthcast/").removesuffix(suffix) for name in found}


@needs_compiler
def test_a_wheel_of_the_sdist_is_compiled(wheel: Path) -> None:
    assert compiled(wheel) == {*SOME, str(IN_C)}


@needs_compiler
@pytest.mark.deep
def test_a_whole_wheel_of_the_sdist_is_compiled(whole_wheel: Path) -> None:
    assert compiled(whole_wheel) == {str(path) for path in (*DECLARED, IN_C)}


@needs_compiler
def test_an_installed_wheel_says_that_it_is_compiled(full_python: Path, tmp_path: Path) -> None:
    command = full_python.parent / "depthcast"
    assert run(command, "--version", cwd=tmp_path).stdout.rstrip().endswith(", compiled")
    assert (
        run(command, "--version", cwd=tmp_path, DEPTHCAST_PURE="1").stdout.rstrip().endswith(", not compiled")
    )


CHECK = ROOT / "tests" / "packaging" / "check_installed.py"


@needs_compiler
def test_the_check_of_released_wheels(full_python: Path, client_python: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"not compiled: ") as said:
        run(full_python, CHECK, cwd=tmp_path)
    missing = str(said.value).rpartition("not compiled: ")[2].split(", ")
    modules = [path for path in DECLARED if str(path) not in SOME]
    assert [name.strip() for name in missing] == [f"depthcast.{'.'.join(path.parts)}" for path in modules]
    with pytest.raises(AssertionError, match=r"not compiled: .*depthcast\.shared\.book,"):
        run(client_python, CHECK, cwd=tmp_path)


@needs_compiler
@pytest.mark.deep
def test_the_check_of_a_whole_wheel(whole_python: Path, tmp_path: Path) -> None:
    run(whole_python, CHECK, cwd=tmp_path)


def test_a_wheel_without_a_compiler_fits_everywhere(pure_wheel: Path) -> None:
    assert pure_wheel.name.endswith("-py3-none-any.whl")
