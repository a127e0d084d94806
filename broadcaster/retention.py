"""Decides how far streams may be trimmed (`docs/protocol.md`, section 2.3).

`deltas` keeps everything after the oldest of all symbols' newest snapshots, at least `retention_s` of
history, and always its last entry. `events` keeps everything after the oldest checkpoint's `src`.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from depthcast.shared.position import Position

GRAIN_S: Final = 1.0
"""History is recorded in steps of one second, so at least `retention_s` of it is kept, sometimes more."""


class Retention:
    """Records when each position was written, and the position of each symbol's recovery state."""

    def __init__(self, retention_s: float) -> None:
        self.retention_s = retention_s
        self.snapshots: dict[str, Position] = {}
        self.checkpoints: dict[str, Position] = {}
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
        if boundary is None or not self.snapshots:
            return boundary
        return min(boundary, *self.snapshots.values())

    def events_from(self, published: Position) -> Position:
        """First ID of `events` to keep; `published` is the `src` of the last entry in `deltas`."""
        return min([published, *self.checkpoints.values()])

    def record_state(self, snapshots: Mapping[str, Position], checkpoints: Mapping[str, Position]) -> None:
        """Record what was written, by symbol: the position of the snapshot, the `src` of the checkpoint."""
        self.snapshots.update(snapshots)
        self.checkpoints.update(checkpoints)

    def forget_checkpoints(self, symbols: Iterable[str]) -> None:
        """Keep no input for the checkpoints of these symbols any more."""
        for symbol in symbols:
            self.checkpoints.pop(symbol, None)
