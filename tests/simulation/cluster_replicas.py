"""The replicas of a simulated cluster's nodes: each node has one that readers may read from.

A replica has `deltas` and snapshots of its node's slots, late. When its node is replaced, it is promoted with
what it had (a lost tail is lost to its readers, too), follows the node that was promoted, or stays with a
master that is cut off. As in a cluster, it answers MOVED for what its node does not own, and nothing says
there that a key has moved.
"""

import asyncio
from random import Random
from typing import TYPE_CHECKING, Final

from depthcast.shared.replica_choice import Address
from tests.simulation.faults import TWO_MASTERS
from tests.simulation.network import Link, Network
from tests.simulation.nodes import Node, Nodes
from tests.simulation.replica_server import EVERY_S, ReplicaServer

if TYPE_CHECKING:
    from tests.simulation.world import World

PROMOTED: Final = "promoted"
FOLLOWS: Final = "follows"
STAYS: Final = "stays"
FIRST_PORT: Final = 6380


class ClusterReplicas:
    """All replicas. `of`: those that follow a node, by its number. `all`: also those that were promoted."""

    def __init__(self, world: "World", rng: Random, nodes: Nodes, *, lag_s: float) -> None:
        self.world = world
        self.rng = rng
        self.nodes = nodes
        self.lag_s = lag_s
        self.of: dict[int, ReplicaServer] = {}
        self.all: dict[Address, tuple[ReplicaServer, Network]] = {}
        for node in nodes.all:
            self._attach(node)

    def _attach(self, node: Node) -> None:
        """Give a node a replica, which has to be filled first."""
        world, rng = self.world, Random(self.rng.random())
        replica = ReplicaServer(world.loop, rng, world.server, lag_s=self.lag_s, node=node)
        network = Network(world.loop, replica.server, world.trace)
        world.network.others.append(network)
        self.of[node.number] = replica
        self.all["replica", FIRST_PORT + len(self.all)] = replica, network

    async def run(self) -> None:
        """Let all follow their nodes until cancelled."""
        while True:
            for replica, _ in self.all.values():
                replica.step()
            await asyncio.sleep(EVERY_S)

    def named(self, slot: bytes, link: Link) -> list[Address]:
        """The replicas that a cluster names to a process: those of the slot's master, as it is seen there."""
        replica = self.of.get(self.nodes.reached(slot, link).number)
        return [address for address, (each, _) in self.all.items() if each is replica]

    def plan(self, kind: str, choice: float, node: Node) -> str:
        """Decide what becomes of a node's replica when the node is replaced.

        One that is to be promoted gets no more than what is promoted.
        """
        replica = self.of.get(node.number)
        if replica is None:
            return ""
        rng = Random(f"{choice} replica")
        plan = rng.choice((PROMOTED, FOLLOWS, STAYS) if kind == TWO_MASTERS else (PROMOTED, FOLLOWS))
        if replica.promoted or replica.server.down:
            plan = FOLLOWS
        replica.held = plan == PROMOTED
        return plan

    def give_up(self, node: Node) -> None:
        """It is not replaced after all."""
        if (replica := self.of.get(node.number)) is not None:
            replica.held = False

    def replaced(self, plan: str, node: Node, promoted: Node) -> None:
        """Another node has taken a node's slots over."""
        if not plan:
            return
        replica = self.of[node.number]
        replica.held = False
        if plan == STAYS:
            self.stays(promoted)
            return
        del self.of[node.number]
        replica.node = promoted
        if plan == FOLLOWS:
            self.of[promoted.number] = replica
            return
        replica.lead()
        self._attach(promoted)

    def stays(self, promoted: Node) -> None:
        """A replica stays with its node, which was replaced: the one that was promoted gets another."""
        self._attach(promoted)

    def following(self) -> list[ReplicaServer]:
        """Those that follow a node, to be struck by faults."""
        return list(self.of.values())

    def network(self, replica: ReplicaServer) -> Network:
        """The network to one of them."""
        return next(network for each, network in self.all.values() if each is replica)
