"""The result of a run, as a table."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple


class Takeover(NamedTuple):
    """`took_s`: from the fault to the next broadcast of the partition, as a stream consumer saw it."""

    why: str
    partition: int
    took_s: float


@dataclass
class Report:
    """All counts. `lost`, `repeated`, `regressions`, `mismatches` and `wrong` must be zero."""

    faults: Counter[str] = field(default_factory=Counter)
    takeovers: list[Takeover] = field(default_factory=list)
    silences_s: dict[str, float] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    failover_lost: int = 0
    events: int = 0
    rejects: int = 0
    lost: int = 0
    repeated: int = 0
    mismatches: int = 0
    gaps: int = 0
    resyncs: int = 0
    reconnects: int = 0
    went_back: int = 0
    regressions: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def check(self, fine: bool, otherwise: str) -> None:
        """Record `otherwise` as a problem, unless the check succeeded."""
        if not fine:
            self.wrong.append(otherwise)

    @property
    def good(self) -> bool:
        """Whether all requirements hold."""
        return not (self.lost or self.repeated or self.mismatches or self.regressions or self.wrong)

    def lines(self) -> Iterator[str]:
        """The table."""
        yield from _rows("faults", {name: str(count) for name, count in sorted(self.faults.items())})
        for why in sorted({takeover.why for takeover in self.takeovers}):
            times = sorted(takeover.took_s for takeover in self.takeovers if takeover.why == why)
            text = f"median {median(times):.2f} s, worst {times[-1]:.2f} s, of {len(times)}"
            yield from _rows("", {f"next broadcast after {why}": text})
        yield from _rows(
            "longest silence of a reader", {name: f"{s:.2f} s" for name, s in sorted(self.silences_s.items())}
        )
        yield from _rows(
            "counted",
            {
                "input entries acknowledged": str(self.acknowledged),
                "input entries whose outcome was unknown": str(self.unknown),
                "acknowledged entries lost by Redis in failovers": str(self.failover_lost),
                "events in what survived": str(self.events),
                "of these rejected, each in rejects once": str(self.rejects),
                "gaps noticed": str(self.gaps),
                "resyncs": str(self.resyncs),
                "reconnects of clients": str(self.reconnects),
                "books that were older after a reconnect": str(self.went_back),
            },
        )
        yield from _rows(
            "must be 0",
            {
                "events lost": str(self.lost),
                "events repeated": str(self.repeated),
                "seq regressions within a connection": str(len(self.regressions)),
                "digest mismatches": str(self.mismatches),
                "anything else wrong": str(len(self.wrong)),
            },
        )
        yield from (f"    {text}" for text in (*self.regressions, *self.wrong))


def _rows(title: str, rows: dict[str, str]) -> Iterator[str]:
    if title and rows:
        yield title
    for name, value in rows.items():
        yield f"  {name:<50} {value:>12}"
