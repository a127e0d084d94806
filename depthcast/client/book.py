"""One symbol's view in a WebSocket client, and whether it is continuous.

    SUBSCRIBING ──subscribed, resumed──▶ CONTINUOUS
    SUBSCRIBING ──subscribed, not resumed──▶ AWAITING_SNAPSHOT ──snapshot──▶ CONTINUOUS
    CONTINUOUS ──gap or mismatch──▶ SUBSCRIBING (the session subscribes again; the old view stays, stale)

A snapshot may come in parts (`depthcast.client.parts`), and counts with the last one. The rules are those of
`docs/protocol.md`, sections 1 and 3. Sending is up to `depthcast.client.session`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from depthcast.client.parts import WHOLE, PartialSnapshot, Place
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import CodecError
from depthcast.shared.input_times import EVENT_TS, time_in
from depthcast.shared.order_counts import ORDERS, OrderCounts, checked, counts_of, digest_of_counts
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.sizes import Sizes
from depthcast.shared.types import MAX_INTEGER, Delta, Snapshot
from depthcast.updates import Levels, State

Message = Mapping[str, Any]


class SubscriptionOptions(NamedTuple):
    """Options of a subscribe: `depth` levels per side (0 = all), at most one delta per `interval_ms`.

    `group`: ticks of a bucket in which the gateway sums levels up; 1 leaves the book as it is.
    `orders`: with the number of orders at each level.
    """

    depth: int = 25
    interval_ms: int = 0
    group: int = 1
    orders: bool = False

    def fields(self) -> dict[str, Any]:
        """The fields of a `subscribe`; what was not asked for is not in it."""
        fields = self._asdict()
        if self.group == 1:
            del fields["group"]
        if not self.orders:
            del fields["orders"]
        return fields


class Phase(Enum):
    """Progress of a symbol's subscription."""

    SUBSCRIBING = "a subscribe is on its way; what comes until its answer is not for this view"
    AWAITING_SNAPSHOT = "subscribed, and a snapshot must come next"
    CONTINUOUS = "the view is continuous"


class ClientBook:
    """The view of one symbol.

    `replica`: book, seq and digest. `has_view`: whether a snapshot has ever been applied. `resyncs`:
    snapshots requested since the view was last continuous. `upstream_stale`: whether the gateway's last
    `status` was stale; `stale_reason`: the producer's reason in it, None if there is none.
    `input_age_ms`: age of the symbol's last input in that `status`, None if it is not why the book is stale.
    The replica's `event_ts` is that of the last message that had one.
    """

    __slots__ = (
        "_partial",
        "_sizes",
        "has_view",
        "input_age_ms",
        "options",
        "phase",
        "replica",
        "resyncs",
        "stale_reason",
        "upstream_stale",
    )

    def __init__(self, options: SubscriptionOptions) -> None:
        self.options = options
        self.phase = Phase.SUBSCRIBING
        self.replica = Replica()
        self.has_view = False
        self.upstream_stale = False
        self.stale_reason: str | None = None
        self.input_age_ms: int | None = None
        self.resyncs = 0
        self._sizes = Sizes("", "")
        self._partial = PartialSnapshot()

    @property
    def state(self) -> State:
        """LIVE while the view is continuous and the gateway does not report the book stale."""
        live = self.phase is Phase.CONTINUOUS and not self.upstream_stale
        return State.LIVE if live else State.STALE

    @property
    def sizes(self) -> Sizes:
        """Sizes of the view; those of a new listing come with its snapshot. Empty if nobody has said them."""
        return self.replica.book.sizes or Sizes("", "")

    @property
    def resume(self) -> dict[str, int] | None:
        """State to offer when subscribing on another connection; None without a view.

        Without the number of orders in it, no subscription resumes that is to have them.
        """
        if not self.has_view:
            return None
        replica = self.replica
        offer = {"seq": replica.seq, "digest": replica.digest}
        return offer if replica.orders_digest is None else offer | {"orders_digest": replica.orders_digest}

    def restart(self) -> None:
        """Wait for a new subscription, because the view has a gap or the connection is new."""
        self.phase = Phase.SUBSCRIBING
        self._partial.forget()

    def subscribed(self, message: Message) -> None:
        """Handle `subscribed`: a resumed view continues, any other waits for a snapshot."""
        self._sizes = Sizes(_text(message, "tick_size"), _text(message, "lot_size"))
        if not self.has_view:
            self.replica.book.sizes = self._sizes
        self.upstream_stale, self.stale_reason, self.input_age_ms = False, None, None
        self._partial.forget()
        if message.get("resumed") and self.has_view:
            if not message.get("orders"):
                self.replica.forget_orders()
            self.replica.seq = _unsigned(message, "seq")
            self.replica.book.sizes = self._sizes
            self.phase = Phase.CONTINUOUS
            self.resyncs = 0
        else:
            self.phase = Phase.AWAITING_SNAPSHOT

    def status(self, message: Message) -> None:
        """Handle `status`: record whether the gateway reports the book live or stale."""
        self.upstream_stale = message.get("state") != State.LIVE
        reason = message.get("reason")
        self.stale_reason = reason if self.upstream_stale and isinstance(reason, str) else None
        self.input_age_ms = time_in(message, "input_age_ms") if self.upstream_stale else None

    def snapshot(self, message: Message) -> ApplyResult | None:
        """Handle a snapshot or a part of one; returns None for a part that others must follow.

        Otherwise APPLIED, MISMATCH, GAP if a part is missing, or ALREADY if it is not for this view: it is of
        the subscription being replaced, it has come before, or the continuous view is not older.
        """
        part, place = read_snapshot(message), read_place(message)
        if self.phase is Phase.SUBSCRIBING:
            return ApplyResult.ALREADY
        if self.phase is Phase.CONTINUOUS and part.seq <= self.replica.seq:
            return ApplyResult.ALREADY
        if (counts := read_counts(message, part.bids, part.asks)) is not None:
            part = part._replace(marks={ORDERS: [*counts]})
        snapshot = self._partial.add(part, place)
        if not isinstance(snapshot, Snapshot):
            return snapshot
        if counts is not None and snapshot.marks is not None:
            counts = counts_of(snapshot.marks, snapshot.bids, snapshot.asks)
        replica = Replica(snapshot, counts)
        if digest_of(replica.book.bids.top(), replica.book.asks.top()) != snapshot.digest:
            return ApplyResult.MISMATCH
        if counts is not None and digest_of_counts(counts, snapshot.bids, snapshot.asks) != counts.digest:
            return ApplyResult.MISMATCH
        replica.book.sizes = self._sizes
        replica.event_ts = event_ts_of(message)
        self.replica = replica
        self.has_view = True
        self.phase = Phase.CONTINUOUS
        self.resyncs = 0
        return ApplyResult.APPLIED

    def delta(self, message: Message) -> ApplyResult:
        """Handle a delta; returns the result of the continuity rule. Only APPLIED changes the view."""
        if self.phase is Phase.SUBSCRIBING:
            return ApplyResult.ALREADY  # belongs to the subscription being replaced
        if self.phase is Phase.AWAITING_SNAPSHOT or self._partial.begun:
            return ApplyResult.GAP  # the snapshot, or its last part, must come first
        replica, delta = self.replica, read_delta(message)
        counts = read_counts(message, delta.bids, delta.asks)
        if counts is None:
            result, changes = replica.apply(delta)
        else:
            result, changes = replica.apply_counted(delta, counts)
        if result is ApplyResult.APPLIED:
            if changes.counted is None and replica.orders_digest is not None:
                replica.forget_orders()
            if (event_ts := event_ts_of(message)) is not None:
                replica.event_ts = event_ts
        return result


