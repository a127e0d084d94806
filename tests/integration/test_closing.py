"""What is closed is closed, at whatever moment the closing is cancelled, and whatever is under way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.runtime.replicas import ReadingClient
from tests.redis_client import patient
from tests.waiting import eventually

PAUSES = (1, 2, 3, 4, 6, 9)
"""After how many iterations of the event loop something else happens."""


@pytest.fixture
async def watcher(fresh_server: EmbeddedServer) -> AsyncIterator[Redis]:
    client = patient(fresh_server.url)
    yield client
    await client.aclose()


async def open_connections(watcher: Redis) -> int:
    """How many connections the server has, without the watcher's."""
    return len((await execute(watcher, "CLIENT", "LIST")).splitlines()) - 1


async def all_closed(watcher: Redis) -> None:
    async def closed() -> bool:
        return not await open_connections(watcher)

    await eventually(closed, message="no connection is open")


async def pauses(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def waiting(client: Redis) -> None:
    with contextlib.suppress(RedisUnavailable):
        await execute(client, "BLPOP", "nothing", 0)


@pytest.mark.parametrize("count", PAUSES)
async def test_a_closing_that_is_cancelled_leaves_nothing_open(
    fresh_server: EmbeddedServer, watcher: Redis, count: int
) -> None:
    client = patient(fresh_server.url)
    tasks = [asyncio.create_task(waiting(client)) for _ in range(3)]

    async def there() -> bool:
        return await open_connections(watcher) == len(tasks)

    await eventually(there)
    closing = asyncio.create_task(client.aclose())
    await pauses(count)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await all_closed(watcher)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("count", PAUSES)
async def test_a_connection_that_is_being_made_is_closed_too(
    fresh_server: EmbeddedServer, watcher: Redis, count: int
) -> None:
    client = patient(fresh_server.url)
    task = asyncio.create_task(waiting(client))
    await pauses(count)
    await client.aclose()
    await asyncio.wait([task])
    await all_closed(watcher)


@pytest.mark.parametrize("count", PAUSES)
async def test_a_client_of_replicas_closes_all_its_clients(
    fresh_server: EmbeddedServer, watcher: Redis, count: int
) -> None:
    client = ReadingClient(fresh_server.url, "key", 1000, connect)
    await client.check()
    assert await open_connections(watcher)
    closing = asyncio.create_task(client.aclose())
    await pauses(count)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await all_closed(watcher)
