"""How long ago the last input of each symbol came, and whether that is too long ago to call its book live.

A symbol without input is often just a quiet market. So the age is told to those who ask, and makes a book
stale only where the setting `input_age_max_ms` says from when on.
"""

from collections.abc import Iterable
from typing import Final

from depthcast.shared.freshness import ServerClock
from depthcast.shared.replica import Replica

LOOK_S: Final = 0.25
"""Time between looks at the ages of all symbols, where they can make books stale."""


class InputAges:
    """Ages by the clock of the server that holds the streams, as of the last `look`."""

    __slots__ = ("_clock", "_due_at", "_most_ms", "now")

    def __init__(self, clock: ServerClock, most_ms: int | None) -> None:
        self._clock = clock
        self._most_ms = most_ms
        self._due_at = 0.0
        self.now = 0.0

    def look(self, now: float) -> bool:
        """Take the time `now` (monotonic s); returns whether each book may be too old now, or no longer."""
        self.now = now
        if self._most_ms is None or now < self._due_at:
            return False
        self._due_at = now + LOOK_S
        return True

    def of(self, replica: Replica | None) -> int | None:
        """Age of a book's last input in ms; None if it is not known."""
        if replica is None or not replica.input_ts:
            return None
        server_us = self._clock.now_us(self.now)
        return None if server_us is None else max(int(server_us - replica.input_ts) // 1000, 0)

    def too_old(self, replica: Replica | None) -> bool:
        """Whether a book's last input is older than the setting allows; not if its age is not known."""
        if self._most_ms is None:
            return False
        age_ms = self.of(replica)
        return age_ms is not None and age_ms > self._most_ms

    def most_ms(self, replicas: Iterable[Replica | None]) -> int:
        """The longest age; 0 if none is known."""
        ages = (self.of(replica) for replica in replicas)
        return max((age for age in ages if age is not None), default=0)
