"""Decides which lanes are visited when: each tick those whose channels changed, each grid time those of its interval.

Keeps the cohorts, and the split lanes beside them. It has no clock: the runtime calls `tick` soon after broadcasts
arrived and `flush_grid` at the times of an interval's grid, which it is asked for through `alarm`.
"""

from collections import defaultdict
from collections.abc import Callable

from depthcast.gateway.delivery.cohort import Cohort, CohortKey
from depthcast.gateway.delivery.subscription_group import Lane
from depthcast.gateway.market.market import Hub


class Flusher:
    """All lanes of all sessions.

    - `rounds`: per interval, the hub's number at its last grid time.
    - `alarm` is called with an interval in ms when `flush_grid` of it becomes necessary.
    """

    def __init__(self, hub: Hub, alarm: Callable[[int], None]) -> None:
        self.hub = hub
        self.alarm = alarm
        self.cohorts: dict[CohortKey, Cohort] = {}
        self.loose: defaultdict[int, dict[Lane, None]] = defaultdict(dict)
        self.rounds: dict[int, int] = {}
        self.scheduled: dict[int, dict[Cohort, None]] = {}
        self._told = 0

    # --- lanes come and go ------------------------------------------------------------------------------------------

    def join(self, lane: Lane, key: CohortKey) -> None:
        """`lane` is level: it belongs to the cohort of `key` from now on."""
        self.loose[lane.interval_ms].pop(lane, None)
        cohort = self.cohorts.get(key)
        if cohort is None:
            cohort = self.cohorts[key] = Cohort(key, self.hub)
            self.hub.counters.cohorts_made += 1
            for channel in key.channels:
                channel.admit(cohort)
        cohort.lanes.add(lane)
        lane.cohort = cohort

    def loosen(self, lane: Lane) -> None:
        """`lane` is split: it is visited for itself."""
        self._leave_cohort(lane)
        self.loose[lane.interval_ms][lane] = None

    def part(self, lane: Lane) -> None:
        """`lane` is no more."""
        self._leave_cohort(lane)
        self.loose[lane.interval_ms].pop(lane, None)

    def _leave_cohort(self, lane: Lane) -> None:
        cohort, lane.cohort = lane.cohort, None
        if cohort is None:
            return
        cohort.discard(lane)
        if not cohort:
            del self.cohorts[cohort.key]
            self.scheduled.get(cohort.key.interval_ms, {}).pop(cohort, None)
            for channel in cohort.key.channels:
                channel.dismiss(cohort)

    # --- flushes ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Send what changed since the last tick to every lane without an interval, and note it for the others."""
        for cohort in self._gather():
            cohort.flush()
        self._visit_loose()
        if self.behind_on_states():
            self._tell_all()
        self.hub.settle()
        self.hub.counters.flushes += 1

    def _gather(self) -> list[Cohort]:
        """Hand the bytes of every channel that changed to its cohorts; returns those to flush."""
        touched: list[Cohort] = []
        for channel in self.hub.dirty:
            for cohort in channel.throttled:
                self.schedule(cohort.interval_ms, cohort)
            for encoding, cohorts in channel.cohorts.items():
                data, deltas = channel.fresh_each(encoding)
                for cohort in cohorts:
                    parts = cohort.parts
                    if not parts:
                        touched.append(cohort)
                    parts.append(data)
                if deltas != 1 or channel.torn:
                    for cohort in cohorts:
                        cohort.more_deltas += deltas - 1
                        cohort.torn = cohort.torn or channel.torn
        return touched

    def behind_on_states(self) -> bool:
        """Whether some symbol's state changed since the last tick."""
        return self._told < self.hub.turned

    def flush_grid(self, interval_ms: int) -> None:
        """A time of the grid of `interval_ms` has come."""
        self.rounds[interval_ms] = self.hub.number
        for cohort in self.scheduled.pop(interval_ms, {}):
            cohort.flush()
        for lane in tuple(self.loose[interval_ms]):
            lane.serve()
        self.hub.counters.flushes += 1

    def schedule(self, interval_ms: int, cohort: Cohort | None = None) -> None:
        """Something waits for the next grid time of `interval_ms`."""
        waiting = self.scheduled.get(interval_ms)
        if waiting is None:
            waiting = self.scheduled[interval_ms] = {}
            self.alarm(interval_ms)
        if cohort is not None:
            waiting[cohort] = None

    def _visit_loose(self) -> None:
        for interval_ms, lanes in tuple(self.loose.items()):
            if not interval_ms:
                for lane in tuple(lanes):
                    lane.serve()
            elif lanes and self.hub.dirty:
                self.schedule(interval_ms)

    def _tell_all(self) -> None:
        self._told = self.hub.turned
        for cohort in tuple(self.cohorts.values()):
            for lane in (*cohort.lanes, *cohort.in_step):
                lane.tell()
        for lanes in self.loose.values():
            for lane in lanes:
                lane.tell()
