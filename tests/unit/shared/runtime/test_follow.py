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
from tests.waiting import TIMEOUT_S

KEYS = PartitionKeys("{test:0}")
EPOCH = 1_795_000_000_000


def connected(server: fakeredis.FakeServer) -> Redis:
    client = fakeredis.FakeAsyncRedis(server=server, protocol=2)
    for command in ("XREAD", "XRANGE", "XREVRANGE"):
        client.set_response_callback(command, cast("Any", lambda reply, **_: reply))
    return client


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = connected(fakeredis.FakeServer())
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
    async with asyncio.timeout(TIMEOUT_S):
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


async def test_a_book_in_a_quiet_market_is_loaded_once_its_deleted_snapshot_is_written_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in the stream says so: its next delta may be hours away."""
    monkeypatch.setattr("depthcast.shared.runtime.follow.LOOK_AGAIN_S", 0.0)
    reader = PartitionReader({"A"}.__contains__)
    follower = Follower(redis, KEYS, reader, lambda: {"A"})
    await append(redis, 0)
    entries = follower.entries()
    await take(entries, 1)
    for n in (1, 2):
        await append(redis, n)
        await take(entries, 1)
    assert (reader.shown, follower.resyncs) == ({}, 0)
    await keep(redis, 2, 10, 5)
    await append(redis, 3)
    await take(entries, 2)
    assert reader.shown["A"].book.bids.levels == {100: 5}
    assert reader.is_current("A")
    await entries.aclose()


async def test_it_backs_off_while_redis_is_away_and_begins_anew_once_it_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = fakeredis.FakeServer()
    redis = connected(server)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("depthcast.shared.runtime.follow.asyncio.sleep", sleep)
    await append(redis, 0)
    follower = Follower(redis, KEYS, PartitionReader({"A"}.__contains__), lambda: {"A"})
    entries = follower.entries()
    await take(entries, 1)
    assert (slept, follower.outages) == ([], 0)

    server.connected = False
    assert [await anext(entries) for _ in range(8)] == [None] * 8
    assert slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert follower.outages == 8

    server.connected = True
    await append(redis, 1)
    await take(entries, 1)
    slept.clear()
    server.connected = False
    assert [await anext(entries) for _ in range(2)] == [None] * 2
    assert slept == [0.05], "the successful read did not reset the waits"
    await entries.aclose()
    await redis.aclose()


async def test_loading_again_and_again_is_slowed_down_too(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream with a hole in it would otherwise be loaded as fast as Redis answers."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("depthcast.shared.runtime.follow.asyncio.sleep", sleep)
    reader = PartitionReader({"A"}.__contains__)
    follower = Follower(redis, KEYS, reader, lambda: {"A"})
    await append(redis, 1, b"A", level(0, 10, 5))
    await keep(redis, 1, 10, 5)
    entries = follower.entries()
    await take(entries, 1)
    for n in (3, 5, 7):  # 2, 4 and 6 are missing
        await append(redis, n, b"A", level(10, 10 + n, 6))
        assert await anext(entries) is None
        await take(entries, 1)
    assert slept == [0.05, 0.1, 0.2]
    assert follower.resyncs == 3
    await entries.aclose()
