"""The recent deltas of one view, which bring a client that is a little behind to the head."""

from bisect import bisect_right
from collections import deque
from typing import Final, NamedTuple

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.protocol.messages import Encoding, ViewDelta

ROWS_KEPT_MAX: Final = 32_768
"""Rows kept per channel, whatever `history_deltas` allows: a few megabytes at most."""


class ViewState(NamedTuple):
    """A known state of a view: its `seq` and `digest` right after broadcast number `broadcast`."""

    broadcast: int
    seq: int
    digest: int


class Step:
    """One broadcast that changed the view; `frames` caches its bytes once they were needed."""

    __slots__ = ("broadcast", "delta", "frames", "rows")

    def __init__(self, broadcast: int, delta: ViewDelta) -> None:
        self.broadcast = broadcast
        self.delta = delta
        self.rows = len(delta.bids) + len(delta.asks)
        self.frames: dict[Encoding, bytes] = {}

    def state(self) -> ViewState:
        """The view right after this step."""
        return ViewState(self.broadcast, self.delta.seq, self.delta.digest)


class HistoryBound:
    """How many steps each history keeps: `steps_max`, or fewer if all histories would exceed `total_max`."""

    __slots__ = ("_each_max", "_total_max", "steps_max")

    def __init__(self, each_max: int, total_max: int = 1 << 62) -> None:
        self._each_max = each_max
        self._total_max = total_max
        self.steps_max = each_max

    def share(self, histories: int) -> None:
        """Adapt to the number of histories; each keeps less with its next step."""
        self.steps_max = max(1, min(self._each_max, self._total_max // max(1, histories)))


class History:
    """The newest steps of a view, oldest first: as many as `bound` says, with at most `ROWS_KEPT_MAX` rows.

    `base` is the state before the first step kept; a cursor before it needs a snapshot.
    """

    __slots__ = ("_bound", "_counters", "_rows", "base", "steps")

    def __init__(self, bound: HistoryBound, counters: GatewayCounters) -> None:
        self.base = ViewState(0, 0, 0)
        self.steps: deque[Step] = deque()
        self._bound = bound
        self._counters = counters
        self._rows = 0

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, step: Step) -> None:
        """Add the newest step; drops the oldest ones beyond the bounds."""
        self.steps.append(step)
        self._rows += step.rows
        while len(self.steps) > self._bound.steps_max or self._rows > ROWS_KEPT_MAX:
            self._drop_oldest()

    def restart(self, base: ViewState) -> None:
        """Drop every step; history begins again at `base`."""
        self.base = base
        self.steps.clear()
        self._rows = 0

    def state_at(self, seq: int) -> ViewState:
        """The newest known state with a seq up to `seq`, or the oldest state if all are later."""
        newer = bisect_right(self.steps, seq, key=lambda step: step.delta.seq)
        return self.steps[newer - 1].state() if newer else self.base

    def index_after(self, cursor: int) -> int:
        """Index of the first step after `cursor`."""
        return bisect_right(self.steps, cursor, key=lambda step: step.broadcast)

    def _drop_oldest(self) -> None:
        self._counters.limit_history += self._rows > ROWS_KEPT_MAX
        step = self.steps.popleft()
        self._rows -= step.rows
        self.base = step.state()
