"""Who leads which partition: pure decisions over the ingestors that are known to live.

Every ingestor works the shares out for itself from the same members, so nobody has to be asked. Partitions are spread
evenly, and none moves that need not: whoever leads goes on, and the others go to the first with room in an order of
preference that is each partition's own (rendezvous hashing, Thaler and Ravishankar, 1998). Two ingestors may disagree for a moment; the lease and the fence in the stream see to it that this
costs a delay at most.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final
from zlib import crc32


def shares(
    partitions: int, members: Collection[str], held: Mapping[int, str] = MappingProxyType({})
) -> dict[int, str]:
    """Partition → the member that is to lead it; empty without members. Counts differ by one at most.

    `held`: who leads which partition now. What a member holds stays with it as far as that is even.
    """
    if not members:
        return {}
    least, more = divmod(partitions, len(members))
    room = dict.fromkeys(sorted(members), least)
    owners: dict[int, str] = {}
    preferences = sorted(
        (held.get(partition) != member, _weight(partition, member), partition, member)
        for partition in range(partitions)
        for member in room
    )
    for spare in (0, 1):  # everybody's even share first, then the odd ones
        for _, _, partition, member in preferences:
            if partition in owners or room[member] + min(spare, more) <= 0:
                continue
            owners[partition] = member
            more -= room[member] <= 0
            room[member] -= 1
    return owners


def _weight(partition: int, member: str) -> int:
    return crc32(f"{member}/{partition}".encode())


LEFT: Final = float("-inf")
"""When one that left was heard of."""


class Roster:
    """The ingestors seen lately, told apart from those that merely went missing with Redis's memory.

    `alive_s`: a member not heard of for so long counts as gone. `alive`: members heard of lately as of the last
    listing; while nothing can be listed, nobody goes. `present`: those of them that were listed, to whom something can be
    handed. Times are seconds of our own monotonic clock.
    """

    def __init__(self, alive_s: float) -> None:
        self.alive_s = alive_s
        self.alive: frozenset[str] = frozenset()
        self.present: frozenset[str] = frozenset()
        self._last_seen: dict[str, float] = {}
        self._updated_at: float | None = None

    def update(self, ages: Mapping[str, float], now: float) -> None:
        """What Redis lists: member → seconds since it was heard of, negative when it has left."""
        if self._updated_at is not None and now - self._updated_at >= self.alive_s:
            # We were cut off, and so were others perhaps: they get the time to be heard of again.
            self._last_seen.update(dict.fromkeys(self.alive, now))
        self._updated_at = now
        for member, age in ages.items():
            self._last_seen[member] = LEFT if age < 0 else max(now - age, self._last_seen.get(member, LEFT))
        self._last_seen = {m: heard for m, heard in self._last_seen.items() if now - heard < self.alive_s}
        self.alive = frozenset(self._last_seen)
        self.present = frozenset(member for member, age in ages.items() if 0 <= age < self.alive_s)
