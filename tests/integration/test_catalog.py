"""The catalog on a real server: read whole only after a change, whoever made it, and no change is missed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from depthcast.ingestor.runtime.registry import restore
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import RedisUnavailable, WatchedKeyChanged
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.catalog import Catalog
from depthcast.shared.runtime.key_watch import REFUSED_LOOKS, KeyWatch
from depthcast.shared.runtime.redis import connect, execute, run_pipeline
from depthcast.shared.types import Symbol

BTC = Instrument(Symbol("BTC-USD"), "0.01", "0.001")
FINER = BTC._replace(tick_size="0.001")


@asynccontextmanager
async def two_clients(url: str) -> AsyncIterator[tuple[Redis, Redis]]:
    ours, other = connect(url), connect(url)
    try:
        yield ours, other
    finally:
        await ours.aclose()
        await other.aclose()


@asynccontextmanager
async def polled(url: str, prefix: str) -> AsyncIterator[tuple[Catalog, DeploymentKeys, Redis]]:
    """A catalog that has one instrument, and somebody else's client."""
    keys = DeploymentKeys(prefix)
    async with two_clients(url) as (ours, other):
        await restore(other, keys, 1, "first", {"BTC-USD": BTC})
        catalog = Catalog(ours, keys, interval_s=60)
        assert not await catalog.poll(1.0)
        assert (catalog.instruments, catalog.whole_reads) == ({"BTC-USD": BTC}, 1)
        yield catalog, keys, other
        await catalog.aclose()


async def test_what_did_not_change_is_not_read_again(redis_url: str, prefix: str) -> None:
    async with polled(redis_url, prefix) as (catalog, _, _):
        before = catalog.instruments
        for now in range(2, 40):
            assert not await catalog.poll(now)
        assert (catalog.instruments is before, catalog.whole_reads) == (True, 1)
        await catalog.poll(61.0)
        assert (catalog.instruments is before, catalog.whole_reads) == (True, 2), "after the interval"


@pytest.mark.parametrize(
    ("command", "then"),
    [
        (("HSET", "BTC-USD", to_json(FINER)), {"BTC-USD": FINER}),
        (("HSET", "ETH-USD", "{}"), {"BTC-USD": BTC, "ETH-USD": Instrument(Symbol("ETH-USD"))}),
        (("HDEL", "BTC-USD"), {}),
        (("DEL",), {}),
    ],
)
async def test_every_change_is_there_with_the_next_poll(
    redis_url: str, prefix: str, command: tuple[str, ...], then: dict[str, Instrument]
) -> None:
    """The writer does nothing but write, as writers of every version do."""
    async with polled(redis_url, prefix) as (catalog, keys, other):
        for now in (2.0, 3.0):
            await catalog.poll(now)
        await execute(other, command[0], keys.instruments, *command[1:])
        assert not await catalog.poll(4.0)
        assert (catalog.instruments, catalog.whole_reads) == (then, 2)
        await catalog.poll(5.0)
        assert catalog.whole_reads == 2


async def test_a_change_at_any_moment_of_a_poll_is_seen(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each command of a poll somebody writes; the next poll has it at the latest."""
    async with polled(redis_url, prefix) as (catalog, keys, other):
        writes = 0

        async def write() -> None:
            nonlocal writes
            writes += 1
            await execute(other, "HSET", keys.instruments, f"S{writes}", "{}")

        watch: Any = catalog._watch
        begin = watch._begin

        def around(step: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
            async def stepped() -> Any:
                await write()
                found = await step()
                await write()
                return found

            return stepped

        for now in range(2, 12):
            monkeypatch.setattr(watch, "_begin", around(begin) if now % 2 else begin)
            await catalog.poll(now)
        monkeypatch.setattr(watch, "_begin", begin)
        await catalog.poll(20.0)
        assert len(catalog.instruments) == 1 + writes > 10


async def test_after_a_poll_that_failed_everything_is_read(redis_url: str, prefix: str) -> None:
    """A look whose answer got lost may have been the one that saw the change."""
    async with polled(redis_url, prefix) as (catalog, keys, other):
        await catalog.poll(2.0)
        await execute(other, "HSET", keys.instruments, "BTC-USD", to_json(FINER))
        watch: Any = catalog._watch
        read = watch.unchanged

        async def lost(*commands: Any, **options: Any) -> None:
            await read(*commands, **options)
            raise RedisUnavailable("the answer got lost")

        watch.unchanged = lost
        with pytest.raises(RedisUnavailable):
            await catalog.poll(3.0)
        watch.unchanged = read
        await catalog.poll(4.0)
        assert catalog.instruments == {"BTC-USD": FINER}


async def test_a_cut_connection_means_that_it_may_have_changed(redis_url: str, prefix: str) -> None:
    async with polled(redis_url, prefix) as (catalog, _, other):
        await catalog.poll(2.0)
        pipeline: Any = catalog._watch._watching
        pipeline.connection._writer.transport.abort()
        await catalog.poll(3.0)
        assert catalog.whole_reads == 2
        assert await execute(other, "PING")


async def test_a_user_who_may_not_watch_reads_everything_each_time(
    fresh_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Users of older access lists may not."""
    async with two_clients(fresh_server.url) as (ours, other):
        await execute(other, "ACL", "SETUSER", "default", "-watch")
        watch = KeyWatch(ours, "key")
        for _ in range(3):
            assert await watch.unchanged(("PING",)) is None
        assert caplog.text.count("WATCH is refused") == 1
        await execute(other, "ACL", "SETUSER", "default", "+watch")
        found = [await watch.unchanged(("PING",)) for _ in range(REFUSED_LOOKS)]
        assert found[-1] is not None, "after a while it is asked again"
        await watch.aclose()


async def test_a_watch_that_the_server_does_not_end_makes_others_try_again(
    fresh_server: EmbeddedServer,
) -> None:
    """Its connection is used again. The error is one that every caller outlives."""
    async with two_clients(fresh_server.url) as (ours, other):
        await execute(other, "ACL", "SETUSER", "default", "-unwatch")
        watch, tried_again = KeyWatch(ours, "key"), 0
        for number in range(20):
            with suppress(RedisUnavailable):
                await watch.unchanged(("PING",), sure=bool(number % 3))
            await execute(other, "SET", "key", str(number))
            try:
                async with ours.pipeline(transaction=True) as pipeline:
                    pipeline.execute_command("PING")
                    await run_pipeline(pipeline)
            except WatchedKeyChanged:
                tried_again += 1
        assert 0 < tried_again < 20
        await watch.aclose()
