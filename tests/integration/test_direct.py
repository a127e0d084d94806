"""One kept connection among other tasks: every reply reaches the command it is for, whatever others do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import hiredis
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime.direct import DirectClient, ReplyTooBig
from depthcast.shared.runtime.redis import connect, execute
from tests.waiting import eventually

REPLY_BYTES_MAX = 1000
"""Of the `DirectClient` under test."""

ROUNDS = 400


@pytest.fixture
async def direct(client: Redis, prefix: str) -> AsyncIterator[DirectClient]:
    direct = DirectClient(client, prefix, REPLY_BYTES_MAX)
    yield direct
    await direct.release()


def packed(*words: Any) -> bytes:
    command: bytes = hiredis.pack_command(words)
    return command


async def identity(direct: DirectClient) -> int:
    """The server's number of the kept connection."""
    reply = await direct.send(packed("CLIENT", "ID"))
    assert isinstance(reply, int)
    return reply


async def under_way(direct: DirectClient, key: str) -> asyncio.Task[Any]:
    """A command that the server answers once somebody pushes to `key`."""
    await identity(direct)  # so that it has a connection, which is usable until the command is sent
    task = asyncio.create_task(direct.send(packed("BLPOP", key, 0)))
    await eventually(lambda: not direct.usable, message="the command is sent")
    return task


class TestWhileACommandIsUnderWay:
    async def test_renew_leaves_it_its_connection(
        self, client: Redis, direct: DirectClient, prefix: str
    ) -> None:
        before = await identity(direct)
        task = await under_way(direct, prefix)
        direct.renew()
        await execute(client, "RPUSH", prefix, "its reply")
        assert await task == [prefix.encode(), b"its reply"]
        assert await identity(direct) != before

    async def test_renew_leads_to_none_that_was_idle(self, client: Redis, direct: DirectClient) -> None:
        """The next command goes over a connection that was opened, and checked, after it."""
        pool = client.connection_pool
        idle = await asyncio.gather(*(execute(client, "CLIENT", "ID") for _ in range(3)))
        assert len(set(idle)) > 1
        idle.append(await identity(direct))
        await direct.release()
        direct.renew()
        assert await identity(direct) > max(idle)
        await direct.release()
        assert not pool._in_use_connections

    async def test_another_one_is_refused_beside_it(
        self, client: Redis, direct: DirectClient, prefix: str
    ) -> None:
        task = await under_way(direct, prefix)
        with pytest.raises(RuntimeError, match="one command at a time"):
            await direct.send(packed("ECHO", 1))
        await execute(client, "RPUSH", prefix, "its reply")
        assert await task == [prefix.encode(), b"its reply"]
        beginning = [asyncio.create_task(direct.send(packed("ECHO", number))) for number in range(2)]
        await direct.close()
        found = await asyncio.gather(*beginning, return_exceptions=True)
        assert sum(isinstance(each, RuntimeError) for each in found) == 1
        await direct.release()
        assert not client.connection_pool._in_use_connections

    @pytest.mark.parametrize("end", [DirectClient.close, DirectClient.release])
    async def test_close_and_release_fail_it_and_its_reply_reaches_nobody(
        self, client: Redis, direct: DirectClient, prefix: str, end: Callable[[DirectClient], Awaitable[None]]
    ) -> None:
        task = await under_way(direct, prefix)
        await end(direct)
        with pytest.raises(RedisConnectionError, match="closed by another task"):
            await task
        await execute(client, "RPUSH", prefix, "of nobody")
        for number in range(5):
            assert await direct.send(packed("ECHO", number)) == b"%d" % number
            assert await execute(client, "ECHO", number) == b"%d" % number


async def one(direct: DirectClient, prefix: str, number: int, kind: int) -> None:
    """Send one command; its reply or its error must be its own."""
    own = f"{prefix}:{number}"
    if kind == 0:
        with pytest.raises(ResponseError, match=own):
            await direct.send(packed(own))
    elif kind == 1:
        assert await direct.send(packed("BLPOP", own, "0.002")) is None
    elif kind == 2:
        with pytest.raises(ReplyTooBig):
            await direct.send(packed("ECHO", own * REPLY_BYTES_MAX))
    else:
        assert await direct.send(packed("ECHO", own)) == own.encode()


@pytest.mark.parametrize("seed", range(4))
async def test_random_orders_of_what_tasks_may_do(
    fresh_server: EmbeddedServer, prefix: str, seed: int
) -> None:
    """One task sends, and is cancelled at times; others end the connection, or use the client's others."""
    random = Random(seed)
    client, other = connect(fresh_server.url), connect(fresh_server.url)
    direct = DirectClient(client, prefix, REPLY_BYTES_MAX)
    sent = answered = 0
    over = False

    async def disturb() -> None:
        while not over:
            await asyncio.sleep(random.random() * 0.002)
            with contextlib.suppress(RedisUnavailable):
                match random.randrange(5):
                    case 0:
                        await direct.close()
                    case 1:
                        await direct.release()
                    case 2:
                        direct.renew()
                    case 3:
                        await execute(other, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    case _:
                        mark = str(random.random())
                        assert await execute(client, "ECHO", mark) == mark.encode()

    disturbing = [asyncio.create_task(disturb()) for _ in range(3)]
    try:
        for number in range(ROUNDS):
            sent += 1
            task = asyncio.create_task(one(direct, prefix, number, random.randrange(6)))
            if random.random() < 0.1:
                await asyncio.sleep(random.random() * 0.001)
                task.cancel()
            with contextlib.suppress(RedisConnectionError, asyncio.CancelledError):
                await task
                answered += 1
        over = True
        await asyncio.gather(*disturbing)
        await direct.close()
        assert sent > answered > 0
        assert not client.connection_pool._in_use_connections, "every connection is back in the pool"
        marks = [b"%d" % number for number in range(3)]
        assert await asyncio.gather(*(execute(client, "ECHO", mark) for mark in marks)) == marks
    finally:
        over = True
        await asyncio.gather(*disturbing, return_exceptions=True)
        await client.aclose()
        await other.aclose()
