"""A deployment with a small deterministic order flow that a test starts and stops."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from redis.asyncio import Redis

from depthcast.runtime.deployment import Deployment, local_deployment, to_toml
from depthcast.shared.codec import pack
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import execute
from depthcast.shared.types import Symbol
from tests.order_flow import OrderFlow
from tests.redis_client import patient

INSTRUMENTS: Final = (
    Instrument(Symbol("AAA-USD"), "0.01", "0.001", Feed.ORDERS),
    Instrument(Symbol("BBB-USD"), "0.5", "1", Feed.ORDERS),
)
OPENING: Final = 600
PER_ENTRY: Final = 10
PAUSE_S: Final = 0.01


class Market:
    """Order flows of all instruments; quiet unless inside `running()`."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self._client = client
        self._events = DeploymentKeys(prefix).partition(0).events
        self.flows = {
            item.symbol: OrderFlow(seed, spread=seed) for seed, item in enumerate(INSTRUMENTS, start=1)
        }

    async def send(self, count: int) -> None:
        """Append `count` events of each instrument."""
        for symbol, flow in self.flows.items():
            await execute(self._client, "XADD", self._events, "*", symbol, pack(list(flow.events(count))))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Events keep coming inside the block; all of them have been sent when it is left."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.send(PER_ENTRY)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_S)


@asynccontextmanager
async def open_market(
    redis_url: str, prefix: str, gateway: Mapping[str, object]
) -> AsyncIterator[tuple[Deployment, Market]]:
    """A deployment whose books are filled."""
    async with local_deployment(
        to_toml(INSTRUMENTS),
        redis_url=redis_url,
        prefix=prefix,
        ingestor={"interval_ms": 20},
        gateway=gateway,
    ) as deployment:
        client = patient(redis_url)
        try:
            market = Market(client, prefix)
            await market.send(OPENING)
            yield deployment, market
        finally:
            await client.aclose()
