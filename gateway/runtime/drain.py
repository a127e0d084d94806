"""How a gateway gets rid of its clients before it ends, so that each finds another gateway at once.

It takes no new clients and is not ready from the beginning. Proxies and balancers need a while to notice:
until then, a client that comes back may be sent here again. So close frames wait for `drain_delay_s`, and are
then spread evenly over `drain_spread_s`, because all clients at once would be a burst of handshakes for the
other gateways.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from depthcast.gateway.counters import GatewayCounters
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.runtime.stop import set_within
from depthcast.shared.settings import GatewaySettings

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.05
"""How long it takes at most until it is noticed that all clients have gone."""


def drained_within_s(settings: GatewaySettings) -> float:
    """The longest time that draining takes, in seconds."""
    return settings.drain_delay_s + settings.drain_spread_s + settings.drain_timeout_s


class Client(Protocol):
    """A WebSocket or an event stream."""

    transport: asyncio.Transport
    lost: asyncio.Future[None]

    def close(self, code: int, linger_s: float | None = None) -> None: ...


class Drain:
    """Ends all `clients`. `since`: when this gateway stopped taking new ones; None while it takes them."""

    def __init__(
        self,
        settings: GatewaySettings,
        clients: Callable[[], Sequence[Client]],
        counters: GatewayCounters,
    ) -> None:
        self.settings = settings
        self.since: float | None = None
        self._clients = clients
        self._counters = counters
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Take no new clients from now on; those that are there stay."""
        if self.since is None:
            self.since = self._loop.time()
            logger.info("no new clients from now on", extra={"clients": len(self._clients())})

    async def run(self, code: CloseCode, at_once: asyncio.Event) -> None:
        """Close all clients with `code` and wait until they are gone; waits for nothing `at_once`."""
        self.begin()
        assert self.since is not None
        if code is CloseCode.RESTARTING and self._clients():
            await self._wait(at_once, self.since + self.settings.drain_delay_s)
            await self._spread(code, at_once)
        for client in self._clients():
            self._close(client, code)
        deadline = self._loop.time() + self.settings.drain_timeout_s
        # Looked at again and again: other clients than the first one to go may be there.
        while self._clients() and self._loop.time() < deadline:
            if await set_within(at_once, LOOK_S):
                break
        for client in self._clients():
            client.transport.abort()

    async def _spread(self, code: CloseCode, at_once: asyncio.Event) -> None:
        """Close the clients one after the other, so that the last one has to go after `drain_spread_s`."""
        clients, began = list(self._clients()), self._loop.time()
        step_s = self.settings.drain_spread_s / max(1, len(clients))
        for number, client in enumerate(clients):
            await self._wait(at_once, began + number * step_s)
            if at_once.is_set() or not self._clients():
                return
            self._close(client, code)

    async def _wait(self, at_once: asyncio.Event, due: float) -> None:
        """Wait until `due`; not if that is less than the loop's resolution away, or nobody is left."""
        while self._clients() and (left_s := due - self._loop.time()) > 0.001:
            if await set_within(at_once, min(left_s, LOOK_S)):
                return

    def _close(self, client: Client, code: CloseCode) -> None:
        if not client.lost.done():
            self._counters.drained += code is CloseCode.RESTARTING
            client.close(code, self.settings.drain_timeout_s)
