"""Reading partitions and instruments, on an in-memory Redis."""

from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from depthcast.ingestor.runtime import registry
from depthcast.ingestor.runtime.registry import register_deployment, register_instruments, restore
from depthcast.shared.errors import DeploymentMismatch, WrongKey
from depthcast.shared.instruments import Feed, Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.catalog import HOLD_S, Catalog, read_deployed, read_instruments
from depthcast.shared.runtime.redis import run_pipeline
from depthcast.shared.slots import slot_of, tags_text, wanted_slot
from depthcast.shared.types import Symbol

KEYS = DeploymentKeys("test")
CLUSTERED = DeploymentKeys("test", clustered=True)
BTC = Instrument(Symbol("BTC-USD"), "0.01", "0.001")
ETH = Instrument(Symbol("ETH-USD"), "0.01", "0.001", Feed.ORDERS)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = fakeredis.FakeAsyncRedis()
    yield client
    await client.aclose()


async def test_the_first_ingestor_fixes_the_partitions(redis: Redis) -> None:
    assert await read_deployed(redis, KEYS, None) is None
    assert await register_deployment(redis, KEYS, 4, "one") == (4, KEYS)
    assert await register_deployment(redis, KEYS, None, "two") == (4, KEYS)
    assert await read_deployed(redis, KEYS, 4) == (4, KEYS)
    with pytest.raises(DeploymentMismatch, match=r"set to 2 here.* created with 4"):
        await register_deployment(redis, KEYS, 2, "one")


async def test_a_new_deployment_in_a_cluster_records_evenly_spaced_tags(redis: Redis) -> None:
    partitions, keys = await register_deployment(redis, CLUSTERED, 6, "one")
    slots = [slot_of(keys.partition(number).events) for number in range(partitions)]
    assert slots == [wanted_slot(number, 6) for number in range(6)]
    assert await redis.hget(CLUSTERED.meta, "tags") == tags_text(keys.tags).encode()
    assert await read_deployed(redis, CLUSTERED, None) == (6, keys)
    assert await register_deployment(redis, CLUSTERED, None, "two") == (6, keys)
    await redis.delete(CLUSTERED.meta)
    await restore(redis, keys, 6, "three", {})
    assert await read_deployed(redis, CLUSTERED, None) == (6, keys), "restored with its tags"


async def test_a_deployment_without_tags_keeps_those_of_its_prefix(redis: Redis) -> None:
    await redis.hset(CLUSTERED.meta, mapping={"partitions": 2, "protocol": 1})
    partitions, keys = await register_deployment(redis, CLUSTERED, None, "one")
    assert [keys.partition(number).tag for number in range(partitions)] == ["{test:0}", "{test:1}"]
    assert await redis.hget(CLUSTERED.meta, "tags") is None


@pytest.mark.parametrize(
    "tags", [b"", b"7", b'["a"]', b'["a","a"]', b'["a","{b}"]', b'["a",""]', b'["a",1]', b'["a","b","c"]']
)
async def test_tags_that_no_ingestor_writes_are_refused(redis: Redis, tags: bytes) -> None:
    await redis.hset(CLUSTERED.meta, mapping={"partitions": 2, "protocol": 1, "tags": tags})
    with pytest.raises(WrongKey, match="as tags"):
        await read_deployed(redis, CLUSTERED, None)


async def test_another_protocol_is_refused(redis: Redis) -> None:
    await redis.hset(KEYS.meta, mapping={"partitions": 1, "protocol": 2})
    with pytest.raises(DeploymentMismatch, match="protocol"):
        await read_deployed(redis, KEYS, None)


async def test_instruments_are_registered_and_refreshed(redis: Redis) -> None:
    await register_instruments(redis, KEYS, {"BTC-USD": BTC, "ETH-USD": ETH})
    finer = BTC._replace(tick_size="0.001")
    await register_instruments(redis, KEYS, {"BTC-USD": finer})
    assert await read_instruments(redis, KEYS) == {"BTC-USD": finer, "ETH-USD": ETH}
    levels = ETH._replace(feed=Feed.LEVELS)
    await redis.hset(KEYS.instruments, "ETH-USD", to_json(ETH._replace(listing=3)))
    await register_instruments(redis, KEYS, {"ETH-USD": levels})
    assert (await read_instruments(redis, KEYS))["ETH-USD"] == levels._replace(listing=3)
    await redis.hset(KEYS.instruments, "ETH-USD", "{")
    await register_instruments(redis, KEYS, {"ETH-USD": ETH})
    assert (await read_instruments(redis, KEYS))["ETH-USD"] == ETH


