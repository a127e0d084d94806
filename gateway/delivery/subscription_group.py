"""A session's subscriptions with the same interval, and their cursors.

Most groups need one cursor or none, because all their channels were sent up to the same number. A group has a
cursor per channel while its client cannot take everything at once: snapshots of new subscriptions, more bytes
than the mark, too little credit. `depthcast.gateway.delivery.flusher` decides when to visit a group.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from depthcast.gateway.delivery.cohort_stream import CohortKey, CohortStream
from depthcast.gateway.delivery.cursor import Cursor, NeedsSnapshot
from depthcast.gateway.delivery.sender import EMPTY, Payload, Sender
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.market import Market
from depthcast.gateway.protocol.messages import encode, status_message


class GroupState(Enum):
    """How a group keeps its position."""

    CURSOR_PER_CHANNEL = "each channel has its own cursor, for the client could not take everything at once"
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


class SubscriptionGroup:
    """The subscriptions of one session with one interval.

    - `siblings`: all groups of the session by interval, this one included.
    - `state`: says which of the following hold. ONE_CURSOR: `cursor` and `stream`. SYNCED: `stream` and
      `synced_from_bytes`, the stream's `bytes_sent` when the group was synced. CURSOR_PER_CHANNEL: `cursors`.
    - `statuses_sent_at`: status changes up to this broadcast number were sent.
    """

    __slots__ = (
        "cursor", "cursors", "interval_ms", "market", "sender", "siblings", "state", "statuses_sent_at",
        "stream", "synced_from_bytes", "writer",
    )  # fmt: skip

    def __init__(
        self,
        sender: Sender,
        interval_ms: int,
        market: Market,
        siblings: "Mapping[int, SubscriptionGroup]",
    ) -> None:
        self.sender = sender
        self.writer = sender.writer
        self.interval_ms = interval_ms
        self.market = market
        self.siblings = siblings
        self.state = _CURSOR_PER_CHANNEL
        self.cursor = self.statuses_sent_at = market.number
        self.cursors: dict[Channel, Cursor] = {}
        self.stream: CohortStream | None = None
        self.synced_from_bytes = 0

    # --- states ---------------------------------------------------------------------------------------------

    def key(self) -> CohortKey:
        """The key of its cohort, for when every channel was sent up to the same number."""
        assert self.state is _CURSOR_PER_CHANNEL
        return CohortKey(frozenset(self.cursors), self.sender.encoding, self.interval_ms)

    def merge_cursors(self, stream: CohortStream) -> None:
        """Continue with one cursor in the cohort of `stream`; every channel is at the market's number."""
        self._become(_ONE_CURSOR)
        self.cursor = self.market.number
        self.cursors = {}
        self.stream = stream

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
        self.cursors = dict.fromkeys(self.stream.key.channels, self.cursor)
        self.stream = None

    def close(self) -> None:
        """Send nothing from now on."""
        self._become(GroupState.CLOSED)
        self.cursors = {}
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
            payload = self.stream.since(self.cursor)
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
        """Frames for the statuses that changed since they were last sent; marks them as sent."""
        if self.statuses_sent_at >= self.market.last_status_change:
            return b""
        since, self.statuses_sent_at = self.statuses_sent_at, self.market.number
        if self.stream is not None:
            return self.stream.statuses_since(since)
        return self._statuses_since(since)

    def _statuses_since(self, since: int) -> bytes:
        listings, encoding = self.market.listings, self.sender.encoding
        frames = []
        for channel, cursor in self.cursors.items():
            listing = listings.get(channel.symbol)
            # A pending snapshot will bring the status with it.
            if listing is None or isinstance(cursor, NeedsSnapshot):
                continue
            if listing.status_changed_since(since):
                frames.append(encode(status_message(channel.symbol, listing.stale), encoding))
        return b"".join(frames)
