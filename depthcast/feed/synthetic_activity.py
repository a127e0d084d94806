"""Activity of a synthetic market in each step: a steady part, and bursts that cause further bursts.

It is a marked Hawkes process (Hawkes 1971; Bacry, Mastromatteo and Muzy 2015 on order flow). Shocks come at
random; each raises the activity by a log-normal mark, and the raise decays exponentially. A share of the
shocks is caused by the raised activity itself. The mean activity is 1.
"""

import math
from random import Random
from statistics import NormalDist
from typing import Final

STEP_S: Final = 0.01
"""Length of a step."""

SHOCKS_PER_S: Final = 4.0
STEADY: Final = 0.2
"""Share of the activity that does not depend on shocks."""

SELF_EXCITED: Final = 0.4
"""Share of the shocks that are caused by earlier ones."""

DECAY_S: Final = 0.12
MARK_SIGMA: Final = 1.6
BALANCED_S: Final = 10.0
"""Calm periods and bursts even out in this time, so the mean also holds over minutes."""

LIFT_MOST: Final = 50.0
"""Highest lift, in multiples of the mean."""


class Activity:
    """Activity of one symbol, in multiples of its mean."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lift = 1.0  # in multiples of its mean
        self._excess_s = 0.0
        self._kept = math.exp(-STEP_S / DECAY_S)
        # Lift added by a shock of mark 1. Makes the mean lift 1: shocks per step × lift × steps it lasts.
        self._added = (1 - self._kept) / (SHOCKS_PER_S * STEP_S)

    def step(self) -> tuple[float, float]:
        """Return (activity in this step, mark of the shock at its beginning, 0 without one)."""
        shock = 0.0
        chance = SHOCKS_PER_S * STEP_S * (1 - SELF_EXCITED + SELF_EXCITED * self._lift)
        self._lift *= self._kept
        if self._random.random() < chance:
            shock = self._random.lognormvariate(-(MARK_SIGMA**2) / 2, MARK_SIGMA)
            self._lift = min(self._lift + shock * self._added, LIFT_MOST)
        level = (STEADY + (1 - STEADY) * self._lift) * self._random.expovariate(1.0)
        level *= max(1 - self._excess_s / BALANCED_S, 0.1)
        self._excess_s += (level - 1) * STEP_S
        return level, shock

    def shocks_above(self, mark: float) -> float:
        """Return the mean sum per second of the marks of shocks stronger than `mark`."""
        z = (math.log(mark) - MARK_SIGMA**2 / 2) / MARK_SIGMA
        return SHOCKS_PER_S * (1 - NormalDist().cdf(z))
