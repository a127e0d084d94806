"""All clients end with the same book after a burst of 50,000 random orders through real processes.

Real server, real ingestor, real gateway. The expected book is computed by plain bookkeeping
(`tests.order_flow`), not by the program.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from depthcast.client.client import Client, connect
from depthcast.client.transport import ConnectionLost, Transport
from depthcast.consumer.consumer import Consumer
from depthcast.runtime.deployment import Deployment, local_deployment, to_toml
from depthcast.shared.book import Book
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.codec import pack
from depthcast.shared.digest import digest_of
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import connect as connect_redis
from depthcast.shared.runtime.redis import execute
from depthcast.shared.types import Symbol
from tests.order_flow import Levels, OrderFlow, view
from tests.slow import slow_client
from tests.waiting import eventually

SYMBOL = Symbol("ORD-USD")
ORDERS = 50_000
PER_ENTRY = 20
BURST_S = 4.0
TIMEOUT_S = 60.0


@asynccontextmanager
async def deployed(redis_url: str, prefix: str, **gateway: object) -> AsyncIterator[Deployment]:
    instruments = [Instrument(SYMBOL, "0.01", "0.001", Feed.ORDERS)]
    async with local_deployment(
        to_toml(instruments),
        redis_url=redis_url,
        prefix=prefix,
        ingestor={"interval_ms": 10},
        gateway=gateway,
    ) as deployment:
        yield deployment


async def send_burst(redis_url: str, prefix: str, flow: OrderFlow, count: int, seconds: float) -> None:
    """Append `count` events to the input log, spread over about `seconds`, or more on a slow machine."""
    events = DeploymentKeys(prefix).partition(0).events
    redis = connect_redis(redis_url)
    try:
        entries = count // PER_ENTRY
        for number in range(entries):
            await execute(redis, "XADD", events, "*", SYMBOL, pack(list(flow.events(PER_ENTRY))))
            if number % 10 == 0:
                await asyncio.sleep(seconds * 10 / entries)
    finally:
        await redis.aclose()


async def follow_to(name: str, client: Client, digest: Callable[[], int | None]) -> None:
    """Read until the client's view has the digest that `digest` gives, once it gives one."""
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    while digest() is None or client.digest(SYMBOL) != digest():
        if deadline is None and digest() is not None:
            deadline = loop.time() + TIMEOUT_S
        try:
            async with asyncio.timeout(0.1):
                await anext(client)
        except TimeoutError:
            late = f"{name}: still at seq {client.seq(SYMBOL)} after {TIMEOUT_S:g} s, {client.counters}"
            assert deadline is None or loop.time() < deadline, late


def conflated(client: Client) -> bool:
    """Whether broadcasts reached the client merged, or as a snapshot in place of deltas it had not taken."""
    return client.counters.merged > 0 or client.counters.snapshots > 1


def assert_view(book: Book, levels: Levels, depth: int) -> None:
    assert dict(book.bids.levels) == view(levels[0], 0, depth)
    assert dict(book.asks.levels) == view(levels[1], 1, depth)


def assert_counts(book: Book, counts: Levels, depth: int) -> None:
    assert book.bids.orders == view(counts[0], 0, depth)
    assert book.asks.orders == view(counts[1], 1, depth)


async def assert_answer(gateway_url: str, levels: Levels, counts: Levels, depth: int) -> None:
    """The gateway answers a plain request with this view and the number of orders at its levels."""
    url = f"{gateway_url}/v1/books/{SYMBOL}?depth={depth}&orders=true"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        body = await response.json()
    for side, name in enumerate(("bids", "asks")):
        assert {price: held for price, held, _ in body[name]} == view(levels[side], side, depth)
        assert {price: orders for price, _, orders in body[name]} == view(counts[side], side, depth)


def digest_at(levels: Levels, depth: int) -> int:
    return digest_of(view(levels[0], 0, depth).items(), view(levels[1], 1, depth).items())


