"""A channel: one view of one symbol, its recent deltas, and their encoded bytes.

Everything that clients can share is made here once: each delta is encoded once per encoding, and each
catch-up from the same cursor to the head is merged and encoded once. A client's position is a cursor: the
number of the last broadcast it was sent. One sequence of numbers covers all broadcasts of a gateway
(`depthcast.gateway.market.market`), so one cursor serves any number of channels. A channel does not know its
readers.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.channel_state import NEXT_STATE, WAITING, WAS_RESET, ChannelEvent, ChannelState
from depthcast.gateway.market.held_back import FREE, NOTHING_CONFLATED, Because, Conflated, HeldBack
from depthcast.gateway.market.history import History, HistoryBound
from depthcast.gateway.market.snapshot_parts import PartsBound, SnapshotParts
from depthcast.gateway.market.step import Step, ViewState
from depthcast.gateway.market.view import View, ViewSource, merge
from depthcast.gateway.protocol.delta_frame import COMPILED, beginning_of, delta_frame
from depthcast.gateway.protocol.frames import deflated
from depthcast.gateway.protocol.messages import (
    PLAIN,
    UNGROUPED,
    Encoding,
    Message,
    ViewDelta,
    delta_message,
    encode,
    snapshot_in_parts,
)
from depthcast.gateway.protocol.requests import Resume
from depthcast.shared.replica import Changes

# Looked up once here, because every broadcast uses them.
_JSON: Final = Encoding.JSON
_ON_DELTA: Final = NEXT_STATE[ChannelEvent.DELTA]
_ON_TICK_ENDED: Final = NEXT_STATE[ChannelEvent.TICK_ENDED]


_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})
_NOTHING_FRESH: Final[list[Step]] = []
"""What a channel has of a kind while it has none, as most channels do. Nothing is added to these two."""

_new_tuple = tuple.__new__
"""Makes a named tuple without the Python function call that its class would cost."""

CATCH_UPS_KEPT_MAX: Final = 64
"""Catch-ups kept for clients at the same cursor, until the view changes again."""


class CatchUp(NamedTuple):
    """What brings a client to the head: a delta of `merged` broadcasts, or a snapshot.

    For a snapshot, `merged` is a lower bound of the broadcasts it replaces. `parts`: of a snapshot of several
    messages, whose `data` is empty. `because`: what held the merged broadcasts back.
    """

    data: bytes
    merged: int
    is_snapshot: bool
    parts: SnapshotParts | None = None
    because: Because | None = None

    @property
    def conflated(self) -> Conflated:
        """The broadcasts that were not sent by themselves, by what held them back."""
        return {self.because: self.merged - 1} if self.merged > 1 else NOTHING_CONFLATED

    @property
    def snapshots(self) -> int:
        """How many messages of a snapshot it has; 0 for a delta."""
        return len(self.parts) if self.parts is not None else int(self.is_snapshot)

    def joined(self) -> bytes:
        """All its messages, one behind the other."""
        return self.data if self.parts is None else self.parts.joined()


class SeparateDeltas(NamedTuple):
    """The bytes of several broadcasts, one delta each, and the number of deltas."""

    data: bytes
    deltas: int


class Channel:
    """The view of one symbol at one depth, in buckets of `group_ticks`.

    - `state`: what happened since the last tick (`depthcast.gateway.market.channel_state`).
    - `view`: None until the symbol has a book.
    - `head`: number of the last broadcast that changed the view; `flushed_head`: the same at the last tick.
    - `reset_at`: number of the broadcast at which history was last reset; a cursor before it needs a
      snapshot.
    - `begins_at`: no broadcast before this one may become a part of history: clients that are there then held
      another view.
    - `history`: recent steps; a cursor before its base needs a snapshot too.
    - `fresh`: steps since the last tick; a client that keeps up gets each as a delta of its own, encoded at
      once in the encodings in which those of the last tick were needed.
    - `subscribers`, `idle_since`: maintained by the sessions, so that unused channels can be dropped.
    - `orders`: whether the view has the number of orders (`depthcast.gateway.market.orders_channel`).
    """

    __slots__ = (
        "_beginning", "_catch_ups", "_deflate_bytes_min", "_fresh_deltas", "_parts_bound", "_snapshots",
        "_wanted", "begins_at", "counters", "depth", "flushed_head", "fresh", "group_ticks", "head",
        "history", "idle_since", "reset_at", "state", "subscribers", "symbol", "view",
    )  # fmt: skip

    orders = False

    def __init__(
        self,
        symbol: str,
        depth: int,
        *,
        group_ticks: int = UNGROUPED,
        history_bound: HistoryBound,
        deflate_bytes_min: int = 0,
        parts_bound: PartsBound | None = None,
        counters: GatewayCounters,
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self.group_ticks = group_ticks
        self.state = ChannelState.NO_BOOK
        self.view: View | None = None
        self.head = self.flushed_head = self.reset_at = self.begins_at = 0
        self.history = History(history_bound, counters)
        self.fresh = _NOTHING_FRESH
        self.subscribers = 0
        self.idle_since: float | None = None
        self.counters = counters
        self._beginning: bytes | None = None
        self._deflate_bytes_min = deflate_bytes_min
        self._parts_bound = parts_bound
        self._catch_ups: Mapping[tuple[int, Encoding, Because | None], CatchUp] = _NOTHING
        self._snapshots: Mapping[tuple[Encoding, bool], CatchUp] = _NOTHING
        self._fresh_deltas: Mapping[Encoding, SeparateDeltas] = _NOTHING
        self._wanted: tuple[Encoding, ...] = ()

    @property
    def history_reset(self) -> bool:
        """Whether history was reset since the last tick, so that clients need more than the fresh deltas."""
        return self.state in WAS_RESET

    # --- what broadcasts do ---------------------------------------------------------------------------------

    def load(self, replica: ViewSource, ts: int, broadcast: int) -> bool:
        """Load the symbol's first replica or a new one; returns whether clients must be sent anything.

        If the view's rows stay the same, nothing changes. Otherwise history is reset. If the rows differ at a
        seq that clients have already seen, clients keep their view until a higher seq comes.
        """
        view = self._view_of(replica, ts)
        if self.view is None:
            return self._reset_history(view, broadcast)
        if self.view.same_rows(view) and self.state not in WAITING:
            view.seq, view.ts, view.event_ts = self.view.seq, self.view.ts, self.view.event_ts
            self.view = view
            return False
        if view.seq > self.view.seq:
            return self._reset_history(view, broadcast)
        view.seq = self.view.seq
        self.view = view
        self._catch_ups = self._snapshots = _NOTHING
        self.state = NEXT_STATE[ChannelEvent.BOOK_HELD_BACK][self.state]
        return False

    def advance(
        self, changes: Changes, seq: int, ts: int, broadcast: int, event_ts: int | None = None
    ) -> bool:
        """Update the view after a broadcast was applied to the replica; returns whether the view changed.

        `event_ts`: the newest source time in the broadcast (µs), None if it has none.
        """
        assert self.view is not None, "load comes first"
        delta = self.view.advance(changes, seq, ts, event_ts)
        if self.state in WAITING:
            self.view.seq, self.view.ts, self.view.event_ts = seq, ts, self.view.replica.event_ts
            return self._reset_history(self.view, broadcast)
        if delta is None:
            return False
        self.state = _ON_DELTA[self.state]
        step = Step(broadcast, delta)
        self.head = broadcast
        self.history.append(step)
        if self.fresh is _NOTHING_FRESH:
            self.fresh = []
        self.fresh.append(step)
        if self._wanted:
            # The step is in the processor's cache now. Packed, its objects make room for the next one's.
            for encoding in self._wanted:
                self._encoded(step, encoding)
            step.pack()
        self._fresh_deltas = _NOTHING
        if self._catch_ups or self._snapshots:
            self._catch_ups = self._snapshots = _NOTHING
        return True

    def end_tick(self) -> None:
        """End the tick: everything was flushed, so fresh steps become history."""
        self.state = _ON_TICK_ENDED[self.state]
        self.history.pack()
        self.fresh = _NOTHING_FRESH
        self._wanted = tuple(self._fresh_deltas)
        self._fresh_deltas = _NOTHING
        self.flushed_head = self.head

    def _reset_history(self, view: View, broadcast: int) -> bool:
        self.state = NEXT_STATE[ChannelEvent.HISTORY_RESET][self.state]
        self.view = view
        self.head = self.flushed_head = self.reset_at = self.begins_at = broadcast
        self.history.restart(ViewState(broadcast, view.seq, view.digest))
        self.fresh = _NOTHING_FRESH
        self._fresh_deltas = _NOTHING
        self._catch_ups = self._snapshots = _NOTHING
        return True

    def begin_earlier(self, base: ViewState, steps: list[Step]) -> bool:
        """Let history begin at `base`, from which `steps` lead to where it begins so far.

        Returns False, with nothing done, if they do not, or if it may not begin that early.
        """
        before = self.history.base
        last = steps[-1].state() if steps else base
        fits = last.digest == before.digest and last.seq <= before.seq and last.broadcast <= before.broadcast
        if not fits or self.state in WAITING or base.broadcast < self.begins_at:
            return False
        if last.seq != before.seq:
            # Clients were given this state under another seq, that of the book.
            if last.broadcast == before.broadcast:
                return False
            assert self.view is not None
            relabelled = ViewDelta(last.seq, before.seq, self.view.ts, (), (), before.digest)
            steps = [*steps, Step(before.broadcast, relabelled)]
        elif steps and last.broadcast < before.broadcast:
            # The channel came later than the state that it begins at: whoever has that state has everything.
            steps = [*steps[:-1], Step(before.broadcast, steps[-1].delta)]
        if not self.history.prepend(base, steps):
            return False
        self.reset_at = min(self.reset_at, base.broadcast)
        return True

    # --- what clients need ----------------------------------------------------------------------------------

    def state_of(self, resume: Resume) -> ViewState | None:
        """The known state of the view that equals a client's book; None if there is none."""
        if self.view is None:
            return None
        state = self.history.state_at(resume.seq)
        return self.history.unchanged_since(state) if self.equals(state, resume) else None

    def equals(self, state: ViewState, resume: Resume) -> bool:
        """Whether a client's book is the view at `state`, by its digest."""
        return state.digest == resume.digest

    def _view_of(self, replica: ViewSource, ts: int) -> View:
        return View(replica, self.depth, ts, self.group_ticks)

    def waiting_since(self, cursor: int) -> int:
        """Number of the first broadcast not sent to a client at `cursor`; call only if `head` is beyond it.

        If history does not reach back that far, the lowest possible number.
        """
        if cursor < self.reset_at:
            return self.reset_at
        if cursor >= self.flushed_head:
            return next(step.broadcast for step in self.fresh if step.broadcast > cursor)
        if cursor < self.history.base.broadcast:
            return cursor + 1
        return self.history.broadcast(self.history.index_after(cursor))

    def separate_since(self, cursor: int, encoding: Encoding) -> SeparateDeltas | None:
        """The broadcasts after `cursor` as separate deltas; None if some are from before this tick."""
        if cursor < self.flushed_head or cursor < self.reset_at:
            return None
        if not self.fresh or cursor >= self.fresh[0].broadcast:
            return self._separate([step for step in self.fresh if step.broadcast > cursor], encoding)
        return self.fresh_deltas(encoding)

    def fresh_deltas(self, encoding: Encoding) -> SeparateDeltas:
        """The broadcasts since the last tick as separate deltas, for clients that keep up."""
        found = self._fresh_deltas.get(encoding)
        if found is None:
            found = self._separate(self.fresh, encoding)
            kept = self._fresh_deltas
            self._fresh_deltas = {**kept, encoding: found} if kept else {encoding: found}
        return found

    def _separate(self, steps: Sequence[Step], encoding: Encoding) -> SeparateDeltas:
        if len(steps) == 1:
            return _new_tuple(SeparateDeltas, (self._encoded(steps[0], encoding), 1))
        return SeparateDeltas(b"".join([self._encoded(step, encoding) for step in steps]), len(steps))

    def catch_up(
        self, cursor: int, encoding: Encoding, held: HeldBack = FREE, *, in_parts: bool = False
    ) -> CatchUp:
        """Everything after `cursor` at once; only if `head` is beyond it. `in_parts` as in `snapshot`.

        `held`: what held the client back; a merged delta says it. Clients with one cause share the bytes.
        """
        history = self.history
        if cursor < self.reset_at or cursor < history.base.broadcast:
            because = held.because(self.waiting_since(cursor))
            found = self.snapshot(encoding, in_parts=in_parts)
            return found._replace(merged=len(history) + 1, because=because)
        first = history.index_after(cursor)
        because = held.because(history.broadcast(first)) if len(history) - first > 1 else None
        found = self._after(first, encoding, because)
        if found.is_snapshot:
            snapshot = self.snapshot(encoding, in_parts=in_parts)
            return snapshot._replace(merged=found.merged, because=because)
        return found

    def snapshot(self, encoding: Encoding, *, in_parts: bool = False) -> CatchUp:
        """The whole view as a snapshot, in parts if `in_parts` and it is large; call only with a view."""
        key = (encoding, in_parts and self.large)
        found = self._snapshots.get(key)
        if found is None or (found.parts is not None and found.parts.dropped):
            found = self._new_snapshot(*key)
            self._snapshots = {**self._snapshots, key: found}
        return found

    @property
    def large(self) -> bool:
        """Whether a snapshot has more levels than fit in one part."""
        bound = self._parts_bound
        return bound is not None and self.view is not None and len(self.view) > bound.levels_max

    def _new_snapshot(self, encoding: Encoding, in_parts: bool) -> CatchUp:
        assert self.view is not None
        if in_parts:
            return CatchUp(b"", 1, is_snapshot=True, parts=self._encoded_parts(self.view, encoding))
        return CatchUp(self._encoded_snapshot(self.view, encoding), 1, is_snapshot=True)

    def _after(self, first: int, encoding: Encoding, because: Because | None) -> CatchUp:
        """Everything from step `first` on in one delta; without data, if a snapshot is smaller."""
        key = (self.history.broadcast(first), encoding, because)
        found = self._catch_ups.get(key)
        if found is None:
            found = self._merged(first, encoding, because)
            kept = dict(self._catch_ups)
            if len(kept) >= CATCH_UPS_KEPT_MAX:
                del kept[next(iter(kept))]
            kept[key] = found
            self._catch_ups = kept
        return found

    def _merged(self, first: int, encoding: Encoding, because: Because | None) -> CatchUp:
        assert self.view is not None
        steps = self.history.since(first)
        if len(steps) == 1 and steps[0].broadcast > self.flushed_head:
            return CatchUp(self._encoded(steps[0], encoding), 1, is_snapshot=False)
        if encoding in PLAIN:
            plain = self._after(first, PLAIN[encoding], because)
            return plain if plain.is_snapshot else plain._replace(data=self._deflated(plain.data))
        delta = self._merge([step.delta for step in steps]) if len(steps) > 1 else steps[0].delta
        if len(steps) > 1 and len(delta.bids) + len(delta.asks) > len(self.view):
            return CatchUp(b"", len(steps), is_snapshot=True)
        merged = sum(step.rows > 0 for step in steps) or 1
        data = self._encode(delta, merged, encoding, because)
        return CatchUp(data, merged, is_snapshot=False, because=because)

    def _merge(self, deltas: Sequence[ViewDelta]) -> ViewDelta:
        return merge(deltas)

    # --- bytes ----------------------------------------------------------------------------------------------

    def _encoded(self, step: Step, encoding: Encoding) -> bytes:
        data = step.frames.get(encoding)
        if data is None:
            if encoding in PLAIN:
                data = self._deflated(self._encoded(step, PLAIN[encoding]))
            else:
                data = self._encode(step.delta, 1, encoding)
            step.frames[encoding] = data
        return data

    def _encode(
        self, delta: ViewDelta, merged: int, encoding: Encoding, because: Because | None = None
    ) -> bytes:
        self.counters.delta_encodings += 1
        if COMPILED and encoding is _JSON and because is None and not self.orders:
            if self._beginning is None:
                self._beginning = beginning_of(self.symbol, self.depth)
            data = delta_frame(self._beginning, delta, merged, self.group_ticks)
            if data is not None:
                return data
        return encode(self._message(delta, merged, because), encoding)

    def _message(self, delta: ViewDelta, merged: int, because: Because | None) -> Message:
        return delta_message(self.symbol, self.depth, delta, merged, because, group_ticks=self.group_ticks)

    def _encoded_snapshot(self, view: View, encoding: Encoding) -> bytes:
        if encoding in PLAIN:
            return self._deflated(self.snapshot(PLAIN[encoding]).data)
        self.counters.snapshot_encodings += 1
        return encode(view.snapshot_message(self.symbol), encoding)

    def _encoded_parts(self, view: View, encoding: Encoding) -> SnapshotParts:
        bound = self._parts_bound
        assert bound is not None
        if encoding in PLAIN:
            plain = self.snapshot(PLAIN[encoding], in_parts=True).parts
            assert plain is not None
            parts = plain.shortened(self._deflated)
        else:
            self.counters.snapshot_encodings += 1
            self.counters.snapshots_in_parts += 1
            messages = snapshot_in_parts(view.snapshot_message(self.symbol), bound.levels_max)
            parts = SnapshotParts([encode(message, encoding) for message in messages])
        bound.add(parts)
        return parts

    def _deflated(self, plain: bytes) -> bytes:
        data = deflated(plain, self._deflate_bytes_min)
        if data is not plain:
            self.counters.deflated += 1
            self.counters.deflated_bytes_saved += len(plain) - len(data)
        return data
