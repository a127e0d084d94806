"""What an ingestor needs from outside: connections to Redis, a wall clock, a monotonic clock, names, threads.

Passed in from the top, so that the same code runs in a process and in the seeded simulation.
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
    """Runs slow work where it does not block the event loop."""

    def __call__(self, work: Callable[[], Result], /) -> Awaitable[Result]: ...


def new_name() -> str:
    """A name that no other ingestor has or will have."""
    return uuid4().hex[:16]


@dataclass(frozen=True)
class Environment:
    """Connections, clocks, names and threads.

    `connect` gives each task that asks a client of its own. `now_us` is the wall clock, µs since 1970.
    `monotonic` (s) measures durations and never steps; tasks sleep by the event loop's own clock. `new_name`
    gives names to ingestors and to the data of a deployment.
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
"""The real one."""
