"""The glossary is in order, and every term in it is in use."""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
TERMS = re.findall(r"^\| ([a-z][\w -]*) \| .+ \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)[1:]
SOURCE = ("depthcast", "shared", "broadcaster", "ingestor", "gateway")


@cache
def in_use() -> str:
    """All source and all other documents, in lower case, words of names apart."""
    paths = [path for folder in SOURCE for path in sorted((ROOT / folder).rglob("*.py"))]
    paths += [path for path in sorted((ROOT / "docs").glob("*.md")) if path != GLOSSARY]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    return re.sub(r"[_\s]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", text)).lower()


def test_terms_are_in_alphabetical_order_and_each_is_there_once() -> None:
    assert len(TERMS) > 70
    assert all(first.lower() < second.lower() for first, second in pairwise(TERMS))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_in_use(term: str) -> None:
    assert re.search(rf"\b{re.escape(term.lower())}", in_use())
