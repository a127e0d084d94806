"""The simulated server, seen by connections: one command at a time, blocked readers, restarts, failovers."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

import msgpack

from depthcast.shared.position import Position
from tests.simulation.journal import Journal, Mark
from tests.simulation.loop import SimulatedLoop
from tests.simulation.nodes import PORT, Node, Nodes, slot_name
from tests.simulation.replies import OK, Reply, ReplyError
from tests.simulation.store import NEEDS_MEMORY, OUT_OF_MEMORY, Store
from tests.simulation.stream_commands import parse_xread, read
from tests.simulation.streams import Id

Answer = Callable[[Reply | ReplyError], None]
WATCH: Final = b"WATCH"
UNWATCH: Final = b"UNWATCH"
DEMOTED: Final = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
TRANSACTION: Final = b"MULTI"
"""Marks a command that is a whole transaction: what follows are its commands, each `joined`."""


def joined(command: list[bytes]) -> bytes:
    """A command of a transaction as one argument."""
    packed: bytes = msgpack.packb(command)
    return packed


def _always(answer: Answer, reply: ReplyError) -> Answer:
    """Answer with `reply` whatever the answer is."""
    return lambda _: answer(reply)


class Peer(Protocol):
    """A connection's other end: `generation` is the server's at the time it was accepted.

    `watched`: the state of keys when they were watched. In a cluster, `node` is the one that it reaches, and
    `asking` says that its next command follows a redirection.
    """

    generation: int
    watched: dict[bytes, object]
    node: Node | None
    asking: bool

    def reset(self) -> None:
        """The server has dropped this connection."""


@dataclass(eq=False)
class Blocked:
    """A reader that waits for entries of the data that its server has."""

    peer: Peer
    store: Store
    count: int | None
    cursors: dict[bytes, Id]
    answer: Answer
    done: bool = False


@dataclass
class Replica:
    """A replica's data at one moment."""

    data: Any
    mark: Mark


