"""The site's navigation comes from `docs/README.md`; its check finds what is wrong with a site."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

import depthcast.sync
from depthcast.cli.main import SUBCOMMANDS

ROOT = Path(__file__).parents[2]
FIRST_PAGE = "docs/README"


def site_module(name: str) -> ModuleType:
    """A module of `docs/site`, which is no package."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


navigation = site_module("navigation")
check = site_module("check")


def test_the_navigation_has_each_page_once() -> None:
    text = (ROOT / f"{FIRST_PAGE}.md").read_text(encoding="utf-8")
    found = navigation.groups(text, FIRST_PAGE, ROOT)
    captions = [group.caption for group in found]
    assert captions == ["Tutorial", "How to …", "Reference", "Explanation", "Project"]
    pages = [page for group in found for page in group.pages]
    assert len(set(pages)) == len(pages)
    assert {"docs/tutorial", "docs/how-to/client", "docs/decisions/index", "README"} <= set(pages)


def test_a_document_that_is_not_listed_is_shown_too() -> None:
    listed = [navigation.Group("How to", ("docs/faq", "docs/decisions/index"))]
    documents = ["docs/README", "docs/decisions/0001-x", "docs/decisions/index", "docs/faq", "docs/new"]
    shown = navigation.toctrees(listed, documents)
    assert shown.split("```") == [
        "\n",
        "{toctree}\n:hidden:\n:caption: How to\n\n/docs/faq\n/docs/decisions/index\n",
        "\n\n",
        "{toctree}\n:hidden:\n:caption: More\n\n/docs/new\n",
        "\n",
    ]


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        (["What it is:", "", "    code()", "    more()", "", "Text."],
         ["What it is:", "", "::", "", "    code()", "    more()", "", "Text."]),
        (["Text.", "", "Args:", "    name: What.", "", "    Still about it."],
         ["Text.", "", "Args:", "    name: What.", "", "    Still about it."]),
        (["- item", "  goes on"], ["- item", "  goes on"]),
    ],
)  # fmt: skip
def test_indented_blocks_of_docstrings_are_code(lines: Sequence[str], result: Sequence[str]) -> None:
    assert navigation.marked_up(lines) == result


def made_site(folder: Path, body: str) -> Path:
    """A site whose references are complete, and whose first page has a body."""
    reference = folder / "docs" / "reference"
    reference.mkdir(parents=True)
    commands = "".join(f"<p id='depthcast-{name}'>" for name in SUBCOMMANDS)
    public = {
        f"{module.__name__}.{name}" for module in (depthcast, depthcast.sync) for name in module.__all__
    }
    names = "".join(f"<p id='{name}'>" for name in public - {"depthcast.State"})
    (reference / "commands.html").write_text(commands, encoding="utf-8")
    (reference / "python.html").write_text(names + "<p id='depthcast.State'>", encoding="utf-8")
    (folder / "index.html").write_text(body, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<a href='docs/reference/python.html#depthcast.State'>", ""),
        ("<a href='docs/reference/python.html#State'>",
         "index.html: docs/reference/python.html#State names no place there"),
        ("<a href='nothing.html'>", "index.html: nothing.html leads nowhere"),
        ("<a href='#top'><p id=top>", ""),
        ("<a href='https://example.com'>", ""),
        ("<a href='javascript:x()'>", "index.html: javascript:x() has an unknown scheme"),
        ("<script src='https://example.com/x.js'>",
         "index.html: loads https://example.com/x.js from elsewhere"),
        ("<link rel=stylesheet href='//example.com/x.css'>",
         "index.html: loads //example.com/x.css from elsewhere"),
    ],
)  # fmt: skip
def test_what_the_check_finds(body: str, problem: str, tmp_path: Path) -> None:
    assert list(check.problems(made_site(tmp_path, body))) == ([problem] if problem else [])


def test_the_check_finds_what_a_reference_lacks(tmp_path: Path) -> None:
    site = made_site(tmp_path, "")
    for name, lacking in (
        ("commands", "depthcast-watch"), ("python", "depthcast.State"), ("python", "depthcast.sync.Consumer"),
    ):  # fmt: skip
        page = site / "docs" / "reference" / f"{name}.html"
        page.write_text(page.read_text(encoding="utf-8").replace(lacking, "x"), encoding="utf-8")
    assert list(check.problems(site)) == [
        "commands: watch is missing",
        "python: depthcast.State is missing",
        "python: depthcast.sync.Consumer is missing",
    ]
