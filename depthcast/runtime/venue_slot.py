"""A place for one connection to a venue at a time: connects again, and replaces a connection in time."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from depthcast.runtime.venue_connection import ConnectionEnded, VenueConnection
from depthcast.shared.backoff import Backoff

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
"""Bound of the first wait before connecting again. It doubles; each wait is a random part of its bound."""

STABLE_S: Final = 5.0
"""A connection that lasted so long lets the waits begin with the shortest one again."""

HANDOVER_S: Final = 60.0
"""A new connection has so long to take over every book before the old one is ended all the same."""

POLL_S: Final = 0.05


class ConnectionSlot:
    """Keeps one group of symbols connected.

    - `make`: makes the next connection.
    - `taken_over`: whether a connection's books are the published ones, so that the older one can go.
    - `wanted`: whether there is anything to be fed; a connection without it is not replaced.
    - `lifetime_s`: the venue ends a connection after this time; 0: never. `retry_max_s`: longest wait before
      connecting again.
    - `ended`: called with the reason of each end that nobody here wanted.
    - `return_to`: called with a connection that goes on because the one that was to replace it has ended.
    """

    def __init__(
        self,
        make: Callable[[], VenueConnection],
        taken_over: Callable[[VenueConnection], bool],
        wanted: Callable[[], bool],
        lifetime_s: float,
        retry_max_s: float,
        ended: Callable[[VenueConnection, ConnectionEnded], None],
        return_to: Callable[[VenueConnection], None],
    ) -> None:
        self.current: VenueConnection | None = None
        self.handovers = 0
        self._make = make
        self._taken_over = taken_over
        self._wanted = wanted
        self._lifetime_s = lifetime_s
        self._ended = ended
        self._return_to = return_to
        self._backoff = Backoff(min(RETRY_S, retry_max_s), retry_max_s, random.random)
        self._running: dict[VenueConnection, asyncio.Task[None]] = {}

    @property
    def open(self) -> list[VenueConnection]:
        """The connections there are: one, or two while one replaces the other."""
        return list(self._running)

    def is_replacing(self, connection: VenueConnection) -> bool:
        """Whether a connection is to replace another one, which goes on if this one ends."""
        return connection in self._running and connection is not self.current

    async def run(self) -> None:
        """Stay connected, for ever; ends its connections when cancelled."""
        try:
            while True:
                if self.current is None or self._is_over(self.current):
                    if not self._wanted():
                        await asyncio.sleep(POLL_S)
                        continue
                    await self._dial_again()
                assert self.current is not None
                await self._until_due(self.current)
                if not self._is_over(self.current):
                    await self._hand_over(self.current)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _dial_again(self) -> None:
        if self.current is not None:
            await asyncio.sleep(self._backoff.next_s())
        self.current = self._begin()

    def _begin(self) -> VenueConnection:
        connection = self._make()
        self._running[connection] = asyncio.ensure_future(self._run(connection))
        return connection

    async def _run(self, connection: VenueConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            await connection.run()
        except ConnectionEnded as error:
            self._ended(connection, error)
            opened_at = connection.opened_at
            if opened_at is not None and loop.time() - opened_at > STABLE_S:
                self._backoff.reset()
        finally:
            self._running.pop(connection, None)

    def _is_over(self, connection: VenueConnection) -> bool:
        return connection not in self._running

    async def _until_due(self, connection: VenueConnection) -> None:
        """Wait until a connection is over or has to be replaced."""
        loop = asyncio.get_running_loop()
        # A random part, so that the connections of a process do not all end together.
        lasts_s = self._lifetime_s * random.uniform(0.85, 0.95)  # noqa: S311 - no secret
        while not self._is_over(connection):
            due = self._lifetime_s and connection.opened_at and loop.time() - connection.opened_at >= lasts_s
            if (due or connection.closing.is_set()) and self._wanted():
                return
            await asyncio.sleep(POLL_S)

    async def _hand_over(self, old: VenueConnection) -> None:
        """Open a connection, and end the old one once the new one's books are published."""
        logger.info("replacing a connection in time", extra={"symbols": len(old.symbols)})
        new = self._begin()
        given_up_at = asyncio.get_running_loop().time() + HANDOVER_S
        while not (self._taken_over(new) or self._is_over(new) or self._is_over(old)):
            if asyncio.get_running_loop().time() > given_up_at:
                logger.warning("the new connection has not taken over all books in time")
                break
            await asyncio.sleep(POLL_S)
        if self._is_over(new):
            if not self._is_over(old):
                self._return_to(old)
            await asyncio.sleep(self._backoff.next_s())  # the old one goes on; it is tried again
            return
        self.current = new
        self.handovers += 1
        if (task := self._running.get(old)) is not None:
            task.cancel()
