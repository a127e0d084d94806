"""Works off what a client could not take at once: channel by channel, the one that waited longest first.

A write goes out whenever the transport's mark is reached, and the work stops where the client cannot take more: at a
full buffer until it drains, at the end of credit until more is given, at its interval until the grid's next time.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from depthcast.gateway.delivery.cohort import Payload
from depthcast.gateway.delivery.subscription_group import Lane
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.protocol.messages import encode, status_message

if TYPE_CHECKING:
    from depthcast.gateway.delivery.session import Session


class Waiting(NamedTuple):
    """A channel with something to send; ordered by the number of the broadcast it waits since."""

    since: int
    order: int
    lane: Lane
    channel: Channel


def work_off(session: "Session", lanes: Iterable[Lane]) -> None:
    """Serve the split ones of a session's `lanes` as far as buffer, credit and interval allow."""
    loose = [lane for lane in lanes if lane.cursors is not None]
    due, later = _waiting(loose)
    states = b"".join([lane.states() for lane in loose])
    if states:
        due = _send(session, due, states)
    while due and not session.outlet.paused and session.credit != 0:
        due = _send(session, due, b"")
    unfinished = {item.lane for item in (*due, *later)}
    for lane in loose:
        if lane not in unfinished:
            lane.level()
        elif lane.interval_ms:
            lane.flusher.schedule(lane.interval_ms)


def _waiting(lanes: Iterable[Lane]) -> tuple[list[Waiting], list[Waiting]]:
    """What may be sent now, longest waiting first, and what waits for its grid."""
    due: list[Waiting] = []
    later: list[Waiting] = []
    order = 0
    for lane in lanes:
        assert lane.cursors is not None
        limit = lane.round
        for channel, cursor in lane.cursors.items():
            if channel.head <= cursor or channel.view is None:
                continue
            order += 1
            since = channel.waiting_since(cursor) if cursor >= 0 else -1 - cursor
            (due if cursor < limit else later).append(Waiting(since, order, lane, channel))
    due.sort(key=lambda item: item[:2])
    return due, later


def _send(session: "Session", due: list[Waiting], states: bytes) -> list[Waiting]:
    """One write, up to the mark and the credit; returns what is left. `states` go along, behind the data."""
    parts: list[bytes] = []
    size = deltas = snapshots = conflated = done = 0
    credit = session.credit
    for _, _, lane, channel in due:
        if size > session.write_bytes_max or credit == 0:
            break
        payload = _frames(session, lane, channel, credit)
        if credit is not None:
            credit -= payload.messages
        parts.append(payload.data)
        size += len(payload.data)
        deltas += payload.deltas
        snapshots += payload.snapshots
        conflated += payload.conflated
        done += 1
    parts.append(states)
    session.write(b"".join(parts), Payload(b"", deltas, snapshots, conflated))
    return due[done:]


def _frames(session: "Session", lane: Lane, channel: Channel, credit: int | None) -> Payload:
    """What brings one channel to the head, and its cursor there."""
    assert lane.cursors is not None
    cursor, encoding = lane.cursors[channel], session.encoding
    lane.cursors[channel] = lane.flusher.hub.number
    if cursor < 0:
        snapshot = channel.snapshot(encoding).data
        listing = lane.flusher.hub.listings[channel.symbol]
        if listing.stale:
            snapshot += encode(status_message(channel.symbol, stale=True), encoding)
        return Payload(snapshot, snapshots=1)
    each = channel.each_since(cursor, encoding) if not lane.interval_ms else None
    if each is not None and (credit is None or each.deltas <= credit):
        return Payload(*each)
    data, merged, is_snapshot = channel.catch_up(cursor, encoding)
    return Payload(data, deltas=not is_snapshot, snapshots=is_snapshot, conflated=merged - 1)
