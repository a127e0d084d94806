"""A gateway that follows only the symbols that somebody asks for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from depthcast.shared.runtime.redis import execute
from tests.integration.gateway_harness import (
    ASKS,
    BIDS,
    Client,
    FakeIngestor,
    RunningGateway,
    fake_ingestor,
    running_gateway,
    served,
)
from tests.waiting import eventually


@asynccontextmanager
async def asked(
    redis_url: str, prefix: str, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    async with (
        served(redis_url, prefix, follow="asked", **settings) as (gateway, ingestor),
        ingestor.beating(),
    ):
        yield gateway, ingestor


async def answer_of(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(gateway.url + path) as answer:
        return answer.status, await answer.json()


def followed(gateway: RunningGateway) -> set[str]:
    return {symbol for upstream in gateway.process.core.market.upstreams for symbol in upstream.symbols}


async def test_a_book_is_there_for_who_subscribes_and_is_unfollowed_afterwards(
    redis_url: str, prefix: str
) -> None:
    async with asked(redis_url, prefix, follow_linger_s=0.1, channel_linger_s=0) as (gateway, ingestor):
        assert (await answer_of(gateway, "/readyz"))[0] == 200
        assert followed(gateway) == set()
        await ingestor.publish("AAA", {100: 6})
        counters = gateway.process.core.counters
        for quantity in range(7, 10):
            async with gateway.connect() as connection:
                client = Client(connection)
                await client.send(op="subscribe", symbols=["AAA"], depth=0)
                snapshot = await client.until("snapshot")
                assert snapshot["bids"][0] == [100, quantity - 1]
                await client.until_seq("AAA", await ingestor.publish("AAA", {100: quantity}, {101: 0}))
                assert followed(gateway) == {"AAA"}
                states = [each["state"] for each in client.messages if each["type"] == "status"]
                assert states == [], "the book was not there, or not current, when the subscription began"
            await ingestor.publish("BBB", {100: quantity})
            await eventually(lambda: not followed(gateway))
            await ingestor.publish("AAA", {}, {101: quantity})
        assert (counters.taken_up, counters.unfollowed) == (3, 3)
        assert counters.broadcasts == 6, "of each stay the load and one delta, and nothing of BBB"


async def test_a_partition_is_read_while_something_of_it_is_followed(redis_url: str, prefix: str) -> None:
    async with asked(redis_url, prefix, follow_linger_s=0.1, channel_linger_s=0, stale_ms=400) as (
        gateway,
        ingestor,
    ):
        core = gateway.process.core
        (upstream,) = core.market.upstreams
        (follower,) = gateway.process.market_reader.followers.values()

        async def at_the_end() -> None:
            written = await ingestor.publish("AAA", {100: 6})
            position = upstream.reader.position
            await eventually(lambda: upstream.reader.position != position)
            assert written

        for read in range(3):
            reads, entries = follower.reads, core.counters.entries
            for _ in range(3):
                await at_the_end()
            assert (follower.reads, core.counters.entries, follower.resyncs) == (reads, entries, 0)
            await eventually(lambda: gateway.process.silence_s() < 1, message="it looks again")
            assert (await answer_of(gateway, "/readyz"))[0] == 200
            async with gateway.connect() as connection:
                client = Client(connection)
                await client.send(op="subscribe", symbols=["AAA"], depth=0)
                await client.until("snapshot")
                await client.until_seq("AAA", await ingestor.publish("AAA", {100: 10 + read}))
                assert [each for each in client.messages if each["type"] == "status"] == []
            assert core.counters.entries > entries
            await eventually(lambda: follower.resting)


async def test_books_and_lists_by_http(redis_url: str, prefix: str) -> None:
    async with asked(redis_url, prefix) as (gateway, ingestor):
        _, listed = await answer_of(gateway, "/v1/symbols")
        assert [(each["symbol"], each["state"], each["followed"]) for each in listed] == [
            ("AAA", "stale", False), ("BBB", "stale", False),
        ]  # fmt: skip
        await ingestor.publish("BBB", {100: 0})
        status, book = await answer_of(gateway, "/v1/books/BBB?depth=0")
        assert (status, book["state"], book["bids"]) == (200, "live", [[99, 6], [98, 7]])
        _, listed = await answer_of(gateway, "/v1/symbols")
        states = [(each["state"], each.get("followed")) for each in listed]
        assert states == [("stale", False), ("live", None)]
        await ingestor.publish("BBB", {99: 0})
        _, book = await answer_of(gateway, "/v1/books/BBB?depth=0")
        assert book["bids"] in ([[99, 6], [98, 7]], [[98, 7]])


async def test_an_event_stream_waits_for_its_book(redis_url: str, prefix: str) -> None:
    async with (
        asked(redis_url, prefix) as (gateway, _),
        aiohttp.ClientSession() as http,
        http.get(gateway.url + "/v1/stream?symbols=AAA&depth=1") as answer,
    ):
        seen = []
        async with asyncio.timeout(30):
            async for line in answer.content:
                seen.append(line)
                if b'"snapshot"' in line:
                    break
        assert not [line for line in seen if b'"status"' in line]


@pytest.mark.parametrize("wildcard", [True, False])
async def test_many_symbols_are_one_range(redis_url: str, prefix: str, wildcard: bool) -> None:
    symbols = [f"S{number}" for number in range(60)]
    async with fake_ingestor(redis_url, prefix, *symbols) as ingestor:
        for symbol in symbols:
            await ingestor.birth(symbol, BIDS, ASKS)
        await ingestor.snapshot(symbols[0], beside=False)
        with running_gateway(redis_url, prefix, follow="asked") as gateway:
            await ingestor.until_live(gateway)
            reads = await calls(ingestor, "xrange")
            async with ingestor.beating(), gateway.connect() as connection:
                client = Client(connection)
                await client.send(op="subscribe", symbols=["*"] if wildcard else symbols, depth=5)
                for _ in symbols:
                    await client.until("snapshot")
            # A few pages of a range that goes back to the first birth; not one for each symbol.
            assert await calls(ingestor, "xrange") - reads <= 10
            assert len(followed(gateway)) == 60


@pytest.mark.parametrize("rests", [True, False])
async def test_one_round_trip_takes_up_what_changed_lately(
    redis_url: str, prefix: str, rests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        served(redis_url, prefix, follow="asked") as (gateway, ingestor),
        gateway.connect() as connection,
    ):
        client = Client(connection)
        if not rests:
            await client.send(op="subscribe", symbols=["BBB"], depth=0)
            await client.until("snapshot")
        await ingestor.snapshot("AAA")
        for quantity in range(1, 6):
            await ingestor.publish("AAA", {100: quantity})
        if not rests:
            await client.until_seq("BBB", await ingestor.publish("BBB", {100: 1}))

        async def another(*_: Any, **__: Any) -> Any:
            raise AssertionError("one more round trip")

        monkeypatch.setattr("depthcast.shared.runtime.follow.read_range", another)
        monkeypatch.setattr("depthcast.shared.runtime.take_up.oldest_entry", another)
        await client.send(op="subscribe", symbols=["AAA"], depth=0)
        assert (await client.until("snapshot"))["bids"][0] == [100, 5]


async def calls(ingestor: FakeIngestor, command: str) -> int:
    stats = await execute(ingestor.redis, "INFO", "commandstats")
    text = stats.get(f"cmdstat_{command}") if isinstance(stats, dict) else None
    return int(text["calls"]) if text else 0


async def test_without_redis_there_is_no_book(redis_url: str, prefix: str) -> None:
    async with asked(redis_url, prefix, follow_wait_s=0.3) as (gateway, _):
        for follower in gateway.process.market_reader.followers.values():
            follower.reader.mark_lost("for a test")

        async def never(*_: Any, **__: Any) -> None:
            return None

        for follower in gateway.process.market_reader.followers.values():
            follower.take_up = never  # type: ignore[method-assign]
        status, answer = await answer_of(gateway, "/v1/books/AAA")
        assert (status, answer["error"]["code"]) == (503, "unavailable")
        async with gateway.connect() as connection:
            client = Client(connection)
            await client.send(op="subscribe", symbols=["AAA"])
            await client.send(op="ping")
            await client.until("pong")
            kinds = [each["type"] for each in client.messages]
            assert kinds == ["welcome", "subscribed", "status", "pong"]


async def test_a_relisted_symbol_begins_with_its_own_sizes(redis_url: str, prefix: str) -> None:
    async with asked(redis_url, prefix) as (gateway, ingestor):
        await ingestor.relist("AAA", 2, "0.5", {10: 1}, {11: 2})
        async with gateway.connect() as connection:
            client = Client(connection)
            await client.send(op="subscribe", symbols=["AAA"], depth=0)
            subscribed = await client.until("subscribed")
            assert subscribed["tick_size"] == "0.5"
            assert (await client.until("snapshot"))["bids"] == [[10, 1]]
            await ingestor.relist("AAA", 3, "0.25", {20: 1}, {21: 2})
            assert (await client.until("subscribed"))["tick_size"] == "0.25"


async def test_several_partitions(redis_url: str, prefix: str) -> None:
    symbols = ["AAA", "BBB", "CCC", "DDD"]
    async with AsyncExitStack() as stack:
        ingestor = await stack.enter_async_context(fake_ingestor(redis_url, prefix, *symbols, partitions=3))
        for symbol in symbols:
            await ingestor.birth(symbol, BIDS, ASKS)
        gateway = stack.enter_context(running_gateway(redis_url, prefix, follow="asked"))
        await ingestor.until_live(gateway)
        for number in range(3):
            await stack.enter_async_context(ingestor.beating(number))
        connection = await stack.enter_async_context(gateway.connect())
        client = Client(connection)
        await client.send(op="subscribe", symbols=symbols, depth=5)
        for _ in symbols:
            await client.until("snapshot")
        for symbol in symbols:
            await client.until_seq(symbol, await ingestor.publish(symbol, {100: 1}))
