"""An ingestor's environment: connections to Redis, a wall clock, a monotonic clock, names, threads.

It is passed in, so that the same code runs in a process and in the seeded simulation.
"""

import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import uuid4

from depthcast.shared.runtime.redis import Connect, connect


def wall_us() -> int:
    """Microseconds since 1970; may step back."""
    return time.time_ns() // 1000


Result = TypeVar("Result")


class RunInThread(Protocol):
    """Runs slow work in a thread, so that it does not block the event loop."""

    def __call__(self, work: Callable[[], Result], /) -> Awaitable[Result]: ...


def new_name() -> str:
    """A unique name for an ingestor."""
    return uuid4().hex[:16]


@dataclass(frozen=True)
class Environment:
    """Connections, clocks, names and threads.

    `connect` makes a new client for each task. `now_us` is the wall clock, µs since 1970. `monotonic` (s)
    measures durations and never steps; tasks sleep by the event loop's clock. `new_name` makes names for
    ingestors and for the data of a deployment.
    """

    connect: Connect = connect
    now_us: Callable[[], int] = wall_us
    monotonic: Callable[[], float] = time.monotonic
    new_name: Callable[[], str] = new_name
    run_in_thread: RunInThread = to_thread

    def now_ms(self) -> int:
        """The wall clock in milliseconds since 1970."""
        return self.now_us() // 1000


REAL_ENVIRONMENT = Environment()
"""The environment of a real process."""
