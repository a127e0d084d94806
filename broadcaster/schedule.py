"""When to broadcast, and whose snapshot is due: pure decisions over a monotonic clock handed in.

Times are seconds of a monotonic clock.
"""

from collections.abc import Iterable
from typing import Final

HEARTBEAT_S: Final = 0.75
"""An entry at least so often. The contract says one a second; the rest is margin for a busy machine."""

UNCHANGED_SNAPSHOT_S: Final = 30.0
"""A symbol whose book did not change gets a new snapshot so often, so that history can be trimmed."""


class BroadcastSchedule:
    """Spaces broadcasts one interval apart, with a leading edge: a quiet book's first change goes out at once."""

    def __init__(self, interval_s: float, now: float) -> None:
        self.interval_s = interval_s
        self._broadcast = now - interval_s
        self._entry = now

    def due(self, dirty: bool) -> float:
        """When the next entry is to be written: one interval after the last broadcast, or at the next heartbeat."""
        heartbeat = self._entry + HEARTBEAT_S
        return min(self._broadcast + self.interval_s, heartbeat) if dirty else heartbeat

    def may_broadcast(self, now: float) -> bool:
        """Whether changes may go out at `now`; a longer interval has heartbeats in it, and they wait for its end."""
        return now >= self._broadcast + self.interval_s

    def record_entry(self, now: float, *, dirty: bool) -> None:
        """An entry was written for an interval that closed at `now`; heartbeats (not dirty) delay no broadcast."""
        self._entry = now
        if dirty:
            self._broadcast = now


class SnapshotSchedule:
    """Whose snapshot and checkpoint are due: a changed symbol's each interval, anybody's each 30 s, spread out.

    Spreading: a symbol's phase within the interval is fixed by its place in the order of joining, so that snapshots
    of many symbols never come all at once.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._taken: dict[str, float] = {}
        self._changed: set[str] = set()

    def add(self, symbols: Iterable[str], now: float) -> None:
        """Symbols that just had a snapshot, or must be spread over the coming interval."""
        new = [symbol for symbol in symbols if symbol not in self._taken]
        for place, symbol in enumerate(new):
            self._taken[symbol] = now - self.interval_s * place / len(new)

    def mark_changed(self, symbols: Iterable[str]) -> None:
        """These symbols' books or orders changed since their last snapshot; others than members are ignored."""
        self._changed.update(symbol for symbol in symbols if symbol in self._taken)

    def symbols(self) -> list[str]:
        """Everybody who joined."""
        return list(self._taken)

    def due(self, now: float) -> list[str]:
        """Symbols to take now."""
        idle = now - UNCHANGED_SNAPSHOT_S
        busy = now - self.interval_s
        return [
            symbol
            for symbol, taken in self._taken.items()
            if taken <= idle or (taken <= busy and symbol in self._changed)
        ]

    def mark_taken(self, symbols: Iterable[str], now: float) -> None:
        """These symbols' snapshots were taken at `now`."""
        for symbol in symbols:
            self._taken[symbol] = now
            self._changed.discard(symbol)