def event_ts_of(message: Message) -> int | None:
    """The newest source time in a snapshot or delta (µs); None if it has none, or no time."""
    return time_in(message, EVENT_TS)


def because_of(message: Message) -> str | None:
    """What held the broadcasts back that are merged in a delta; None if it does not say."""
    return _text(message, "because") or None


def read_snapshot(message: Message) -> Snapshot:
    """Check a `snapshot` message and flatten its levels; raises `CodecError`."""
    return Snapshot(
        _unsigned(message, "seq"),
        _flat_levels(message, "bids", 1),
        _flat_levels(message, "asks", 1),
        _unsigned(message, "digest"),
        _unsigned(message, "ts"),
    )


def read_place(message: Message) -> Place:
    """Check which part of a snapshot a message is; raises `CodecError`."""
    if "part" not in message and "parts" not in message:
        return WHOLE
    place = Place(_unsigned(message, "part"), _unsigned(message, "parts"))
    if not 1 <= place.part <= place.parts:
        raise CodecError("snapshot message", f"it is part {place.part} of {place.parts}")
    return place


def read_delta(message: Message) -> Delta:
    """Check a `delta` message and flatten its levels; raises `CodecError`."""
    prev_seq, seq = _unsigned(message, "prev_seq"), _unsigned(message, "seq")
    if prev_seq >= seq:
        raise CodecError("delta message", f"seq {seq} does not follow prev_seq {prev_seq}")
    return Delta(
        prev_seq,
        seq,
        _flat_levels(message, "bids", 0),
        _flat_levels(message, "asks", 0),
        _unsigned(message, "digest"),
        _unsigned(message, "merged"),
    )


def read_counts(message: Message, bids: Sequence[int], asks: Sequence[int]) -> OrderCounts | None:
    """The number of orders at each of a message's levels, which are also given flat; None if it has none.

    Raises `CodecError`.
    """
    if "orders_digest" not in message:
        return None
    digest = _unsigned(message, "orders_digest")
    return checked(
        OrderCounts(_third_items(message, "bids"), _third_items(message, "asks"), digest), bids, asks
    )


def _third_items(message: Message, name: str) -> list[Any]:
    levels = message[name]
    if not all(len(level) > 2 for level in levels):
        raise CodecError(
            f"{message.get('type')} message", f"{name} must be a list of [price, quantity, orders]"
        )
    return [level[2] for level in levels]


def pairs(levels: Sequence[Sequence[int]]) -> Levels:
    """Return a message's levels as tuples; trailing items are ignored."""
    return [(level[0], level[1]) for level in levels]


def _unsigned(message: Message, name: str) -> int:
    value = message.get(name)
    if type(value) is not int or value < 0:
        raise CodecError(f"{message.get('type')} message", f"{name} is {value!r}, not a whole number")
    return value


def _text(message: Message, name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _flat_levels(message: Message, name: str, quantity_min: int) -> list[int]:
    levels = message.get(name)
    what = f"{message.get('type')} message"
    if not isinstance(levels, list) or not all(
        isinstance(level, list) and len(level) >= 2 for level in levels
    ):
        raise CodecError(what, f"{name} must be a list of [price, quantity]")
    flat = [number for level in levels for number in level[:2]]
    if not flat:
        return flat
    if set(map(type, flat)) != {int}:
        raise CodecError(what, f"{name}: prices and quantities must be integers")
    quantities = flat[1::2]
    if min(quantities) < quantity_min or max(flat) > MAX_INTEGER or min(flat) < -MAX_INTEGER:
        raise CodecError(what, f"{name}: a price or quantity is out of range")
    return flat
