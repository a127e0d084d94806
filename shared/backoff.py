"""How long to wait between attempts."""

from collections.abc import Callable

RandomSource = Callable[[], float]
"""Gives a number from 0 to 1, such as `random.random`."""


def no_jitter() -> float:
    """Take each wait in full: for attempts that nobody else makes at the same time."""
    return 1.0


class Backoff:
    """Waits that double up to a limit, with full jitter, so that many clients do not try at once.

    `first_s`, `most_s`: upper bound of the first wait, and of the longest, in seconds.
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
        """Begin with the first wait again: an attempt succeeded."""
        self.bound_s = self.first_s
