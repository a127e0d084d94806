"""Decides when to broadcast and which snapshots are due; the time is passed in.

Times are seconds of a monotonic clock.
"""

from collections.abc import Iterable
from typing import Final

HEARTBEAT_S: Final = 0.75
"""Longest time between entries. The contract promises one per second; the rest is margin."""

UNCHANGED_SNAPSHOT_S: Final = 30.0
"""A symbol whose book did not change gets a new snapshot this often, so that history can be trimmed."""


class BroadcastSchedule:
    """Spaces broadcasts one interval apart; the first change of a quiet book goes out at once."""

    def __init__(self, interval_s: float, now: float) -> None:
        self.interval_s = interval_s
        self._broadcast = now - interval_s
        self._entry = now

    def due(self, dirty: bool) -> float:
        """When the next entry is due: at the next heartbeat, or earlier.

        Earlier if there are changes (`dirty`): one interval after the last broadcast.
        """
        heartbeat = self._entry + HEARTBEAT_S
        return min(self._broadcast + self.interval_s, heartbeat) if dirty else heartbeat

    def may_broadcast(self, now: float) -> bool:
        """Whether changes may go out at `now`.

        If the interval is longer than a heartbeat, changes wait for its end.
        """
        return now >= self._broadcast + self.interval_s

    def record_entry(self, now: float, *, dirty: bool) -> None:
        """Record an entry for an interval that closed at `now`.

        A heartbeat (not `dirty`) delays no broadcast.
        """
        self._entry = now
        if dirty:
            self._broadcast = now


class SnapshotSchedule:
    """Tells which snapshots and checkpoints are due: changed symbols each interval, all others each 30 s.

    Symbols added together get different phases within the interval, so their snapshots are not all due at
    once.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._taken: dict[str, float] = {}
        self._changed: set[str] = set()

    def add(self, symbols: Iterable[str], now: float) -> None:
        """Add symbols, spread over an interval that ends at `now`; symbols added before do not change."""
        new = [symbol for symbol in symbols if symbol not in self._taken]
        for place, symbol in enumerate(new):
            self._taken[symbol] = now - self.interval_s * place / len(new)

    def mark_changed(self, symbols: Iterable[str]) -> None:
        """Mark symbols whose book or orders changed since their last snapshot; unknown ones are ignored."""
        self._changed.update(symbol for symbol in symbols if symbol in self._taken)

    def remove(self, symbols: Iterable[str]) -> None:
        """Remove symbols; unknown ones are ignored."""
        for symbol in symbols:
            self._taken.pop(symbol, None)
            self._changed.discard(symbol)

    def symbols(self) -> list[str]:
        """All symbols added."""
        return list(self._taken)

    def due(self, now: float) -> list[str]:
        """Symbols whose snapshot is due at `now`."""
        idle = now - UNCHANGED_SNAPSHOT_S
        busy = now - self.interval_s
        return [
            symbol
            for symbol, taken in self._taken.items()
            if taken <= idle or (taken <= busy and symbol in self._changed)
        ]

    def mark_taken(self, symbols: Iterable[str], now: float) -> None:
        """Record that the snapshots of these symbols were taken at `now`."""
        for symbol in symbols:
            self._taken[symbol] = now
            self._changed.discard(symbol)
