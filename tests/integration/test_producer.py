"""`depthcast.Producer` into real ingestors: what arrives, what is refused, and what outages do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from depthcast import InputLagging, InvalidEvent, Producer, RejectRecord
from depthcast.producer.input_log import InputLog
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import decode_delta, unpack
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import connect, execute
from tests.book_model import brute_digest
from tests.ingestor_runs import Run
from tests.proxy import Cut, FaultProxy
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually

TOML = """
["BTC-USD"]
tick_size = "0.01"
lot_size = "0.001"
["ETH-USD"]
[ORD]
feed = "orders"
"""


@asynccontextmanager
async def led(run: Run, **changes: Any) -> AsyncIterator[None]:
    async with run.service(run.settings(TOML, **changes)):
        yield


async def test_events_arrive_in_ticks_and_lots_in_the_partition_of_their_symbol(
    run: Run, redis_url: str, prefix: str
) -> None:
    async with led(run, partitions=4), Producer(redis_url, prefix=prefix) as producer:
        receipt = await producer.send(
            "BTC-USD",
            [("update", "bid", Decimal("65000.10"), "0.005"), ("add", "ask", 6500020, 7)],
            atomic=True,
            ts=5,
        )
        other = await producer.send("ETH-USD", [("add", "bid", 3, 4)])
        assert (receipt.partition, other.partition) == (0, 3)
        position = await receipt
        assert receipt.id == position
        await producer.consumed()
        assert producer.counters.rejected == {}
        (entry,) = await run.stream(DeploymentKeys(prefix).partition(0).events)
        assert entry[0] == position
        assert dict(entry[1]).keys() == {b"BTC-USD", b"_"}
    assert (producer.counters.entries, producer.counters.events) == (2, 3)
    deltas = await run.stream(DeploymentKeys(prefix).partition(0).deltas)
    last = [decode_delta(raw) for _, fields in deltas for name, raw in fields if name == b"BTC-USD"][-1]
    assert last.digest == brute_digest({"bid": {6500010: 5}, "ask": {6500020: 7}})


async def test_what_is_wrong_is_refused_before_anything_is_sent(
    run: Run, redis_url: str, prefix: str
) -> None:
    async with led(run), Producer(redis_url, prefix=prefix) as producer:
        with pytest.raises(InvalidEvent, match=r"event 1: price 1\.5 is a float"):
            await producer.send("BTC-USD", [("add", "bid", 1, 1), ("add", "bid", 1.5, 1)])  # type: ignore[list-item]
        with pytest.raises(InvalidEvent, match=r"NOPE: there is no such .*depthcast instruments add NOPE"):
            await producer.send("NOPE", [("add", "bid", 1, 1)])
        with pytest.raises(InvalidEvent, match="this is no symbol"):
            await producer.send("no symbol", [])
        with pytest.raises(InvalidEvent, match="an order id is missing"):
            await producer.send("ORD", [("add", "bid", 1, 1)])
        assert producer.counters.entries == 0
        assert await run.stream(run.keys.events) == []


async def test_rejects_of_ours_are_reported_and_no_others(run: Run, redis_url: str, prefix: str) -> None:
    reported: list[RejectRecord] = []
    async with led(run), Producer(redis_url, prefix=prefix, on_reject=reported.append) as producer:
        ids = []
        for n in range(30):
            await run.send(("BTC-USD", '[["reduce", "ask", 99, 1]]'))
            ids.append(
                await producer.send("ORD", [("add", "bid", 1, 1, n), ("delete", None, None, None, "x")])
            )
        await producer.consumed()
        assert [record.source for record in reported] == [receipt.id for receipt in ids]
        assert {(record.reason, record.place) for record in reported} == {("unknown_order", 1)}
        assert producer.counters.rejected == {"unknown_order": 30}
        found = producer.rejects()
        assert [await anext(found) for _ in range(30)] == reported


async def test_it_waits_for_the_deployment_and_for_the_book(run: Run, redis_url: str, prefix: str) -> None:
    async def feed() -> Position:
        async with Producer(redis_url, prefix=prefix) as producer:
            await execute(run.client, "HSET", run.deployment.instruments, "NEW", "{}")
            receipt = await producer.send("NEW", [("add", "bid", 1, 1)])
            await producer.consumed()
            assert producer.counters.rejected == {}
            return await receipt

    feeding = asyncio.create_task(feed())
    async with led(run):
        assert await asyncio.wait_for(feeding, TIMEOUT_S)


async def test_after_a_new_listing_its_sizes_are_used(run: Run, redis_url: str, prefix: str) -> None:
    async with led(run), Producer(redis_url, prefix=prefix) as producer:
        await producer.send("BTC-USD", [("add", "bid", "1.00", 1)])
        await producer.consumed()
        await execute(run.client, "HDEL", run.deployment.instruments, "BTC-USD")
        await eventually(lambda: "BTC-USD" not in producer._sizes, message="it is withdrawn")
        new = '{"tick_size": "0.5", "listing": 2}'
        await execute(run.client, "HSET", run.deployment.instruments, "BTC-USD", new)
        await producer.send("BTC-USD", [("add", "bid", "1.00", 3)])
        await producer.consumed()
        assert producer.counters.rejected == {}
        *_, (_, fields) = await run.stream(run.keys.events)
        assert unpack(dict(fields)[b"_"], "options") == {"listing": 2}
        assert unpack(dict(fields)[b"BTC-USD"], "events") == [[0, 0, 2, 3]]


async def test_sizes_that_are_read_meanwhile_replace_no_listing(
    run: Run, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registered tick size is another one than that of the book, which holds levels."""
    async with led(run), Producer(redis_url, prefix=prefix) as producer:
        await run.send(("BTC-USD", '[["update","ask",900,1]]'))
        await run.published()
        await execute(run.client, "HSET", run.deployment.instruments, "BTC-USD", '{"tick_size": "0.1"}')
        await producer.send("ETH-USD", [("add", "bid", 3, 4)])
        read, asked, go_on = producer._read_listings, asyncio.Event(), asyncio.Event()

        async def first_slowly(symbols: Any) -> Any:
            found = await read(symbols)
            if not asked.is_set():
                asked.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(producer, "_read_listings", first_slowly)
        reading = asyncio.create_task(producer._read_sizes())
        await asked.wait()
        await producer.send("BTC-USD", [("update", "bid", "1.00", 1)])
        go_on.set()
        await reading
        await producer.send("BTC-USD", [("update", "bid", "1.00", 2)])
        await producer.consumed()
        assert producer.counters.rejected == {}
    deltas = await run.stream(run.keys.deltas)
    last = [decode_delta(raw) for _, fields in deltas for name, raw in fields if name == b"BTC-USD"][-1]
    assert last.digest == brute_digest({"bid": {100: 2}, "ask": {900: 1}})


