"""A cohort: groups with equal channels, encoding and interval, which get the same bytes in a flush.

Most groups are synced: nothing waits in their writers, they are not in credit mode, and they were sent
everything up to the same number. They share the cohort's cursor, and a flush is one write of shared bytes for
each. A group with a full buffer, a changed subscription or credit mode leaves this fast path, is visited
separately, and returns when it has caught up.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from depthcast.gateway.delivery.cohort_stream import CohortKey, CohortStream
from depthcast.gateway.delivery.fan_out import Batch
from depthcast.gateway.delivery.sender import Payload
from depthcast.gateway.delivery.subscription_group import GroupState, SubscriptionGroup
from depthcast.gateway.delivery.writer import Send
from depthcast.gateway.market.market import Market


class LeftOver(NamedTuple):
    """A group that a flush did not serve. `kept_up`: before this flush it was level with synced groups."""

    group: SubscriptionGroup
    kept_up: bool


class Cohort(CohortStream):
    """A stream and the groups that share its bytes; a single object, because each client may need its own.

    - `synced`: how to send to each group on the fast path; `others`: groups with their own cursor.
    - `parts`: what the next flush sends to the synced groups, gathered channel by channel; `extra_deltas`:
      deltas in them beyond one per part. `history_reset`: a channel reset its history, so the parts are not
      enough.
    """

    __slots__ = ("extra_deltas", "history_reset", "interval_ms", "others", "parts", "synced")

    def __init__(self, key: CohortKey, market: Market) -> None:
        super().__init__(key, market)
        self.interval_ms = key.interval_ms
        self.others: set[SubscriptionGroup] = set()
        self.synced: dict[SubscriptionGroup, Send] = {}
        self.parts: list[bytes] = []
        self.extra_deltas = 0
        self.history_reset = False

    # --- members --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.others) + len(self.synced)

    def add(self, group: SubscriptionGroup) -> None:
        """Add a group whose channels were all sent up to the market's number."""
        group.merge_cursors(self)
        self.others.add(group)

    def remove(self, group: SubscriptionGroup) -> None:
        """Remove a group, which takes its cursor with it."""
        self.leave_fast_path(group)
        self.others.discard(group)

    def leave_fast_path(self, group: SubscriptionGroup) -> None:
        """If `group` is synced, visit it separately from now on."""
        if group.state is GroupState.SYNCED:
            del self.synced[group]
            group.leave_fast_path()
            self.others.add(group)

    def _enter_fast_path(self, group: SubscriptionGroup) -> None:
        try:
            send = group.writer.direct()
        except OSError:
            return  # no descriptor is left: the slower path sends the same
        self.others.discard(group)
        group.enter_fast_path()
        self.synced[group] = send

    # --- flushes --------------------------------------------------------------------------------------------

    def add_parts(self, batch: Batch) -> bool:
        """Bring all groups to the head, once `batch` is sent; False, with nothing done, if `flush` has to."""
        if self.others or self.history_reset or self.interval_ms or self.holding:
            return False
        parts, market, clients = self.parts, self.market, len(self.synced)
        size = batch.add(self, self.synced, parts)
        counters = market.counters
        counters.deltas += (len(parts) + self.extra_deltas) * clients
        counters.bytes_sent += size * clients
        parts.clear()
        self.extra_deltas = 0
        self.flushed_to = market.number
        self.bytes_sent += size
        self.forget_old()
        return True

    def write_rest(self, group: SubscriptionGroup, data: bytes, sent: int) -> None:
        """Pass the unsent rest to the transport, which also notices closed connections."""
        self.leave_fast_path(group)
        group.writer.write(data[sent:])

    def flush(self, batch: Batch) -> Sequence[LeftOver]:
        """Bring synced groups, and groups that need the same, to the head; returns the other ready groups."""
        left_over = self._flush_all(batch)
        for group in tuple(self.holding):
            group.send_statuses()
        return left_over

    def _flush_all(self, batch: Batch) -> list[LeftOver]:
        since, self.history_reset, self.extra_deltas = self.flushed_to, False, 0
        self.parts.clear()
        payload = self.since(since)
        if not payload.data:
            return [LeftOver(group, kept_up=False) for group in self.others if group.cursor < since]
        self.flushed_to = self.market.number
        self._count(payload, len(self.synced))
        self.bytes_sent += len(payload.data)
        batch.add(self, self.synced, [payload.data])
        for _, group, data, sent in batch.finish():
            self.write_rest(group, data, sent)
        return self._write_to_others(payload, since)

    def _write_to_others(self, payload: Payload, since: int) -> list[LeftOver]:
        """Write to groups that need the same as synced ones, which syncs them; returns other ready groups."""
        first_missed = self.first_missed_by_all(since)
        left_over = []
        written = 0
        for group in tuple(self.others):
            if group.writer.paused:
                self.market.counters.skipped += 1
                group.sender.note_not_ready(self.market.number)
            elif not since <= group.cursor < first_missed or group.sender.credit is not None:
                left_over.append(LeftOver(group, kept_up=group.cursor >= since))
            else:
                group.writer.write(payload.data)
                group.cursor = self.flushed_to
                group.sender.bytes_written += len(payload.data)
                written += 1
                if group.writer.clear:
                    self._enter_fast_path(group)
        self._count(payload, written)
        return left_over

    def _count(self, payload: Payload, clients: int) -> None:
        counters = self.market.counters
        counters.deltas += payload.deltas * clients
        counters.snapshots += payload.snapshots * clients
        if payload.conflated:
            counters.conflate(payload.conflated.items(), clients)
        counters.bytes_sent += len(payload.data) * clients


def pass_part(cohorts: Iterable[Cohort], data: bytes, touched: list[Cohort]) -> None:
    """Let the next flush of cohorts send `data` too; adds those to `touched` that had nothing to send."""
    for cohort in cohorts:
        if not cohort.parts:
            touched.append(cohort)
        cohort.parts.append(data)
