"""Waiting in tests: for a condition, with a deadline, never for a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, overload

T = TypeVar("T")

POLL_S_MIN = 0.002
POLL_S_MAX = 0.05
"""Pauses between two looks grow: what happens soon is seen soon, and a long wait costs little."""
TIMEOUT_S = 60.0
"""What a busy machine may take for anything that needs a moment; a test that succeeds never waits so long."""


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
    deadline, pauses = time.monotonic() + timeout_s, _pauses()
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_late(message, timeout_s, value))
        await asyncio.sleep(next(pauses))


def eventually_sync(condition: Callable[[], T], timeout_s: float = TIMEOUT_S, message: str = "") -> T:
    """`eventually` for tests without an event loop."""
    deadline, pauses = time.monotonic() + timeout_s, _pauses()
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(_late(message, timeout_s, value))
        time.sleep(next(pauses))
    return value


def _pauses() -> Iterator[float]:
    pause = POLL_S_MIN
    while True:
        yield pause
        pause = min(pause * 1.3, POLL_S_MAX)


def _late(message: str, timeout_s: float, value: object) -> str:
    return f"{message or 'the condition'}: not so within {timeout_s:g} s; the last value was {value!r}"
