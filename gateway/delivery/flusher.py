"""Decides when to visit which groups: at each tick those whose channels changed, or at grid times.

It knows the cohorts, the channels they read, and the groups outside cohorts. It has no clock: the runtime
calls `tick` soon after broadcasts arrive, and `flush_grid` at the next grid time after `alarm` requested it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from depthcast.gateway.delivery.cohort import Cohort, LeftOver
from depthcast.gateway.delivery.cohort_stream import CohortKey
from depthcast.gateway.delivery.cursor import Cursor
from depthcast.gateway.delivery.oldest_first import send_oldest_first
from depthcast.gateway.delivery.subscription_group import GroupState, SubscriptionGroup
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.channel_state import WAS_RESET
from depthcast.gateway.market.market import Market
from depthcast.gateway.protocol.messages import Encoding

_ALWAYS_DUE: Final = 1 << 62
"""Greater than every cursor: without an interval, everything is due."""


class _Readers:
    """The cohorts that read one channel: those without an interval by encoding, the others in `throttled`."""

    __slots__ = ("by_encoding", "throttled")

    def __init__(self) -> None:
        self.by_encoding: dict[Encoding, dict[Cohort, None]] = {}
        self.throttled: dict[Cohort, None] = {}

    def add(self, cohort: Cohort, encoding: Encoding) -> None:
        if cohort.interval_ms:
            self.throttled[cohort] = None
        else:
            self.by_encoding.setdefault(encoding, {})[cohort] = None

    def remove(self, cohort: Cohort, encoding: Encoding) -> None:
        if cohort.interval_ms:
            del self.throttled[cohort]
            return
        alike = self.by_encoding[encoding]
        del alike[cohort]
        if not alike:
            del self.by_encoding[encoding]

    def __bool__(self) -> bool:
        return bool(self.by_encoding or self.throttled)


class Flusher:
    """All groups of all sessions.

    - `cohorts`: groups with one cursor, by their common key; `readers`: the same cohorts by channel.
    - `catching_up`: groups with a cursor per channel, by interval; they are visited separately.
    - `grid_marks`: by interval, the market's number at its last grid time.
    - `scheduled`: by interval, the cohorts to flush at its next grid time.
    - `alarm`: called with an interval in ms when `flush_grid` must be called for it.
    """

    def __init__(self, market: Market, alarm: Callable[[int], None]) -> None:
        self.market = market
        self.alarm = alarm
        self.cohorts: dict[CohortKey, Cohort] = {}
        self.readers: dict[Channel, _Readers] = {}
        self.catching_up: defaultdict[int, dict[SubscriptionGroup, None]] = defaultdict(dict)
        self.grid_marks: dict[int, int] = {}
        self.scheduled: dict[int, dict[Cohort, None]] = {}
        self._statuses_sent_at = 0

    # --- groups and their channels --------------------------------------------------------------------------

    def add(self, group: SubscriptionGroup) -> None:
        """Visit a new group from now on."""
        self.catching_up[group.interval_ms][group] = None

    def remove(self, group: SubscriptionGroup) -> None:
        """Close a group; nothing more is sent to it."""
        self._leave_cohort(group)
        self.catching_up[group.interval_ms].pop(group, None)
        group.close()

    def subscribe(self, group: SubscriptionGroup, channel: Channel, cursor: Cursor) -> None:
        """Add `channel` to a group at `cursor`; first sends changed statuses of its other channels."""
        if statuses := group.take_statuses():
            group.sender.write(statuses)
        self.split(group)
        group.cursors[channel] = cursor

    def unsubscribe(self, group: SubscriptionGroup, channel: Channel) -> None:
        """Remove `channel` from a group; nothing more of it is sent."""
        self.split(group)
        del group.cursors[channel]

    def split(self, group: SubscriptionGroup) -> None:
        """Give a group a cursor per channel and visit it separately."""
        if group.state is not GroupState.CURSOR_PER_CHANNEL:
            self._leave_cohort(group)
            group.split_cursor()
            self.catching_up[group.interval_ms][group] = None

    def leave_fast_path(self, group: SubscriptionGroup) -> None:
        """If a group is synced, check its readiness before each write from now on."""
        if group.state is GroupState.SYNCED:
            self._cohort(group).leave_fast_path(group)

    def _cohort(self, group: SubscriptionGroup) -> Cohort:
        assert group.stream is not None
        return self.cohorts[group.stream.key]

    def _join_cohort(self, group: SubscriptionGroup) -> None:
        """Put `group` into a cohort, because all its channels were sent up to the market's number."""
        del self.catching_up[group.interval_ms][group]
        key = group.key()
        cohort = self.cohorts.get(key)
        if cohort is None:
            cohort = self.cohorts[key] = Cohort(key, self.market)
            self.market.counters.cohorts_made += 1
            for channel in key.channels:
                self.readers.setdefault(channel, _Readers()).add(cohort, key.encoding)
        cohort.add(group)

    def _leave_cohort(self, group: SubscriptionGroup) -> None:
        if group.stream is None:
            return
        cohort, key = self._cohort(group), group.stream.key
        cohort.remove(group)
        if cohort:
            return
        del self.cohorts[key]
        self.scheduled.get(key.interval_ms, {}).pop(cohort, None)
        for channel in key.channels:
            readers = self.readers[channel]
            readers.remove(cohort, key.encoding)
            if not readers:
                del self.readers[channel]

    # --- flushes --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Send what changed since the last tick to groups without an interval; schedule the others."""
        for cohort in self._gather():
            left_over = cohort.flush()
            if left_over:
                self._serve_all(left_over)
        self._visit_catching_up()
        if self.statuses_unsent():
            self._send_statuses()
        self.market.end_tick()
        self.market.counters.flushes += 1

    def _gather(self) -> list[Cohort]:
        """Pass the bytes of every changed channel to its cohorts; returns the cohorts to flush."""
        touched: list[Cohort] = []
        readers = self.readers
        for channel in self.market.changed:
            reading = readers.get(channel)
            if reading is None:
                continue
            for cohort in reading.throttled:
                self.schedule(cohort.interval_ms, cohort)
            for encoding, cohorts in reading.by_encoding.items():
                data, deltas = channel.fresh_deltas(encoding)
                for cohort in cohorts:
                    parts = cohort.parts
                    if not parts:
                        touched.append(cohort)
                    parts.append(data)
                if deltas != 1 or channel.state in WAS_RESET:
                    for cohort in cohorts:
                        cohort.extra_deltas += deltas - 1
                        cohort.history_reset = cohort.history_reset or channel.history_reset
        return touched

    def flush_grid(self, interval_ms: int) -> None:
        """Flush everything with this interval, at one of its grid times."""
        self.grid_marks[interval_ms] = self.market.number
        for cohort in self.scheduled.pop(interval_ms, {}):
            self._serve_all(cohort.flush())
        for group in tuple(self.catching_up[interval_ms]):
            self.serve(group)
        self.market.counters.flushes += 1

    def schedule(self, interval_ms: int, cohort: Cohort | None = None) -> None:
        """Request the next grid time of `interval_ms` and flush `cohort` then."""
        waiting = self.scheduled.get(interval_ms)
        if waiting is None:
            waiting = self.scheduled[interval_ms] = {}
            self.alarm(interval_ms)
        if cohort is not None:
            waiting[cohort] = None

    def due_below(self, interval_ms: int) -> int:
        """Exclusive upper bound of the cursors that are due now."""
        return self.grid_marks.get(interval_ms, 0) if interval_ms else _ALWAYS_DUE

    def _visit_catching_up(self) -> None:
        for interval_ms, groups in tuple(self.catching_up.items()):
            if not interval_ms:
                for group in tuple(groups):
                    self.serve(group)
            elif groups and self.market.changed:
                self.schedule(interval_ms)

    # --- one group or session -------------------------------------------------------------------------------

    def _serve_all(self, left_over: Sequence[LeftOver]) -> None:
        for group, kept_up in left_over:
            self.serve(group, kept_up=kept_up)

    def serve(self, group: SubscriptionGroup, *, kept_up: bool = False) -> None:
        """Bring a client as near to the head as it can take; in one write of any size if it `kept_up`."""
        if group.state is GroupState.SYNCED:
            return  # its cohort does the writing
        if group.writer.paused:
            self.market.counters.skipped += 1
        elif group.sender.credit == 0:
            group.send_statuses()
        elif not group.send_at_once(self.due_below(group.interval_ms), kept_up=kept_up):
            self.split(group)
            self.serve_oldest_first(group.siblings)

    def serve_oldest_first(self, groups: Mapping[int, SubscriptionGroup]) -> None:
        """Serve the groups of a session with a cursor per channel, the longest-waiting channel first."""
        split = [group for group in groups.values() if group.state is GroupState.CURSOR_PER_CHANNEL]
        if not split:
            return
        unfinished = send_oldest_first(split, self.market, self.due_below)
        for group in split:
            if group not in unfinished:
                self._join_cohort(group)
            elif group.interval_ms:
                self.schedule(group.interval_ms)

    # --- statuses -------------------------------------------------------------------------------------------

    def statuses_unsent(self) -> bool:
        """Whether any symbol's status changed since the last tick."""
        return self._statuses_sent_at < self.market.last_status_change

    def _send_statuses(self) -> None:
        self._statuses_sent_at = self.market.last_status_change
        for groups in self._all_groups():
            for group in groups:
                group.send_statuses()

    def _all_groups(self) -> Iterable[tuple[SubscriptionGroup, ...]]:
        for cohort in tuple(self.cohorts.values()):
            yield (*cohort.others, *cohort.synced)
        for groups in tuple(self.catching_up.values()):
            yield tuple(groups)