async def test_input_that_is_deleted_unread_is_counted(run: Run, redis_url: str, prefix: str) -> None:
    async with led(run), Producer(redis_url, prefix=prefix) as producer:
        await producer.send("BTC-USD", [("add", "bid", 1, 1)])
        await producer.consumed()
        await eventually(lambda: 0 in producer._lost, message="it looks at what is lost")
    async with Producer(redis_url, prefix=prefix) as producer:
        position = await (await producer.send("BTC-USD", [("add", "bid", 1, 1)]))
        await eventually(lambda: 0 in producer._lost, message="it looks at what is lost")
        await execute(run.client, "XDEL", run.keys.events, str(position))
        async with led(run):
            await eventually(lambda: producer.counters.lost == 1, message="it is counted")


async def test_lag_beyond_the_limit_holds_or_raises(run: Run, redis_url: str, prefix: str) -> None:
    async with led(run):
        pass
    await execute(run.client, "XADD", run.keys.events, "1000-0", "BTC-USD", "[]")
    async with Producer(redis_url, prefix=prefix, lag_max_ms=1000, on_lag="raise") as producer:
        with pytest.raises(InputLagging) as caught:
            await producer.send("BTC-USD", [("add", "bid", 1, 1)])
        assert caught.value.lag_max_ms == 1000
        assert caught.value.lag_ms > 1000
    async with Producer(redis_url, prefix=prefix, lag_max_ms=1000) as producer:
        sending = asyncio.create_task(producer.send("BTC-USD", [("add", "bid", 1, 1)]))
        await asyncio.wait([sending], timeout=0.6)
        assert not sending.done()
        async with led(run):
            await asyncio.wait_for(sending, TIMEOUT_S)
        assert producer.counters.waited_s > 0.5


async def test_waiting_entries_have_a_bound_and_all_arrive_once_after_an_outage(
    fresh_server: EmbeddedServer, tmp_path: Path
) -> None:
    """The proxy cuts every connection again and again, so many outcomes are unknown."""
    async with patient(fresh_server.url) as client, FaultProxy(fresh_server.url) as proxy:
        run = Run(client, "out", fresh_server.url, tmp_path)
        async with (
            led(run),
            Producer(proxy.url, prefix="out", buffer_bytes_max=2_000, batch_entries=8) as producer,
        ):
            seen_bytes = []

            async def feed() -> None:
                for _ in range(400):
                    await producer.send("BTC-USD", [("add", "bid", 1, 1)])
                    seen_bytes.append(producer.waiting_bytes)

            feeding = asyncio.create_task(feed())
            while not feeding.done():
                await asyncio.wait([feeding], timeout=0.05)
                proxy.cut()
            await feeding
            await producer.consumed()
            assert max(seen_bytes) <= 2_000
            assert producer.counters.entries == 400
            info = await run.published()
            assert (info.applied, info.rejected, info.entries) == (400, 0, 400)