class Server:
    """One address. `generation` counts the processes that served it; no connection survives a change.

    `nodes`: of a cluster, if it stands for one. `executing`: the connection whose command is being executed.
    `executed`: how many commands came. `delivered`: by stream, the newest entry that XREAD has returned.
    `refuse` may answer a command with an error reply, whether it is executed or not. `redirects`: of a
    replica in a cluster, what it replies instead of executing a command.
    """

    def __init__(self, loop: SimulatedLoop, rng: Random, journal: Journal, *, node_entries: int) -> None:
        self.loop = loop
        self.rng = rng
        self.journal = journal
        self.generation = 0
        self.down = False
        self.skew_us = 0
        self.refuse: Callable[[Peer], tuple[str, bool] | None] | None = None
        self.blocked: list[Blocked] = []
        self.peers: dict[Peer, None] = {}
        self.executing: Peer | None = None
        self.nodes: Nodes | None = None
        self.redirects: Callable[[list[bytes]], str | None] | None = None
        self.executed = 0
        self.delivered: dict[bytes, Id] = {}
        self.store = Store(self._clock_us, node_entries=node_entries, appended=journal.appended)
        self.store.run_id = self.store.replid = b"%040x" % rng.getrandbits(160)

    def _clock_us(self) -> int:
        return self.loop.world.now_us() + self.skew_us

    # --- connections ------------------------------------------------------------------------------------

    def accept(self, peer: Peer) -> bool:
        """Take a new connection; returns False while the server is down."""
        if self.down or (peer.node is not None and not peer.node.up):
            return False
        peer.generation = self.generation
        self.peers[peer] = None
        return True

    def forget(self, peer: Peer) -> None:
        """A connection was closed by its client."""
        self.peers.pop(peer, None)
        self.blocked = [waiting for waiting in self.blocked if waiting.peer is not peer]

    def receive(self, peer: Peer, command: list[bytes], answer: Answer) -> None:
        """A command has arrived: execute it now, or let it wait if it is a blocking read."""
        if peer not in self.peers:
            peer.reset()
            return
        ours = self.store
        if peer.node is not None and peer.node.cut_off is not None:
            self.store = peer.node.cut_off
        try:
            self._execute(peer, command, answer)
        finally:
            self.store = ours

    def _execute(self, peer: Peer, command: list[bytes], answer: Answer) -> None:
        self.executing = peer
        self.executed += 1
        if (redirection := self._redirection(peer, command)) is not None:
            answer(ReplyError(redirection))
            self.executing = None
            return
        refused = self.refuse(peer) if self.refuse is not None else None
        if refused is not None:
            reply, executes = refused
            if not executes:
                answer(ReplyError(reply))
                self.executing = None
                return
            answer = _always(answer, ReplyError(reply))
        try:
            if command[0] == WATCH:
                peer.watched[command[1]] = self._state(command[1])
                answer(OK)
            elif command[0] == UNWATCH:
                peer.watched.clear()
                answer(OK)
            elif command[0] == TRANSACTION:
                watched = dict(peer.watched)
                peer.watched.clear()
                if any(self._state(key) != state for key, state in watched.items()):
                    answer(None)
                else:
                    answer(self._together([msgpack.unpackb(packed) for packed in command[1:]]))
            elif command[0] == b"XREAD" and b"BLOCK" in command:
                self._read(peer, command, answer)
            else:
                answer(self.store.execute(*command))
        except ReplyError as error:
            answer(error)
        self.executing = None
        self.wake()

    def _redirection(self, peer: Peer, command: list[bytes]) -> str | None:
        """What a node of a cluster replies instead of executing a command; else it is the one that does."""
        asking, peer.asking = peer.asking, False
        if self.redirects is not None:
            return self.redirects(command)
        if self.nodes is None or peer.node is None:
            return None
        self.store.run_id, self.store.replid = peer.node.run_id, peer.node.replid
        self.store.scripts = peer.node.scripts
        return self.nodes.refusal(peer.node, command, self._exists, asking=asking)

    def _exists(self, key: bytes) -> bool:
        return self.store.find(key, object) is not None

    def process(self) -> object:
        """What executes a command now: a process that was no replica meanwhile; a leadership has one only."""
        node = None if self.executing is None else self.executing.node
        return self.generation if node is None else (self.generation, node.number, node.replid)

    def _state(self, key: bytes) -> object:
        """What a watched key may not differ in: how often it was written, and what it holds.

        A real server notices every write, also one that another undoes. The tail of the data is lost here
        without a write.
        """
        return self.store.writes[key], copy(self.store.values.get(key))

    def _together(self, commands: list[list[bytes]]) -> Reply:
        """Execute a transaction: an error of one command does not stop others; memory is checked first."""
        if self.store.memory_full and any(command[0].upper() in NEEDS_MEMORY for command in commands):
            raise ReplyError(OUT_OF_MEMORY)
        replies: list[Reply | ReplyError] = []
        for command in commands:
            try:
                replies.append(self.store.execute(*command))
            except ReplyError as error:
                replies.append(error)
        return replies

    def _read(self, peer: Peer, command: list[bytes], answer: Answer) -> None:
        count, block_ms, cursors = parse_xread(self.store, tuple(command[1:]))
        found = read(self.store, count, cursors)
        if found is not None or block_ms is None:
            self._deliver(found, answer)
            return
        if peer.node is not None and peer.node.cut_off is not None and peer.node.branch is None:
            self.loop.call_later(block_ms / 1000, answer, None, context=self.loop.world.context)
            return
        waiting = Blocked(peer, self.store, count, cursors, answer)
        self.blocked.append(waiting)
        self.loop.call_later(block_ms / 1000, self._give_up, waiting, context=self.loop.world.context)

    def _give_up(self, waiting: Blocked) -> None:
        if not waiting.done and waiting in self.blocked:
            self.blocked.remove(waiting)
            waiting.answer(None)

    def wake(self) -> None:
        """Answer the blocked readers whose streams have grown."""
        grown, self.store.grown = self.store.grown, {}
        if not grown:
            return
        for waiting in list(self.blocked):
            if waiting.store is self.store and not grown.keys().isdisjoint(waiting.cursors):
                found = read(self.store, waiting.count, waiting.cursors)
                if found is not None:
                    waiting.done = True
                    self.blocked.remove(waiting)
                    self._deliver(found, waiting.answer)

    def _deliver(self, found: Any, answer: Answer) -> None:
        for key, entries in found or ():
            newest = Position.parse(entries[-1][0])
            self.delivered[key] = max(newest, self.delivered.get(key, newest))
        answer(found)

    # --- faults -----------------------------------------------------------------------------------------

    def leave(self, node: Node, spared: Callable[[Peer], bool] = lambda _: False) -> None:
        """A node ends, and all its connections but those that are `spared`: these do not notice it."""
        for peer in [peer for peer in self.peers if peer.node is node]:
            for waiting in [each for each in self.blocked if each.peer is peer]:
                self._give_up(waiting)
            if not spared(peer):
                self.forget(peer)
                peer.reset()

    def cut_off(self) -> Store:
        """A copy of all data, as a node has them that does not notice what others do."""
        store = Store(self._clock_us, node_entries=self.store.node_entries)
        store.take_data(self.store.copy_data())
        return store

    def demote(self, node: Node) -> None:
        """A node becomes a replica: connections stay, and who waits for entries is told."""
        for waiting in [each for each in self.blocked if each.peer.node is node]:
            waiting.done = True
            self.blocked.remove(waiting)
            waiting.answer(ReplyError(DEMOTED))

    def move_on(self, slot: bytes, node: Node) -> None:
        """A node lost a slot: whoever waits there for its entries is sent to the new owner."""
        assert self.nodes is not None
        for waiting in list(self.blocked):
            if waiting.peer.node is node and any(slot_name(key) == slot for key in waiting.cursors):
                waiting.done = True
                self.blocked.remove(waiting)
                port = PORT + self.nodes.owner[slot].number
                waiting.answer(ReplyError(f"MOVED 0 127.0.0.1:{port}"))

    def stop(self) -> None:
        """End the process and all its connections."""
        self.down = True
        self.blocked.clear()
        peers, self.peers = self.peers, {}
        for peer in peers:
            peer.reset()

    def start(self) -> None:
        """Another process serves the address, with the data as they are now."""
        self.down = False
        self.generation += 1
        self.store.run_id = self.store.replid = b"%040x" % self.rng.getrandbits(160)
        self.store.scripts.clear()
        for node in self.nodes.all if self.nodes is not None else ():
            node.run_id = node.replid = b"%040x" % self.rng.getrandbits(160)
            node.scripts = {}

    def replicate(self) -> Replica:
        """The data of a replica that stops receiving now."""
        return Replica(self.store.copy_data(), self.journal.mark())

    def flush(self) -> None:
        """Delete everything; the process continues. Earlier copies count as deleted, too."""
        self.store.execute(b"FLUSHALL")
        self.journal.forget()