class Audience:
    """Clients of every kind, each read by a separate task until its view is the requested one."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clients: dict[str, tuple[Client, int]] = {}
        self.final: Levels | None = None
        self._digests: dict[int, int] = {}
        self._stack = stack
        self._tasks: list[asyncio.Task[None]] = []

    async def join(
        self,
        name: str,
        client: Client,
        depth: int = 0,
        interval_ms: int = 0,
        *,
        orders: bool = False,
    ) -> Client:
        await self._stack.enter_async_context(client)
        await client.subscribe([SYMBOL], depth=depth, interval_ms=interval_ms, orders=orders)
        self.clients[name] = (client, depth)
        self._tasks.append(asyncio.create_task(follow_to(name, client, lambda: self.wanted(depth))))
        return client

    async def converge(self, levels: Levels) -> None:
        """Wait until all have reached `levels`, and compare level by level."""
        self.final = levels
        await asyncio.gather(*self._tasks)
        for client, depth in self.clients.values():
            assert_view(client.book(SYMBOL), levels, depth)

    def wanted(self, depth: int) -> int | None:
        """The digest of the final view, worked out once, because each message asks for it."""
        if self.final is not None and depth not in self._digests:
            self._digests[depth] = digest_at(self.final, depth)
        return self._digests.get(depth)

    def messages(self, name: str) -> int:
        counters = self.clients[name][0].counters
        return counters.snapshots + counters.deltas


async def consume(consumer: Consumer, wanted: Callable[[], int | None]) -> None:
    async for _ in consumer.entries():
        if wanted() is not None and consumer.digest(SYMBOL) == wanted():
            return


class Breakable:
    """A connection that a test can cut as a network does, without notice to either side."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._message: asyncio.Future[Mapping[str, Any]] | None = None
        self.cut = asyncio.Event()

    async def receive(self) -> Mapping[str, Any]:
        if self._message is None:  # a call that was cancelled left its message for the next one
            self._message = asyncio.ensure_future(self._transport.receive())
        cut = asyncio.ensure_future(self.cut.wait())
        try:
            both: set[asyncio.Future[Any]] = {self._message, cut}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cut.cancel()
        if self.cut.is_set():
            raise ConnectionLost(CloseCode.LOST)
        message, self._message = self._message, None
        return message.result()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self._transport.send(message)

    async def close(self) -> None:
        if self._message is not None:
            self._message.cancel()
            await asyncio.gather(self._message, return_exceptions=True)
        await self._transport.close()


class Breaking:
    """Makes a client's connections breakable."""

    def __init__(self) -> None:
        self._last: Breakable | None = None

    def tap(self, transport: Transport) -> Transport:
        self._last = Breakable(transport)
        return self._last

    def cut(self) -> None:
        """Cut the current connection."""
        assert self._last is not None
        self._last.cut.set()


