"""Limits how often a process logs the same thing, so that trouble with thousands of clients fills no disk."""

import logging
import time
from collections.abc import Callable
from typing import Final

BURST: Final = 100
PERIOD_S: Final = 60.0
KINDS_MAX: Final = 1_000
"""Messages of libraries may have values in their text; of more kinds than this, all are forgotten."""


class RateLimit(logging.Filter):
    """Passes `BURST` records of a kind in each `PERIOD_S`; the next one then says how many were left out.

    A kind is what one statement of the program logs: records with equal logger, level and text before values
    are put into it. `monotonic`: seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._kinds: dict[tuple[str, int, str], _Period] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        kind = record.name, record.levelno, str(record.msg)
        now = self._monotonic()
        period = self._kinds.get(kind)
        if period is None or now - period.began >= PERIOD_S:
            if period is not None and period.count > BURST:
                vars(record)["left_out"] = period.count - BURST
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            period = self._kinds[kind] = _Period(now)
        period.count += 1
        return period.count <= BURST


class _Period:
    """When it began, in seconds, and how many records of the kind came since."""

    __slots__ = ("began", "count")

    def __init__(self, began: float) -> None:
        self.began = began
        self.count = 0