@pytest.mark.parametrize("cut", Cut)
async def test_an_append_with_an_unknown_outcome_happens_once(redis_url: str, prefix: str, cut: Cut) -> None:
    keys = DeploymentKeys(prefix)
    entries: list[tuple[str, list[str | bytes]]] = [
        ("BTC-USD", ["BTC-USD", b"[]"]),
        ("ETH-USD", ["ETH-USD", b"[]"]),
        ("BTC-USD", ["BTC-USD", b"[1]"]),
    ]
    async with FaultProxy(redis_url) as proxy, connect(proxy.url) as client:
        log = InputLog(client, keys, 4)
        first = await log.append(entries)
        proxy.faults += [cut, cut]
        places = await log.append(entries)
        assert proxy.cuts == 2
        if proxy.held:
            assert str(places[1][1]).encode() in await proxy.release()
        last = await log.append(entries[:1])
        if proxy.held:
            assert b"ERR a later append was made" in await proxy.release()
        assert [place for place, _ in places] == [0, 3, 0]
        assert await _ids(client, keys.partition(0).events) == [
            position for place, position in (*first, *places, *last) if place == 0
        ]
        assert await _ids(client, keys.partition(3).events) == [first[1][1], places[1][1]]
        await log.forget()
        assert [key async for key in client.scan_iter(match=f"{prefix}:producers:*")] == []


async def test_an_append_that_one_log_cannot_take_adds_to_none(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has used the last possible ID of a log; an error amid a script undoes nothing."""
    keys = DeploymentKeys(prefix)
    full, other = keys.partition(3).events, keys.partition(0).events
    async with patient(redis_url) as client:
        await execute(client, "XADD", full, f"{2**64 - 1}-{2**64 - 1}", "x", "y")
        entries: list[tuple[str, list[str | bytes]]] = [
            ("BTC-USD", ["BTC-USD", b"[]"]),
            ("ETH-USD", ["ETH-USD", b"[]"]),
        ]
        appending = asyncio.create_task(InputLog(client, keys, 4).append(entries))

        def said() -> bool:
            return any("last possible ID" in str(vars(record).get("problem")) for record in caplog.records)

        await eventually(said, message="it is said")
        assert await _ids(client, other) == []
        await execute(client, "DEL", full)
        places = await appending
        assert (await _ids(client, other), await _ids(client, full)) == ([places[0][1]], [places[1][1]])


async def _ids(client: Redis, key: str) -> list[Position]:
    return [Position.parse(name) for name, _ in await execute(client, "XRANGE", key, "-", "+")]


async def test_leaving_by_an_error_sends_nothing_more(run: Run, redis_url: str, prefix: str) -> None:
    receipts = []

    async def fail() -> None:
        async with Producer(redis_url, prefix=prefix, linger_ms=60_000) as producer:
            receipts.append(await producer.send("BTC-USD", [("add", "bid", 1, 1)]))
            raise RuntimeError("ours")

    async with led(run):
        with pytest.raises(RuntimeError, match="ours"):
            await fail()
        with pytest.raises(asyncio.CancelledError):
            await receipts[0]
        assert receipts[0].id is None
        assert await run.stream(run.keys.events) == []


async def test_leaving_amid_an_append_leaves_nobody_waiting(run: Run, redis_url: str, prefix: str) -> None:
    receipts = []

    async def fail() -> None:
        async with Producer(redis_url, prefix=prefix) as producer:
            await (await producer.send("BTC-USD", [("add", "bid", 1, 1)]))
            await execute(run.client, "SET", run.keys.events, "no stream")
            receipts.append(await producer.send("BTC-USD", [("add", "bid", 1, 1)]))
            await eventually(lambda: producer._in_flight, message="it is being appended")
            raise RuntimeError("ours")

    async with led(run):
        pass
    with pytest.raises(RuntimeError, match="ours"):
        await fail()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(receipts[0], TIMEOUT_S)


async def test_an_error_of_the_callback_reaches_the_user(run: Run, redis_url: str, prefix: str) -> None:
    def fail(record: RejectRecord) -> None:
        raise RuntimeError(record.reason)

    async def feed() -> None:
        async with Producer(redis_url, prefix=prefix, on_reject=fail) as producer:
            await producer.send("BTC-USD", [("reduce", "bid", 1, 1)])
            await producer.consumed()

    async with led(run):
        with pytest.raises(RuntimeError, match="unknown_level"):
            await feed()


async def test_a_wrong_key_is_waited_for_and_said(
    run: Run, redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with led(run):
        pass
    async with Producer(redis_url, prefix=prefix) as producer:
        await execute(run.client, "SET", run.keys.events, "x")
        sending = asyncio.create_task(producer.send("BTC-USD", [("add", "bid", 1, 1)]))
        await eventually(lambda: "the producer waits for Redis" in caplog.text, message="it says so")
        await execute(run.client, "DEL", run.keys.events)
        assert await (await sending)
