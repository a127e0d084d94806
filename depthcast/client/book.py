"""One symbol as a WebSocket client holds it: the view, whether it is continuous, and what to do when it is not.

    ASKED ──subscribed, resumed──▶ FOLLOWING ◀──snapshot── WAITING ◀──subscribed, not resumed── ASKED
    FOLLOWING ──gap or mismatch──▶ ASKED (the owner sends a new subscribe; the old view stays, stale)

Pure: messages in, outcomes out. The rules are those of `docs/protocol.md`, sections 1 and 3.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from depthcast.shared.digest import digest_of
from depthcast.shared.errors import CodecError
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.types import MAX_INTEGER, Delta, Snapshot
from depthcast.updates import Levels, State

Message = Mapping[str, Any]


class SubscriptionOptions(NamedTuple):
    """What was asked for: `depth` levels a side (0 = all), at most one delta in `interval_ms`."""

    depth: int = 25
    interval_ms: int = 0


class Phase(Enum):
    """Where a symbol stands with its subscription."""

    ASKED = "a subscribe is on its way"
    WAITING = "subscribed, and a snapshot must come next"
    FOLLOWING = "the view is continuous"


class ClientBook:
    """The view of one symbol. `replica` holds book, seq and digest; `shows` whether there ever was a view."""

    __slots__ = (
        "lot_size",
        "phase",
        "replica",
        "resyncs",
        "shows",
        "subscription",
        "tick_size",
        "upstream_stale",
    )

    def __init__(self, subscription: SubscriptionOptions) -> None:
        self.subscription = subscription
        self.phase = Phase.ASKED
        self.replica = Replica()
        self.shows = False
        self.upstream_stale = False
        self.resyncs = 0
        self.tick_size = self.lot_size = ""

    @property
    def state(self) -> State:
        """LIVE while the view is continuous and upstream is."""
        live = self.phase is Phase.FOLLOWING and not self.upstream_stale
        return State.LIVE if live else State.STALE

    @property
    def resume(self) -> dict[str, int] | None:
        """What to offer when subscribing again on another connection; None without a view."""
        return {"seq": self.replica.seq, "digest": self.replica.digest} if self.shows else None

    def ask(self) -> None:
        """A subscribe is sent because the view cannot go on, or the connection is new."""
        self.phase = Phase.ASKED

    def subscribed(self, message: Message) -> None:
        """Take `subscribed`: what comes next is a snapshot, unless the view was resumed."""
        self.tick_size, self.lot_size = message.get("tick_size", ""), message.get("lot_size", "")
        self.upstream_stale = False
        if message.get("resumed") and self.shows:
            self.replica.seq = _whole(message, "seq")
            self.phase = Phase.FOLLOWING
            self.resyncs = 0
        else:
            self.phase = Phase.WAITING

    def status(self, message: Message) -> None:
        """Take `status`."""
        self.upstream_stale = message.get("state") != State.LIVE

    def snapshot(self, message: Message) -> ApplyResult:
        """Take a snapshot: APPLIED, MISMATCH, or ALREADY for one that is not newer than a continuous view."""
        snapshot = read_snapshot(message)
        if self.phase is Phase.FOLLOWING and snapshot.seq <= self.replica.seq:
            return ApplyResult.ALREADY
        replica = Replica(snapshot)
        if digest_of(replica.book.bids.top(), replica.book.asks.top()) != snapshot.digest:
            return ApplyResult.MISMATCH
        self.replica = replica
        self.shows = True
        self.phase = Phase.FOLLOWING
        self.resyncs = 0
        return ApplyResult.APPLIED

    def delta(self, message: Message) -> ApplyResult:
        """Take a delta: the outcome of the continuity rule. Nothing changes unless it is APPLIED."""
        if self.phase is Phase.ASKED:
            return ApplyResult.ALREADY  # of the subscription that is being replaced
        if self.phase is Phase.WAITING:
            return ApplyResult.GAP
        outcome, _ = self.replica.apply(read_delta(message))
        return outcome


def read_snapshot(message: Message) -> Snapshot:
    """A `snapshot` message with flat levels; raises `CodecError`."""
    return Snapshot(
        _whole(message, "seq"),
        _flat(message, "bids", 1),
        _flat(message, "asks", 1),
        _whole(message, "digest"),
        _whole(message, "ts"),
    )


def read_delta(message: Message) -> Delta:
    """A `delta` message with flat levels; raises `CodecError`."""
    return Delta(
        _whole(message, "prev_seq"),
        _whole(message, "seq"),
        _flat(message, "bids", 0),
        _flat(message, "asks", 0),
        _whole(message, "digest"),
        _whole(message, "merged"),
    )


def pairs(levels: Sequence[Sequence[int]]) -> Levels:
    """Levels of a message as tuples."""
    return [(price, quantity) for price, quantity in levels]


def _whole(message: Message, name: str) -> int:
    value = message.get(name)
    if type(value) is not int or value < 0:
        raise CodecError(f"{message.get('type')} message", f"{name} is {value!r}, not a whole number")
    return value


def _flat(message: Message, name: str, least_quantity: int) -> list[int]:
    levels = message.get(name)
    what = f"{message.get('type')} message"
    if not isinstance(levels, list) or not all(
        isinstance(level, list) and len(level) == 2 for level in levels
    ):
        raise CodecError(what, f"{name} must be a list of [price, quantity]")
    flat = [number for level in levels for number in level]
    if not flat:
        return flat
    if set(map(type, flat)) != {int}:
        raise CodecError(what, f"{name}: prices and quantities must be integers")
    quantities = flat[1::2]
    if min(quantities) < least_quantity or max(flat) > MAX_INTEGER or min(flat) < -MAX_INTEGER:
        raise CodecError(what, f"{name}: a price or quantity is out of range")
    return flat
