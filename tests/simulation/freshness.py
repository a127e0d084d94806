"""Audits, at every moment, that no reader takes old books for live (`docs/protocol.md`, sections 2.4, 3.3).

The truth is what the server executed and when, by the time of the world.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from typing import Final

from depthcast.shared.codec import decode_info
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from tests.simulation.journal import Journal
from tests.simulation.streams import Fields, Id

TOLERANCE_S: Final = 0.8
"""For the difference of two servers' clocks, the time between two looks at the age, and one round trip."""

RESENT_S: Final = 2.0
"""A publish that is sent again says the input lag of its first attempt."""


class FreshnessAudit:
    """When each partition was last written, and since when its oldest unread input waits.

    `keys`: of the partitions, by number. `now`: the world's time in seconds. `unread`: the input entries of
    a partition that somebody else deleted and no published entry includes. `parted`: partitions that have two
    masters now.
    """

    def __init__(
        self,
        keys: Iterable[PartitionKeys],
        journal: Journal,
        now: Callable[[], float],
        problem: Callable[[str], None],
        unread: Callable[[int], Collection[Id]] = lambda _: (),
    ) -> None:
        self.journal = journal
        self.unread = unread
        self.now = now
        self.problem = problem
        self.deltas = [key.deltas.encode() for key in keys]
        self.events = [key.events.encode() for key in keys]
        self.written_at: dict[bytes, float] = {}
        self.added_at: dict[tuple[bytes, Id], float] = {}
        self.read_at: dict[tuple[str, int], float] = {}
        self.parted: set[int] = set()

    def appended(self, key: bytes, stream_id: Id, fields: Fields) -> None:
        """A stream entry was added."""
        if key in self.events:
            self.added_at[key, stream_id] = self.now()
        elif key in self.deltas:
            self.written_at[key] = self.added_at[key, stream_id] = self.now()
            lost, most = decode_info(fields[1]).lost or 0, len(self.unread(self.deltas.index(key)))
            if lost > most:
                self.problem(f"the entry {stream_id} says that {lost} input entries were lost, not {most}")

    def appended_elsewhere(self, key: bytes, stream_id: Id) -> None:
        """An entry was added by a master that is cut off."""
        self.added_at[key, stream_id] = self.now()
        if key in self.deltas:
            self.written_at[key] = self.now()

    def check_live(self, name: str, number: int, stale_ms: int, input_lag_max_ms: int) -> None:
        """A reader says that books of a partition are live.

        While a partition has two masters, a reader knows of one of them only.
        """
        if number in self.parted:
            return
        now, stale_s = self.now(), stale_ms / 1000
        age_s = now - self.written_at.get(self.deltas[number], 0.0)
        if age_s > stale_s + TOLERANCE_S:
            self.problem(f"{name}: partition {number} is live, {age_s:.3f} s after it was last written")
        lag_s, most_s = self._lag_s(number), input_lag_max_ms / 1000 + stale_s + TOLERANCE_S + RESENT_S
        if lag_s > most_s:
            self.problem(f"{name}: partition {number} is live, but input has waited for {lag_s:.3f} s")

    def reads(self, name: str, number: int, position: Id | None) -> None:
        """A reader is at `position`."""
        added_s = self.added_at.get((self.deltas[number], position), 0.0) if position is not None else 0.0
        self.read_at[name, number] = max(added_s, self.read_at.get((name, number), 0.0))

    def check_age(self, name: str, number: int, stale_ms: int) -> None:
        """A reader says that books are live: it has read an entry that is young enough, wherever it reads."""
        age_s = self.now() - self.read_at.get((name, number), 0.0)
        if age_s > stale_ms / 1000 + TOLERANCE_S:
            self.problem(f"{name}: partition {number} is live, its newest entry was {age_s:.3f} s old")

    def _lag_s(self, number: int) -> float:
        """How long the oldest input has waited that the last entry does not include."""
        deltas, key = self.journal.streams.get(self.deltas[number]), self.events[number]
        log = self.journal.streams.get(key, [])
        src = Position.parse(decode_info(deltas[-1][1][1]).src) if deltas else (0, 0)
        waiting = log[bisect_right(log, src, key=lambda entry: entry[0]) :]
        gone = self.unread(number) if waiting else ()
        first = next((stream_id for stream_id, _ in waiting if stream_id not in gone), None)
        return 0.0 if first is None else self.now() - self.added_at[key, first]
