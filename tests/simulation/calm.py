"""Runs of a cluster in which nothing happens but what a replica must not be read for, and that lasts.

A slot that stays half moved, a replica whose link to its master is down, or one that follows a master which
was replaced and goes on. Everything else is well, so that what readers are promised can be audited tightly
(`tests/simulation/reading.py`).
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Final

from depthcast.shared.keys import PartitionKeys
from tests.simulation.faults import TWO_MASTERS, Fault
from tests.simulation.loop import START_S
from tests.simulation.network import Link
from tests.simulation.nodes import slot_name
from tests.simulation.processes import StreamConsumer
from tests.simulation.producers import KEYS
from tests.simulation.reading import ReadingAudit

if TYPE_CHECKING:
    from tests.simulation.world import World

EVERY: Final = 5
"""Of so many seeds of a cluster, one is such a run: the last."""

HALF_MOVED: Final = "half move a slot"
LINK_DOWN: Final = "cut a replica from its master"

BEGINS_S: Final = (1.5, 2.5)
ENDS_S: Final = 6.0
NEW_AFTER_S: Final = (0.5, 1.0)
KEY_AFTER_S: Final = 0.02
LAG_MAX_MS: Final = (2000, 600_000, 600_000)
"""The limit of readers: mostly one that does not make them leave a replica."""


class Calm:
    """What happens in such a run. `kind`: of the fault; `changed_at`: when that changed something last."""

    def __init__(self, world: "World", seed: int) -> None:
        self.world = world
        self.rng = Random(f"calm {seed}")
        kinds: Mapping[str, Callable[[], None]] = {
            HALF_MOVED: self._half_move,
            LINK_DOWN: self._cut_links,
            TWO_MASTERS: self._part_master,
        }
        self.kind = list(kinds)[seed // EVERY % len(kinds)]
        self._begin = kinds[self.kind]
        self.reading = ReadingAudit(world, self)
        self.changed_at = 0.0

    @staticmethod
    def is_for(seed: int, *, cluster: bool) -> bool:
        """Whether a seed's run is such a run."""
        return cluster and seed % EVERY == EVERY - 1

    @property
    def lag_max_ms(self) -> int:
        """How far a replica may be behind for one reader."""
        return self.rng.choice(LAG_MAX_MS)

    def plan(self) -> None:
        """Let it begin in a while."""
        self._at(self.rng.uniform(*BEGINS_S), self._begin)

    def keeps_to_new(self, link: Link) -> bool:
        """Whether a process reaches only the master that was promoted: a reader."""
        world = self.world
        readers = [*world.gateways, *world.consumers]
        return any(link.process is reader.process for reader in readers)

    def _at(self, after_s: float, do: Callable[[], None]) -> None:
        loop = self.world.loop
        loop.call_at(START_S + after_s, self._changed, do, context=loop.world.context)

    def _changed(self, do: Callable[[], None]) -> None:
        self.changed_at = self.world.loop.time()
        do()

    def _count(self) -> None:
        self.world.actions.done[self.kind] += 1

    # --- a slot that stays half moved --------------------------------------------------------------------

    def _half_move(self) -> None:
        """Move the snapshots of a partition, and at most later its stream; then let somebody come."""
        world, nodes = self.world, self.world.server.nodes
        assert nodes is not None
        keys = KEYS.partition(self.rng.randrange(world.partitions))
        slot = slot_name(keys.deltas)
        nodes.begin_move(slot, self.rng.choice(nodes.others(nodes.owner[slot])))
        self._count()
        self._move_snapshots(keys)
        now_s = world.loop.time() - START_S
        self._at(now_s + self.rng.uniform(*NEW_AFTER_S), self._come)
        self._at(ENDS_S, world.actions.end_all)

    def _move_snapshots(self, keys: PartitionKeys) -> None:
        """Move one after the other, also those that are written meanwhile."""
        world, nodes = self.world, self.world.server.nodes
        assert nodes is not None
        move = nodes.moving.get(slot_name(keys.deltas))
        if move is None:
            return
        first = keys.snapshots("").encode()
        left = sorted(key for key in world.server.store.values if key.startswith(first))
        left = [key for key in left if key not in move.moved]
        if left:
            move.moved.add(self.rng.choice(left))
        loop = world.loop
        loop.call_later(KEY_AFTER_S, self._move_snapshots, keys, context=loop.world.context)

    def _come(self) -> None:
        """A consumer that nobody has seen before wants all books."""
        world = self.world
        newcomer = world._made(StreamConsumer, len(world.consumers), symbols=None, watch=world.watch)
        newcomer.read_from, newcomer.replica_lag_max_ms = "replica", self.lag_max_ms
        world.consumers.append(newcomer)
        newcomer.start()

    # --- a replica whose link is down --------------------------------------------------------------------

    def _cut_links(self) -> None:
        """No replica hears of its master any more."""
        assert self.world.replicas is not None
        replicas = self.world.replicas.following()
        for replica in replicas:
            replica.parted = True
        self._count()

        def heal() -> None:
            for replica in replicas:
                replica.parted = False

        self._at(ENDS_S, heal)

    # --- a replica of a master that was replaced ---------------------------------------------------------

    def _part_master(self) -> None:
        """Replace a master that does not know; its replica stays with it, and no reader reaches it."""
        world = self.world
        assert world.server.nodes is not None
        assert world.replicas is not None
        keys = KEYS.partition(self.rng.randrange(world.partitions))
        node = world.server.nodes.owner[slot_name(keys.deltas)]
        now_s = world.loop.time() - START_S
        fault = Fault(TWO_MASTERS, now_s, (ENDS_S - now_s) / 2, self.rng.random())
        promoted = world.actions._cluster.replace(fault, node, world.server.replicate())
        world.replicas.stays(promoted)
        world.register_again()
        self._count()

        def up() -> None:
            promoted.up = True

        self._at(now_s + self.rng.uniform(0.05, 0.3), up)
        self._at(ENDS_S, lambda: None)
