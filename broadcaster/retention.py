"""Decides how far streams may be trimmed (`docs/protocol.md`, section 2.3).

`deltas` keeps everything after the oldest of all symbols' newest snapshots, at least `retention_s` of
history, and always its last entry. `events` keeps everything after the oldest checkpoint's `src`.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from depthcast.shared.position import Position

GRAIN_S: Final = 1.0
"""History is recorded in steps of one second, so at least `retention_s` of it is kept, sometimes more."""

STALE_FACTOR: Final = 4
"""At most so many positions are kept for each symbol, those that no symbol has any more included."""


class _Oldest:
    """A position of each symbol, and the oldest of all.

    Many symbols share a position, so the oldest one is found without a look at every symbol.
    """

    def __init__(self) -> None:
        self._of: dict[str, Position] = {}
        self._symbols_at: dict[Position, int] = {}
        self._in_order: list[Position] = []

    def update(self, positions: Mapping[str, Position]) -> None:
        """Set the positions of some symbols."""
        for symbol, position in positions.items():
            self.forget(symbol)
            self._of[symbol] = position
            symbols = self._symbols_at.get(position)
            if symbols is None:
                heappush(self._in_order, position)
            self._symbols_at[position] = (symbols or 0) + 1
        if len(self._in_order) > STALE_FACTOR * (len(self._of) + 1):
            self._symbols_at = {position: held for position, held in self._symbols_at.items() if held}
            self._in_order = list(self._symbols_at)
            heapify(self._in_order)

    def forget(self, symbol: str) -> None:
        """Have no position of a symbol any more; unknown ones are ignored."""
        if (position := self._of.pop(symbol, None)) is not None:
            self._symbols_at[position] -= 1

    def oldest(self) -> Position | None:
        """The oldest position, None without symbols."""
        while self._in_order:
            position = self._in_order[0]
            if self._symbols_at[position]:
                return position
            del self._symbols_at[heappop(self._in_order)]
        return None


class Retention:
    """Records when each position was written, and the position of each symbol's recovery state."""

    def __init__(self, retention_s: float) -> None:
        self.retention_s = retention_s
        self._snapshots = _Oldest()
        self._checkpoints = _Oldest()
        self._history: deque[tuple[float, Position]] = deque()

    def record_entry(self, position: Position, now: float) -> None:
        """Record that the entry at `position` was written at `now` (seconds, monotonic)."""
        if not self._history or now - self._history[-1][0] >= GRAIN_S:
            self._history.append((now, position))

    def deltas_from(self, now: float) -> Position | None:
        """First position of `deltas` to keep; None if nothing may be trimmed yet."""
        boundary = None
        while self._history and now - self._history[0][0] >= self.retention_s:
            boundary = self._history[0][1]
            if len(self._history) == 1 or now - self._history[1][0] < self.retention_s:
                break
            self._history.popleft()
        oldest = self._snapshots.oldest()
        return boundary if boundary is None or oldest is None else min(boundary, oldest)

    def events_from(self, published: Position) -> Position:
        """First ID of `events` to keep; `published` is the `src` of the last entry in `deltas`."""
        oldest = self._checkpoints.oldest()
        return published if oldest is None else min(published, oldest)

    def record_state(self, snapshots: Mapping[str, Position], checkpoints: Mapping[str, Position]) -> None:
        """Record what was written, by symbol: the position of the snapshot, the `src` of the checkpoint."""
        self._snapshots.update(snapshots)
        self._checkpoints.update(checkpoints)

    def forget_checkpoints(self, symbols: Iterable[str]) -> None:
        """Keep no input for the checkpoints of these symbols any more."""
        for symbol in symbols:
            self._checkpoints.forget(symbol)
