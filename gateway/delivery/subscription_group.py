"""Some of a session's subscriptions with the same interval, and their cursors.

Most groups need one cursor or none, because all their channels were sent up to the same number. A group has a
cursor per channel while its client cannot take everything at once (snapshots of new subscriptions, more bytes
than the mark, too little credit), and for some time after its subscriptions changed. It then keeps in order
what is owed, so that nothing is searched when the client can take more. `depthcast.gateway.delivery.flusher`
decides when to visit a group.
"""

from collections.abc import Collection, Iterator
from enum import Enum
from typing import Final, NamedTuple

from depthcast.gateway.delivery.cohort_stream import CohortKey, CohortStream
from depthcast.gateway.delivery.cursor import Cursor, NeedsSnapshot, PartlySent
from depthcast.gateway.delivery.sender import EMPTY, Payload, Sender
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.market import Market
from depthcast.gateway.market.snapshot_parts import SnapshotParts
from depthcast.gateway.protocol.messages import encode

CHANNELS_MAX: Final = 256
"""Channels of a group. A session with more subscriptions has more groups, so each step of work is bounded."""


class GroupState(Enum):
    """How a group keeps its position."""

    CURSOR_PER_CHANNEL = "each channel has its own cursor"
    ONE_CURSOR = "every channel was sent up to the same number; the group is in a cohort"
    SYNCED = "on the cohort's fast path: at the cohort's cursor, and written to without a check"
    CLOSED = "nothing is sent any more"


NEXT_STATES: Final = {
    GroupState.CURSOR_PER_CHANNEL: (GroupState.ONE_CURSOR, GroupState.CLOSED),
    GroupState.ONE_CURSOR: (GroupState.SYNCED, GroupState.CURSOR_PER_CHANNEL, GroupState.CLOSED),
    GroupState.SYNCED: (GroupState.ONE_CURSOR,),
    GroupState.CLOSED: (),
}
"""The states that can follow each state. A synced group takes its cursor back before anything else."""

_CURSOR_PER_CHANNEL: Final = GroupState.CURSOR_PER_CHANNEL
_ONE_CURSOR: Final = GroupState.ONE_CURSOR
_SYNCED: Final = GroupState.SYNCED


class GroupKind(NamedTuple):
    """What the subscriptions of a group have in common. `in_parts`: large snapshots are sent in parts."""

    interval_ms: int
    in_parts: bool


class Siblings:
    """All groups of one session. `with_room`: by kind, those that can take another channel."""

    __slots__ = ("groups", "sender", "with_room")

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.groups: dict[SubscriptionGroup, None] = {}
        self.with_room: dict[GroupKind, dict[SubscriptionGroup, None]] = {}

    def __iter__(self) -> "Iterator[SubscriptionGroup]":
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, group: "SubscriptionGroup") -> None:
        """Add a new group."""
        self.groups[group] = None
        self.resized(group)

    def remove(self, group: "SubscriptionGroup") -> None:
        """Remove a group that has no channel any more."""
        del self.groups[group]
        self._fill(group)

    def forget(self) -> None:
        """Let go of all groups, which refer to this; whoever iterates over them now may go on."""
        self.groups, self.with_room = {}, {}

    def resized(self, group: "SubscriptionGroup") -> None:
        """Note that `group` has more channels or fewer."""
        if len(group) >= CHANNELS_MAX:
            self._fill(group)
            return
        alike = self.with_room.get(group.kind)
        if alike is None:
            alike = self.with_room[group.kind] = {}
        alike[group] = None

    def _fill(self, group: "SubscriptionGroup") -> None:
        alike = self.with_room.get(group.kind, {})
        alike.pop(group, None)
        if not alike:
            self.with_room.pop(group.kind, None)


