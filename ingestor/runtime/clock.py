"""The wall clock, in the units of the wire."""

import time


def now_us() -> int:
    """Microseconds since 1970; may step back."""
    return time.time_ns() // 1000


def now_ms() -> int:
    """Milliseconds since 1970; may step back."""
    return time.time_ns() // 1_000_000
