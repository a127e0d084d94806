"""Nothing is published after a publish that failed: its changes would be missing."""

import asyncio

import pytest

from depthcast.ingestor.runtime.publishing import PublishingLock
from depthcast.shared.errors import DepthcastError, Fenced, RedisUnavailable


async def test_one_at_a_time() -> None:
    lock, inside, most = PublishingLock(), 0, 0

    async def publish() -> None:
        nonlocal inside, most
        async with lock:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(publish() for _ in range(5)))
    assert most == 1


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (Fenced(0, "1-0", "2-0"), Fenced),
        (RedisUnavailable("gone"), RedisUnavailable),
        (asyncio.CancelledError(), RedisUnavailable),
    ],
)
async def test_who_waits_while_it_fails_does_not_publish_either(
    error: BaseException, then: type[DepthcastError]
) -> None:
    lock, fail = PublishingLock(), asyncio.Event()

    async def failing() -> None:
        async with lock:
            await fail.wait()
            raise error

    async def waiting() -> None:
        async with lock:
            pytest.fail("it publishes")

    tasks = [asyncio.create_task(each) for each in (failing(), waiting(), waiting())]
    await asyncio.sleep(0)
    fail.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [type(error), then, then]
    with pytest.raises(then):
        await waiting()
