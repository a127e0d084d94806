"""Mutants that are not mistakes, each with its reason from `reasons.toml`."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.mutants.mutations import Identity, Mutant
from tests.mutants.packages import ROOT

REASONS: Final = ROOT / "tests/mutants/reasons.toml"


def read_reasons(path: Path = REASONS) -> dict[Identity, str]:
    """The reason for each mutant that is listed."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    reasons: dict[Identity, str] = {}
    for entry in entries:
        identity = Identity(
            entry["file"], entry["scope"], entry["was"], entry["becomes"], entry.get("nth", 1)
        )
        if not entry["reason"].strip() or identity in reasons:
            message = f"{path.name}: no reason, or twice: {identity}"
            raise ValueError(message)
        reasons[identity] = entry["reason"]
    return reasons


def wrong_reasons(
    reasons: Mapping[Identity, str], package: str, mutants: Iterable[Mutant], noticed: Iterable[Mutant]
) -> Iterator[str]:
    """Reasons of `package` that do not hold: the mutant does not exist any more, or a test notices it."""
    ours = {identity for identity in reasons if identity.file.startswith(f"{package}/")}
    there = {mutant.identity for mutant in mutants}
    for identity in sorted(ours - there):
        yield f"there is no such mutant: {identity}"
    for mutant in noticed:
        if mutant.identity in ours:
            yield f"a test notices it: {mutant}"
