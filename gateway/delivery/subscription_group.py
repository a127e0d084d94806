"""A lane: one session's subscriptions of one interval, and how far each of them was sent.

Level: all its channels were sent up to one `cursor`, an integer; it belongs to a cohort and costs next to nothing.
Split: `cursors` holds one for each channel, because the client could not take everything at once: snapshots of new
subscriptions, more bytes than fit, too little credit. `depthcast.gateway.delivery.oldest_first` works a split lane off until it is level again.
"""

from typing import TYPE_CHECKING, Final

from depthcast.gateway.delivery.cohort import EMPTY, Cohort, CohortKey, Payload
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.protocol.messages import encode, status_message

if TYPE_CHECKING:
    from depthcast.gateway.delivery.flusher import Flusher
    from depthcast.gateway.delivery.session import Session

ALWAYS: Final = 1 << 62
"""Round of a lane that waits for no grid."""


def needs_snapshot(since: int) -> int:
    """Cursor of a channel whose client has nothing yet and waits since broadcast number `since`."""
    return -1 - since


class Lane:
    """See the module.

    - `cursor` holds while the lane is level and not in step with its cohort, which knows it otherwise.
    - `in_step`: whether its cohort writes to it without asking; `step_from`: the cohort's `step_bytes` when that began.
    - `told`: the hub's number up to which changes of state were told.
    """

    __slots__ = (
        "cohort", "cursor", "cursors", "flusher", "in_step", "interval_ms", "outlet", "session", "step_from", "told",
    )  # fmt: skip

    def __init__(self, session: "Session", interval_ms: int, flusher: "Flusher") -> None:
        self.session = session
        self.outlet = session.outlet
        self.interval_ms = interval_ms
        self.flusher = flusher
        self.cursor = self.told = flusher.hub.number
        self.in_step = False
        self.step_from = 0
        self.cohort: Cohort | None = None
        self.cursors: dict[Channel, int] | None = {}
        flusher.loosen(self)

    @property
    def round(self) -> int:
        """A channel whose cursor is below this may be sent a delta now."""
        return self.flusher.rounds.get(self.interval_ms, 0) if self.interval_ms else ALWAYS

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def add(self, channel: Channel, cursor: int) -> None:
        """Begin with `channel` at `cursor`; its client is told of the other channels' states first."""
        if states := self.states():
            self.session.write(states)
        self.split()[channel] = cursor

    def remove(self, channel: Channel) -> None:
        """End with `channel`: nothing of it is sent from now on."""
        del self.split()[channel]

    def split(self) -> dict[Channel, int]:
        """Go on with a cursor for each channel; returns them."""
        if self.cursors is None:
            assert self.cohort is not None
            self.step_out()
            self.cursors = dict.fromkeys(self.cohort.key.channels, self.cursor)
            self.flusher.loosen(self)
        return self.cursors

    def step_out(self) -> None:
        """Be looked at, from now on, before anything is written."""
        if self.cohort is not None:
            self.cohort.step_out(self)

    def level(self) -> None:
        """Every channel was sent up to the hub's number: one cursor will do."""
        assert self.cursors is not None
        key = CohortKey(frozenset(self.cursors), self.session.encoding, self.interval_ms)
        self.cursors = None
        self.cursor = self.flusher.hub.number
        self.flusher.join(self, key)

    def close(self) -> None:
        """Send nothing from now on."""
        self.flusher.part(self)
        self.cursors = {}

    # --- sending ----------------------------------------------------------------------------------------------------

    def serve(self, *, whole: bool = False) -> None:
        """Bring the client to the head as far as it can take it; `whole`: at once, however much, for it kept up."""
        if self.in_step:
            return  # its cohort will
        if self.outlet.paused:
            self.flusher.hub.counters.skipped += 1
        elif self.session.credit == 0:
            self.tell()
        elif not self.serve_level(whole=whole):
            self.split()
            self.session.work_off()

    def serve_level(self, *, whole: bool = False) -> bool:
        """The same if one write does it; False, with nothing done, if not."""
        if self.cursors is not None:
            return False
        assert self.cohort is not None
        session, payload = self.session, EMPTY
        if self.cursor < self.round:
            payload = self.cohort.since(self.cursor)
            if not self._fits(payload, whole):
                return False
            self.cursor = self.flusher.hub.number
        data = payload.data + self.states()
        if data:
            session.write(data, payload)
        return True

    def tell(self) -> None:
        """Tell of changed states only, if the client can take it."""
        if not self.outlet.paused and (states := self.states()):
            self.session.write(states)

    def states(self) -> bytes:
        """Frames for the states that changed since the client was last told; they count as told."""
        hub = self.flusher.hub
        if self.told >= hub.turned:
            return b""
        since, self.told = self.told, hub.number
        if self.cursors is None:
            assert self.cohort is not None
            return self.cohort.states_since(since).data
        return self._states_of(since, self.cursors)

    def _states_of(self, since: int, cursors: dict[Channel, int]) -> bytes:
        listings, encoding = self.flusher.hub.listings, self.session.encoding
        frames = []
        for channel, cursor in cursors.items():
            listing = listings.get(channel.symbol)
            # Where the snapshot is still to come, the state goes with it.
            if listing is not None and cursor >= 0 and listing.turned_since(since):
                frames.append(encode(status_message(channel.symbol, listing.stale), encoding))
        return b"".join(frames)

    def _fits(self, payload: Payload, whole: bool) -> bool:
        session, messages = self.session, payload.messages
        if session.credit is not None and messages > session.credit:
            return False
        return whole or messages <= 1 or len(payload.data) <= session.write_bytes_max
