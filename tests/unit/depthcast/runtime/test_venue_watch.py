"""What a live feed notices of its deployment."""

from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis

from depthcast.runtime.venue_watch import Watch
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.types import Symbol

A = Symbol("A")
KEYS = DeploymentKeys("test")


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    client = fakeredis.FakeAsyncRedis()
    await client.set(KEYS.incarnation, "one")
    await client.hset(KEYS.instruments, A, to_json(Instrument(A)))
    yield client
    await client.aclose()


async def test_any_other_listing_is_noticed_once(redis: Redis) -> None:
    """Also one with a lower number: Redis lost everything, and no ingestor remembered."""
    found: list[int] = []
    watch = Watch(
        redis,
        KEYS,
        {0: frozenset({A})},
        {A: Instrument(A)},
        on_reject=lambda *_: None,
        on_lost=lambda *_: None,
        on_instrument=lambda *_: None,
        on_listing=lambda _, listing: found.append(listing.number),
        listings={A: Listing(2, Instrument(A))},
    )
    for record, seen in (
        ('{"listing": 2}', []),
        ('{"listing": 3}', [3]),
        ('{"listing": 3, "withdrawn": true}', [3]),
        ('{"listing": 1}', [3, 1]),
        ('{"listing": 1}', [3, 1]),
    ):
        await redis.hset(KEYS.partition(0).listings, A, record)
        await watch.look()
        assert found == seen
