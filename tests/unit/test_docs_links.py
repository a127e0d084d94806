"""Every link of a document leads to a file or folder, and to a heading that is there."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "web").glob("*.md")),
    *sorted(path for path in (ROOT / "examples").rglob("*.md") if "node_modules" not in path.parts),
]
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def prose(document: Path) -> str:
    """A document without its code blocks."""
    return FENCED.sub("", document.read_text(encoding="utf-8"))


@cache
def places(document: Path) -> set[str]:
    """The anchors of the headings, as code hosts make them: lower case, word signs, blanks to hyphens."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(document), re.MULTILINE):
        text = LINK.sub("]", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = next(n for n in range(1000) if (f"{slug}-{n}" if n else slug) not in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def problem(document: Path, target: str) -> str:
    """What is wrong with a link; empty if nothing is."""
    if re.match(r"\w+:", target):
        return "" if target.startswith(("https://", "http://127.0.0.1", "mailto:")) else "is no https address"
    path, _, place = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not file.exists():
        return "leads nowhere"
    if place and (file.suffix != ".md" or place not in places(file)):
        return "names no heading there"
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    found = {target: problem(document, target) for target in LINK.findall(prose(document))}
    assert {target: text for target, text in found.items() if text} == {}


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("protocol.md#21-input-events", ""),
        ("#drain", "names no heading there"),
        ("protocol.md#nothing", "names no heading there"),
        ("nothing.md", "leads nowhere"),
        ("decisions", ""),
        ("decisions#1", "names no heading there"),
        ("http://example.com", "is no https address"),
    ],
)
def test_what_is_a_problem(target: str, text: str) -> None:
    assert problem(ROOT / "docs" / "glossary.md", target) == text
