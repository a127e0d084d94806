"""Errors of the library that take the place of a cancellation, as when it resets a transaction."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from depthcast.shared.errors import RedisUnavailable, WatchedKeyChanged
from depthcast.shared.runtime.redis import map_errors

ERRORS = [RedisConnectionError("lost"), RedisTimeoutError("late"), WatchError("changed"), OSError("reset")]


async def command(began: asyncio.Event, error: Exception) -> None:
    """A command that is under way, and fails when it is cancelled."""
    async with map_errors():
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            raise error


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_task_that_is_cancelled_amid_a_command_ends(error: Exception) -> None:
    began = asyncio.Event()

    async def for_ever() -> None:
        while True:
            try:
                await command(began, error)
            except (RedisUnavailable, RedisError):
                await asyncio.sleep(60)

    task = asyncio.create_task(for_ever())
    await began.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=10)
    assert done, "it goes on after its cancellation"
    assert task.cancelled()


async def test_a_transaction_that_was_not_executed_may_be_tried_again() -> None:
    with pytest.raises(WatchedKeyChanged, match="changed"):
        async with map_errors():
            raise WatchError("changed")
    assert issubclass(WatchedKeyChanged, RedisUnavailable)


async def test_what_is_done_after_a_cancellation_may_fail_as_ever() -> None:
    began, found = asyncio.Event(), []

    async def cleans_up() -> None:
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            with pytest.raises(RedisUnavailable, match="lost"):
                async with map_errors():
                    raise RedisConnectionError("lost")
            found.append("the rest")

    task = asyncio.create_task(cleans_up())
    await began.wait()
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert found == ["the rest"]
    assert task.cancelled()


async def test_a_deadline_that_passes_amid_a_command_is_a_time_out() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await command(asyncio.Event(), RedisConnectionError("lost"))
