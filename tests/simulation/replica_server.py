"""A replica of the simulated server: its `deltas` and snapshots, as the primary had them a while ago.

It takes over whole states of the primary, one after the other, so it never has a state that the primary never
had. It can lag, go away, be promoted, and go on with another history until it is filled anew.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from tests.simulation.data import copied
from tests.simulation.journal import Journal
from tests.simulation.loop import SimulatedLoop
from tests.simulation.nodes import PORT, Node, keys_of, slot_name
from tests.simulation.server import Server
from tests.simulation.streams import Stream

ADDRESS: Final = ("replica", 6380)
EVERY_S: Final = 0.02
"""The replica receives the primary's state this often."""

FILLED_S: Final = (0.05, 0.6)
"""A full synchronisation begins and ends within this time; until then the replica serves what it had."""

Values = dict[bytes, Any]


class ReplicaServer:
    """The replica. `lag_s`: how late it has what it receives. `frozen`: it receives, and takes over nothing.

    `promoted`: it takes itself for a primary. `filled`: how often another history replaced its own.
    `node`: of a cluster, the one that it follows; `leads`: it has become that node. `held`: it is about to be
    promoted, and receives no more. `parted`: it does not reach the primary.
    """

    def __init__(
        self, loop: SimulatedLoop, rng: Random, primary: Server, *, lag_s: float, node: Node | None = None
    ) -> None:
        self.loop = loop
        self.rng = rng
        self.primary = primary
        self.lag_s = lag_s
        self.node = node
        self.frozen = self.promoted = self.leads = self.held = self.parted = False
        self.filled = 0
        self.server = Server(loop, Random(rng.random()), Journal(), node_entries=primary.store.node_entries)
        self._follows = b""
        self._received: deque[tuple[float, Values]] = deque()
        self._filling_until: float | None = None
        self._links = False
        if node is not None:
            self.server.redirects = self._redirection

    async def run(self) -> None:
        """Follow the primary until cancelled."""
        while True:
            self.step()
            await asyncio.sleep(EVERY_S)

    def step(self) -> None:
        """Receive what has come, and describe oneself."""
        self._step()
        self._describe()

    @property
    def reads(self) -> int:
        """How many commands it has executed."""
        return self.server.executed

    def restart(self, *, empty: bool) -> None:
        """Begin as another process. `empty`: nothing was saved, so it has to be filled first."""
        self._received.clear()
        if empty:
            self._take({})
            self._follows = b""
        self.server.start()

    def forget(self) -> None:
        """Take nothing of what it has for the primary's."""
        self._follows = b""

    def lead(self) -> None:
        """Be promoted: have what the node has from now on, and at first what was promoted."""
        self.leads = True
        self._received.clear()
        self._take(self._books())

    def _step(self) -> None:
        now = self.loop.time()
        self._links = self._reaches_primary() and not (self.server.down or self.promoted or self.held)
        if self.held or (self.leads and not self._links):
            return
        if self.leads:
            self._take(self._books())
        elif not self._links:
            self._received.clear()
            self._filling_until = None
        elif self._follows != self._history():
            self._fill(now)
        else:
            self._received.append((now, self._books()))
            while self._received and not self.frozen and self._received[0][0] <= now - self.lag_s:
                self._take(self._received.popleft()[1])

    def _fill(self, now: float) -> None:
        """Wait for a full synchronisation, and then have the state of the primary of now."""
        if self._filling_until is None:
            self._filling_until = now + self.rng.uniform(*FILLED_S)
        elif now >= self._filling_until:
            self._filling_until = None
            self._received.clear()
            self._follows = self._history()
            self.filled += 1
            self._take(self._books())

    def _reaches_primary(self) -> bool:
        node = self.node
        if self.primary.down or node is None or self.parted:
            return not (self.primary.down or self.parted)
        return node.up and (node.cut_off is None or node.branch is not None)

    def _history(self) -> bytes:
        return self.primary.store.replid if self.node is None else self.node.replid

    def _slots(self) -> set[bytes]:
        """The slots of its node, as that node takes them for its own."""
        nodes, node = self.primary.nodes, self.node
        assert nodes is not None
        assert node is not None
        return set(nodes.slots(node)) if node.branch is None else node.branch.slots

    def _books(self) -> Values:
        """What the primary has now; a key that was moved to another node is gone there."""
        nodes, node = self.primary.nodes, self.node
        if node is None or nodes is None:
            values = self.primary.store.values
            return {key: copied(values[key]) for key in values if _is_read(key)}
        values, slots = (self.primary.store if node.cut_off is None else node.cut_off).values, self._slots()
        gone = set[bytes]().union(*(nodes.moving[slot].moved for slot in slots & nodes.moving.keys()))
        return {
            key: copied(values[key])
            for key in values
            if _is_read(key) and slot_name(key) in slots and key not in gone
        }

    def _redirection(self, command: Sequence[bytes]) -> str | None:
        nodes = self.primary.nodes
        if nodes is None:
            return None
        for slot in sorted({slot_name(key) for key in keys_of(command)} - self._slots()):
            return f"MOVED 0 127.0.0.1:{PORT + nodes.owner[slot].number}"
        return None

    def _take(self, values: Values) -> None:
        store = self.server.store
        store.values = values
        store.grown = {key: None for key, value in values.items() if isinstance(value, Stream)}
        self.server.wake()

    def _describe(self) -> None:
        """What both servers say of it: `INFO replication`."""
        host, port = ADDRESS
        listed = f"slave0:ip={host},port={port},state=online,offset=0,lag=0\r\n" if self._links else ""
        if self.node is None:
            self.primary.store.replication = f"role:master\r\n{listed}".encode()
        if self.promoted or self.leads:
            self.server.store.replication = b"role:master\r\n"
            self.server.store.replid = self._history() if self.leads else b"%040x" % 0
            return
        filling = self._filling_until is not None
        up = "up" if self._links and self._follows and not filling else "down"
        self.server.store.replid = self._follows
        self.server.store.replication = (
            f"role:slave\r\nmaster_link_status:{up}\r\nmaster_sync_in_progress:{filling:d}\r\n"
        ).encode()


def _is_read(key: bytes) -> bool:
    """Whether readers read a key at a replica."""
    return key.endswith(b":deltas") or b":snapshots:" in key
