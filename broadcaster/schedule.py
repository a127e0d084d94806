"""Decides when to broadcast and which snapshots are due; the time is passed in.

Times are seconds of a monotonic clock.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

HEARTBEAT_S: Final = 0.75
"""Longest time between entries. The contract promises one per second; the rest is margin."""

UNCHANGED_SNAPSHOT_S: Final = 30.0
"""A symbol whose book did not change gets a new snapshot this often, so that history can be trimmed."""


STALE_FACTOR: Final = 4
"""The queue of a `SnapshotSchedule` has at most so many entries for each symbol."""


HEAPIFY_FACTOR: Final = 16
"""Adding one entry to a queue costs about as much as ordering so many anew."""


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
    once. The times passed in never go back. A call costs time for the symbols it is about, not for all.
    """

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._taken: dict[str, float] = {}
        self._changed: set[str] = set()
        # When to look at a symbol again, in order. Entries that another one of the symbol has replaced are
        # passed over, and dropped once they are the larger part.
        self._in_order: list[tuple[float, str]] = []
        self._due: dict[str, None] = {}

    def add(self, symbols: Iterable[str], now: float) -> None:
        """Add symbols, spread over an interval that ends at `now`; symbols added before do not change."""
        new = [symbol for symbol in symbols if symbol not in self._taken]
        for place, symbol in enumerate(new):
            self._taken[symbol] = now - self.interval_s * place / len(new)
        if len(new) * HEAPIFY_FACTOR < len(self._in_order):
            for symbol in new:
                self._await(symbol)
        else:
            self._in_order += [(self._due_at(symbol), symbol) for symbol in new]
            heapify(self._in_order)

    def mark_changed(self, symbols: Iterable[str]) -> None:
        """Mark symbols whose book or orders changed since their last snapshot; unknown ones are ignored."""
        for symbol in symbols:
            if symbol in self._taken and symbol not in self._changed:
                self._changed.add(symbol)
                if symbol not in self._due:
                    self._await(symbol)

    def remove(self, symbols: Iterable[str]) -> None:
        """Remove symbols; unknown ones are ignored."""
        for symbol in symbols:
            self._taken.pop(symbol, None)
            self._changed.discard(symbol)
            self._due.pop(symbol, None)

    def symbols(self) -> list[str]:
        """All symbols added."""
        return list(self._taken)

    def due(self, now: float) -> list[str]:
        """Symbols whose snapshot is due at `now`; they stay so until it is taken."""
        in_order = self._in_order
        while in_order and in_order[0][0] <= now:
            at, symbol = heappop(in_order)
            if symbol in self._taken and at == self._due_at(symbol):
                self._due[symbol] = None
        return list(self._due)

    def mark_taken(self, symbols: Iterable[str], now: float) -> None:
        """Record that the snapshots of these symbols were taken at `now`."""
        for symbol in symbols:
            self._taken[symbol] = now
            self._changed.discard(symbol)
            self._due.pop(symbol, None)
            self._await(symbol)

    def _due_at(self, symbol: str) -> float:
        wait_s = UNCHANGED_SNAPSHOT_S
        if symbol in self._changed:
            wait_s = min(wait_s, self.interval_s)
        return self._taken[symbol] + wait_s

    def _await(self, symbol: str) -> None:
        """Have a symbol looked at when its snapshot is due, as far as is known now."""
        heappush(self._in_order, (self._due_at(symbol), symbol))
        if len(self._in_order) > STALE_FACTOR * len(self._taken) + STALE_FACTOR:
            self._in_order = [(self._due_at(name), name) for name in self._taken if name not in self._due]
            heapify(self._in_order)
