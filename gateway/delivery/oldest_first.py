"""Sends what a client could not take at once, channel by channel, the longest-waiting channel first.

It writes whenever the mark is reached, and stops when the client cannot take more: until a full buffer
drains, until the client gives credit, or until the next grid time of an interval.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from depthcast.gateway.delivery.cursor import NeedsSnapshot
from depthcast.gateway.delivery.sender import Payload
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.market import Market
from depthcast.gateway.protocol.messages import encode, status_message


class _Waiting(NamedTuple):
    """A channel with something to send; ordered by the first broadcast that the client was not sent."""

    since: int
    order: int
    group: SubscriptionGroup
    channel: Channel


def send_oldest_first(
    groups: Collection[SubscriptionGroup], market: Market, due_below: Callable[[int], int]
) -> set[SubscriptionGroup]:
    """Serve a session's groups with a cursor per channel, as far as buffer, credit and interval allow.

    `due_below` gives the exclusive upper bound of the cursors that are due, by interval. Returns the groups
    with something left to send.
    """
    due, later = _waiting(groups, due_below)
    statuses = b"".join([group.take_statuses() for group in groups])
    if statuses:
        due = _write(groups, market, due, statuses)
    sender = next(iter(groups)).sender
    while due and not sender.writer.paused and sender.credit != 0:
        due = _write(groups, market, due, b"")
    return {item.group for item in (*due, *later)}


def _waiting(
    groups: Iterable[SubscriptionGroup], due_below: Callable[[int], int]
) -> tuple[list[_Waiting], list[_Waiting]]:
    """Channels that may be sent now, longest waiting first, and groups that wait for their grid time."""
    due: list[_Waiting] = []
    later: list[_Waiting] = []
    order = 0
    for group in groups:
        bound = due_below(group.interval_ms)
        for channel, cursor in group.cursors.items():
            if channel.view is None:
                continue
            if isinstance(cursor, NeedsSnapshot):
                since, is_due = cursor.since, True
            elif channel.head <= cursor:
                continue
            else:
                since, is_due = channel.waiting_since(cursor), cursor < bound
            order += 1
            (due if is_due else later).append(_Waiting(since, order, group, channel))
    due.sort(key=lambda item: item[:2])
    return due, later


def _write(
    groups: Collection[SubscriptionGroup], market: Market, due: list[_Waiting], statuses: bytes
) -> list[_Waiting]:
    """Write once, up to the mark and the credit, with `statuses` after the data; returns what is left."""
    sender = next(iter(groups)).sender
    parts: list[bytes] = []
    size = deltas = snapshots = conflated = done = 0
    credit = sender.credit
    for _, _, group, channel in due:
        if size > sender.write_bytes_max or credit == 0:
            break
        payload = _take(group, channel, market, credit)
        if credit is not None:
            credit -= payload.messages
        parts.append(payload.data)
        size += len(payload.data)
        deltas += payload.deltas
        snapshots += payload.snapshots
        conflated += payload.conflated
        done += 1
    parts.append(statuses)
    sender.write(b"".join(parts), Payload(b"", deltas, snapshots, conflated))
    return due[done:]


def _take(group: SubscriptionGroup, channel: Channel, market: Market, credit: int | None) -> Payload:
    """The payload that brings one channel to the head; its cursor moves there."""
    cursor, encoding = group.cursors[channel], group.sender.encoding
    group.cursors[channel] = market.number
    if isinstance(cursor, NeedsSnapshot):
        snapshot = channel.snapshot(encoding).data
        if market.listings[channel.symbol].stale:
            snapshot += encode(status_message(channel.symbol, stale=True), encoding)
        return Payload(snapshot, snapshots=1)
    separate = channel.separate_since(cursor, encoding) if not group.interval_ms else None
    if separate is not None and (credit is None or separate.deltas <= credit):
        return Payload(*separate)
    data, merged, is_snapshot = channel.catch_up(cursor, encoding)
    return Payload(data, deltas=not is_snapshot, snapshots=is_snapshot, conflated=merged - 1)
