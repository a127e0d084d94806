"""The types that a user's `mypy --strict` sees of an installed wheel."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import depthcast
from tests.packaging.builds import ROOT
from tests.sharing import Once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ANY = re.compile(r"\bAny\b")


def attributes(name: str) -> Iterator[str]:
    """Yield the public attributes of a class: fields, properties, methods, and what `__init__` sets."""
    public = getattr(depthcast, name)
    if not inspect.isclass(public):
        return
    module = ast.parse((ROOT / f"{public.__module__.replace('.', '/')}.py").read_text())
    (found,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in ast.walk(found):
        match node:
            case ast.FunctionDef(name=attribute) | ast.AsyncFunctionDef(name=attribute):
                if node not in found.body:
                    continue
            case ast.AnnAssign(target=ast.Name(id=attribute)) | ast.Assign(targets=[ast.Name(id=attribute)]):
                if node not in found.body:
                    continue
            case ast.Attribute(value=ast.Name(id="self"), attr=attribute, ctx=ast.Store()):
                pass
            case _:
                continue
        if not attribute.startswith("_"):
            yield attribute


def revealed(said: list[str]) -> dict[int, str]:
    """Return line → type shown by its `reveal_type`, without a coroutine's two meaningless types."""
    found = (re.search(r':(\d+): note: Revealed type is "(.*)"', line) for line in said)
    return {int(match[1]): match[2].replace("Coroutine[Any, Any, ", "Coroutine[") for match in found if match}


def errors(said: list[str]) -> list[str]:
    return [line for line in said if ": error: " in line]


def public_names() -> dict[str, str]:
    """A line of a program for each public name and attribute, which reveals its type."""
    lines = {}
    for name in depthcast.__all__:
        lines[name] = f"reveal_type(depthcast.{name})"
        for attribute in dict.fromkeys(attributes(name)):
            lines[f"{name}.{attribute}"] = (
                f"def {name}_{attribute}(it: depthcast.{name}) -> None: reveal_type(it.{attribute})"
            )
    return lines


FRAMES = ("pandas", "polars")
"""Only the names of their classes matter here, and reading all their types takes longer than the rest."""

MISTAKE = """\
from depthcast import BookUpdate, Consumer, connect

async def follow(url: str) -> BookUpdate:
    async with connect(url) as client, Consumer(url) as consumer:
        async for entry in consumer.entries():
            reveal_type(entry.partition)
        async for update in client:
            reveal_type(update.state)
            reveal_type(update.book.bids.top(3))
            update.nothing
            return update
    raise AssertionError
"""


@pytest.fixture(scope="module")
def said(once: Once, full_python: Path) -> dict[str, list[str]]:
    """What mypy says of users' programs, by their names, in lines."""
    programs = {
        "names": "\n".join(["import depthcast", *public_names().values()]) + "\n",
        "mistake": MISTAKE,
    }

    def check(folder: Path) -> Path:
        (folder / "mypy.ini").write_text("[mypy]\nmypy_path = stubs\n")
        for name in FRAMES:
            (folder / "stubs" / name).mkdir(parents=True, exist_ok=True)
            (folder / "stubs" / name / "__init__.pyi").write_text("class DataFrame: ...\n")
        for name, text in programs.items():
            (folder / f"{name}.py").write_text(text)
        words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(full_python)]
        done = subprocess.run(
            [*words, *(f"{name}.py" for name in programs)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / "said").write_text(done.stdout)
        return folder / "said"

    lines = once("types", check).read_text().splitlines()
    return {name: [line for line in lines if line.startswith(f"{name}.py:")] for name in programs}


def test_everything_public_has_types(said: dict[str, list[str]]) -> None:
    assert errors(said["names"]) == []
    shown = dict(enumerate(public_names(), 2))
    kinds = {shown[line]: kind for line, kind in revealed(said["names"]).items()}
    assert set(kinds) == set(shown.values())
    assert {"BookUpdate.book", "BookUpdate.bids", "Client.subscribe", "EntryInfo.src"} <= set(kinds)
    assert {name for name, kind in kinds.items() if ANY.search(kind)} == set()


def test_a_users_mistake_is_found(said: dict[str, list[str]]) -> None:
    kinds = revealed(said["mistake"])
    assert list(kinds.values()) == ["int", "depthcast.updates.State", "list[tuple[int, int]]"]
    (error,) = errors(said["mistake"])
    assert '"BookUpdate" has no attribute "nothing"' in error
