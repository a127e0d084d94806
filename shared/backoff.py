"""Computes the waits between attempts."""

from collections.abc import Callable

RandomSource = Callable[[], float]
"""Returns a number from 0 to 1, as `random.random` does."""


def no_jitter() -> float:
    """Use each wait in full: for attempts that no other process makes at the same time."""
    return 1.0


class Backoff:
    """Waits that double up to a limit, with full jitter, so that many clients do not try at once.

    `first_s`, `most_s`: upper bounds of the first and the longest wait, in seconds.
    """

    def __init__(self, first_s: float, most_s: float, random: RandomSource) -> None:
        self.first_s = first_s
        self.most_s = most_s
        self.random = random
        self.bound_s = first_s

    def next_s(self) -> float:
        """Seconds to wait before the next attempt; the bound doubles."""
        wait_s = self.bound_s * self.random()
        self.bound_s = min(self.bound_s * 2, self.most_s)
        return wait_s

    def reset(self) -> None:
        """Start again with the first wait, after an attempt succeeded."""
        self.bound_s = self.first_s
