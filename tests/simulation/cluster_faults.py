"""Slots that move key by key, and nodes that are replaced, in a simulated cluster."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from tests.simulation.branch import Branch
from tests.simulation.faults import CUT_OFF, TWO_MASTERS, Fault
from tests.simulation.nodes import Node, Nodes, slot_name
from tests.simulation.server import Replica

if TYPE_CHECKING:
    from tests.simulation.world import World

BACK_S: Final = (0.3, 1.5)
"""A node that has become a replica may be promoted again after this time."""

KEY_EVERY_S: Final = (0.0005, 0.01, 0.08)
"""Mean time between two keys of a slot on their way."""


class ClusterFaults:
    """What these faults do to the world; nothing where that has no cluster."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._end_part: dict[int, Callable[[], None]] = {}

    @property
    def nodes(self) -> Nodes | None:
        return self.world.server.nodes

    def move(self, fault: Fault, *, back: bool) -> bool:
        """Move a slot to another node key by key; and if that ends well, the same way back."""
        nodes, rng = self.nodes, Random(f"{fault.choice} move")
        if nodes is None:
            return False
        slot = rng.choice(sorted(nodes.owner))
        others = [node for node in nodes.others(nodes.owner[slot]) if node.up]
        if slot in nodes.moving or not others or not nodes.owner[slot].up:
            return False
        nodes.begin_move(slot, rng.choice(others))
        self._later(slot, rng, rng.choice(KEY_EVERY_S), back=back)
        return True

    def _later(self, slot: bytes, rng: Random, every_s: float, *, back: bool) -> None:
        loop = self.world.loop
        pause_s = rng.expovariate(1 / every_s)
        loop.call_later(
            pause_s, lambda: self._next(slot, rng, every_s, back=back), context=loop.world.context
        )

    def _next(self, slot: bytes, rng: Random, every_s: float, *, back: bool) -> None:
        """Move the next key, or end the move."""
        nodes = self.nodes
        if nodes is None or slot not in nodes.moving:
            return
        move = nodes.moving[slot]
        left = [key for key in sorted(self.world.server.store.values) if slot_name(key) == slot]
        left = [key for key in left if key not in move.moved]
        if left:
            move.moved.add(rng.choice(left))
            self._later(slot, rng, every_s, back=back)
            return
        former = self._end(slot)
        if back and former.up:
            nodes.begin_move(slot, former)
            self._later(slot, rng, every_s, back=False)

    def _end(self, slot: bytes) -> Node:
        assert self.nodes is not None
        former = self.nodes.end_move(slot)
        self.world.server.move_on(slot, former)
        return former

    def finish(self) -> None:
        """End every move, and let every slot have one master."""
        for slot in list(self.nodes.moving) if self.nodes is not None else ():
            self._end(slot)
        for node in self.nodes.all if self.nodes is not None else ():
            self.rejoin(node)

    def replaceable(self, fault: Fault) -> Node | None:
        """A node that may be replaced now."""
        found = [] if self.nodes is None else [node for node in self.nodes.still() if node.up]
        return Random(f"{fault.choice} node").choice(found) if found else None

    def is_still(self, node: Node) -> bool:
        """Whether no slot of a node is on its way."""
        return self.nodes is not None and any(each is node for each in self.nodes.still())

    def replace(self, fault: Fault, node: Node, replica: Replica) -> Node:
        """Let another node serve what a replica had of the slots of one that is gone for good, or cut off.

        A node that is cut off goes on to serve some of those who are connected; then it comes back, and they
        find out. It may take writes all the while, which are lost then.
        """
        world, nodes = self.world, self.nodes
        assert nodes is not None
        slots, store = set(nodes.slots(node)), world.server.store
        promoted, rng = nodes.replace(node), Random(f"{fault.choice} cut off")
        if fault.kind == CUT_OFF:
            links = list(world.network.links.values())
            spared = {peer for link in links if rng.random() < 0.5 for peer in link.connections}
            node.cut_off = world.server.cut_off()
            world.server.leave(node, lambda peer: peer in spared)
            world.loop.call_later(
                fault.lasts_s * 2, lambda: world.server.leave(node), context=world.loop.world.context
            )
        elif fault.kind == TWO_MASTERS:
            self._part(fault, node, slots, rng)
        else:
            world.server.leave(node)
        values, expiries = replica.data
        for here, there in ((store.values, values), (store.expiries, expiries)):
            for key in [key for key in here if slot_name(key) in slots]:
                del here[key]
            here.update({key: value for key, value in there.items() if slot_name(key) in slots})
        now = world.journal.mark()
        mark = {key: replica.mark.get(key, 0) if slot_name(key) in slots else now[key] for key in now}
        world.journal.lose(mark)
        return promoted

    def _part(self, fault: Fault, node: Node, slots: set[bytes], rng: Random) -> None:
        """Let a node go on as a master for those who reach it."""
        world = self.world
        node.cut_off = world.server.cut_off()
        branch = node.branch = Branch(world, node.cut_off, slots, rng)
        node.up = True
        world.server.leave(
            node,
            lambda peer: any(
                branch.reaches(link) for link in world.network.links.values() if peer in link.connections
            ),
        )
        self._end_part[node.number] = lambda: self._rejoin(node, branch, rng)
        world.loop.call_later(fault.lasts_s * 2, self.rejoin, node, context=world.loop.world.context)

    def rejoin(self, node: Node) -> None:
        """A node that took itself for a master finds out, and becomes a replica of who replaced it."""
        end = self._end_part.pop(node.number, None)
        if end is not None:
            end()

    def _rejoin(self, node: Node, branch: Branch, rng: Random) -> None:
        world = self.world
        branch.end()
        node.branch = node.cut_off = None
        world.server.demote(node)
        if rng.random() < 0.3:
            node.up = False
            world.server.leave(node)
        elif rng.random() < 0.6:
            world.loop.call_later(
                rng.uniform(*BACK_S), self._promote_back, node, branch.slots, context=world.loop.world.context
            )

    def _promote_back(self, node: Node, slots: set[bytes]) -> None:
        """Let it be the master again, as by `CLUSTER FAILOVER`: nothing is lost, the process is the same."""
        assert self.nodes is not None
        holder = next((self.nodes.owner[slot] for slot in sorted(slots)), None)
        given = [] if holder is None or not holder.up else self.nodes.give_back(node, slots, holder)
        if given and holder is not None:
            self.world.actions.done["promote a node again"] += 1
            for slot in given:
                self.world.server.move_on(slot, holder)
