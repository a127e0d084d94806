"""What an ingestor takes from outside itself: connections to Redis, the wall clock and a monotonic one.

Handed in from the top, so that the same code runs in a process and in the seeded simulation.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.runtime.redis import Connect, connect


def wall_us() -> int:
    """Microseconds since 1970; may step back."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Outside:
    """`connect` gives a client of its own to each task that asks; `now_us` is the wall clock, µs since 1970.

    `monotonic` (s) measures durations and never steps; tasks sleep by the event loop's own clock.
    """

    connect: Connect = connect
    now_us: Callable[[], int] = wall_us
    monotonic: Callable[[], float] = time.monotonic

    def now_ms(self) -> int:
        """The wall clock in milliseconds since 1970."""
        return self.now_us() // 1000


OUTSIDE = Outside()
"""The real one."""
