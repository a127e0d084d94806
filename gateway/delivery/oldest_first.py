"""Sends what a client could not take at once, channel by channel, the longest-waiting channel first.

It writes whenever the mark is reached, and stops when the client cannot take more: until a full buffer
drains, until the client gives credit, or until the next grid time of an interval. Its cost is that of what it
sends, whatever the number of subscriptions.
"""

from collections.abc import Callable, Collection
from heapq import heapify, heappop, heapreplace
from typing import Final

from depthcast.gateway.delivery.cursor import NeedsSnapshot, PartlySent
from depthcast.gateway.delivery.sender import EMPTY, Payload, Sender
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.market import Market
from depthcast.gateway.protocol.messages import encode

_Waiting = tuple[int, int, SubscriptionGroup, Channel]
"""A group's longest-waiting channel, after the broadcast it waits for and the group's number."""

BYTES_PER_MESSAGE: Final = 1_024
"""For the cost of sending, so many bytes count as one more message, because they had to be encoded."""


def send_oldest_first(
    groups: Collection[SubscriptionGroup],
    market: Market,
    due_below: Callable[[int], int],
    cost_max: int,
) -> int:
    """Serve a session's groups with a cursor per channel, as far as buffer, credit and interval allow.

    `due_below` gives, by interval, the broadcast up to which changes are due. Returns the cost of what was
    sent, which may exceed `cost_max` by that of one write.
    """
    due: list[_Waiting] = []
    for number, group in enumerate(groups):
        found = group.next_due(due_below(group.interval_ms))
        if found is not None:
            due.append((found[0], number, group, found[1]))
    heapify(due)
    sender = next(iter(groups)).sender
    sent = 0
    if not sender.writer.paused:
        sent = _write(sender, groups, due, market, due_below)
        while due and not sender.writer.paused and sender.credit != 0 and sent < cost_max:
            sent += _write(sender, groups, due, market, due_below)
    if due:
        sender.note_not_ready(market.number)
    return sent


def _write(
    sender: Sender,
    groups: Collection[SubscriptionGroup],
    due: list[_Waiting],
    market: Market,
    due_below: Callable[[int], int],
) -> int:
    """Write once, up to the mark and the credit, with changed statuses after the data; returns the cost."""
    parts: list[bytes] = []
    size = deltas = snapshots = 0
    credit = sender.credit
    while due and size <= sender.write_bytes_max and credit != 0:
        _, number, group, channel = due[0]
        payload = _take(group, channel, market, credit)
        if credit is not None:
            credit -= payload.messages
        parts.append(payload.data)
        size += len(payload.data)
        deltas += payload.deltas
        snapshots += payload.snapshots
        if payload.conflated:
            sender.counters.conflate(payload.conflated.items())
        found = group.next_due(due_below(group.interval_ms))
        if found is None:
            heappop(due)
        else:
            heapreplace(due, (found[0], number, group, found[1]))
    parts += [group.take_statuses() for group in groups]
    if data := b"".join(parts):
        sender.write(data, Payload(b"", deltas, snapshots))
    return deltas + snapshots + size // BYTES_PER_MESSAGE


def _take(group: SubscriptionGroup, channel: Channel, market: Market, credit: int | None) -> Payload:
    """The payload that brings one channel to the head, or nearer by a part; its cursor moves there.

    Empty for a large snapshot that has to wait until another one was sent.
    """
    cursor = group.cursors[channel]
    if isinstance(cursor, int):
        return _caught_up(group, channel, cursor, credit)
    if isinstance(cursor, NeedsSnapshot):
        return _first_snapshot(group, channel, market)
    if not cursor.parts.dropped:
        return _next_part(group, channel, cursor)
    return _started_over(group, channel, cursor, market)


def _caught_up(group: SubscriptionGroup, channel: Channel, cursor: int, credit: int | None) -> Payload:
    sender = group.sender
    encoding = sender.encoding
    separate = channel.separate_since(cursor, encoding) if not group.interval_ms else None
    if separate is not None:
        if credit is None or separate.deltas <= credit:
            group.take(channel)
            return Payload(*separate)
        sender.no_credit_at = group.market.number
    held = sender.held_back(cursor, group.interval_ms)
    found = channel.catch_up(cursor, encoding, held, in_parts=group.in_parts)
    if found.parts is None:
        group.take(channel)
        return Payload(found.data, not found.is_snapshot, found.is_snapshot, found.conflated)
    if not group.may_begin_parts(channel):
        group.queue_parts(channel)
        return EMPTY
    begun = group.begin_parts(channel, found.parts, None)
    return _next_part(group, channel, begun)._replace(conflated=found.conflated)


def _first_snapshot(group: SubscriptionGroup, channel: Channel, market: Market) -> Payload:
    if group.in_parts and channel.large and not group.may_begin_parts(channel):
        group.queue_parts(channel)
        return EMPTY
    status = _status_behind(group, channel, market)
    found = channel.snapshot(group.sender.encoding, in_parts=group.in_parts)
    if found.parts is not None:
        return _next_part(group, channel, group.begin_parts(channel, found.parts, status))
    group.take(channel)
    group.statuses_known[channel] = market.number
    return Payload(found.data + status, snapshots=1)


def _status_behind(group: SubscriptionGroup, channel: Channel, market: Market) -> bytes:
    """What follows a first snapshot: its `status`, if it is stale."""
    listing = market.listings.made[channel.symbol]
    return encode(market.status_message(listing), group.sender.encoding) if listing.stale else b""


def _next_part(group: SubscriptionGroup, channel: Channel, cursor: PartlySent) -> Payload:
    data, sent = cursor.parts.frame(cursor.sent), cursor.sent + 1
    if sent < len(cursor.parts):
        group.continue_parts(channel, cursor._replace(sent=sent))
    else:
        group.end_parts(channel, cursor)
        data += cursor.status or b""
    return Payload(data, snapshots=1)


def _started_over(group: SubscriptionGroup, channel: Channel, cursor: PartlySent, market: Market) -> Payload:
    """Another snapshot, because the one that the client has a part of was given up.

    All at once if its credit allows, because there is no room to keep snapshots for slow clients.
    """
    status = _status_behind(group, channel, market) if cursor.is_first else None
    found = channel.snapshot(group.sender.encoding, in_parts=True)
    if found.parts is not None and group.sender.credit is not None:
        return _next_part(group, channel, group.begin_parts(channel, found.parts, status))
    group.take(channel)
    if status is not None:
        group.statuses_known[channel] = market.number
    return Payload(found.joined() + (status or b""), snapshots=found.snapshots)
