"""Decides when to visit which groups: at each tick those whose channels changed, or at grid times.

It knows the cohorts, the groups outside cohorts, and which of both read a channel. It has no clock: the
runtime calls `tick` soon after broadcasts arrive, and `flush_grid` at the next grid time after `alarm`
requested it.

Work whose cost a client can raise is bounded. Groups outside cohorts, and cohorts with an interval, are
visited round robin, up to `VISITS_COST_MAX` in one turn of the event loop; the rest comes in the next ones.
So do chores: the bookkeeping of sessions that ended (`depthcast.gateway.delivery.endings`), and what all
sessions are told of symbols (`depthcast.gateway.delivery.announcements`). A group whose
subscriptions changed joins a cohort again some ticks later, and a tick lets few channels join.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from depthcast.gateway.delivery.cohort import Cohort, LeftOver, pass_part
from depthcast.gateway.delivery.cohort_stream import CohortKey
from depthcast.gateway.delivery.cursor import Cursor
from depthcast.gateway.delivery.endings import Endings
from depthcast.gateway.delivery.fan_out import Batch, DirectBatch
from depthcast.gateway.delivery.oldest_first import send_oldest_first
from depthcast.gateway.delivery.readers import Readers, alone
from depthcast.gateway.delivery.subscription_group import (
    ActiveSubscription,
    GroupState,
    Siblings,
    SubscriptionGroup,
)
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.channel_state import WAS_RESET
from depthcast.gateway.market.market import Market

_ALWAYS_DUE: Final = 1 << 62
"""Greater than every cursor: without an interval, everything is due."""
AT_ONCE: Final = 0
"""The interval that `alarm` is called with for the next turn of the event loop."""
VISITS_COST_MAX: Final = 1_000
"""Messages to send and channels to look at in one turn, approximately; a large message counts by its size."""
VISIT_COST_MAX: Final = 128
"""What is sent to one session at a time costs this, approximately: a message costs 1 or more, by its size."""
CATCH_UP_COST: Final = 4
"""Of each channel of a group that is brought to the head with one cursor: much is merged and encoded anew."""
JOINS_AT_ONCE_MAX: Final = 16
"""A group with up to this many channels joins a cohort at once."""
CHANNELS_PER_QUIET_TICK: Final = 64
"""A larger one waits one tick for this many channels after its subscriptions changed."""
JOINING_CHANNELS_MAX: Final = 2_000
"""Channels of groups that join cohorts in one tick, approximately."""
JOINS_CONSIDERED_MAX: Final = 256


class Chore(Protocol):
    """Work that is done some at a time, in one turn of the event loop after the other."""

    def __bool__(self) -> bool:
        """Whether anything is left to do."""
        ...

    def step(self) -> None:
        """Do what one turn has time for."""
        ...


class Flusher:
    """All groups of all sessions.

    - `cohorts`: groups with one cursor, by their common key; `split`: groups with a cursor per channel;
      `readers`: both by channel.
    - `due`: what is to be visited, the longest-waiting first; a session stands for its split groups.
    - `joining`: split groups that owe nothing and may join a cohort; the longest-waiting is first.
    - `grid_marks`: by interval in use, the market's number at its last grid time.
    - `scheduled`: by interval, what to visit at its next grid time.
    - `chores`: what else is done before the visits of a turn.
    - `batch`: takes what cohorts send.
    - `alarm`: called with an interval in ms when `flush_grid` must be called for it; never again before that.
    """

    def __init__(self, market: Market, alarm: Callable[[int], None], batch: Batch | None = None) -> None:
        self.market = market
        self.batch: Batch = DirectBatch() if batch is None else batch
        self.alarm = alarm
        self.cohorts: dict[CohortKey, Cohort] = {}
        self.split: dict[SubscriptionGroup, None] = {}
        self.readers: dict[Channel, Readers] = {}
        self.due: dict[Cohort | Siblings, None] = {}
        self.joining: dict[SubscriptionGroup, None] = {}
        self.grid_marks: dict[int, int] = {}
        self.scheduled: dict[int, dict[Cohort | Siblings, None]] = {}
        self._endings = Endings()
        self.chores: list[Chore] = [self._endings]
        self._alarms: set[int] = set()
        self._groups_of: Counter[int] = Counter()
        self._statuses_sent_at = 0
        self._ticks = 0

    # --- groups and their channels --------------------------------------------------------------------------

    def add(self, group: SubscriptionGroup) -> None:
        """Visit a new group from now on."""
        self._groups_of[group.interval_ms] += 1
        self._begin_split(group)

    def remove(self, group: SubscriptionGroup) -> None:
        """Close a group; nothing more is sent to it."""
        if group.stream is not None:
            self._leave_cohort(group)
        else:
            self._end_split(group)
        self._close(group)

    def _close(self, group: SubscriptionGroup) -> None:
        group.close()
        interval_ms = group.interval_ms
        self._groups_of[interval_ms] -= 1
        if not self._groups_of[interval_ms]:
            del self._groups_of[interval_ms]
            self.grid_marks.pop(interval_ms, None)
            self.scheduled.pop(interval_ms, None)

    def close(self, siblings: Siblings, subscriptions: dict[str, ActiveSubscription]) -> None:
        """Close all groups of a session, and release the channels of its `subscriptions` in later steps.

        Nothing more is sent. `subscriptions` belongs to the flusher from now on.
        """
        split = set()
        for group in siblings:
            if group.stream is None:
                split.add(group)
                del self.split[group]
                self.joining.pop(group, None)
            else:
                cohort = self._cohort(group)
                cohort.remove(group)
                if not cohort:
                    self._endings.add(self._undo_cohort(cohort), len(cohort.key.channels))
            self._close(group)
        self.due.pop(siblings, None)
        for waiting in self.scheduled.values():
            waiting.pop(siblings, None)
        self._endings.add(self._undo_session(subscriptions, split), len(subscriptions))
        self._go_on()

    def make_room(self) -> None:
        """Undo some more of what ended sessions left, because idle channels are needed."""
        self._endings.step()

    def _undo_session(
        self, subscriptions: dict[str, ActiveSubscription], split: set[SubscriptionGroup]
    ) -> Iterator[int]:
        while subscriptions:
            _, (channel, group) = subscriptions.popitem()
            if group in split:
                self._stop_reading(channel, group)
            self.market.release(channel)
            yield 1

    def _undo_cohort(self, cohort: Cohort) -> Iterator[int]:
        """Forget a cohort, unless a group has joined it meanwhile, or it is forgotten already."""
        if not cohort and self.cohorts.get(cohort.key) is cohort:
            self._forget_cohort(cohort)
            yield len(cohort.key.channels)

    def subscribe(self, group: SubscriptionGroup, channel: Channel, cursor: Cursor) -> None:
        """Add `channel` to a group at `cursor`; first sends changed statuses of its other channels."""
        if statuses := group.take_statuses():
            group.sender.write(statuses)
        self.split_cursor(group)
        group.add(channel, cursor)
        group.changed_at = self._ticks
        self._read(channel).add_split(group)

    def unsubscribe(self, group: SubscriptionGroup, channel: Channel) -> None:
        """Remove `channel` from a group; nothing more of it is sent."""
        self.split_cursor(group)
        group.discard(channel)
        group.changed_at = self._ticks
        self._stop_reading(channel, group)

    def split_cursor(self, group: SubscriptionGroup) -> None:
        """Give a group a cursor per channel and visit it separately."""
        if group.state is not GroupState.CURSOR_PER_CHANNEL:
            self._leave_cohort(group)
            group.split_cursor()
            group.changed_at = self._ticks
            self._begin_split(group)

    def leave_fast_path(self, group: SubscriptionGroup) -> None:
        """If a group is synced, check its readiness before each write from now on."""
        if group.state is GroupState.SYNCED:
            self._cohort(group).leave_fast_path(group)

    def _cohort(self, group: SubscriptionGroup) -> Cohort:
        assert group.stream is not None
        return self.cohorts[group.stream.key]

    def _begin_split(self, group: SubscriptionGroup) -> None:
        self.split[group] = None
        for channel in group.cursors:
            self._read(channel).add_split(group)

    def _end_split(self, group: SubscriptionGroup) -> None:
        del self.split[group]
        self.joining.pop(group, None)
        for channel in group.cursors:
            self._stop_reading(channel, group)

    def _read(self, channel: Channel) -> Readers:
        found = self.readers.get(channel)
        if found is None:
            found = self.readers[channel] = Readers()
        return found

    def _stop_reading(self, channel: Channel, group: SubscriptionGroup) -> None:
        readers = self.readers[channel]
        readers.remove_split(group)
        if not readers:
            del self.readers[channel]

    def _join_cohort(self, group: SubscriptionGroup) -> None:
        """Put `group` into a cohort, because all its channels were sent up to the market's number."""
        key = group.key()
        cohort = self.cohorts.get(key)
        if cohort is None:
            cohort = self.cohorts[key] = Cohort(key, self.market)
            self.market.counters.cohorts_made += 1
            only = alone(cohort, key.encoding)
            for channel in key.channels:
                self._read(channel).add(cohort, only)
        self._end_split(group)
        cohort.add(group)

    def _leave_cohort(self, group: SubscriptionGroup) -> None:
        cohort = self._cohort(group)
        cohort.remove(group)
        if not cohort:
            self._forget_cohort(cohort)

    def _forget_cohort(self, cohort: Cohort) -> None:
        key = cohort.key
        del self.cohorts[key]
        self.due.pop(cohort, None)
        self.scheduled.get(key.interval_ms, {}).pop(cohort, None)
        for channel in key.channels:
            readers = self.readers[channel]
            readers.remove(cohort, key.encoding)
            if not readers:
                del self.readers[channel]

    # --- flushes --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Send what changed since the last tick to groups without an interval; schedule the others."""
        self._ticks += 1
        batch = self.batch
        others = [cohort for cohort in self._gather() if not cohort.add_parts(batch)]
        for cohort, group, data, sent in batch.finish():
            cohort.write_rest(group, data, sent)
        for cohort in others:
            self._serve_all(cohort.flush(batch))
        self.visit_due()
        if self.joining:
            self._let_join()
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
            for group in reading.split:
                if group.state is not GroupState.CLOSED:
                    group.note_change(channel)
                    self._owe(group)
            for encoding, cohorts in reading.by_encoding:
                data, deltas = channel.fresh_deltas(encoding)
                pass_part(cohorts, data, touched)
                if deltas != 1 or channel.state in WAS_RESET:
                    for cohort in cohorts:
                        cohort.extra_deltas += deltas - 1
                        cohort.history_reset = cohort.history_reset or channel.history_reset
        return touched

    def _owe(self, group: SubscriptionGroup) -> None:
        """Visit a split group that owes something: in this tick, or at its next grid time."""
        if group.interval_ms:
            self.schedule(group.interval_ms, group.siblings)
        else:
            self.due[group.siblings] = None

    def flush_grid(self, interval_ms: int) -> None:
        """Flush what waits for this interval, at one of its grid times; `AT_ONCE`: go on with the visits."""
        self._alarms.discard(interval_ms)
        if interval_ms in self._groups_of and interval_ms:
            self.grid_marks[interval_ms] = self.market.number
        self.due.update(self.scheduled.pop(interval_ms, {}))
        self.visit_due()
        self.market.counters.flushes += 1

    def schedule(self, interval_ms: int, reader: Cohort | Siblings) -> None:
        """Visit `reader` at the next grid time of `interval_ms`."""
        waiting = self.scheduled.get(interval_ms)
        if waiting is None:
            waiting = self.scheduled[interval_ms] = {}
            self._request(interval_ms)
        waiting[reader] = None

    def _request(self, interval_ms: int) -> None:
        if interval_ms not in self._alarms:
            self._alarms.add(interval_ms)
            self.alarm(interval_ms)

    def due_below(self, interval_ms: int) -> int:
        """Cursors below this are due now, for broadcasts up to this are."""
        return self.grid_marks.get(interval_ms, 0) if interval_ms else _ALWAYS_DUE

    # --- visits ---------------------------------------------------------------------------------------------

    def visit_soon(self, siblings: Siblings) -> None:
        """Visit the groups of a session in this turn's visits or in the next turn's."""
        self.due[siblings] = None

    def visit_due(self) -> None:
        """Do the chores and visit what is due, as far as one turn of the event loop goes."""
        for chore in self.chores:
            chore.step()
        cost = 0
        while self.due and cost < VISITS_COST_MAX:
            reader = next(iter(self.due))
            del self.due[reader]
            cost += self._visit_cohort(reader) if isinstance(reader, Cohort) else 1 + self._visit(reader)
        self._go_on()

    def _go_on(self) -> None:
        """Come back in the next turn of the event loop if there is anything left to do."""
        if self.due or any(self.chores):
            self._request(AT_ONCE)

    def _visit_cohort(self, cohort: Cohort) -> int:
        self._serve_all(cohort.flush(self.batch))
        return len(cohort.key.channels) + len(cohort)

    def _visit(self, siblings: Siblings) -> int:
        """Send what is due to the split groups of one session; returns the cost."""
        sender = siblings.sender
        if sender.writer.paused:
            self.market.counters.skipped += 1
            sender.note_not_ready(self.market.number)
            return 0
        if sender.credit == 0:
            sender.note_not_ready(self.market.number)
            for group in siblings:
                group.send_statuses()
            return 0
        cost = self.serve_groups(siblings)
        return cost if cost >= VISIT_COST_MAX else cost + self.serve_oldest_first(siblings)

    def _let_join(self) -> None:
        """Let some groups that owe nothing join cohorts."""
        channels = 0
        for group in list(islice(self.joining, JOINS_CONSIDERED_MAX)):
            if channels >= JOINING_CHANNELS_MAX:
                return
            del self.joining[group]
            if group.owes or not _may_join(group):
                continue
            quiet = self._ticks - group.changed_at
            if quiet * CHANNELS_PER_QUIET_TICK < len(group) or not group.up_to_date():
                self.joining[group] = None
            else:
                channels += len(group)
                self._join_cohort(group)

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
            group.sender.note_not_ready(self.market.number)
        elif group.sender.credit == 0:
            group.sender.note_not_ready(self.market.number)
            group.send_statuses()
        elif not group.send_at_once(self.due_below(group.interval_ms), kept_up=kept_up):
            self.split_cursor(group)
            self.serve_oldest_first(group.siblings)

    def serve_groups(self, siblings: Siblings) -> int:
        """Serve the groups of a session that have one cursor; returns the cost.

        After `VISIT_COST_MAX`, others come first. Nothing in credit mode, where only symbols are compared.
        """
        cost, sender = 0, siblings.sender
        if sender.credit is not None and len(siblings) > 1:
            return 0
        for group in tuple(siblings):
            if group.state is not GroupState.ONE_CURSOR:
                continue
            if cost >= VISIT_COST_MAX:
                self.due[siblings] = None
                self._request(AT_ONCE)
                break
            before = sender.bytes_written
            self.serve(group)
            if sender.bytes_written != before or group.state is not GroupState.ONE_CURSOR:
                cost += CATCH_UP_COST * len(group)
        return cost

    def serve_oldest_first(self, siblings: Siblings) -> int:
        """Serve the split groups of a session, the longest-waiting channel first; returns the cost.

        After `VISIT_COST_MAX`, others come first.
        """
        split = [group for group in siblings if group.state is GroupState.CURSOR_PER_CHANNEL]
        if not split:
            return 0
        cost = send_oldest_first(split, self.market, self.due_below, VISIT_COST_MAX)
        if cost >= VISIT_COST_MAX:
            self.due[siblings] = None
            self._request(AT_ONCE)
        for group in split:
            self._settle(group)
        return cost

    def _settle(self, group: SubscriptionGroup) -> None:
        """Join a cohort now or later if nothing is owed; otherwise wait for the grid time that is needed."""
        if group.owes:
            if group.interval_ms:
                self.schedule(group.interval_ms, group.siblings)
        elif _may_join(group):
            if len(group) <= JOINS_AT_ONCE_MAX and group.up_to_date():
                self._join_cohort(group)
            else:
                self.joining[group] = None

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
        yield tuple(self.split)


def _may_join(group: SubscriptionGroup) -> bool:
    """Whether a cohort helps: with credit, the longest-waiting symbol of all groups goes first."""
    return group.sender.credit is None or len(group.siblings) == 1
