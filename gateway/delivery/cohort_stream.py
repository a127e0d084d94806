"""Makes the bytes for a cohort, once for all its groups: everything in its channels after a cursor."""

from typing import NamedTuple, Protocol

from depthcast.gateway.delivery.sender import Payload
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.held_back import FREE, PACED, Because, HeldBack
from depthcast.gateway.market.market import Market
from depthcast.gateway.protocol.messages import Encoding, encode


class CohortKey(NamedTuple):
    """What the groups of a cohort have in common."""

    channels: frozenset[Channel]
    encoding: Encoding
    interval_ms: int
    in_parts: bool = False


class Statuses(NamedTuple):
    """Frames of changed statuses, and the channels whose `live` has to wait for what the client is owed."""

    frames: bytes
    held: tuple[Channel, ...]


class Holder(Protocol):
    """A group with a `live` that has to wait."""

    def send_statuses(self) -> None:
        """Send what no longer has to wait."""
        ...


class CohortStream:
    """The bytes of one cohort.

    - `flushed_to`: the market's number at the last flush, the cursor of every synced group.
    - `bytes_sent`: bytes sent so far to a group that was synced from the beginning.
    - `holding`: its groups with a `live` that has to wait.
    """

    __slots__ = (
        "_made_at", "_payloads", "_statuses", "bytes_sent", "flushed_to", "holding", "key", "market",
    )  # fmt: skip

    def __init__(self, key: CohortKey, market: Market) -> None:
        self.key = key
        self.market = market
        self.flushed_to = market.number
        self.bytes_sent = 0
        self.holding: dict[Holder, None] = {}
        self._payloads: dict[tuple[int, HeldBack], Payload] = {}
        self._statuses: dict[tuple[int, int], Statuses] = {}
        self._made_at = -1

    def since(self, cursor: int, held: HeldBack | None = None) -> Payload:
        """Everything after `cursor` in all channels; made once for all groups at that cursor.

        `held`: what has held the group back since then, as its sender says; None: nothing but its interval.
        """
        self.forget_old()
        self._made_at = self.market.number
        if held is None:
            held = PACED if self.key.interval_ms else FREE
        found = self._payloads.get((cursor, held))
        if found is None:
            found = self._payloads[cursor, held] = self._joined(cursor, held)
        return found

    def statuses_since(self, cursor: int, sent_to: int) -> Statuses:
        """A `status` for each symbol whose status has changed since `cursor`; also made once.

        `sent_to`: the cursor up to which the client was sent the channels.
        """
        self.forget_old()
        self._made_at = self.market.number
        found = self._statuses.get((cursor, sent_to))
        if found is None:
            found = self._statuses[cursor, sent_to] = self._changed_statuses(cursor, sent_to)
        return found

    def first_missed_by_all(self, since: int) -> int:
        """Exclusive upper bound of the cursors that need the same bytes as `since`."""
        if self.key.interval_ms:
            return since + 1
        firsts = [channel.waiting_since(since) for channel in self.key.channels if channel.head > since]
        return min(firsts, default=0)

    def forget_old(self) -> None:
        """Keep no bytes that were made before the market's last broadcast."""
        if self._made_at != self.market.number and (self._payloads or self._statuses):
            self._payloads, self._statuses = {}, {}

    def _joined(self, cursor: int, held: HeldBack) -> Payload:
        encoding, separate = self.key.encoding, not self.key.interval_ms
        parts: list[bytes] = []
        deltas = snapshots = 0
        conflated: dict[Because | None, int] = {}
        for channel in self.key.channels:
            if channel.head <= cursor or self.market.is_over(channel):
                continue
            found = channel.separate_since(cursor, encoding) if separate else None
            if found is not None:
                parts.append(found.data)
                deltas += found.deltas
                continue
            caught_up = channel.catch_up(cursor, encoding, held, in_parts=self.key.in_parts)
            parts.append(caught_up.joined())
            if caught_up.merged > 1:
                because = caught_up.because
                conflated[because] = conflated.get(because, 0) + caught_up.merged - 1
            snapshots += caught_up.snapshots
            deltas += not caught_up.is_snapshot
        return Payload(b"".join(parts), deltas, snapshots, conflated)

    def _changed_statuses(self, cursor: int, sent_to: int) -> Statuses:
        encoding, listings = self.key.encoding, self.market.listings.made
        frames, held = [], []
        for channel in self.key.channels:
            listing = listings.get(channel.symbol)
            if listing is None or self.market.is_over(channel):
                continue
            if not listing.status_changed_since(cursor):
                continue
            if channel.head > sent_to and not listing.stale:
                held.append(channel)
            else:
                frames.append(encode(self.market.status_message(listing), encoding))
        return Statuses(b"".join(frames), tuple(held))
