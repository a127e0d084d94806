"""What somebody else does to our keys: deletes input, a stream or a checkpoint, or writes another type.

What is deleted is there again after a while, as from a backup, unless a leader has written it anew. Meanwhile
nobody may guess: a partition that cannot be rebuilt is not led.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

from depthcast.ingestor import checkpoint as checkpoints
from depthcast.shared.partition import partition_of
from tests.simulation.data import Hash
from tests.simulation.faults import Fault
from tests.simulation.producers import KEYS, UNKNOWN
from tests.simulation.streams import ZERO, Stream

if TYPE_CHECKING:
    from tests.simulation.oracles import PartitionOracle
    from tests.simulation.world import World

Mend = Callable[[], None]

UNREAD_MIN: Final = 2
"""Input is deleted once this many entries wait, so that one can be left behind those that go."""


class Damage:
    """Each method does its damage now, and returns how to mend it; None if there is nothing to damage."""

    def __init__(self, world: "World") -> None:
        self.world = world

    # --- keys -------------------------------------------------------------------------------------------

    def delete_snapshots(self, fault: Fault) -> Mend | None:
        """Delete the snapshots of a symbol."""
        oracle, rng = self._partition(fault)
        keys = KEYS.partition(oracle.model.number)
        return self._delete([keys.snapshots(symbol).encode() for symbol in self._symbols(oracle)], rng)

    def delete_checkpoint(self, fault: Fault) -> Mend | None:
        """Delete the checkpoint of a symbol."""
        oracle, rng = self._partition(fault)
        keys = KEYS.partition(oracle.model.number)
        return self._delete([keys.checkpoint(symbol).encode() for symbol in self._symbols(oracle)], rng)

    def _delete(self, keys: Sequence[bytes], rng: Random) -> Mend | None:
        values = self.world.server.store.values
        there = [key for key in keys if key in values]
        if not there:
            return None
        key = rng.choice(there)
        backup = values.pop(key)

        def mend() -> None:
            values = self.world.server.store.values
            values.setdefault(key, backup)

        return mend

    def delete_deltas(self, fault: Fault) -> Mend | None:
        """Delete the stream that all else depends on. A leader or a standby that remembers writes it anew."""
        oracle, _ = self._partition(fault)
        key, journal = oracle.deltas, self.world.journal
        # A partition without any snapshot begins anew, and consumes all its input again.
        has_books = set(self._symbols(oracle)) - self.world.late
        backup = self.world.server.store.values.pop(key, None) if has_books else None
        if backup is None:
            return None
        length = len(journal.streams[key])
        emptied = set(journal.emptied)
        journal.emptied.add(key)

        def mend() -> None:
            """A stream of nothing but seals says nothing: whoever wrote them had no books."""
            found = self.world.server.store.values.get(key)
            if found is None or not any(n for _, n in found.ids):
                self.world.server.store.values[key] = backup
                del journal.streams[key][length:]
                journal.emptied = emptied

        return mend

    def change_type(self, fault: Fault) -> Mend | None:
        """Replace one of the partition's keys by a value of another type."""
        oracle, rng = self._partition(fault)
        keys = KEYS.partition(oracle.model.number)
        symbol = rng.choice(self._symbols(oracle) or [UNKNOWN])
        several = (keys.deltas, keys.events, keys.rejects, keys.symbols, keys.listings, keys.leader)
        key = rng.choice([*several, keys.snapshots(symbol), keys.checkpoint(symbol)]).encode()
        store = self.world.server.store
        backup: Any = store.values.get(key)
        store.drop(key)
        foreign = store.values[key] = Hash({b"whose": b"?"}) if isinstance(backup, bytes) else b"whose?"

        def mend() -> None:
            """Delete it; a lease is not restored."""
            store = self.world.server.store
            if store.values.get(key) is foreign:
                store.drop(key)
                if backup is not None and key != keys.leader.encode():
                    store.values[key] = backup

        return mend

    def _partition(self, fault: Fault) -> tuple["PartitionOracle", Random]:
        rng = Random(f"{fault.choice} damage")
        return rng.choice(self.world.oracles), rng

    def _symbols(self, oracle: "PartitionOracle") -> list[str]:
        number = oracle.model.number
        return [s for s in self.world.instruments if partition_of(s, self.world.partitions) == number]

    # --- input ------------------------------------------------------------------------------------------

    def delete_unread(self, fault: Fault) -> bool:
        """Delete input that no published entry includes, if enough of it waits somewhere.

        Nothing that was sent to an ingestor: if it publishes that and ends before its next checkpoint, nobody
        can replay it, and the partition is refused until somebody restores it (`docs/operations.md`).
        """
        rng = Random(f"{fault.choice} unread")
        for oracle in self.world.oracles:
            stream = self.world.server.store.values.get(oracle.events)
            src = max(oracle.src(), self.world.server.delivered.get(oracle.events, ZERO))
            if not isinstance(stream, Stream):
                continue
            unread = [entry for entry in stream.ids if entry > src]
            if len(unread) >= UNREAD_MIN and not self._replays_all(oracle):
                going = rng.sample(unread, rng.randint(1, len(unread)))
                oracle.lost_known = oracle.lost_known and oracle.counts_input()
                for entry in going:
                    stream.delete(entry)
                oracle.deleted.update(going)
                return True
        return False

    def _replays_all(self, oracle: "PartitionOracle") -> bool:
        """Whether a recovery replays the log from its beginning: it is refused if anything of it is gone.

        Before anything is published, checkpoints are still to be written at the beginning.
        """
        if oracle.src() == ZERO:
            return True
        keys, values = KEYS.partition(oracle.model.number), self.world.server.store.values
        found = [values.get(keys.checkpoint(symbol).encode()) for symbol in self._symbols(oracle)]
        return any(checkpoints.decode(raw).src == ZERO for raw in found if isinstance(raw, bytes))
