"""Audits what is promised to readers of replicas while nothing else is in the way (`docs/protocol.md`, 2.6).

Whatever becomes of a replica: a reader whose primary answers is soon no further behind than the replica was,
at an entry that the primary holds; and who comes, or asks for another symbol, soon has the book.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from depthcast.shared.reader import PartitionReader
from depthcast.shared.runtime.redis import BLOCK_MS
from tests.simulation.producers import KEYS
from tests.simulation.streams import Id

if TYPE_CHECKING:
    from tests.simulation.calm import Calm
    from tests.simulation.world import World

SLACK_S: Final = 0.5
"""For a load, pauses before it, and round trips."""


class ReadingAudit:
    """Since when each reader has broken which promise. `within_s`: so long it may, after a change."""

    def __init__(self, world: "World", calm: "Calm") -> None:
        self.world = world
        self.calm = calm
        self._since: dict[tuple[str, ...], float] = {}
        self._lacks: dict[tuple[str, ...], float] = {}

    @property
    def within_s(self) -> float:
        """Until the next check; and until a read has ended without an entry, which tells that one is lost."""
        return self.world.replica_check_s + BLOCK_MS / 1000 + SLACK_S

    def look(self) -> None:
        """Look at every reader."""
        broken: dict[tuple[str, ...], str] = {}
        self._lacks.clear()
        for name, number, reader in self.world._partition_readers():
            if reader.position is not None:
                broken |= self._position(name, number, reader)
        broken |= self._books()
        now = self.world.loop.time()
        self._since = {what: self._since.get(what, now) for what in broken}
        self._since |= {what: since for what, since in self._lacks.items() if what in broken}
        for what, since in self._since.items():
            if now - max(since, self.calm.changed_at) > self.within_s:
                self.world.watch.problem(f"{broken[what]}, for {now - since:.3f} s")

    def _position(self, name: str, number: int, reader: PartitionReader) -> dict[tuple[str, ...], str]:
        """Where a reader is: at an entry of the primary, and not long behind it."""
        key, position = KEYS.partition(number).deltas.encode(), reader.position
        assert position is not None
        at: Id = (position.epoch, position.n)
        ids = [stream_id for stream_id, _ in self.world.journal.streams.get(key, [])]
        if at != (0, 0) and at not in ids:
            return {(name, str(number), "history"): f"{name}: is at {at}, which the primary does not hold"}
        after = bisect_right(ids, at)
        if after == len(ids):
            return {}
        what = name, str(number), "behind"
        self._lacks[what] = self.world.freshness.added_at[key, ids[after]]
        return {what: f"{name}: lacks the entry {ids[after]}"}

    def _books(self) -> dict[tuple[str, ...], str]:
        """Which readers have no book though there is one."""
        store = self.world.server.store
        found: dict[tuple[str, ...], str] = {}
        for name, symbol, replica in self.world._replicas():
            oracle = self.world._oracle(symbol)
            snapshots = store.stream(KEYS.partition(oracle.model.number).snapshots(symbol).encode())
            if replica is None and snapshots is not None and snapshots.ids:
                found[name, symbol] = f"{name}: no book of {symbol}"
        return found
