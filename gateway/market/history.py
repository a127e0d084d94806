"""The recent deltas of one view, which bring a client that is a little behind to the head.

They are kept as bytes. As lists of tuples they would take several times the memory, and be hundreds of
thousands of objects for the garbage collector: walking through them is a pause of half a second.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.step import PackedSteps, Step, ViewState

ROWS_KEPT_MAX: Final = 32_768
"""Rows kept per channel, whatever `history_deltas` allows: a few megabytes at most."""

_NO_STEPS: Final = PackedSteps()
_NOTHING_FRESH: Final[list[Step]] = []
"""What every history has of steps while it has none: most stand still. Nothing is added to these two."""


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

    __slots__ = ("_bound", "_counters", "_fresh", "_packed", "_prepended", "_rows", "base")

    def __init__(self, bound: HistoryBound, counters: GatewayCounters) -> None:
        self.base = ViewState(0, 0, 0)
        self._packed = _NO_STEPS
        self._fresh = _NOTHING_FRESH
        self._bound = bound
        self._counters = counters
        self._prepended = 0
        self._rows = 0

    def __len__(self) -> int:
        return len(self._packed) + len(self._fresh)

    def append(self, step: Step) -> None:
        """Add the newest step; drops the oldest ones beyond the bounds."""
        if self._fresh is _NOTHING_FRESH:
            self._fresh = []
        self._fresh.append(step)
        self._rows += step.rows
        if self._prepended:
            self._prepended -= 1
        while len(self) > self._bound.steps_max + self._prepended or self._rows > ROWS_KEPT_MAX:
            self._drop_oldest()

    def pack(self) -> None:
        """Keep all steps as bytes from now on; what their frames were is forgotten."""
        if self._packed is _NO_STEPS and self._fresh:
            self._packed = PackedSteps()
        for step in self._fresh:
            self._packed.append(step)
        self._fresh = _NOTHING_FRESH

    def restart(self, base: ViewState) -> None:
        """Drop every step; history begins again at `base`."""
        self.base = base
        self._packed = _NO_STEPS
        self._fresh = _NOTHING_FRESH
        self._rows = self._prepended = 0

    def prepend(self, base: ViewState, steps: Sequence[Step]) -> bool:
        """Begin earlier, at `base`, from which `steps` lead to the base so far; False if they are too many.

        With each further step, one of them goes.
        """
        rows = sum(step.rows for step in steps)
        if self._rows + rows > ROWS_KEPT_MAX:
            return False
        packed = PackedSteps()
        for step in (*steps, *self._packed.since(0)):
            packed.append(step)
        self.base, self._packed = base, packed
        self._rows += rows
        self._prepended += len(steps)
        return True

    def unchanged_since(self, state: ViewState) -> ViewState:
        """The newest state that differs from a known one only in its seq."""
        index = self._packed.count_up_to(state.broadcast)
        while index < len(self._packed) and not self._packed.rows(index):
            state = self._packed.state(index)
            index += 1
        return state

    def state_at(self, seq: int) -> ViewState:
        """The newest known state with a seq up to `seq`, or the oldest state if all are later."""
        newer = bisect_right(self._fresh, seq, key=lambda step: step.delta.seq)
        if newer:
            return self._fresh[newer - 1].state()
        newer = self._packed.count_up_to_seq(seq)
        return self._packed.state(newer - 1) if newer else self.base

    def index_after(self, cursor: int) -> int:
        """Index of the first step after `cursor`."""
        index = self._packed.count_up_to(cursor)
        if index < len(self._packed):
            return index
        return index + bisect_right(self._fresh, cursor, key=lambda step: step.broadcast)

    def broadcast(self, index: int) -> int:
        """Number of the broadcast of a step."""
        if index < len(self._packed):
            return self._packed.broadcast(index)
        return self._fresh[index - len(self._packed)].broadcast

    def since(self, index: int) -> list[Step]:
        """The steps from `index` on."""
        count = len(self._packed)
        return self._packed.since(index) + self._fresh[max(0, index - count) :]

    def _drop_oldest(self) -> None:
        self._counters.limit_history += self._rows > ROWS_KEPT_MAX
        if self._packed:
            self.base, rows = self._packed.pop_oldest()
            self._rows -= rows
        else:
            step = self._fresh.pop(0)
            self._rows -= step.rows
            self.base = step.state()
