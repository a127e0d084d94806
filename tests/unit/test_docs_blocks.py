"""Every block of data or code in the documents can be parsed by its reader."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "web/README.md")]
DOCUMENTS = [*PAGES, *sorted((ROOT / "docs").rglob("*.md"))]
yaml: Any = pytest.importorskip("yaml")


class Block(NamedTuple):
    """Language, text and place of a fenced block."""

    language: str
    text: str
    place: str


def _blocks() -> list[Block]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            found.append(Block(match[2], match[3], f"{path.relative_to(ROOT)}:{line}"))
    return found


def _shell(text: str) -> None:
    ended = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


READ_BY: Final[Mapping[str, Callable[[str], object]]] = {
    "console": _shell,
    "json": json.loads,
    "jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
    "python": lambda text: compile(text, "block", "exec"),
    "sh": _shell,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}

CHECKED_ELSEWHERE: Final = frozenset(
    ("digest", "events", "hex", "html", "js", "jsx", "nginx", "partition", "seq", "text")
)
"""What `test_docs_protocol.py` computes and `tests/browser` runs, pictures, configurations."""

BLOCKS = _blocks()


def test_every_block_names_a_language_that_is_checked() -> None:
    unknown = [block.place for block in BLOCKS if block.language not in READ_BY.keys() | CHECKED_ELSEWHERE]
    assert unknown == []
    assert len(BLOCKS) > 70


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language in READ_BY], ids=lambda block: block.place
)
def test_a_block_is_well_formed(block: Block) -> None:
    READ_BY[block.language](block.text)
