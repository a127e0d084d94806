"""A cohort: lanes with equal channels, encoding and interval, which share the joined bytes of a flush.

Per healthy client a flush is: is it ready, one write of shared bytes, one cursor moved. Clients that are not where
the others are get what they miss from `Lane.serve`, after them.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from gateway.channel import Channel
from gateway.hub import Hub
from gateway.wire import Encoding, encode, status_message

if TYPE_CHECKING:
    from gateway.lane import Lane


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
    """Lanes that may share bytes. `flushed`: the hub's number at the last flush, where healthy lanes stand."""

    __slots__ = ("_memo", "_memo_number", "flushed", "hub", "key", "lanes")

    def __init__(self, key: CohortKey, hub: Hub) -> None:
        self.key = key
        self.hub = hub
        self.lanes: set[Lane] = set()
        self.flushed = hub.number
        self._memo: dict[tuple[bool, int], Payload] = {}
        self._memo_number = -1

    def flush(self, changed: Iterable[Channel]) -> None:
        """Bring every lane that is ready to the head; `changed`: the channels that changed in this tick, if known."""
        since = self.flushed
        payload, first = self._shared(changed, since)
        if payload.data:
            apart = self._write_shared(payload, since, first)
            self.flushed = self.hub.number
        else:
            apart = [lane for lane in self.lanes if lane.cursor < since]
        for lane in apart:
            lane.serve(whole=lane.cursor >= since)

    def _write_shared(self, payload: Payload, since: int, first: int) -> list["Lane"]:
        """The hot loop: write to the lanes in step that are ready; returns those that are not in step."""
        data, size, number = payload.data, len(payload.data), self.hub.number
        written = skipped = 0
        apart = []
        for lane in self.lanes:
            if lane.outlet.paused:
                skipped += 1
            elif not since <= lane.cursor < first or lane.session.credit is not None:
                apart.append(lane)
            else:
                lane.outlet.write(data)
                lane.cursor = number
                lane.session.written += size
                written += 1
        counters = self.hub.counters
        counters.skipped += skipped
        counters.deltas += payload.deltas * written
        counters.snapshots += payload.snapshots * written
        counters.conflated += payload.conflated * written
        counters.bytes_sent += size * written
        return apart

    def _shared(self, changed: Iterable[Channel], since: int) -> tuple[Payload, int]:
        """What a lane in step needs, and the number that its cursor must be below to need just that."""
        if self.key.interval_ms:
            return self.since(since), since + 1
        firsts = [channel.waiting_since(since) for channel in changed if channel.head > since]
        return self._joined(changed, since), min(firsts, default=0)

    def since(self, cursor: int) -> Payload:
        """Everything after `cursor`, of all channels; made once for all lanes that stand there."""
        return self._remember((True, cursor), lambda: self._joined(self.key.channels, cursor))

    def states_since(self, cursor: int) -> Payload:
        """A `status` for each symbol whose state differs from the one at `cursor`."""
        return self._remember((False, cursor), lambda: self._states(cursor))

    def _joined(self, channels: Iterable[Channel], cursor: int) -> Payload:
        encoding, each = self.key.encoding, not self.key.interval_ms
        parts: list[bytes] = []
        deltas = snapshots = conflated = 0
        for channel in channels:
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
        encoding, listings = self.key.encoding, self.hub.listings
        frames = []
        for channel in self.key.channels:
            listing = listings.get(channel.symbol)
            if listing is not None and listing.turned_since(cursor):
                frames.append(encode(status_message(channel.symbol, listing.stale), encoding))
        return Payload(b"".join(frames))

    def _remember(self, key: tuple[bool, int], make: Callable[[], Payload]) -> Payload:
        if self._memo_number != self.hub.number:
            self._memo_number = self.hub.number
            self._memo.clear()
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = make()
        return found
