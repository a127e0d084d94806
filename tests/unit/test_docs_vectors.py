"""The vectors are those that the gateway and the engine of today say, and the page about them names each."""

import re

import pytest

from tests.vectors.__main__ import compose_all, table
from tests.vectors.lines import FOLDER, READERS, Vector, read_all

PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
COMPOSED = {vector.path: vector for vector in compose_all()}
KEYS = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize("vector", COMPOSED.values(), ids=lambda vector: f"{vector.reader} {vector.name}")
def test_a_vector_is_as_composed(vector: Vector) -> None:
    assert vector.path.read_text(encoding="utf-8") == vector.text(), "run python -m tests.vectors"


@pytest.mark.parametrize("reader", READERS)
def test_the_page_lists_every_vector(reader: str) -> None:
    vectors = read_all(reader)
    assert {vector.path for vector in vectors} == {path for path in COMPOSED if path.parent.name == reader}
    assert table(vectors) in PAGE


def test_the_page_explains_every_key() -> None:
    used = {key for reader in READERS for vector in read_all(reader) for line in vector.lines for key in line}
    heads = {key for reader in READERS for vector in read_all(reader) for key in vector.head}
    assert used | heads == KEYS


def test_every_vector_ends_by_saying_what_is_held() -> None:
    ends = {next(iter(vector.lines[-1])) for reader in READERS for vector in read_all(reader)}
    assert ends == {"holds"}