async def test_many_instruments_that_are_there_are_not_written_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[int] = []

    async def count(pipeline: Pipeline) -> list[Any]:
        trips.append(len(pipeline.command_stack))
        return await run_pipeline(pipeline)

    monkeypatch.setattr(registry, "REGISTERED_PER_TRIP", 1)
    monkeypatch.setattr(registry, "run_pipeline", count)
    both = {"BTC-USD": BTC, "ETH-USD": ETH}
    await register_instruments(redis, KEYS, both)
    assert trips == [2, 2]
    await register_instruments(redis, KEYS, both)
    assert trips == [2, 2], "nothing to do"
    await redis.hset(KEYS.instruments, "ETH-USD", to_json(ETH._replace(feed=Feed.LEVELS, listing=3)))
    await register_instruments(redis, KEYS, both)
    assert await read_instruments(redis, KEYS) == both | {"ETH-USD": ETH._replace(listing=3)}
    await redis.hset(KEYS.instruments, "BTC-USD", "{")
    await register_instruments(redis, KEYS, both)
    assert (await read_instruments(redis, KEYS))["BTC-USD"] == BTC
    await redis.hdel(KEYS.instruments, "BTC-USD")
    await register_instruments(redis, KEYS, both)
    assert (await read_instruments(redis, KEYS))["BTC-USD"] == BTC
    assert trips == [2] * 5


async def test_a_symbol_that_was_withdrawn_comes_back_with_the_next_listing(redis: Redis) -> None:
    for symbol, number in (("BTC-USD", 4), ("ETH-USD", 2**31)):
        key = KEYS.partition(partition_of(symbol, 4)).listings
        await redis.hset(key, symbol, f'{{"listing": {number}}}')
    await register_instruments(redis, KEYS, {"BTC-USD": BTC, "ETH-USD": ETH}, 4)
    assert await read_instruments(redis, KEYS) == {"BTC-USD": BTC._replace(listing=5), "ETH-USD": ETH}
    await register_instruments(redis, KEYS, {"BTC-USD": BTC}, 4)
    assert (await read_instruments(redis, KEYS))["BTC-USD"].listing == 5, "it is registered"
    await redis.delete(KEYS.instruments)
    await register_instruments(redis, KEYS, {"BTC-USD": BTC})
    assert (await read_instruments(redis, KEYS))["BTC-USD"] == BTC, "Redis has lost everything"


async def test_a_malformed_instrument_hides_no_other_and_keeps_what_it_was(redis: Redis) -> None:
    await redis.hset(KEYS.instruments, mapping={"BTC-USD": "{", "ETH-USD": to_json(ETH), "NEW-USD": "[]"})
    assert await read_instruments(redis, KEYS) == {"ETH-USD": ETH}
    assert await read_instruments(redis, KEYS, {"BTC-USD": BTC}) == {"BTC-USD": BTC, "ETH-USD": ETH}


async def test_instruments_come_in_the_order_of_symbols_however_they_are_listed(redis: Redis) -> None:
    """So code that iterates over them does the same on every server."""
    await register_instruments(redis, KEYS, {"ETH-USD": ETH, "BTC-USD": BTC})
    assert list(await read_instruments(redis, KEYS)) == ["BTC-USD", "ETH-USD"]


class TestCatalog:
    @pytest.fixture
    async def catalog(self, redis: Redis) -> AsyncIterator[Catalog]:
        await restore(redis, KEYS, 1, "first", {"BTC-USD": BTC, "ETH-USD": ETH})
        catalog = Catalog(redis, KEYS)
        assert not await catalog.poll(0.0)
        assert catalog.instruments == {"BTC-USD": BTC, "ETH-USD": ETH}
        yield catalog
        await catalog.aclose()

    async def test_what_is_withdrawn_goes(self, redis: Redis, catalog: Catalog) -> None:
        await redis.hdel(KEYS.instruments, "BTC-USD")
        assert not await catalog.poll(1.0)
        assert catalog.instruments == {"ETH-USD": ETH}

    async def test_what_redis_lost_stays_until_there_is_a_deployment_again(
        self, redis: Redis, catalog: Catalog
    ) -> None:
        await redis.flushall()
        assert await catalog.poll(1.0)
        assert await catalog.poll(1.0 + 10 * HOLD_S)
        assert catalog.instruments == {"BTC-USD": BTC, "ETH-USD": ETH}

    async def test_another_deployment_is_held_against_what_was_known_for_a_while(
        self, redis: Redis, catalog: Catalog
    ) -> None:
        await redis.flushall()
        await restore(redis, KEYS, 1, "second", {"ETH-USD": ETH})
        assert await catalog.poll(1.0)
        assert list(catalog.instruments.items()) == [("BTC-USD", BTC), ("ETH-USD", ETH)]
        assert await catalog.poll(1.0 + HOLD_S)
        assert catalog.instruments == {"ETH-USD": ETH}
        assert not await catalog.poll(2.0 + HOLD_S)

    async def test_whoever_wrote_it_again_takes_what_is_there(self, redis: Redis, catalog: Catalog) -> None:
        await redis.flushall()
        assert await catalog.poll(1.0)
        await restore(redis, KEYS, 1, "second", catalog.instruments)
        catalog.accept()
        assert not await catalog.poll(2.0)
        assert not await catalog.poll(3.0)
        assert catalog.instruments == {"BTC-USD": BTC, "ETH-USD": ETH}
