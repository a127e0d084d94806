"""Corpora: the inputs that are kept, one hexadecimal line each, in a file for each target."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"


def kept(target: str) -> list[bytes]:
    """Return the inputs kept for a target."""
    path = FOLDER / f"{target}.hex"
    return [bytes.fromhex(line) for line in path.read_text(encoding="ascii").split()] if path.exists() else []


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Replace a target's inputs, shortest first."""
    lines = sorted({item.hex() for item in inputs if item}, key=lambda line: (len(line), line))
    (FOLDER / f"{target}.hex").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
