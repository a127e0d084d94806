"""The loads that are measured: what changes in a tick, how often, and who reads it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Size:
    """A deployment: symbols, and levels of each book per side."""

    name: str
    symbols: int
    levels: int


@dataclass(frozen=True)
class Readers:
    """So many clients, each of `channels` of the symbols that change first, in `lists` different lists."""

    clients: int
    channels: int
    lists: int = 1


@dataclass(frozen=True)
class Point:
    """One load.

    In a tick, `changed` symbols change `levels` levels each, by `events` events each, in `entries` input
    entries. `idle`: clients of a symbol that never changes. `more_readers`: of the
    stream, beside the gateway and the standby. `held_out`: not used for the costs.
    """

    name: str
    size: str
    rate: float = 10.0
    changed: int = 0
    events: int = 4
    levels: int = 4
    entries: int = 1
    readers: tuple[Readers, ...] = ()
    idle: int = 1
    more_readers: int = 0
    held_out: bool = False

    @property
    def clients(self) -> int:
        return self.idle + sum(kind.clients for kind in self.readers)


SIZES: Final = (Size("tiny", 20, 40), Size("deep", 200, 400), Size("wide", 2_000, 40))
POINTS: Final = (
    Point("deep, idle", "deep"),
    Point("deep, broadcasts", "deep", 20, 200),
    Point("deep, clients", "deep", 10, 200, readers=(Readers(400, 5),)),
    Point("wide, idle", "wide"),
    Point("few broadcasts", "wide", 20, 100, 4, 2),
    Point("many broadcasts", "wide", 8, 1_000, 4, 2),
    Point("many levels", "wide", 5, 800, 20, 10),
    Point("many events", "wide", 10, 100, 100, 4),
    Point("many input entries", "wide", 5, 200, 4, 4, entries=100),
    Point("many published entries", "wide", 40, 5),
    Point("many readers", "wide", 20, 20, more_readers=8),
    Point("many readers, many broadcasts", "wide", 10, 300, more_readers=8),
    Point("one channel", "wide", 20, 10, readers=(Readers(800, 1),)),
    Point("one channel, many levels", "wide", 20, 10, 12, 12, readers=(Readers(500, 1),)),
    Point("ten channels", "wide", 20, 10, readers=(Readers(500, 10),)),
    Point("own lists", "wide", 16, 40, readers=(Readers(300, 10, 300),)),
    Point("many channels", "wide", 16, 400, readers=(Readers(400, 1, 400),)),
    Point("rare messages", "wide", 2, 10, readers=(Readers(1_200, 1),)),
    Point("idle clients", "wide", idle=1_200),
    Point(
        "held out",
        "wide",
        12,
        300,
        8,
        6,
        readers=(Readers(300, 1), Readers(150, 6, 150)),
        idle=100,
        held_out=True,
    ),
)
HELD_OUT: Final = next(point for point in POINTS if point.held_out)
