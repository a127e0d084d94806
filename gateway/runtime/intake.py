"""Works off what clients send, a little of each in turn, so that no client delays the market data of others.

A connection that has something to work off is in the queue. A turn of the event loop spends up to `TURN_S` on
the queue; then the loop reads Redis, flushes, and reads sockets, before the next turn.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

TURN_S: Final = 0.005


class Worked(Protocol):
    """A connection with something to work off. `queued` belongs to the queue."""

    queued: bool

    def step(self) -> bool:
        """Work off one small piece; returns whether there is more to do now."""
        ...


class Intake:
    """The queue of one process. `turns` counts turns that ended with work left.

    `clock` must move within a turn of the event loop; uvloop's own does not.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self.loop = loop
        self.clock = clock
        self.queue: deque[Worked] = deque()
        self.turns = 0

    def add(self, connection: Worked) -> None:
        """Work something off for `connection` soon; nothing if it is in the queue."""
        if connection.queued:
            return
        connection.queued = True
        self.queue.append(connection)
        if len(self.queue) == 1:
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        queue, clock = self.queue, self.clock
        end = clock() + TURN_S
        while queue:
            connection = queue[0]
            more = connection.step()
            queue.popleft()
            if more:
                queue.append(connection)
            else:
                connection.queued = False
            if queue and clock() >= end:
                self.turns += 1
                self.loop.call_soon(self._turn)
                return
