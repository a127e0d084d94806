"""The stream consumer on a real server, against streams written by hand with the shared codec."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping

import pytest
from redis.asyncio import Redis

from depthcast import BookUpdate, ClientError, Consumer, Kind, State
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import NO_MARKS, encode_delta, encode_info, encode_snapshot
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import DeploymentMismatch
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.runtime import redis
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol
from tests.waiting import eventually

SYMBOL = "BTC-USD"


class Publisher:
    """An ingestor's output, one partition at a time: bids only, which is enough here."""

    def __init__(self, client: Redis, prefix: str, partitions: int = 1) -> None:
        self.client = client
        self.keys = DeploymentKeys(prefix)
        self.partitions = partitions
        self.epoch = 1767225600000
        self.first_seq = 1000
        self.books: dict[str, dict[int, int]] = {}
        self.seqs: dict[str, int] = {}
        self.positions: dict[int, Position] = {}

    async def create(self, symbols: Iterable[str] = (SYMBOL,)) -> None:
        """Write `meta`, and publish `symbols` with a snapshot each."""
        await self.client.hset(self.keys.meta, mapping={"protocol": 1, "partitions": self.partitions})
        for symbol in symbols:
            await self.bear(symbol)

    async def bear(self, symbol: str) -> None:
        await self.client.hset(self.keys.instruments, symbol, to_json(Instrument(Symbol(symbol))))
        self.books[symbol], self.seqs[symbol] = {}, self.first_seq
        await self._entry(symbol, Delta(0, self.first_seq, [], [], 0, 0), "0-0")
        await self.snapshot(symbol)

    async def change(
        self,
        symbol: str,
        levels: Mapping[int, int],
        src: str = "0-0",
        *,
        spoil: int = 0,
        marks: Mapping[str, object] = NO_MARKS,
    ) -> None:
        """Publish a change; `spoil` is added to its digest."""
        book, seq = self.books[symbol], self.seqs[symbol]
        book.update(levels)
        self.seqs[symbol] = seq + 1
        flat = [number for level in levels.items() for number in level]
        delta = Delta(seq, seq + 1, flat, [], self._digest(symbol) + spoil, 1)
        await self._entry(symbol, delta, src, marks)

    async def nothing(self, partition: int, src: str) -> None:
        """An entry without a change."""
        await self._add(partition, {"_": self._info(partition, src)})

    async def snapshot(self, symbol: str, marks: Mapping[str, object] | None = None) -> None:
        part = self.keys.partition(partition_of(symbol, self.partitions))
        book = self.books[symbol]
        levels = [number for price in sorted(book, reverse=True) for number in (price, book[price])]
        value = encode_snapshot(Snapshot(self.seqs[symbol], levels, [], self._digest(symbol), 1, marks))
        position = self.positions[partition_of(symbol, self.partitions)]
        await self.client.xadd(part.snapshots(symbol), {"s": value}, id=str(position))

    def skip(self, symbol: str) -> None:
        """Leave out a position."""
        partition = partition_of(symbol, self.partitions)
        self.positions[partition] = self.positions[partition].next()

    async def _entry(
        self, symbol: str, delta: Delta, src: str, marks: Mapping[str, object] = NO_MARKS
    ) -> None:
        partition = partition_of(symbol, self.partitions)
        await self._add(partition, {"_": self._info(partition, src), symbol: encode_delta(delta, marks)})

    async def _add(self, partition: int, fields: dict[str, bytes]) -> None:
        position = self._next(partition)
        written = {**fields, "_w": b"%d" % (time.time_ns() // 1000)}
        await self.client.xadd(self.keys.partition(partition).deltas, written, id=str(position))  # type: ignore[arg-type]
        self.positions[partition] = position

    def _next(self, partition: int) -> Position:
        last = self.positions.get(partition)
        return Position(self.epoch, 0) if last is None else last.next()

    def _info(self, partition: int, src: str) -> bytes:
        prev = "0-0" if partition not in self.positions else None
        return encode_info(EntryInfo(5, src, 1, 0, 0, None, prev))

    def _digest(self, symbol: str) -> int:
        return digest_of(self.books[symbol].items(), ())


@pytest.fixture
async def publisher(redis_url: str, prefix: str) -> AsyncIterator[Publisher]:
    client = redis.connect(redis_url)
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
    consumer = Consumer(redis_url, prefix=prefix)
    entering = asyncio.create_task(consumer.__aenter__())
    await eventually(lambda: not entering.done())
    await publisher.create()
    async with await entering:
        await consumer.wait_for(SYMBOL)
        assert consumer.seq(SYMBOL) == 1000


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
    client = redis.connect(redis_url)
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
    client = redis.connect(fresh_server.url)
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
