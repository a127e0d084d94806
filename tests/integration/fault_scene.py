"""A small deployment on a separate server, watched by a viewer, for tests of faults of Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry
from websockets.exceptions import ConnectionClosed

from depthcast.ingestor.runtime.service import IngestorService
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.redis import execute
from tests.chaos.oracle import Oracle
from tests.ingestor_runs import FEEDS, Input, Run
from tests.integration.gateway_harness import Client, RunningGateway, client_of, running_gateway
from tests.proxy import FaultProxy
from tests.redis_client import patient
from tests.waiting import eventually

HEARTBEAT_S = 0.08
STALE_MS = 400
QUICK = {"lease_ms": 300, "interval_ms": 5, "snapshot_interval_ms": 50}


@dataclass
class Viewer:
    """A WebSocket client with the full books of all symbols; it checks every rule of the protocol.

    Its books never go back: `Client` asserts that each message's seq is higher than the one before.
    """

    client: Client
    reading: "asyncio.Task[None]"
    seen: int = 0

    @property
    def states(self) -> list[tuple[str, str]]:
        """(symbol, state) of each status since `forget`."""
        return [
            (message["symbol"], message["state"])
            for message in self.client.messages[self.seen :]
            if message["type"] == "status"
        ]

    def forget(self) -> None:
        """Ignore the statuses received so far."""
        self.seen = len(self.client.messages)

    def seqs(self) -> dict[str, int]:
        return {symbol: self.client.books[symbol].seq for symbol in FEEDS}

    async def status_is(self, state: str) -> None:
        """Wait until the last status of every symbol is `state`."""
        await eventually(
            lambda: self.reading.done() or all(self._last(symbol) == state for symbol in FEEDS),
            message=f"every symbol is {state}",
        )
        assert not self.reading.done(), self.reading

    def _last(self, symbol: str) -> str | None:
        return next((state for name, state in reversed(self.states) if name == symbol), None)

    async def holds(self, books: "Oracle | Input") -> None:
        """Wait until it holds these books."""

        def wrong() -> str | None:
            for symbol, model in books.models.items():
                levels, held = model.levels(), self.client.books[symbol]
                if (held.bids, held.asks) != (levels["bid"], levels["ask"]):
                    return f"{symbol} at {held.seq}: {held.bids} {held.asks} instead of {levels}"
            return None

        await eventually(
            lambda: self.reading.done() or wrong() is None,
            message="the viewer has the books of the authority",
        )
        assert not self.reading.done(), self.reading


@dataclass
class Scene:
    """Server, proxies before it, ingestor, gateway, viewer, and random input."""

    server: EmbeddedServer
    run: Run
    service: IngestorService
    gateway: RunningGateway
    viewer: Viewer
    ingestor_link: FaultProxy
    gateway_link: FaultProxy
    sent: Input
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def metric(self, name: str) -> float:
        """The current value of a metric of the ingestor or the gateway, as Prometheus reads it."""
        if name.startswith("depthcast_ingestor"):
            value = self.registry.get_sample_value(name, {"partition": "0"})
        else:
            self.gateway.loop.call_soon_threadsafe(self.gateway.process.publish_metrics)
            value = self.gateway.process.metrics.registry.get_sample_value(name)
        assert value is not None, name
        return value

    async def rises(self, *names: str) -> None:
        """Wait until each metric is above its value at the beginning of the fault."""

        def above(name: str) -> bool:
            return self.metric(name) > self.before[name]

        for name in names:
            await eventually(partial(above, name), message=f"{name} rises")

    def begin(self, *names: str) -> None:
        """Begin a fault: record the metrics, ignore the statuses received so far."""
        self.before = {name: self.metric(name) for name in names}
        self.viewer.forget()
        self.seqs = self.viewer.seqs()

    async def begin_led(self, *names: str) -> None:
        """The same once the ingestor leads: a machine that stood still for a while may have ended that."""
        await eventually(lambda: self.service.leaders[0].leadership is not None, message="the ingestor leads")
        self.begin(*names)

    async def epoch(self) -> int:
        """The epoch of the stream's last entry; 0 if there is none or Redis is away."""
        try:
            history = await self.run.history()
        except RedisUnavailable:
            return 0
        return history[-1][0].epoch if history else 0

    async def new_epoch(self, before: int) -> None:
        async def sealed() -> bool:
            return await self.epoch() > before

        await eventually(sealed, message="a new epoch")

    async def settle(self, books: "Oracle | Input | None" = None) -> None:
        """Send more input; then ingestor and viewer must agree with the authority, and no seq went back."""
        await self.feed()
        await self.viewer.holds(books or self.sent)
        seqs = self.viewer.seqs()
        assert all(seqs[symbol] >= seq for symbol, seq in self.seqs.items())

    async def feed(self, count: int = 10) -> None:
        await self.sent.send(count)
        await self.run.published()

    async def counts(self) -> tuple[int, int, int]:
        info = await self.run.info()
        assert info is not None
        return info.applied, info.rejected, info.ignored

    def exactly_once(self) -> tuple[int, int, int]:
        """The counts expected if every event counts exactly once."""
        return self.sent.applied, self.sent.rejected, self.sent.ignored

    async def oracle(self) -> Oracle:
        """The books that the surviving input leads to."""
        return Oracle.of(FEEDS, await self.run.stream(self.run.keys.events))

    async def redis(self, *command: str | bytes | int) -> Any:
        return await execute(self.run.client, *command)


@asynccontextmanager
async def scene(
    server: EmbeddedServer,
    folder: Path,
    *,
    seed: int = 1,
    gateway: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[Scene]:
    """All is running, some input was published and seen; ingestor and gateway have separate proxies."""
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(FaultProxy(server.url)) for _ in range(2)]
        client = patient(server.url)
        stack.push_async_callback(client.aclose)
        run = Run(client, "faults", server.url, folder)
        settings = run.settings(**{**QUICK, "redis_url": links[0].url, **changes})
        service = await stack.enter_async_context(run.service(settings))
        running = stack.enter_context(_gateway(links[1].url, gateway or {}))
        await eventually(lambda: running.process.core.market.was_live)
        viewer = await stack.enter_async_context(watching(running))
        sent = Input(run, Random(seed), doubting=False)
        found = Scene(server, run, service, running, viewer, links[0], links[1], sent)
        found.registry.register(service.stats)
        found.begin()
        await found.settle()
        yield found


def _gateway(url: str, settings: dict[str, Any]) -> Any:
    return running_gateway(url, "faults", **{"stale_ms": STALE_MS, **settings})


@asynccontextmanager
async def watching(gateway: RunningGateway) -> AsyncIterator[Viewer]:
    """A viewer of the whole books."""
    async with client_of(gateway) as client:
        await client.send(op="subscribe", symbols=list(FEEDS), depth=0)

        async def read() -> None:
            while True:
                try:
                    await client.receive()
                except (TimeoutError, ConnectionClosed):
                    return

        viewer = Viewer(client, asyncio.create_task(read()))
        await eventually(lambda: viewer.reading.done() or len(client.books) == len(FEEDS))
        try:
            yield viewer
        finally:
            viewer.reading.cancel()
            await asyncio.gather(viewer.reading, return_exceptions=True)
