"""The glossary is in order, every term in it is in use, and names of the code keep to it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
TERMS = re.findall(r"^\| ([a-z][\w -]*) \| .+ \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)[1:]
SOURCE = ("depthcast", "shared", "broadcaster", "ingestor", "gateway")
PYTHON = (*SOURCE, "tests", "benchmarks")

REPLACED = {
    "aside": "in a thread",
    "deed": "action",
    "doubtful": "possibly changed",
    "heir": "successor",
    "hub": "market",
    "in_step": "synced",
    "judge": "update, check, decide",
    "keeping": "state keeper",
    "lane": "subscription group",
    "let_go": "drop",
    "loose": "catching up",
    "outlet": "writer",
    "outside": "environment",
    "pacer": "schedule, clock",
    "reckoning": "reconciliation",
    "restated": "by its effect",
    "speak": "send, be running",
    "step_in": "enter the fast path",
    "step_out": "leave the fast path",
    "told": "sent, notified",
    "torn": "history reset",
    "trouble": "outage",
    "turn": "change, tick",
    "wish": "preference",
    "work_off": "send, oldest first",
}
"""Words that name nothing in the code → what the glossary says instead."""


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


def names(tree: ast.AST) -> Iterator[str]:
    """Every name that the module defines or uses, attributes and arguments included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def words(name: str) -> str:
    """`HeirOf_lanes` as `_heir_of_lanes_`."""
    return "_" + re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().strip("_") + "_"


def test_no_name_of_the_code_has_a_word_that_was_replaced() -> None:
    """Names of tests are sentences, where such a word may have its ordinary meaning."""
    replaced = re.compile(rf"_({'|'.join(REPLACED)})(?:e?s|ed)?_")
    texts = {
        path: path.read_text(encoding="utf-8") for folder in PYTHON for path in (ROOT / folder).rglob("*.py")
    }
    written = {path: set(re.findall(r"\w+", text)) for path, text in texts.items()}
    possible = {word for word in set().union(*written.values()) if replaced.search(words(word))}
    found = {
        f"{path.relative_to(ROOT)}: {name} (say {REPLACED[match[1]]})"
        for path, text in texts.items()
        if possible & written[path]  # to parse a module takes long
        for name in set(names(ast.parse(text)))
        if not name.startswith("test_") and (match := replaced.search(words(name)))
    }
    assert sorted(found) == []
