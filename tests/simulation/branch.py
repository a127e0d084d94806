"""A history beside the one that counts: of a master that was replaced and does not know.

In a cluster a master that is cut off from the others by the network goes on for a while, and takes writes of
those who still reach it. Its replica was promoted meanwhile. When it finds out, it becomes a replica, and all
that it wrote is lost. Until then its streams are as valid as those that count, and are audited like these.
"""

from random import Random
from typing import TYPE_CHECKING, Final

from tests.simulation.journal import Journal
from tests.simulation.nodes import slot_name
from tests.simulation.store import Store
from tests.simulation.streams import Fields, Id

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.world import World

REACHED: Final = 0.6
"""How likely a process still reaches the master that is cut off."""

ASKED_THERE: Final = (1.0, 0.5)
"""How likely a new connection of such a process goes there: a server that knows better may say so."""


class Branch:
    """The history of some slots from the moment at which they have two masters.

    `store`: the data of the one that is cut off. `added`: entries of streams that only it has.
    """

    def __init__(self, world: "World", store: Store, slots: set[bytes], rng: Random) -> None:
        self.world = world
        self.store = store
        self.slots = slots
        self.rng = rng
        self.added = 0
        streams = world.journal.streams
        self.journal = Journal({key: streams[key][:] for key in streams if slot_name(key) in slots})
        self.audit = world.audit.fork(self.journal, store)
        self._reaches: dict[Link, float] = {}
        store.appended, store.observer = self._appended, self
        world.branches.append(self)
        world.freshness.parted.update(self.partitions)

    @property
    def partitions(self) -> list[int]:
        """The partitions that have two masters."""
        oracles = self.world.oracles
        return [oracle.model.number for oracle in oracles if slot_name(oracle.deltas) in self.slots]

    def reaches(self, link: "Link") -> bool:
        """Whether a process reaches the master that is cut off."""
        if link not in self._reaches:
            there = self.rng.random() < REACHED and not self.world.keeps_to_new(link)
            self._reaches[link] = self.rng.choice(ASKED_THERE) if there else 0.0
        return self._reaches[link] > 0

    def leads(self, link: "Link") -> bool:
        """Whether a new connection of this process goes there."""
        return self.reaches(link) and self.rng.random() < self._reaches[link]

    def end(self) -> None:
        """The master has found out: what it wrote is no more."""
        for key, entries in self.journal.streams.items():
            if entries and entries[-1] not in self.world.journal.streams.get(key, [])[-1:]:
                self.world.journal.branches.setdefault(key, []).append(entries)
        self.world.journal.lost += self.added
        self.world.freshness.parted.difference_update(self.partitions)

    def before(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """The master is about to execute a command."""
        self.audit.before(name, arguments)

    def after(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """The master has executed a command."""
        self.audit.after(name, arguments)

    def _appended(self, key: bytes, stream_id: Id, fields: Fields) -> None:
        self.added += 1
        self.journal.appended(key, stream_id, fields)
        for oracle in self.world.oracles:
            if key == oracle.deltas:
                self.world.decisions.appended(key, oracle.model.number, stream_id, fields)
        self.audit.appended(key, stream_id, fields)
        self.world.freshness.appended_elsewhere(key, stream_id)
