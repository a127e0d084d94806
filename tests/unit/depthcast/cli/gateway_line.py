"""A client's connection to a `FakeGateway`, without a network."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from depthcast.cli.following import Following
from depthcast.client.book import SubscriptionOptions
from depthcast.client.client import Client
from depthcast.client.session import ClientSession
from depthcast.client.transport import ConnectionLost
from depthcast.shared.backoff import Backoff, no_jitter
from tests.unit.depthcast.client.fake_gateway import FakeGateway

ADDRESS = "http://gateway:8080"
SIZES = {"tick_size": "0.1", "lot_size": "2"}


class GatewayLine:
    """Carries messages between a client and `gateway`. `up`: whether connections can be made and last."""

    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.up = True
        self.now = 1000.0
        self._arrived = asyncio.Event()
        self._waiting: list[Mapping[str, Any]] = []

    async def dial(self) -> "GatewayLine":
        if not self.up:
            raise ConnectionLost(1006)
        self.gateway.lose()
        self.bring({"type": "welcome", "heartbeat_ms": 2000})
        return self

    def bring(self, *messages: Mapping[str, Any]) -> None:
        """Let the client receive messages, and what the gateway has to send."""
        self._waiting += messages
        while self.gateway.sent:
            message = self.gateway.sent.popleft()
            self._waiting.append(message | SIZES if message["type"] == "subscribed" else message)
        self._arrived.set()

    def change(self, side: int, price: int, quantity: int) -> None:
        """Publish a change of one level."""
        self.gateway.change(side, price, quantity)
        self.bring()

    def cut(self) -> None:
        """End the connection, and make no other."""
        self.up = False
        self._arrived.set()

    async def receive(self) -> Mapping[str, Any]:
        while self.up and not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        if not self.up:
            raise ConnectionLost(1006)
        return self._waiting.pop(0)

    async def send(self, message: Mapping[str, Any]) -> None:
        self.gateway.take(message)
        self.bring()

    async def close(self) -> None:
        self._waiting.clear()


@asynccontextmanager
async def following(*wanted: str, group: int = 1) -> AsyncIterator[tuple[Following, GatewayLine]]:
    """A subscribed `Following` of a book `X` with one bid; its clock is `now` of the connection."""
    line = GatewayLine()
    line.gateway.change(0, 10, 5)
    async with Client(line.dial, ClientSession(), Backoff(0.001, 0.01, no_jitter)) as client:
        made = Following(client, wanted, ADDRESS, lambda: line.now)
        await made.subscribe(SubscriptionOptions(10, 0, group))
        yield made, line
