"""The stream consumer on a real server, against streams written by hand with the shared codec."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from depthcast import BookUpdate, ClientError, Consumer, Kind, State
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import NO_MARKS
from depthcast.shared.consumer_entry import decode_entry
from depthcast.shared.errors import DeploymentMismatch
from depthcast.shared.runtime import redis
from tests.integration.publisher import SYMBOL, Publisher
from tests.redis_client import patient
from tests.waiting import eventually


@pytest.fixture
async def publisher(redis_url: str, prefix: str) -> AsyncIterator[Publisher]:
    client = patient(redis_url)
    yield Publisher(client, prefix)
    await client.aclose()


def bids(consumer: Consumer, symbol: str = SYMBOL) -> dict[int, int]:
    return dict(consumer.book(symbol).bids.levels)


async def next_update(updates: AsyncIterator[BookUpdate]) -> BookUpdate:
    return await anext(updates)


async def test_snapshot_then_deltas_with_their_info(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    await publisher.change(SYMBOL, {10: 5})
    await publisher.snapshot(SYMBOL)
    async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
        updates = aiter(consumer)
        first = await next_update(updates)
        assert (first.kind, first.seq, first.info) == (Kind.SNAPSHOT, 1001, None)
        await publisher.change(SYMBOL, {11: 3}, src="7-1")
        second = await next_update(updates)
        assert (second.kind, second.seq, second.bids, second.merged) == (Kind.DELTA, 1002, [(11, 3)], 1)
        assert second.info is not None
        assert (second.info.src, second.info.applied, second.ts) == ("7-1", 1, 5)
        assert (bids(consumer), consumer.seq(SYMBOL)) == ({10: 5, 11: 3}, 1002)
        assert consumer.state(SYMBOL) is State.LIVE


async def test_a_book_in_doubt_is_stale_with_the_reason(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    await publisher.change(SYMBOL, {10: 5}, marks={"stale": "gap"})
    await publisher.snapshot(SYMBOL, {"stale": "gap"})
    async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
        updates = aiter(consumer)
        await next_update(updates)
        await publisher.change(SYMBOL, {10: 6})
        update = await next_update(updates)
        assert (update.state, consumer.stale_reason(SYMBOL)) == (State.STALE, "gap")
        await publisher.change(SYMBOL, {}, marks={"stale": None})
        update = await next_update(updates)
        assert (update.state, consumer.stale_reason(SYMBOL)) == (State.LIVE, None)
        await publisher.change(SYMBOL, {10: 7}, marks={"stale": ["?"]})
        update = await next_update(updates)
        assert (update.state, update.bids) == (State.STALE, [(10, 7)])
        assert (consumer.state(SYMBOL), consumer.stale_reason(SYMBOL)) == (State.STALE, "unknown")


async def test_updates_have_their_source_time_and_books_the_last_one(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    await publisher.change(SYMBOL, {10: 5}, marks={"event_ts": 70})
    await publisher.snapshot(SYMBOL, {"event_ts": 70, "input_ts": 7000})
    async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
        updates = aiter(consumer)
        first = await next_update(updates)
        assert (first.event_ts, first.because) == (70, None)
        found = []
        for marks in ({"event_ts": 60}, NO_MARKS):
            await publisher.change(SYMBOL, {10: 6}, marks=marks)
            found.append((await next_update(updates)).event_ts)
            await publisher.change(SYMBOL, {10: 7})
            await next_update(updates)
        assert (found, consumer.event_ts(SYMBOL)) == ([60, None], 60)


async def test_a_book_is_exactly_at_its_updates_seq(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
        updates = aiter(consumer)
        await next_update(updates)
        for quantity in range(1, 301):
            await publisher.change(SYMBOL, {10: quantity})
        for quantity in range(1, 301):
            update = await next_update(updates)
            assert (update.seq, update.book.bids.levels[10]) == (1000 + quantity, quantity)


async def test_entries_without_a_change_are_told_too(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
        entries = consumer.entries()
        assert (await anext(entries)).info is None
        await publisher.nothing(0, "9-9")
        entry = await anext(entries)
        assert entry.info is not None
        assert (entry.info.src, entry.updates) == ("9-9", ())


async def test_it_waits_for_the_deployment(publisher: Publisher, redis_url: str, prefix: str) -> None:
    async def first_seq() -> int:
        async with Consumer(redis_url, prefix=prefix) as consumer:
            await consumer.wait_for(SYMBOL)
            return consumer.seq(SYMBOL)

    waiting = asyncio.create_task(first_seq())
    await eventually(lambda: not waiting.done())
    await publisher.create()
    assert await waiting == 1000


async def test_it_is_entered_once(publisher: Publisher, redis_url: str, prefix: str) -> None:
    await publisher.create()
    async with Consumer(redis_url, prefix=prefix) as consumer:
        with pytest.raises(AssertionError, match="once"):
            await consumer.__aenter__()


async def test_new_instruments_are_picked_up(publisher: Publisher, redis_url: str, prefix: str) -> None:
    await publisher.create()
    async with Consumer(redis_url, prefix=prefix) as consumer:
        await consumer.wait_for(SYMBOL)
        await publisher.bear("ETH-USD")
        await publisher.change("ETH-USD", {3: 4})
        await consumer.wait_for("ETH-USD", 1001)
        assert bids(consumer, "ETH-USD") == {3: 4}


async def test_a_symbol_may_be_wanted_before_it_is_born(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    async with Consumer(redis_url, ["ETH-USD"], prefix=prefix) as consumer:
        with pytest.raises(ClientError, match="no_book"):
            consumer.book("ETH-USD")
        waiting = asyncio.create_task(consumer.wait_for("ETH-USD", 1001))
        await publisher.bear("ETH-USD")
        await publisher.change("ETH-USD", {3: 4})
        await waiting
        with pytest.raises(ClientError, match="no_book"):
            consumer.book(SYMBOL)


@pytest.mark.parametrize("fault", ["gap", "digest", "hole"])
async def test_it_notices_a_fault_and_takes_a_snapshot(
    publisher: Publisher, redis_url: str, prefix: str, fault: str
) -> None:
    await publisher.create()
    async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
        await consumer.wait_for(SYMBOL)
        if fault == "gap":
            publisher.seqs[SYMBOL] += 1
        if fault == "hole":
            publisher.skip(SYMBOL)
        await publisher.change(SYMBOL, {10: 5}, spoil=int(fault == "digest"))
        waiting = asyncio.create_task(consumer.wait_for(SYMBOL, publisher.seqs[SYMBOL] + 1))
        await eventually(lambda: consumer.state(SYMBOL) is State.STALE)
        assert bids(consumer) == {}
        await publisher.snapshot(SYMBOL)
        await publisher.change(SYMBOL, {11: 3})
        await waiting
        assert bids(consumer) == {10: 5, 11: 3}
        assert consumer.state(SYMBOL) is State.LIVE
        assert consumer.resyncs >= 1


async def test_several_partitions(redis_url: str, prefix: str) -> None:
    symbols = [f"S{number}" for number in range(12)]
    client = patient(redis_url)
    publisher = Publisher(client, prefix, partitions=3)
    await publisher.create(symbols)
    async with (
        Consumer(redis_url, prefix=prefix) as everything,
        Consumer(redis_url, ["S1"], prefix=prefix) as one,
    ):
        for quantity in range(1, 6):
            for symbol in symbols:
                await publisher.change(symbol, {10: quantity})
        for symbol in symbols:
            if everything.partitions and symbol not in seen(everything, symbols, 1005):
                await everything.wait_for(symbol, 1005)
        await one.wait_for("S1", 1005)
        assert all(bids(everything, symbol) == {10: 5} for symbol in symbols)
        assert len(one._followed) == 1
    await client.aclose()


def seen(consumer: Consumer, symbols: list[str], seq: int) -> list[str]:
    found = []
    for symbol in symbols:
        try:
            found += [symbol] if consumer.seq(symbol) >= seq else []
        except ClientError:
            continue
    return found


async def test_another_number_of_partitions_is_refused(
    publisher: Publisher, redis_url: str, prefix: str
) -> None:
    await publisher.create()
    with pytest.raises(DeploymentMismatch, match="1"):
        await Consumer(redis_url, prefix=prefix, partitions=2).__aenter__()


async def test_it_survives_a_server_that_lost_everything(fresh_server: EmbeddedServer) -> None:
    client = patient(fresh_server.url)
    publisher = Publisher(client, "p")
    await publisher.create()
    await publisher.change(SYMBOL, {10: 5})
    async with Consumer(fresh_server.url, [SYMBOL], prefix="p") as consumer:
        await consumer.wait_for(SYMBOL, 1001)
        waiting = asyncio.create_task(consumer.wait_for(SYMBOL, 1002))
        await asyncio.to_thread(fresh_server.restart)
        await eventually(lambda: consumer.state(SYMBOL) is State.STALE)
        assert bids(consumer) == {10: 5}
        publisher.positions.clear()
        publisher.epoch, publisher.first_seq = publisher.epoch + 1000, 5000
        await publisher.create()
        await publisher.change(SYMBOL, {12: 6})
        await publisher.snapshot(SYMBOL)
        await waiting
        assert (bids(consumer), consumer.seq(SYMBOL)) == ({12: 6}, 5001)
    await client.aclose()


class TestName:
    """A consumer with a name says in Redis how far it is."""

    @staticmethod
    async def said(publisher: Publisher, prefix: str) -> dict[bytes, bytes]:
        return await redis.read_hash(publisher.client, f"{prefix}:consumers")

    async def test_it_says_how_far_it_is_until_it_ends(
        self, publisher: Publisher, redis_url: str, prefix: str
    ) -> None:
        await publisher.create()
        async with Consumer(redis_url, [SYMBOL], prefix=prefix, name="risk") as consumer:
            await consumer.wait_for(SYMBOL)
            await publisher.change(SYMBOL, {10: 5})
            await consumer.wait_for(SYMBOL, 1001)

            async def known() -> bool:
                entry = decode_entry((await self.said(publisher, prefix)).get(b"risk", b""))
                return entry is not None and entry.lag_ms[0] is not None

            await eventually(known, message="its lag is known")
        assert await self.said(publisher, prefix) == {}

    async def test_one_that_ends_by_an_error_is_missed(
        self, publisher: Publisher, redis_url: str, prefix: str
    ) -> None:
        await publisher.create()
        with suppress(ZeroDivisionError):
            async with Consumer(redis_url, [SYMBOL], prefix=prefix, name="risk") as consumer:
                await consumer.wait_for(SYMBOL)
                await eventually(lambda: self.said(publisher, prefix))
                raise ZeroDivisionError
        assert list(await self.said(publisher, prefix)) == [b"risk"]

    async def test_one_without_a_name_says_nothing(
        self, publisher: Publisher, redis_url: str, prefix: str
    ) -> None:
        await publisher.create()
        async with Consumer(redis_url, [SYMBOL], prefix=prefix) as consumer:
            await consumer.wait_for(SYMBOL)
        assert await self.said(publisher, prefix) == {}
