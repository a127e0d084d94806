"""Assigns partitions to the ingestors known to be running.

Every ingestor computes the same assignment from the same members, so no agreement is needed. Partitions are
spread evenly and move only if they must: a leader keeps its partition, and a free one goes to the first
member with capacity, in the partition's order of preference (rendezvous hashing, Thaler and Ravishankar,
1998). If two ingestors disagree for a moment, the lease and the fence in the stream limit the harm to a
delay.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final
from zlib import crc32


def shares(
    partitions: int, members: Collection[str], held: Mapping[int, str] = MappingProxyType({})
) -> dict[int, str]:
    """Partition → the member that should lead it; empty without members. Counts differ by at most one.

    `held`: partition → its current leader. A member keeps its partitions as long as the spread stays even.
    """
    if not members:
        return {}
    even, left_over = divmod(partitions, len(members))
    capacity = dict.fromkeys(sorted(members), even)
    owners: dict[int, str] = {}
    preferences = sorted(
        (held.get(partition) != member, _weight(partition, member), partition, member)
        for partition in range(partitions)
        for member in capacity
    )
    for _, _, partition, member in preferences:
        if partition in owners or capacity[member] + min(1, left_over) <= 0:
            continue
        owners[partition] = member
        left_over -= capacity[member] <= 0
        capacity[member] -= 1
    return owners


def _weight(partition: int, member: str) -> int:
    return crc32(f"{member}/{partition}".encode())


LEFT: Final = float("-inf")
"""Last-seen time of a member that has left."""


class Roster:
    """The ingestors seen recently.

    A member missing from the list is not gone at once, because Redis may have lost the list.

    - `alive_s`: a member not seen for this long counts as gone.
    - `alive`: members seen within that time, as of the last listing; without a listing, none is removed.
    - `present`: those in the last listing; a partition can be handed over to them.

    Times are seconds of our monotonic clock.
    """

    def __init__(self, alive_s: float) -> None:
        self.alive_s = alive_s
        self.alive: frozenset[str] = frozenset()
        self.present: frozenset[str] = frozenset()
        self._last_seen: dict[str, float] = {}
        self._updated_at: float | None = None

    def update(self, ages: Mapping[str, float], now: float) -> None:
        """Update from Redis's list: member → seconds since it was last seen, negative if it has left."""
        if self._updated_at is not None and now - self._updated_at >= self.alive_s:
            # We were cut off, and others may have been too: give them time to be seen again.
            self._last_seen.update(dict.fromkeys(self.alive, now))
        self._updated_at = now
        for member, age in ages.items():
            self._last_seen[member] = LEFT if age < 0 else max(now - age, self._last_seen.get(member, LEFT))
        self._last_seen = {m: heard for m, heard in self._last_seen.items() if now - heard < self.alive_s}
        self.alive = frozenset(self._last_seen)
        self.present = frozenset(member for member, age in ages.items() if 0 <= age < self.alive_s)
