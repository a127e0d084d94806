"""A simulated cluster: which node owns which slot, slots that move key by key, and what nodes answer then.

The keys of a partition are in one slot, as those of the deployment are. The data of all nodes are in one
store: a key is only ever at one of them. Source: "Redis cluster specification", section "Live resharding".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

import msgpack

from depthcast.shared.runtime.cluster import first_key
from tests.simulation.store import WRITES, Store

if TYPE_CHECKING:
    from tests.simulation.branch import Branch
    from tests.simulation.network import Link

PORT: Final = 7000
"""The port of the first node; a node is never replaced under its own."""

SEVERAL: Final = (b"MGET", b"EXISTS", b"DEL", b"UNLINK")
SCRIPTS: Final = (b"EVAL", b"EVALSHA")
TRANSACTION: Final = b"MULTI"
NO_REPLICAS: Final = "NOREPLICAS Not enough good replicas to write."
SPLIT: Final = "TRYAGAIN Multiple keys request during rehashing of slot"


@dataclass
class Node:
    """One server process. `gone`: for good.

    `cut_off`: its data, if it was replaced and does not know: it serves who is connected, without any writes,
    as a master without replicas does under `min-replicas-to-write`; or it takes writes of those who reach it
    (`branch`). `replid` names its history: a node that was a replica meanwhile has another one.
    """

    number: int
    run_id: bytes
    scripts: dict[bytes, bytes] = field(default_factory=dict)
    up: bool = True
    gone: bool = False
    cut_off: Store | None = None
    branch: "Branch | None" = None
    replid: bytes = b""


@dataclass
class Move:
    """A slot on its way: `moved` are the keys that are at the target already."""

    target: Node
    moved: set[bytes] = field(default_factory=set)


def slot_name(key: str | bytes) -> bytes:
    """What stands for the slot of a key: its hash tag; all keys without one share a slot."""
    raw = key.encode() if isinstance(key, str) else key
    return raw.partition(b"{")[2].partition(b"}")[0]


def writes(command: Sequence[bytes]) -> bool:
    """Whether a command or a transaction may write."""
    if command[0] == TRANSACTION:
        return any(writes(msgpack.unpackb(packed)) for packed in command[1:])
    return command[0].upper() in (*SCRIPTS, *WRITES)


def keys_of(command: Sequence[bytes]) -> list[bytes]:
    """All keys of a command or a transaction."""
    if command[0] == TRANSACTION:
        return [key for packed in command[1:] for key in keys_of(msgpack.unpackb(packed))]
    name = command[0].upper()
    if name in SCRIPTS:
        return list(command[3 : 3 + int(command[2])])
    if name in SEVERAL:
        return list(command[1:])
    if name == b"XREAD":
        streams = command[command.index(b"STREAMS") + 1 :]
        return list(streams[: len(streams) // 2])
    key = first_key(command)
    return [] if key is None else [key.encode() if isinstance(key, str) else key]


class Nodes:
    """The nodes of a cluster. `owner`: by slot; `moving`: the slots that are on their way."""

    def __init__(self, rng: Random, slots: Sequence[bytes], count: int) -> None:
        self.rng = rng
        self.all: list[Node] = []
        first = [self.add() for _ in range(count)]
        self.owner = {slot: first[number % count] for number, slot in enumerate(slots)}
        self.moving: dict[bytes, Move] = {}

    def add(self) -> Node:
        """Another process."""
        name = b"%040x" % self.rng.getrandbits(160)
        node = Node(len(self.all), name, replid=name)
        self.all.append(node)
        return node

    def at(self, port: int) -> Node | None:
        """The node at a port, None if there is none."""
        number = port - PORT
        return self.all[number] if 0 <= number < len(self.all) else None

    def slots(self, node: Node) -> list[bytes]:
        """The slots that a node owns."""
        return [slot for slot, owner in self.owner.items() if owner is node]

    def others(self, node: Node) -> list[Node]:
        """The nodes that could take a slot over."""
        return [each for each in self.all if each is not node and not each.gone]

    def refusal(
        self, node: Node, command: Sequence[bytes], exists: Callable[[bytes], bool], *, asking: bool
    ) -> str | None:
        """The error reply of a node that does not execute a command, None if it does."""
        keys = keys_of(command)
        names = {slot_name(key) for key in keys}
        if len(names) > 1:
            return "CROSSSLOT Keys in request don't hash to the same slot"
        if node.cut_off is not None and (node.branch is None or names <= node.branch.slots):
            return NO_REPLICAS if node.branch is None and writes(command) else None
        for slot in names:
            move, owner = self.moving.get(slot), self.owner[slot]
            if owner is node:
                return self._of_owner(move, keys, exists)
            if not asking or move is None or move.target is not node:
                return f"MOVED 0 127.0.0.1:{PORT + owner.number}"
            here = [key in move.moved and exists(key) for key in keys]
            return None if all(here) or len(set(keys)) == 1 else SPLIT
        return None

    @staticmethod
    def _of_owner(move: Move | None, keys: Sequence[bytes], exists: Callable[[bytes], bool]) -> str | None:
        if move is None:
            return None
        here = [exists(key) and key not in move.moved for key in keys]
        if all(here):
            return None
        if any(here):
            return SPLIT
        return f"ASK 0 127.0.0.1:{PORT + move.target.number}"

    def begin_move(self, slot: bytes, target: Node) -> None:
        """Let a slot be moved."""
        self.moving[slot] = Move(target)

    def end_move(self, slot: bytes) -> Node:
        """All keys are at the target, which owns the slot from now on; returns the former owner."""
        former, self.owner[slot] = self.owner[slot], self.moving.pop(slot).target
        return former

    def replace(self, node: Node) -> Node:
        """A replica takes over the slots of a node that never comes back; it is not up yet."""
        node.up, node.gone = False, True
        promoted = self.add()
        promoted.up = False
        for slot in self.slots(node):
            self.owner[slot] = promoted
        return promoted

    def reached(self, slot: bytes, link: "Link") -> Node:
        """The node where a new connection for a slot goes: its owner, or one that takes itself for it."""
        for node in self.all:
            if node.branch is not None and slot in node.branch.slots and node.branch.leads(link):
                return node
        return self.owner[slot]

    def give_back(self, node: Node, slots: set[bytes], holder: Node) -> list[bytes]:
        """A node that was a replica is promoted, without a loss; returns the slots that it has then."""
        if holder not in self.still():
            return []
        given = [slot for slot in self.slots(holder) if slot in slots]
        node.up, node.gone, node.replid = True, False, b"%040x" % self.rng.getrandbits(160)
        self.owner.update(dict.fromkeys(given, node))
        return given

    def still(self) -> Iterator[Node]:
        """The nodes that own slots, none of which is on its way."""
        for node in {id(each): each for each in self.owner.values()}.values():
            if not any(slot in self.moving for slot in self.slots(node)) and not any(
                move.target is node for move in self.moving.values()
            ):
                yield node
