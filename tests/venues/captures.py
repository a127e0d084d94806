"""Reads recorded conversations with venues, as cryptofeed writes them."""

import re
from collections.abc import Iterator
from pathlib import Path

_INCOMING = re.compile(r"\d+\.\d+: ")


def incoming(path: Path) -> Iterator[str]:
    """Yield the messages of the venue; lines that say what the client did are left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if found := _INCOMING.match(line):
                yield line[found.end() :].rstrip("\n")


def names(path: Path, key: str) -> list[str]:
    """Return the symbols that a recording names under a key, such as "product_id"."""
    return sorted(set(re.findall(rf'"{key}":"([^"]+)"', path.read_text(encoding="utf-8"))))
