"""A replica of the simulated server: its `deltas` and snapshots, as the primary had them a while ago.

It takes over whole states of the primary, one after the other, so it never has a state that the primary never
had. It can lag, go away, be promoted, and go on with another history until it is filled anew.
"""

import asyncio
from collections import deque
from random import Random
from typing import Any, Final

from tests.simulation.data import copied
from tests.simulation.journal import Journal
from tests.simulation.loop import SimulatedLoop
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
    """

    def __init__(self, loop: SimulatedLoop, rng: Random, primary: Server, *, lag_s: float) -> None:
        self.loop = loop
        self.rng = rng
        self.primary = primary
        self.lag_s = lag_s
        self.frozen = self.promoted = False
        self.filled = 0
        self.server = Server(loop, Random(rng.random()), Journal(), node_entries=primary.store.node_entries)
        self._follows = b""
        self._received: deque[tuple[float, Values]] = deque()
        self._filling_until: float | None = None
        self._links = False

    async def run(self) -> None:
        """Follow the primary until cancelled."""
        while True:
            self._step()
            self._describe()
            await asyncio.sleep(EVERY_S)

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

    def _step(self) -> None:
        now, primary = self.loop.time(), self.primary
        self._links = not (primary.down or self.server.down or self.promoted)
        if not self._links:
            self._received.clear()
            self._filling_until = None
        elif self._follows != primary.store.replid:
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
            self._follows = self.primary.store.replid
            self.filled += 1
            self._take(self._books())

    def _books(self) -> Values:
        values = self.primary.store.values
        return {
            key: copied(values[key]) for key in values if key.endswith(b":deltas") or b":snapshots:" in key
        }

    def _take(self, values: Values) -> None:
        store = self.server.store
        store.values = values
        store.grown = {key: None for key, value in values.items() if isinstance(value, Stream)}
        self.server.wake()

    def _describe(self) -> None:
        """What both servers say of it: `INFO replication`."""
        host, port = ADDRESS
        listed = f"slave0:ip={host},port={port},state=online,offset=0,lag=0\r\n" if self._links else ""
        self.primary.store.replication = f"role:master\r\n{listed}".encode()
        if self.promoted:
            self.server.store.replication = b"role:master\r\n"
            self.server.store.replid = b"%040x" % 0
            return
        filling = self._filling_until is not None
        up = "up" if self._links and self._follows and not filling else "down"
        self.server.store.replid = self._follows
        self.server.store.replication = (
            f"role:slave\r\nmaster_link_status:{up}\r\nmaster_sync_in_progress:{filling:d}\r\n"
        ).encode()