class SubscriptionGroup:
    """Up to `CHANNELS_MAX` subscriptions of one session of one `kind`.

    - `siblings`: all groups of the session, this one included.
    - `state`: says which of the following hold. ONE_CURSOR: `cursor` and `stream`. SYNCED: `stream` and
      `synced_from_bytes`, the stream's `bytes_sent` when the group was synced. CURSOR_PER_CHANNEL: `cursors`,
      `snapshots`, `waiting` and `parted`.
    - `snapshots`, `waiting`: channels whose first snapshot, or whose deltas, are owed, with the number of the
      first broadcast that is; the longest-waiting channel is first.
    - `parted`: channels whose snapshot goes in parts, with the broadcast number at their last turn. Only the
      first is being sent; the others wait for its last part.
    - `changed_at`: the flusher's tick at which subscriptions last changed or the cursor was split.
    - `statuses_sent_at`: status changes up to this broadcast number were sent.
    - `statuses_known`: the same for channels with a number of their own: those that are live again, while the
      client is owed what made their books right, and those whose snapshot has just brought the status.
    """

    __slots__ = (
        "changed_at", "cursor", "cursors", "in_parts", "interval_ms", "market", "parted", "sender",
        "siblings", "snapshots", "state", "statuses_known", "statuses_sent_at", "stream",
        "synced_from_bytes", "waiting", "writer",
    )  # fmt: skip

    def __init__(
        self,
        sender: Sender,
        interval_ms: int,
        market: Market,
        siblings: Siblings,
        *,
        in_parts: bool = False,
    ) -> None:
        self.sender = sender
        self.writer = sender.writer
        self.interval_ms = interval_ms
        self.in_parts = in_parts
        self.market = market
        self.siblings = siblings
        self.state = _CURSOR_PER_CHANNEL
        self.cursor = self.statuses_sent_at = market.number
        self.cursors: dict[Channel, Cursor] = {}
        self.statuses_known: dict[Channel, int] = {}
        self.snapshots: dict[Channel, int] = {}
        self.waiting: dict[Channel, int] = {}
        self.parted: dict[Channel, int] = {}
        self.stream: CohortStream | None = None
        self.synced_from_bytes = 0
        self.changed_at = 0

    def __len__(self) -> int:
        return len(self.cursors if self.stream is None else self.stream.key.channels)

    @property
    def kind(self) -> GroupKind:
        """What its subscriptions have in common."""
        return GroupKind(self.interval_ms, self.in_parts)

    # --- states ---------------------------------------------------------------------------------------------

    def key(self) -> CohortKey:
        """The key of its cohort, for when every channel was sent up to the same number."""
        assert self.state is _CURSOR_PER_CHANNEL
        return CohortKey(frozenset(self.cursors), self.sender.encoding, self.interval_ms, self.in_parts)

    def merge_cursors(self, stream: CohortStream) -> None:
        """Continue with one cursor in the cohort of `stream`; every channel is at the market's number."""
        assert not self.owes
        self._become(_ONE_CURSOR)
        self.cursor = self.market.number
        self.cursors = {}
        self.stream = stream
        if self.statuses_known:
            stream.holding[self] = None

    def enter_fast_path(self) -> None:
        """Let the cohort's flushes write to the client without looking at this group."""
        assert self.stream is not None
        self._become(_SYNCED)
        self.synced_from_bytes = self.stream.bytes_sent

    def leave_fast_path(self) -> None:
        """Take the cursor back: readiness is checked before each write from now on."""
        assert self.stream is not None
        self._become(_ONE_CURSOR)
        self.cursor = self.stream.flushed_to
        self.sender.bytes_written += self.stream.bytes_sent - self.synced_from_bytes

    def split_cursor(self) -> None:
        """Continue with a cursor per channel, outside the cohort."""
        assert self.stream is not None
        self._become(_CURSOR_PER_CHANNEL)
        cursor, channels = self.cursor, self.stream.key.channels
        self.cursors = dict.fromkeys(channels, cursor)
        owed = [(channel.waiting_since(cursor), channel) for channel in channels if channel.head > cursor]
        owed.sort(key=_since)
        self.waiting = {channel: since for since, channel in owed}
        self.stream.holding.pop(self, None)
        self.stream = None

    def close(self) -> None:
        """Send nothing from now on."""
        self._become(GroupState.CLOSED)
        if self.stream is not None:
            self.stream.holding.pop(self, None)
        self.cursors, self.statuses_known = {}, {}
        self.snapshots, self.waiting, self.parted = {}, {}, {}
        self.stream = None

    def _become(self, state: GroupState) -> None:
        assert state in NEXT_STATES[self.state], f"{self.state} cannot become {state}"
        self.state = state

    def bytes_on_fast_path(self) -> int:
        """Bytes that flushes of the cohort wrote to the client and that its sender has not counted yet."""
        if self.state is not _SYNCED:
            return 0
        assert self.stream is not None
        return self.stream.bytes_sent - self.synced_from_bytes

    # --- with a cursor per channel: what is owed ------------------------------------------------------------

    @property
    def owes(self) -> bool:
        """Whether any channel is known to have something to send, due or not."""
        return bool(self.waiting or self.snapshots or self.parted)

    def add(self, channel: Channel, cursor: Cursor) -> None:
        """Add a subscription that was sent up to `cursor`."""
        self.cursors[channel] = cursor
        if isinstance(cursor, NeedsSnapshot):
            self.snapshots[channel] = cursor.since
        else:
            self.note_change(channel)

    def discard(self, channel: Channel) -> None:
        """Remove a subscription."""
        del self.cursors[channel]
        self.statuses_known.pop(channel, None)
        self.snapshots.pop(channel, None)
        self.waiting.pop(channel, None)
        self.parted.pop(channel, None)

    def note_change(self, channel: Channel) -> None:
        """Put `channel` at the end of what is owed, if it has changed since its cursor."""
        if channel in self.waiting or channel in self.snapshots or channel in self.parted:
            return
        cursor = self.cursors[channel]
        if isinstance(cursor, int) and channel.head > cursor:
            self.waiting[channel] = channel.waiting_since(cursor)

    def next_due(self, due_below: int) -> tuple[int, Channel] | None:
        """The due channel that waited longest, and since when; snapshots are always due."""
        found, waiting = self._first(self.snapshots), self._first(self.waiting)
        if waiting is not None and waiting[1] <= due_below and (found is None or waiting[1] < found[1]):
            found = waiting
        parted = self._first(self.parted)
        if parted is not None and (found is None or parted[1] < found[1]):
            found = parted
        return None if found is None else (found[1], found[0])

    def _first(self, owed: dict[Channel, int]) -> tuple[Channel, int] | None:
        """What is owed first; nothing is owed of a channel that is over."""
        found = next(iter(owed.items()), None)
        while found is not None and self.market.is_over(found[0]):
            del owed[found[0]]
            found = next(iter(owed.items()), None)
        return found

    def take(self, channel: Channel) -> Cursor:
        """Move the cursor of a channel that is owed something to the head; returns the cursor before."""
        cursor = self.cursors[channel]
        self.cursors[channel] = self.market.number
        if channel in self.parted:
            del self.parted[channel]
        elif isinstance(cursor, NeedsSnapshot):
            del self.snapshots[channel]
        else:
            del self.waiting[channel]
        return cursor

    def up_to_date(self) -> bool:
        """Whether every channel was sent up to the market's number, changes of this tick included."""
        return not self.owes and all(
            isinstance(cursor, int) and channel.head <= cursor for channel, cursor in self.cursors.items()
        )

    # --- with a cursor per channel: snapshots in parts ------------------------------------------------------

    def may_begin_parts(self, channel: Channel) -> bool:
        """Whether no other snapshot is being sent in parts, and it is the turn of `channel`."""
        return not self.parted or next(iter(self.parted)) is channel

    def queue_parts(self, channel: Channel) -> None:
        """Let a channel wait, behind others, for its turn to be sent in parts."""
        self.snapshots.pop(channel, None)
        self.waiting.pop(channel, None)
        self.parted[channel] = self.market.number

    def begin_parts(self, channel: Channel, parts: SnapshotParts, status: bytes | None) -> PartlySent:
        """Begin to send the view at the market's number; `status` as in `PartlySent`."""
        self.queue_parts(channel)
        cursor = self.cursors[channel] = PartlySent(self.market.number, parts, 0, status)
        return cursor

    def continue_parts(self, channel: Channel, cursor: PartlySent) -> None:
        """Note that a part was sent; what other channels are owed by now goes before the next one."""
        self.cursors[channel] = cursor
        self.parted[channel] = self.market.number

    def end_parts(self, channel: Channel, cursor: PartlySent) -> None:
        """Note that the last part was sent: the client is where it would be, had it been sent all at once."""
        del self.parted[channel]
        self.cursors[channel] = cursor.number
        if cursor.is_first:
            self.statuses_known[channel] = cursor.number
        if channel.head > cursor.number:
            self.waiting[channel] = self.market.number

    # --- sending --------------------------------------------------------------------------------------------

    def send_at_once(self, due_below: int, *, kept_up: bool = False) -> bool:
        """Bring the client to the head in one write; if that is impossible, return False and do nothing.

        `due_below` bounds the cursors that are due. A client that `kept_up` is sent any number of bytes.
        """
        if self.state is not _ONE_CURSOR:
            return False
        assert self.stream is not None
        payload = EMPTY
        if self.cursor < due_below:
            held = self.sender.held_back(self.cursor, self.interval_ms)
            payload = self.stream.since(self.cursor, held)
            if not self._fits(payload, kept_up):
                return False
            self.cursor = self.market.number
        data = payload.data + self.take_statuses()
        if data:
            self.sender.write(data, payload)
        return True

    def _fits(self, payload: Payload, kept_up: bool) -> bool:
        credit, messages = self.sender.credit, payload.messages
        if credit is not None and messages > credit:
            return False
        return kept_up or messages <= 1 or len(payload.data) <= self.sender.write_bytes_max

    def send_statuses(self) -> None:
        """Send the statuses that changed, and nothing else, if the client can take them."""
        if not self.writer.paused and (statuses := self.take_statuses()):
            self.sender.write(statuses)

    def take_statuses(self) -> bytes:
        """Frames for the statuses that changed since they were last sent; marks them as sent.

        `live` is held back while the client is owed anything of the channel: what it holds may be the book
        that was stale.
        """
        nothing_new = self.statuses_sent_at >= self.market.last_status_change
        if nothing_new and not self.statuses_known:
            return b""
        since, self.statuses_sent_at = self.statuses_sent_at, self.market.number
        if self.statuses_known or self.stream is None:
            channels = tuple(self.statuses_known) if nothing_new else self._channels()
            frames = self._statuses_since(since, channels)
        else:
            frames, held = self.stream.statuses_since(since, self._sent_to())
            self.statuses_known = dict.fromkeys(held, since)
        if self.stream is not None:
            if self.statuses_known:
                self.stream.holding[self] = None
            else:
                self.stream.holding.pop(self, None)
        return frames

    def _channels(self) -> Collection[Channel]:
        return self.cursors if self.stream is None else self.stream.key.channels

    def _sent_to(self) -> int:
        """The cursor of a group with one cursor."""
        assert self.stream is not None
        return self.stream.flushed_to if self.state is _SYNCED else self.cursor

    def _statuses_since(self, since: int, channels: Collection[Channel]) -> bytes:
        listings, encoding = self.market.listings.made, self.sender.encoding
        frames = []
        for channel in channels:
            listing, after = listings.get(channel.symbol), self.statuses_known.pop(channel, since)
            # A first snapshot will bring the status with it, and so will the next listing.
            if listing is None or self._has_no_book(channel) or self.market.is_over(channel):
                continue
            if not listing.status_changed_since(after):
                continue
            if not listing.stale and self._is_owed(channel):
                self.statuses_known[channel] = after
            else:
                frames.append(encode(self.market.status_message(listing), encoding))
        return b"".join(frames)

    def _is_owed(self, channel: Channel) -> bool:
        cursor = self.cursors[channel] if self.stream is None else self._sent_to()
        return not isinstance(cursor, int) or channel.head > cursor

    def _has_no_book(self, channel: Channel) -> bool:
        """Whether the client waits for a first snapshot, or for its last part."""
        cursor = self.cursors.get(channel)
        return isinstance(cursor, NeedsSnapshot) or (isinstance(cursor, PartlySent) and cursor.is_first)


class ActiveSubscription(NamedTuple):
    """One symbol of a session."""

    channel: Channel
    group: SubscriptionGroup


def _since(owed: tuple[int, Channel]) -> int:
    return owed[0]
