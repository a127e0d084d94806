"""What the deployment fixed, on an in-memory Redis."""

from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis

from ingestor.runtime.registry import register_deployment, register_instruments
from shared.errors import DeploymentMismatch, InstrumentsError
from shared.instruments import Feed, Instrument, to_json
from shared.keys import DeploymentKeys
from shared.runtime.catalog import read_instruments, read_partitions
from shared.types import Symbol

KEYS = DeploymentKeys("test")
BTC = Instrument(Symbol("BTC-USD"), "0.01", "0.001")
ETH = Instrument(Symbol("ETH-USD"), "0.01", "0.001", Feed.ORDERS)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = fakeredis.FakeAsyncRedis()
    yield client
    await client.aclose()


async def test_the_first_ingestor_fixes_the_partitions(redis: Redis) -> None:
    assert await read_partitions(redis, KEYS, None) is None
    assert await register_deployment(redis, KEYS, 4, "one") == 4
    assert await register_deployment(redis, KEYS, None, "two") == 4
    assert await read_partitions(redis, KEYS, 4) == 4
    with pytest.raises(DeploymentMismatch, match=r"set to 2 here.* created with 4"):
        await register_deployment(redis, KEYS, 2, "one")


async def test_another_protocol_is_refused(redis: Redis) -> None:
    await redis.hset(KEYS.meta, mapping={"partitions": 1, "protocol": 2})
    with pytest.raises(DeploymentMismatch, match="protocol"):
        await read_partitions(redis, KEYS, None)


async def test_instruments_are_registered_and_refreshed(redis: Redis) -> None:
    await register_instruments(redis, KEYS, {"BTC-USD": BTC, "ETH-USD": ETH})
    finer = BTC._replace(tick_size="0.001")
    await register_instruments(redis, KEYS, {"BTC-USD": finer})
    assert await read_instruments(redis, KEYS) == {"BTC-USD": finer, "ETH-USD": ETH}
    with pytest.raises(InstrumentsError, match=r"feed is levels .* registered as orders"):
        await register_instruments(redis, KEYS, {"ETH-USD": ETH._replace(feed=Feed.LEVELS)})


async def test_a_malformed_instrument_hides_no_other_and_keeps_what_it_was(redis: Redis) -> None:
    await redis.hset(KEYS.instruments, mapping={"BTC-USD": "{", "ETH-USD": to_json(ETH), "NEW-USD": "[]"})
    assert await read_instruments(redis, KEYS) == {"ETH-USD": ETH}
    assert await read_instruments(redis, KEYS, {"BTC-USD": BTC}) == {"BTC-USD": BTC, "ETH-USD": ETH}
