"""Everything that was ever appended to a stream, independent of what the store still has.

A failover removes entries from a timeline; they are kept separately, because readers may have seen them.
"""

from dataclasses import dataclass, field

from tests.simulation.streams import Fields, Id

Entry = tuple[Id, Fields]


def changed(fields: Fields) -> list[tuple[bytes, bytes]]:
    """The symbols of a `deltas` entry, with their deltas."""
    pairs = zip(fields[::2], fields[1::2], strict=True)
    return [(name, raw) for name, raw in pairs if not name.startswith(b"_")]


Mark = dict[bytes, int]
"""How many entries each stream had."""


@dataclass
class Journal:
    """`streams`: the timelines that count now.

    `branches`: by key, timelines that ended in a loss. `deleted`: all timelines as they were when everything
    was deleted. `emptied`: keys of streams that were deleted alone, and go on from somebody's memory.
    """

    streams: dict[bytes, list[Entry]] = field(default_factory=dict)
    branches: dict[bytes, list[list[Entry]]] = field(default_factory=dict)
    deleted: list[dict[bytes, list[Entry]]] = field(default_factory=list)
    emptied: set[bytes] = field(default_factory=set)
    lost: int = 0

    def appended(self, key: bytes, stream_id: Id, fields: Fields) -> None:
        """An entry was added."""
        self.streams.setdefault(key, []).append((stream_id, fields))

    def mark(self) -> Mark:
        """Mark the present."""
        return {key: len(entries) for key, entries in self.streams.items()}

    def lose(self, mark: Mark) -> None:
        """Go back to `mark`."""
        for key, entries in self.streams.items():
            kept = mark.get(key, 0)
            if len(entries) > kept:
                self.branches.setdefault(key, []).append(entries[:])
                self.lost += len(entries) - kept
                del entries[kept:]

    def forget(self) -> None:
        """Begin new timelines, because everything was deleted."""
        self.deleted.append(self.streams)
        self.lost += sum(map(len, self.streams.values()))
        self.streams = {}
