"""Everything the documents name exists: paths, modules, names in code; decisions have their form."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = "depthcast|ingestor|broadcaster|gateway|shared|tests|docs|web|deploy|benchmarks"


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def spans(document: Path) -> list[str]:
    """Texts in single backticks outside code blocks."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", text)


@every_document
def test_paths_in_backticks_exist(document: Path) -> None:
    looks = re.compile(rf"(?:{FOLDERS})/[\w./-]*|[\w.-]+\.(?:toml|md|lock)|Makefile|LICENSE")
    paths = [span for span in spans(document) if looks.fullmatch(span)]
    # Example names of operators' files, which are not in the repository.
    missing = [path for path in paths if path != "instruments.toml" and not (ROOT / path).exists()]
    assert missing == []


@every_document
def test_names_of_the_code_in_backticks_exist(document: Path) -> None:
    looks = re.compile(r"(?:depthcast|ingestor|broadcaster|gateway|shared|tests)(?:\.[A-Za-z_]\w*)+")
    wire_names = re.compile(r"depthcast\.v1\.\w+")
    dotted = [span for span in spans(document) if looks.fullmatch(span) and not wire_names.fullmatch(span)]
    assert [name for name in dotted if not is_there(name)] == []


def is_there(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:count])
        if path.with_suffix(".py").is_file() or path.is_dir():
            found: Any = importlib.import_module(".".join(parts[:count]))
            for attribute in parts[count:]:
                if not hasattr(found, attribute) and attribute not in getattr(found, "__annotations__", {}):
                    return False
                found = getattr(found, attribute, None)
            return True
    return False


def test_decisions_are_short_and_complete() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in records]
    assert numbers == list(range(1, len(records) + 1)), "without a gap"
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, path.name
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], (
            path.name
        )


def rows(heading: str) -> list[str]:
    """Return the names in backticks of a table's first column in `docs/architecture.md`."""
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split(heading)[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_import_contract_is_explained() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = [contract["id"] for contract in config["tool"]["importlinter"]["contracts"]]
    assert sorted(rows("| contract | rule |")) == sorted(contracts)


def test_every_floor_is_explained() -> None:
    layers = {
        f"{folder}/{path.name}/"
        for folder in ("gateway", "depthcast")
        for path in (ROOT / folder).iterdir()
        if (path / "__init__.py").is_file() and not path.is_symlink()
    }
    assert set(rows("| layer | what is in it |")) == layers
