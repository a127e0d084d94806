"""Works off what clients send, a little of each in turn, so that no client delays the market data of others.

A connection that has something to work off is in the queue. The event loop spends up to `ROUND_S` on it;
then it reads Redis, flushes, and reads sockets, before the next round.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from depthcast.gateway.protocol.budget import Budget
from depthcast.shared.settings import GatewaySettings

ROUND_S: Final = 0.005


class Worked(Protocol):
    """A connection with something to work off. `queued` belongs to the queue."""

    queued: bool

    def step(self) -> bool:
        """Work off one small piece; returns whether there is more to do now."""
        ...


class Holding(Protocol):
    """A connection that holds bytes which a client sent."""

    def evict(self) -> None:
        """End, and hold nothing any more."""
        ...


class Intake:
    """The queue of one process, and the bytes that wait in its connections.

    `rounds` counts rounds that ended with work left. `clock` must move within a round, as uvloop's own does
    not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: GatewaySettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.budget: Budget[Holding] = Budget(settings.input_buffer_bytes_max)
        self.queue: deque[Worked] = deque()
        self.rounds = 0

    def add(self, connection: Worked) -> None:
        """Work something off for `connection` soon; nothing if it is in the queue."""
        if connection.queued:
            return
        connection.queued = True
        self.queue.append(connection)
        if len(self.queue) == 1:
            self.loop.call_soon(self._round)

    def hold(self, connection: Holding, count: int) -> None:
        """`connection` holds `count` bytes from now on; the largest holders end if that is too much."""
        if self.budget.hold(connection, count):
            for largest in self.budget.largest():
                largest.evict()

    def _round(self) -> None:
        queue, clock = self.queue, self.clock
        end = clock() + ROUND_S
        while queue:
            connection = queue[0]
            more = connection.step()
            queue.popleft()
            if more:
                queue.append(connection)
            else:
                connection.queued = False
            if queue and clock() >= end:
                self.rounds += 1
                self.loop.call_soon(self._round)
                return