@pytest.mark.slow
async def test_every_kind_of_client_ends_with_the_authoritative_book(redis_url: str, prefix: str) -> None:
    flow = OrderFlow(seed=50_000)
    breaking = Breaking()
    async with deployed(redis_url, prefix) as deployment, AsyncExitStack() as stack:
        url = deployment.websocket_url
        audience = Audience(stack)
        await audience.join("fast", connect(url))
        await audience.join("msgpack", connect(url, "msgpack"))
        await audience.join("latency", slow_client(url, delay_s=0.05))
        await audience.join("credit", connect(url, credit_window=1), depth=100)
        await audience.join("credit by a slow client", slow_client(url, delay_s=0.05, credit_window=2))
        await audience.join("throttled", connect(url), interval_ms=250)
        await audience.join("depth 25", connect(url), depth=25)
        counting = await audience.join("orders", connect(url), depth=25, orders=True)
        slow = slow_client(url, delay_s=0.05)
        slowly_counting = await audience.join("orders by a slow client", slow, orders=True)
        returning = await audience.join(
            "returning", connect(url, wrap_transport=breaking.tap, backoff_s=(0.05, 0.5))
        )
        consumer = await stack.enter_async_context(Consumer(redis_url, [SYMBOL], prefix=prefix))
        consuming = asyncio.create_task(consume(consumer, lambda: audience.wanted(0)))

        await send_burst(redis_url, prefix, flow, ORDERS // 2, BURST_S / 2)
        breaking.cut()
        await send_burst(redis_url, prefix, flow, ORDERS // 2, BURST_S / 2)
        levels = flow.levels()
        await audience.converge(levels)
        async with asyncio.timeout(TIMEOUT_S):
            await consuming

        assert_view(consumer.book(SYMBOL), levels, 0)
        # The last entry adds to some level, so whoever has its levels has its orders.
        assert_counts(consumer.book(SYMBOL), flow.counts(), 0)
        assert_counts(counting.book(SYMBOL), flow.counts(), 25)
        assert_counts(slowly_counting.book(SYMBOL), flow.counts(), 0)
        await assert_answer(deployment.gateway_url, levels, flow.counts(), 10)
        assert returning.counters.reconnects == 1
        for name, (client, _) in audience.clients.items():
            assert client.counters.gaps == client.counters.mismatches == 0, name
        for name in ("latency", "credit by a slow client", "throttled"):
            assert audience.messages(name) < audience.messages("fast"), name
            assert conflated(audience.clients[name][0]), name
        final_seq = consumer.seq(SYMBOL)
        for name, (client, depth) in audience.clients.items():
            if depth == 0:
                assert client.seq(SYMBOL) == final_seq, name


async def test_a_client_that_comes_back_unchanged_resumes_without_a_snapshot(
    redis_url: str, prefix: str
) -> None:
    flow = OrderFlow(seed=7)
    breaking = Breaking()
    async with deployed(redis_url, prefix) as deployment, AsyncExitStack() as stack:
        audience = Audience(stack)
        url = deployment.websocket_url
        await audience.join("staying", connect(url))
        client = connect(url, wrap_transport=breaking.tap, backoff_s=(0.05, 0.5))
        await stack.enter_async_context(client)
        await client.subscribe([SYMBOL], depth=0)
        await send_burst(redis_url, prefix, flow, 400, 0.1)
        first = digest_at(flow.levels(), 0)
        await follow_to("returning", client, lambda: first)
        snapshots = client.counters.snapshots

        breaking.cut()
        await send_burst(redis_url, prefix, flow, 40, 0.1)
        last = digest_at(flow.levels(), 0)
        await follow_to("returning", client, lambda: last)

        assert client.counters.resumed == 1
        assert client.counters.snapshots == snapshots
        assert_view(client.book(SYMBOL), flow.levels(), 0)
        await audience.converge(flow.levels())


@pytest.mark.slow
async def test_slow_clients_conflate_and_delay_nobody(redis_url: str, prefix: str) -> None:
    flow = OrderFlow(seed=11)
    reading = asyncio.Event()
    reading.set()
    async with deployed(redis_url, prefix) as deployment, AsyncExitStack() as stack:
        url = deployment.websocket_url
        audience = Audience(stack)
        fast = await audience.join("fast", connect(url))
        stopped = await audience.join("stops reading", slow_client(url, reading=reading))
        await audience.join("reads a little", slow_client(url, delay_s=0.04))
        await audience.join("has little credit", slow_client(url, delay_s=0.05, credit_window=1))
        await audience.join("wants an interval", connect(url), interval_ms=300)
        reading.clear()
        await send_burst(redis_url, prefix, flow, 30_000, 3.0)
        wanted = digest_at(flow.levels(), 0)
        await eventually(lambda: fast.digest(SYMBOL) == wanted, TIMEOUT_S, "the fast client is up to date")
        assert stopped.digest(SYMBOL) != wanted  # nobody waited for it

        reading.set()
        await audience.converge(flow.levels())

        for name, (client, _) in audience.clients.items():
            assert client.counters.gaps == client.counters.mismatches == 0, name
            if client is not fast:
                assert conflated(client), name
                assert audience.messages(name) < audience.messages("fast"), name
