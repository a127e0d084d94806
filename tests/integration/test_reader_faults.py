"""Readers notice holes, trimmed history, wrong digests, a stream behind their position, and silence.

Then they load again, no viewer sees a book go back, and all clients of a view share one encoding of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.gateway.counters import GatewayCounters
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute
from depthcast.shared.types import Delta
from depthcast.updates import State
from tests.integration.gateway_harness import (
    ASKS,
    BIDS,
    Client,
    FakeIngestor,
    RunningGateway,
    client_of,
    fake_ingestor,
    running_gateway,
)
from tests.proxy import FaultProxy
from tests.waiting import eventually

MANY = 200
FEW = 3


@pytest.fixture(autouse=True)
def _silence_is_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthcast.shared.runtime.follow.BLOCK_MS", 100)


@dataclass
class Audience:
    """A gateway behind a link that can fail, its clients on one view of AAA, and a stream consumer."""

    ingestor: FakeIngestor
    link: FaultProxy
    gateway: RunningGateway
    clients: list[Client]
    consumer: Consumer
    following: "asyncio.Task[None]"

    @property
    def deltas(self) -> str:
        return self.ingestor.keys.partition(0).deltas

    @property
    def counters(self) -> GatewayCounters:
        return self.gateway.process.core.counters

    @property
    def resyncs(self) -> int:
        return sum(follower.resyncs for follower in self.gateway.process.market_reader.followers.values())

    async def everyone_holds(self, seq: int) -> None:
        """Wait until all are at `seq`, with the book of the authority."""
        await asyncio.gather(*(client.until_seq("AAA", seq) for client in self.clients))
        book = self.ingestor.books["AAA"].book
        for client in self.clients:
            held = client.books["AAA"]
            assert (held.bids, held.asks) == (book.bids.levels, book.asks.levels)
        await eventually(lambda: self.following.done() or self.consumer.seq("AAA") == seq)
        assert not self.following.done()
        assert self.consumer.book("AAA").bids.levels == book.bids.levels


@asynccontextmanager
async def audience(redis_url: str, prefix: str, count: int, stale_ms: int = 5_000) -> AsyncIterator[Audience]:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(FaultProxy(redis_url))
        ingestor = await stack.enter_async_context(fake_ingestor(redis_url, prefix, "AAA"))
        await ingestor.birth("AAA", BIDS, ASKS)
        gateway = stack.enter_context(running_gateway(link.url, prefix, stale_ms=stale_ms))
        await ingestor.until_live(gateway)
        clients = [await stack.enter_async_context(client_of(gateway)) for _ in range(count)]
        for client in clients:
            await client.send(op="subscribe", symbols=["AAA"], depth=25)
        consumer = await stack.enter_async_context(
            Consumer(link.url, ["AAA"], prefix=prefix, stale_ms=stale_ms)
        )
        await consumer.wait_for("AAA")

        async def follow() -> None:
            async for _ in consumer:
                pass

        following = asyncio.create_task(follow())
        stack.callback(following.cancel)
        found = Audience(ingestor, link, gateway, clients, consumer, following)
        await found.everyone_holds(ingestor.books["AAA"].seq)
        yield found


async def a_hole(it: Audience) -> None:
    it.ingestor.positions[0] = it.ingestor.positions[0].next()
    await it.ingestor.publish("AAA", {100: 50})


async def a_gap(it: Audience) -> None:
    it.ingestor.books["AAA"].seq += 1
    await it.ingestor.publish("AAA", {100: 51})


async def a_wrong_digest(it: Audience) -> None:
    book = it.ingestor.books["AAA"]
    good = book.digest
    book.digest += 1
    await it.ingestor.publish_to(0, {"AAA": Delta(book.seq, book.seq + 1, [100, 52], [], 7, 1)})
    book.seq, book.digest = book.seq + 1, good
    await it.ingestor.publish("AAA", {100: 53})


async def trimmed_history(it: Audience) -> None:
    """Readers are cut off while the stream trims entries that they have not read."""
    it.link.freeze()
    for quantity in range(60, 64):
        await it.ingestor.publish("AAA", {100: quantity})
    await it.ingestor.snapshot("AAA")
    await it.ingestor.publish("AAA", {99: 70})
    await execute(it.ingestor.redis, "XTRIM", it.deltas, "MAXLEN", 1)
    it.link.thaw()


async def a_stream_behind(it: Audience) -> None:
    """The stream was lost, and the new one ends before the readers' position."""
    await it.ingestor.publish("AAA", {100: 80})
    await eventually(lambda: it.consumer.seq("AAA") == it.ingestor.books["AAA"].seq)
    await execute(it.ingestor.redis, "DEL", it.deltas)
    epoch = it.ingestor.positions[0].epoch
    it.ingestor.positions[0] = Position(epoch - 1000, -1)
    await it.ingestor.publish_to(0, {})
    await it.ingestor.publish("AAA", {100: 81})


Fault = Callable[[Audience], Coroutine[None, None, None]]


@pytest.mark.parametrize(
    ("fault", "count"),
    [(a_hole, MANY), (a_gap, FEW), (a_wrong_digest, FEW), (trimmed_history, FEW), (a_stream_behind, FEW)],
)
async def test_it_is_noticed_and_one_encoding_serves_everybody(
    redis_url: str, prefix: str, fault: Fault, count: int
) -> None:
    async with audience(redis_url, prefix, count) as it:
        counters, resyncs = it.counters, it.resyncs
        snapshots, sent = counters.snapshot_encodings, counters.snapshots
        await fault(it)
        await eventually(lambda: it.resyncs > resyncs, message="the gateway loads again")
        await it.ingestor.snapshot("AAA")
        await it.everyone_holds(it.ingestor.books["AAA"].seq)
        assert it.consumer.resyncs
        assert it.gateway.process.market_reader.mismatches == (1 if fault is a_wrong_digest else 0)
        assert it.gateway.process.market_reader.gaps == (1 if fault is a_gap else 0)
        assert counters.snapshot_encodings == snapshots + 1
        # Counted after all were written to; the first may already have received theirs.
        await eventually(lambda: counters.snapshots == sent + count)


async def test_clients_that_all_ask_again_share_one_snapshot(redis_url: str, prefix: str) -> None:
    async with audience(redis_url, prefix, MANY) as it:
        await it.ingestor.publish("AAA", {100: 90})
        await it.everyone_holds(it.ingestor.books["AAA"].seq)
        encoded, sent = it.counters.snapshot_encodings, it.counters.snapshots
        for client in it.clients:
            client.books.clear()
            await client.send(op="subscribe", symbols=["AAA"], depth=25)
        await it.everyone_holds(it.ingestor.books["AAA"].seq)
        await eventually(lambda: it.counters.snapshots == sent + MANY)
        assert it.counters.snapshot_encodings == encoded + 1


async def test_silence_is_told_and_taken_back(redis_url: str, prefix: str) -> None:
    async with audience(redis_url, prefix, FEW, stale_ms=2_000) as it:
        for client in it.clients:
            await client.until("status", symbol="AAA", state="stale")
        await eventually(lambda: it.consumer.state("AAA") is State.STALE)
        await it.ingestor.publish("AAA", {100: 95})
        async with it.ingestor.beating():
            for client in it.clients:
                await client.until("status", symbol="AAA", state="live")
        await it.everyone_holds(it.ingestor.books["AAA"].seq)
        assert it.resyncs == 0
