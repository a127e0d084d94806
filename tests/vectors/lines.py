"""Vectors as they are in `docs/vectors`: a head, and lines of one key each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

FOLDER: Final = Path(__file__).parents[2] / "docs" / "vectors"
READERS: Final = ("client", "stream")

Line = dict[str, Any]
Levels = Mapping[int, int]
"""Price in ticks → quantity in lots."""


class Vector(NamedTuple):
    """One conversation. `reader`: who reads it, and its folder; `head`: its first line."""

    name: str
    reader: str
    head: Line
    lines: Sequence[Line]

    @property
    def path(self) -> Path:
        return FOLDER / self.reader / f"{self.name}.jsonl"

    def text(self) -> str:
        """The file."""
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (self.head, *self.lines))


def read_all(reader: str) -> list[Vector]:
    """Every vector for `reader`, in the order of names."""
    return [read(path) for path in sorted((FOLDER / reader).glob("*.jsonl"))]


def read(path: Path) -> Vector:
    """The vector in a file."""
    head, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return Vector(head["vector"], head["reader"], head, lines)


def digest_by_formula(bids: Levels, asks: Levels) -> int:
    """The digest as the contract has it (section 1.2), by nothing of the program's."""
    sides = (("b", bids), ("a", asks))
    weighted = (
        (crc32(f"{side}{price}".encode()) | 1) * quantity
        for side, levels in sides
        for price, quantity in levels.items()
    )
    return sum(weighted) % 2**32


def book_line(seq: int, bids: Levels, asks: Levels, counts: tuple[Levels, Levels] | None = None) -> Line:
    """What `holds` says of a book: its seq, its digest and its levels, best first.

    `counts`: the number of orders at each level, if that is known.
    """
    line: Line = {
        "seq": seq,
        "digest": digest_by_formula(bids, asks),
        "bids": [[price, bids[price]] for price in sorted(bids, reverse=True)],
        "asks": [[price, asks[price]] for price in sorted(asks)],
    }
    if counts is not None:
        line["orders_digest"] = digest_by_formula(*counts)
        for name, numbers in zip(("bids", "asks"), counts, strict=True):
            line[name] = [[*level, numbers[level[0]]] for level in line[name]]
    return line
