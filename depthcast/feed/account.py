"""Keeps account of a replay: what was skipped, what was in doubt, and what did not get into its book."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

SHOWN: Final = 5
"""Number of findings of each kind that are shown."""

HARMLESS: Final = frozenset({"reset", "disconnected", "suspended"})
"""Doubts that lose no message of the recording, if a snapshot follows."""


@dataclass
class Findings:
    """Things of one kind that went wrong: how many, and the first few with their lines."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, text: str, count: int = 1) -> None:
        """Count it, and keep its description if it is among the first."""
        self.count += count
        if len(self.first) < SHOWN:
            self.first.append(text)


@dataclass
class Account:
    """What a pass over a recording noticed besides its entries.

    - `skipped`: lines that concern no book, by kind.
    - `gaps`: times that a book could not be proven right, by reason.
    - `refused`: events that are not sent, as they are not what the format says.
    - `left_out`: source times that no book can have.
    - `proven`: messages whose continuity the venue's own numbers or checksum prove; `reloads`: snapshots.
    - `in_doubt_us`: recorded time during which some book was in doubt.
    - `without_book`: symbols that the recording has messages of, but never a snapshot.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    gaps: dict[str, Findings] = field(default_factory=dict)
    refused: Findings = field(default_factory=Findings)
    left_out: Findings = field(default_factory=Findings)
    notes: list[str] = field(default_factory=list)
    proven: int = 0
    reloads: int = 0
    in_doubt_us: int = 0
    without_book: list[str] = field(default_factory=list)
    _doubted: dict[str, int | None] = field(default_factory=dict)

    def doubt(self, symbol: str, reason: str, text: str, at_us: int | None) -> None:
        """A book can no longer be proven right."""
        self.gaps.setdefault(reason, Findings()).note(text)
        self._doubted.setdefault(symbol, at_us)

    def certain(self, symbol: str, at_us: int | None) -> None:
        """A snapshot made a book right again."""
        since = self._doubted.pop(symbol, None)
        if since is not None and at_us is not None:
            self.in_doubt_us += max(0, at_us - since)

    def problems(self) -> list[str]:
        """Why not all that was meant for a book got there; empty if all did."""
        found = []
        for reason, findings in sorted(self.gaps.items()):
            if reason not in HARMLESS:
                found.append(f"{findings.count} {reason}")
        if self.without_book:
            found.append(f"no snapshot of {', '.join(self.without_book)}")
        if self._doubted:
            found.append(f"no later snapshot of {', '.join(sorted(self._doubted))}")
        if self.refused.count:
            found.append(f"events rejected: {self.refused.count} malformed")
        return found

    def lines(self) -> list[str]:
        """Return the parts of a summary that are not empty."""
        found = []
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
            found.append(f"skipped lines: {kinds}")
        if self.gaps:
            found.append(
                "gaps: " + ", ".join(f"{t.count} {reason}" for reason, t in sorted(self.gaps.items()))
            )
            found += [f"  {text}" for _, each in sorted(self.gaps.items()) for text in each.first]
            found.append(f"in doubt: {self.in_doubt_us / 1e6:.3f} s of the recording")
        for findings, what in (
            (self.refused, "malformed events, which were not sent"),
            (self.left_out, "source times left out: no integer from 0 to 2^53-1 µs since 1970"),
        ):
            if findings.count:
                found.append(f"{findings.count} {what}")
                found += [f"  {text}" for text in findings.first]
        return found + self.notes
