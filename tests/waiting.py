"""Waiting in tests: for a condition, with a deadline, never for a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

POLL_INTERVAL_S = 0.01
TIMEOUT_S = 15.0


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], timeout_s: float = TIMEOUT_S, message: str = ""
) -> T: ...
@overload
async def eventually(condition: Callable[[], T], timeout_s: float = TIMEOUT_S, message: str = "") -> T: ...
async def eventually(
    condition: Callable[[], object], timeout_s: float = TIMEOUT_S, message: str = ""
) -> object:
    """Returns the condition's first true value; the condition may be a coroutine function.

    Raises:
        AssertionError: It was not true in time; the text has the message and the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_late(message, timeout_s, value))
        await asyncio.sleep(POLL_INTERVAL_S)


def eventually_sync(condition: Callable[[], T], timeout_s: float = TIMEOUT_S, message: str = "") -> T:
    """`eventually` for tests without an event loop."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(_late(message, timeout_s, value))
        time.sleep(POLL_INTERVAL_S)
    return value


def _late(message: str, timeout_s: float, value: object) -> str:
    return f"{message or 'the condition'}: not so within {timeout_s:g} s; the last value was {value!r}"
