"""Following a stream of deltas, on an in-memory Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import fakeredis
import pytest
from redis.asyncio import Redis

from depthcast.shared.codec import encode_delta, encode_info, encode_snapshot
from depthcast.shared.digest import digest_of
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, PartitionReader
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.redis import execute
from depthcast.shared.types import Delta, EntryInfo, Snapshot

KEYS = PartitionKeys("{test:0}")
EPOCH = 1_795_000_000_000


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = fakeredis.FakeAsyncRedis(protocol=2)
    for command in ("XREAD", "XRANGE", "XREVRANGE"):
        client.set_response_callback(command, cast("Any", lambda reply, **_: reply))
    yield client
    await client.aclose()


async def append(redis: Redis, n: int, *fields: bytes) -> None:
    info = EntryInfo(1, "0-0", 0, 0, 0, prev="0-0" if n == 0 else None)
    await execute(redis, "XADD", KEYS.deltas, str(Position(EPOCH, n)), "_", encode_info(info), *fields)


def level(prev_seq: int, seq: int, quantity: int) -> bytes:
    return encode_delta(Delta(prev_seq, seq, [100, quantity], [], digest_of([(100, quantity)], []), 1))


async def keep(redis: Redis, n: int, seq: int, quantity: int) -> None:
    snapshot = Snapshot(seq, [100, quantity], [], digest_of([(100, quantity)], []), 1)
    await execute(redis, "XADD", KEYS.snapshots("A"), str(Position(EPOCH, n)), "s", encode_snapshot(snapshot))


async def take(entries: AsyncIterator[AppliedEntry | None], wanted: int) -> list[AppliedEntry]:
    taken: list[AppliedEntry] = []
    async with asyncio.timeout(10):
        while len(taken) < wanted:
            entry = await anext(entries)
            if entry is not None:
                taken.append(entry)
    return taken


async def test_snapshot_then_deltas_and_a_gap_mended(redis: Redis) -> None:
    reader = PartitionReader({"A"}.__contains__)
    follower = Follower(redis, KEYS, reader, lambda: {"A"})
    await append(redis, 0)
    await append(redis, 1, b"A", level(0, 10, 5))
    await keep(redis, 1, 10, 5)
    await append(redis, 2, b"A", level(10, 11, 6))
    entries = follower.entries()

    loaded, delta = await take(entries, 2)
    assert (loaded.info, loaded.updates) == (None, []), "the stream goes on: what it says is not shown yet"
    assert delta.position == Position(EPOCH, 2)
    assert [update.delta for update in delta.updates] == [None]
    assert reader.shown["A"].book.bids.levels == {100: 6}

    await append(redis, 3, b"A", level(12, 13, 8))  # 12 was never seen
    await keep(redis, 3, 13, 8)
    await take(entries, 2)
    assert reader.shown["A"].seq == 13
    assert reader.shown["A"].book.bids.levels == {100: 8}
    assert follower.resyncs == 1
    await entries.aclose()


async def test_a_snapshot_from_before_the_history_is_none(redis: Redis) -> None:
    await keep(redis, 1, 10, 5)
    await append(redis, 7)
    await append(redis, 8, b"B", level(0, 20, 1))
    await execute(
        redis,
        "XADD",
        KEYS.snapshots("B"),
        str(Position(EPOCH, 8)),
        "s",
        encode_snapshot(Snapshot(20, [100, 1], [], digest_of([(100, 1)], []), 1)),
    )
    reader = PartitionReader({"A", "B"}.__contains__)
    follower = Follower(redis, KEYS, reader, lambda: {"A", "B"})
    entries = follower.entries()
    await take(entries, 1)
    await append(redis, 9, b"A", level(0, 30, 3))  # born again
    await take(entries, 1)
    assert {symbol: replica.seq for symbol, replica in reader.shown.items()} == {"A": 30, "B": 20}
    assert follower.resyncs == 0
    await entries.aclose()
