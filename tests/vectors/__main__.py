"""Writes the vectors, and the tables of their page, by `python -m tests.vectors`."""

from collections.abc import Iterable, Iterator

from tests.vectors import (
    books,
    connections,
    groups,
    orders,
    parts,
    stream_conversations,
    subscriptions,
    tokens,
)
from tests.vectors.catalog import CONVERSATIONS, composed
from tests.vectors.lines import FOLDER, READERS, Vector, read_all
from tests.vectors.stream_catalog import STREAM_CONVERSATIONS, stream_composed

MODULES = (books, connections, groups, orders, parts, stream_conversations, subscriptions, tokens)
"""Importing them registers their conversations."""


def compose_all() -> Iterator[Vector]:
    """Every vector, composed anew."""
    yield from map(composed, CONVERSATIONS)
    yield from map(stream_composed, STREAM_CONVERSATIONS)


def table(vectors: Iterable[Vector]) -> str:
    """The rows of the page's table of these vectors."""
    return "".join(
        f"| [`{vector.name}`]({vector.reader}/{vector.path.name}) | {vector.head['about']} |\n"
        for vector in vectors
    )


def main() -> None:
    """Replace all files of `docs/vectors` but the page, and the tables of that."""
    for reader in READERS:
        folder = FOLDER / reader
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.jsonl"):
            path.unlink()
    for vector in compose_all():
        vector.path.write_text(vector.text(), encoding="utf-8")
    page = FOLDER / "README.md"
    before, *parts = page.read_text(encoding="utf-8").split("| vector | what it shows |\n| --- | --- |\n")
    for reader, part in zip(READERS, parts, strict=True):
        rest = part[part.index("\n\n") :] if "\n\n" in part else ""
        before += "| vector | what it shows |\n| --- | --- |\n" + table(read_all(reader)).rstrip("\n") + rest
    page.write_text(before.rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
