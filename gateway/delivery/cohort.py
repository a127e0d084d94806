"""A cohort: lanes with equal channels, encoding and interval, which share the joined bytes of a flush.

Most of its lanes are in step: nothing waits for them, they have no credit, and were sent everything up to the same number. They have no cursor of
their own, and a flush of them is nothing but one write of shared bytes for each. Whoever falls out of step (a full
buffer, a changed subscription, credit) gets a cursor again, is looked at one by one, and steps in when it has caught up.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from depthcast.gateway.delivery.fan_out import write_to_each
from depthcast.gateway.delivery.writer import Send
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.market import Hub
from depthcast.gateway.protocol.messages import Encoding, encode, status_message

if TYPE_CHECKING:
    from depthcast.gateway.delivery.subscription_group import Lane


class Payload(NamedTuple):
    """Bytes to write at once; how many deltas and snapshots they are; broadcasts merged away in them."""

    data: bytes
    deltas: int = 0
    snapshots: int = 0
    conflated: int = 0

    @property
    def messages(self) -> int:
        """What it costs in credit."""
        return self.deltas + self.snapshots


EMPTY = Payload(b"")


class CohortKey(NamedTuple):
    """What the lanes of a cohort have in common."""

    channels: frozenset[Channel]
    encoding: Encoding
    interval_ms: int


class Cohort:
    """Lanes that may share bytes.

    - `flushed`: the hub's number at the last flush, where the lanes in step stand.
    - `in_step`: how to send to each lane in step; `step_bytes`: bytes that a lane in step from the beginning was sent.
    - `lanes`: those not in step, each with its own cursor.
    - `parts`: what the next flush sends to the lanes in step, gathered channel by channel; `more_deltas`: deltas in them
      beyond one for each part; `torn`: some channel gave up its history, so that they are not what lanes need.
    """

    __slots__ = (
        "_memo", "_memo_number", "encoding", "flushed", "hub", "in_step", "interval_ms", "key",
        "lanes", "more_deltas", "parts", "step_bytes", "torn",
    )  # fmt: skip

    def __init__(self, key: CohortKey, hub: Hub) -> None:
        self.key = key
        self.encoding = key.encoding
        self.interval_ms = key.interval_ms
        self.hub = hub
        self.lanes: set[Lane] = set()
        self.in_step: dict[Lane, Send] = {}
        self.flushed = hub.number
        self.step_bytes = 0
        self.parts: list[bytes] = []
        self.more_deltas = 0
        self.torn = False
        self._memo: dict[tuple[bool, int], Payload] | None = None
        self._memo_number = -1

    # --- in step or not ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.lanes) + len(self.in_step)

    def discard(self, lane: "Lane") -> None:
        """`lane` is not of this cohort any more; its cursor is its own again."""
        self.step_out(lane)
        self.lanes.discard(lane)

    def step_out(self, lane: "Lane") -> None:
        """`lane` goes on by itself, if it was in step."""
        if not lane.in_step:
            return
        del self.in_step[lane]
        lane.in_step = False
        lane.cursor = self.flushed
        lane.session.written += self.step_bytes - lane.step_from
        self.lanes.add(lane)

    def _step_in(self, lane: "Lane") -> None:
        try:
            send = lane.outlet.direct()
        except OSError:
            return  # no descriptor is left: it is looked at each time, which costs more, and sent the same
        self.lanes.discard(lane)
        lane.in_step = True
        lane.step_from = self.step_bytes
        self.in_step[lane] = send

    # --- flushes ----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Bring every lane that is ready to the head."""
        if self.lanes or self.torn or self.interval_ms:
            self._flush_all()
            return
        parts, hub, clients = self.parts, self.hub, len(self.in_step)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        counters = hub.counters
        counters.deltas += (len(parts) + self.more_deltas) * clients
        counters.bytes_sent += len(data) * clients
        parts.clear()
        self.more_deltas = 0
        self.flushed = hub.number
        self._write_in_step(data)

    def _flush_all(self) -> None:
        since, self.torn, self.more_deltas = self.flushed, False, 0
        self.parts.clear()
        payload = self.since(since)
        if not payload.data:
            apart = [lane for lane in self.lanes if lane.cursor < since]
        else:
            self.flushed = self.hub.number
            self._count(payload, len(self.in_step))
            self._write_in_step(payload.data)
            apart = self._write_catching_up(payload, since)
        for lane in apart:
            lane.serve(whole=lane.cursor >= since)

    def _write_in_step(self, data: bytes) -> None:
        self.step_bytes += len(data)
        short = write_to_each(self.in_step, data)
        if short:
            self._write_rest(data, short)

    def _write_rest(self, data: bytes, short: list[tuple[Send, int]]) -> None:
        """Some took less than all: the rest waits in their transports, which also find out about those that are gone."""
        lanes = {send: lane for lane, send in self.in_step.items()}
        for send, sent in short:
            lane = lanes[send]
            self.step_out(lane)
            lane.outlet.write(data[sent:])

    def _write_catching_up(self, payload: Payload, since: int) -> list["Lane"]:
        """Write to lanes that need just what those in step need, which steps them in; returns the ready others."""
        first = self._first_after(since)
        apart = []
        written = 0
        for lane in tuple(self.lanes):
            if lane.outlet.paused:
                self.hub.counters.skipped += 1
            elif not since <= lane.cursor < first or lane.session.credit is not None:
                apart.append(lane)
            else:
                lane.outlet.write(payload.data)
                lane.cursor = self.flushed
                lane.session.written += len(payload.data)
                written += 1
                if lane.outlet.clear:
                    self._step_in(lane)
        self._count(payload, written)
        return apart

    def _count(self, payload: Payload, clients: int) -> None:
        counters = self.hub.counters
        counters.deltas += payload.deltas * clients
        counters.snapshots += payload.snapshots * clients
        counters.conflated += payload.conflated * clients
        counters.bytes_sent += len(payload.data) * clients

    def _first_after(self, since: int) -> int:
        """The number that a cursor must be below to need all that is needed from `since` on."""
        if self.interval_ms:
            return since + 1
        firsts = [channel.waiting_since(since) for channel in self.key.channels if channel.head > since]
        return min(firsts, default=0)

    # --- bytes made once --------------------------------------------------------------------------------------------

    def since(self, cursor: int) -> Payload:
        """Everything after `cursor`, of all channels; made once for all lanes that stand there."""
        return self._remember((True, cursor), lambda: self._joined(cursor))

    def states_since(self, cursor: int) -> Payload:
        """A `status` for each symbol whose state differs from the one at `cursor`."""
        return self._remember((False, cursor), lambda: self._states(cursor))

    def _joined(self, cursor: int) -> Payload:
        encoding, each = self.encoding, not self.interval_ms
        parts: list[bytes] = []
        deltas = snapshots = conflated = 0
        for channel in self.key.channels:
            if channel.head <= cursor:
                continue
            steps = channel.each_since(cursor, encoding) if each else None
            if steps is not None:
                parts.append(steps.data)
                deltas += steps.deltas
                continue
            data, merged, is_snapshot = channel.catch_up(cursor, encoding)
            parts.append(data)
            conflated += merged - 1
            if is_snapshot:
                snapshots += 1
            else:
                deltas += 1
        return Payload(b"".join(parts), deltas, snapshots, conflated)

    def _states(self, cursor: int) -> Payload:
        encoding, listings = self.encoding, self.hub.listings
        frames = []
        for channel in self.key.channels:
            listing = listings.get(channel.symbol)
            if listing is not None and listing.turned_since(cursor):
                frames.append(encode(status_message(channel.symbol, listing.stale), encoding))
        return Payload(b"".join(frames))

    def _remember(self, key: tuple[bool, int], make: Callable[[], Payload]) -> Payload:
        if self._memo is None or self._memo_number != self.hub.number:
            self._memo_number = self.hub.number
            self._memo = {}
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = make()
        return found
