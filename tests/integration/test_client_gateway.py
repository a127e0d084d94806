"""The WebSocket client with the real gateway and ingestor: errors, depths, all at once, resume."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack

import pytest

from depthcast import Client, ClientError, Consumer, State, connect
from depthcast.feed.entry import FeedEntry
from depthcast.runtime.replay import Producer, open_producer
from depthcast.shared.types import Side, Symbol
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.unit.gateway.small_market import grouped
from tests.waiting import eventually

SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
QUICK = (0.02, 0.1)


INSTRUMENTS = "".join(f'["{symbol}"]\ntick_size = "0.01"\n' for symbol in SYMBOLS)


@pytest.fixture
async def ingestor(run: Run) -> AsyncIterator[None]:
    async with run.service(run.settings(INSTRUMENTS, interval_ms=0)):
        yield


@pytest.fixture
def gateway(ingestor: None, redis_url: str, prefix: str) -> Iterator[RunningGateway]:
    with running_gateway(redis_url, prefix) as running:
        yield running


@pytest.fixture
async def producer(ingestor: None, redis_url: str, prefix: str) -> AsyncIterator[Producer]:
    async with open_producer(redis_url, prefix, None) as producer:
        yield producer


async def send(producer: Producer, symbol: str, *events: Sequence[object]) -> None:
    await producer.send([FeedEntry(Symbol(symbol), list(events), 5, None, True, None, 0)])


async def ladder(producer: Producer, symbol: str, quantity: int) -> None:
    """Forty levels a side."""
    bids = [("update", "bid", 1000 - n, quantity + n) for n in range(40)]
    asks = [("update", "ask", 1001 + n, quantity + n) for n in range(40)]
    await send(producer, symbol, *bids, *asks)


async def subscribed(client: Client, symbols: Sequence[str], depth: int = 0) -> None:
    """Subscribe, and wait for the books; a gateway may have begun before there was an instrument."""

    async def taken() -> bool:
        try:
            await client.subscribe(symbols, depth=depth)
        except ClientError as error:
            if error.code not in ("unavailable", "unknown_symbol"):
                raise
            return False
        return True

    await eventually(taken)
    for symbol in symbols:
        if symbol != "*":
            await client.wait_for(symbol)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_view_follows_the_book(
    gateway: RunningGateway, producer: Producer, redis_url: str, prefix: str, encoding: str
) -> None:
    async with (
        connect(gateway.url, encoding, credit_window=8) as client,
        Consumer(redis_url, ["BTC-USD"], prefix=prefix) as consumer,
    ):
        await subscribed(client, ["BTC-USD"], depth=10)
        await consumer.wait_for("BTC-USD")
        for quantity in range(1, 40):
            await ladder(producer, "BTC-USD", quantity)
        while consumer.book("BTC-USD").bids.levels.get(1000) != 39:
            await consumer.wait_for("BTC-USD", consumer.seq("BTC-USD") + 1)
        await client.wait_for("BTC-USD", consumer.seq("BTC-USD"))
        for ours, whole in zip(client.book("BTC-USD").sides, consumer.book("BTC-USD").sides, strict=True):
            assert ours.top() == whole.top(10)
        assert client.counters.gaps == client.counters.mismatches == 0


async def test_refusals(gateway: RunningGateway) -> None:
    async with connect(gateway.url) as client:
        await subscribed(client, ["ETH-USD"])
        for symbols, depth, interval_ms, code in (
            (["NOPE"], 25, 0, "unknown_symbol"),
            (["BTC-USD"], 7, 0, "bad_depth"),
            (["BTC-USD"], 25, -1, "bad_interval"),
        ):
            with pytest.raises(ClientError) as caught:
                await client.subscribe(symbols, depth, interval_ms)
            assert caught.value.code == code
        with pytest.raises(ClientError, match="not_subscribed"):
            await client.unsubscribe(["BTC-USD"])
        await subscribed(client, ["BTC-USD"])
        await client.unsubscribe(["BTC-USD"])
        assert await client.ping() > 0


async def test_everything_at_once(gateway: RunningGateway, producer: Producer) -> None:
    async with connect(gateway.url) as client:
        await subscribed(client, ["*"])
        for symbol in SYMBOLS:
            await client.wait_for(symbol)
            await ladder(producer, symbol, 3)
        waiting = set(SYMBOLS)
        async for update in client:
            if update.book.bids.levels.get(1000) == 3:
                waiting.discard(update.symbol)
            if not waiting:
                break


async def test_another_depth_replaces_the_subscription(gateway: RunningGateway, producer: Producer) -> None:
    async with connect(gateway.url) as client:
        await subscribed(client, ["BTC-USD"], depth=1)
        await ladder(producer, "BTC-USD", 3)
        await client.wait_for("BTC-USD", client.seq("BTC-USD") + 1)
        assert len(client.book("BTC-USD").bids) == 1
        await client.subscribe(["BTC-USD"], depth=25)
        await client.wait_for("BTC-USD")
        assert len(client.book("BTC-USD").bids) == 25


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_grouped_view_follows_the_book(
    gateway: RunningGateway, producer: Producer, encoding: str
) -> None:
    """Forty levels from 1000 down and from 1001 up, in buckets of fifteen ticks."""
    async with connect(gateway.url, encoding) as client:
        await subscribed(client, ["BTC-USD"])
        await client.subscribe("BTC-USD", depth=5, group=15)
        await client.wait_for("BTC-USD")
        for quantity in (3, 4):
            await ladder(producer, "BTC-USD", quantity)
            await client.wait_for("BTC-USD", client.seq("BTC-USD") + 1)
            book = client.book("BTC-USD")
            bids = {1000 - n: quantity + n for n in range(40)}
            asks = {1001 + n: quantity + n for n in range(40)}
            assert book.bids.levels == grouped(bids, Side.BID, 15)
            assert book.asks.levels == grouped(asks, Side.ASK, 15)
        assert client.counters.gaps == client.counters.mismatches == 0


async def test_a_gateway_that_restarts_is_found_again(
    producer: Producer, redis_url: str, prefix: str
) -> None:
    with ExitStack() as first, ExitStack() as second:
        gateway = first.enter_context(running_gateway(redis_url, prefix))
        async with connect(gateway.url, backoff_s=QUICK) as client:
            await subscribed(client, SYMBOLS)
            await ladder(producer, "BTC-USD", 3)
            await client.wait_for("BTC-USD", client.seq("BTC-USD") + 1)
            waiting = asyncio.create_task(client.wait_for("BTC-USD", client.seq("BTC-USD") + 1))
            await asyncio.to_thread(first.close)
            await eventually(lambda: client.state("BTC-USD") is State.STALE)
            assert client.book("BTC-USD").bids.levels[1000] == 3
            second.enter_context(running_gateway(redis_url, prefix, port=int(gateway.url.rpartition(":")[2])))
            await eventually(lambda: all(client.state(symbol) is State.LIVE for symbol in SYMBOLS))
            await ladder(producer, "BTC-USD", 4)
            await waiting
            assert client.book("BTC-USD").bids.levels[1000] == 4
            # A book that the new gateway had not loaded yet comes as a snapshot instead.
            assert client.counters.resumed + client.counters.snapshots == 2 * len(SYMBOLS)
            assert client.counters.gaps == client.counters.mismatches == 0
