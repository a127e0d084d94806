"""A channel: one view of one symbol, the recent deltas of that view, and their bytes.

Everything that can be shared between clients is made here once: each delta is encoded once per encoding, each
catch-up from the same place to the head is merged and encoded once. A client is a cursor: the number of the last
broadcast it was sent. Broadcasts are numbered through the whole gateway (`depthcast.gateway.market.market`), so one cursor serves any number of
channels.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.view import View, merge
from depthcast.gateway.protocol.frames import deflated
from depthcast.gateway.protocol.messages import PLAIN, Encoding, ViewDelta, delta_message, encode
from depthcast.shared.replica import Changes, Replica

if TYPE_CHECKING:
    from depthcast.gateway.delivery.cohort import Cohort

ROWS_KEPT_MAX: Final = 32_768
"""Rows remembered per channel, whatever `history_deltas` allows: a few megabytes at most."""


class State(NamedTuple):
    """A state of the view that is remembered: right after broadcast number `broadcast`."""

    broadcast: int
    seq: int
    digest: int


class Step:
    """One view-changing broadcast, and its bytes once somebody needed them."""

    __slots__ = ("broadcast", "delta", "frames", "rows")

    def __init__(self, broadcast: int, delta: ViewDelta) -> None:
        self.broadcast = broadcast
        self.delta = delta
        self.rows = len(delta.bids) + len(delta.asks)
        self.frames: dict[Encoding, bytes] = {}


class CatchUp(NamedTuple):
    """Bytes that bring a client to the head: a snapshot, or a delta of `merged` broadcasts (at least, in a snapshot)."""

    data: bytes
    merged: int
    is_snapshot: bool


class Each(NamedTuple):
    """The bytes of broadcasts that each have their own delta, and how many they are."""

    data: bytes
    deltas: int


class Channel:
    """The view of one symbol at one depth.

    - `view`: None until the symbol has a book.
    - `head`: number of the last broadcast that changed the view.
    - `reset`: number of the broadcast at which history was given up; a cursor before it needs a snapshot.
    - `base`: the state before the first remembered step; a cursor before it needs a snapshot too.
    - `fresh`: steps since the last tick, each of which a client that keeps up gets by itself; `seen` is the head before them.
    - `torn`: history was given up since the last tick: nobody can be sent just what is fresh.
    - `cohorts`: by encoding, those that want every broadcast; `throttled`: those with an interval.
    - `subscribers`, `idle_since`: kept by the session layer, to let go of channels nobody uses.
    """

    __slots__ = (
        "_await_seq", "_deflate_bytes_min", "_fresh_data", "_memo", "_rows", "_steps_max", "base", "cohorts", "counters", "depth", "fresh", "head",
        "idle_since", "reset", "ring", "seen", "subscribers", "symbol", "throttled", "torn", "view",
    )  # fmt: skip

    def __init__(
        self,
        symbol: str,
        depth: int,
        *,
        steps_max: int,
        deflate_bytes_min: int = 0,
        counters: GatewayCounters,
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self.view: View | None = None
        self.head = self.reset = self.seen = 0
        self.base = State(0, 0, 0)
        self.ring: deque[Step] = deque()
        self.fresh: list[Step] = []
        self.torn = False
        self.cohorts: dict[Encoding, dict[Cohort, None]] = {}
        self.throttled: dict[Cohort, None] = {}
        self.subscribers = 0
        self.idle_since: float | None = None
        self.counters = counters
        self._steps_max = steps_max
        self._deflate_bytes_min = deflate_bytes_min
        self._rows = 0
        self._memo: dict[tuple[int, Encoding], CatchUp] = {}
        self._fresh_data: dict[Encoding, Each] = {}
        self._await_seq = False

    # --- who reads it -----------------------------------------------------------------------------------------------

    def admit(self, cohort: "Cohort") -> None:
        """`cohort` is told of changes from now on."""
        if cohort.interval_ms:
            self.throttled[cohort] = None
        else:
            self.cohorts.setdefault(cohort.encoding, {})[cohort] = None

    def dismiss(self, cohort: "Cohort") -> None:
        """`cohort` is no more."""
        if cohort.interval_ms:
            del self.throttled[cohort]
            return
        alike = self.cohorts[cohort.encoding]
        del alike[cohort]
        if not alike:
            del self.cohorts[cohort.encoding]

    # --- what broadcasts do -----------------------------------------------------------------------------------------

    def show(self, replica: Replica, ts: int, broadcast: int) -> bool:
        """The symbol's replica was loaded or replaced; returns whether clients have to be sent anything.

        A view with the same rows just goes on. Otherwise history is given up. Should a different book come with a seq
        that clients have seen already, they keep what they have until a higher one comes: seq never stands still.
        """
        view = View(replica, self.depth, ts)
        if self.view is None:
            return self._give_up(view, broadcast)
        if self.view.same_rows(view) and not self._await_seq:
            view.seq, view.ts = self.view.seq, self.view.ts
            self.view = view
            return False
        if view.seq > self.view.seq:
            return self._give_up(view, broadcast)
        view.seq = self.view.seq
        self.view = view
        self._memo = {}
        self._await_seq = True
        return False

    def advance(self, changes: Changes, seq: int, ts: int, broadcast: int) -> bool:
        """A broadcast was applied to the symbol's replica; returns whether it changed the view."""
        assert self.view is not None, "show comes first"
        delta = self.view.advance(changes, seq, ts)
        if self._await_seq:
            self.view.seq, self.view.ts = seq, ts
            return self._give_up(self.view, broadcast)
        if delta is None:
            return False
        step = Step(broadcast, delta)
        self.head = broadcast
        self.ring.append(step)
        self.fresh.append(step)
        self._fresh_data.clear()
        self._rows += step.rows
        self._memo = {}
        while len(self.ring) > self._steps_max or self._rows > ROWS_KEPT_MAX:
            self._forget_oldest()
        return True

    def settle(self) -> None:
        """A tick is over: what was fresh is history now."""
        for step in self.fresh:
            step.frames.clear()
        self.fresh.clear()
        self._fresh_data.clear()
        self.seen = self.head
        self.torn = False

    def _give_up(self, view: View, broadcast: int) -> bool:
        self.view = view
        self.head = self.reset = self.seen = broadcast
        self.torn = True
        self.base = State(broadcast, view.seq, view.digest)
        self.ring.clear()
        self.fresh.clear()
        self._fresh_data.clear()
        self._rows = 0
        self._memo = {}
        self._await_seq = False
        return True

    def _forget_oldest(self) -> None:
        self.counters.limit_history += self._rows > ROWS_KEPT_MAX
        step = self.ring.popleft()
        self._rows -= step.rows
        self.base = State(step.broadcast, step.delta.seq, step.delta.digest)

    # --- what clients need ------------------------------------------------------------------------------------------

    def waiting_since(self, cursor: int) -> int:
        """Number of the first broadcast that a client at `cursor` was not sent; only if `head` is beyond it.

        Where it is not remembered any more, the least it can have been.
        """
        if cursor < self.reset:
            return self.reset
        if cursor >= self.seen:
            return next(step.broadcast for step in self.fresh if step.broadcast > cursor)
        if cursor < self.base.broadcast:
            return cursor + 1
        return self.ring[self._first_after(cursor)].broadcast

    def each_since(self, cursor: int, encoding: Encoding) -> Each | None:
        """The broadcasts after `cursor`, each as its own delta; None if the client missed some before this tick."""
        if cursor < self.seen or cursor < self.reset:
            return None
        if not self.fresh or cursor >= self.fresh[0].broadcast:
            return self._each([step for step in self.fresh if step.broadcast > cursor], encoding)
        return self.fresh_each(encoding)

    def fresh_each(self, encoding: Encoding) -> Each:
        """The broadcasts after `seen`, each as its own delta: all that a client which stands there or later needs."""
        found = self._fresh_data.get(encoding)
        if found is None:
            found = self._fresh_data[encoding] = self._each(self.fresh, encoding)
        return found

    def _each(self, steps: Sequence[Step], encoding: Encoding) -> Each:
        if len(steps) == 1:
            return Each(self._encoded(steps[0], encoding), 1)
        return Each(b"".join([self._encoded(step, encoding) for step in steps]), len(steps))

    def catch_up(self, cursor: int, encoding: Encoding) -> CatchUp:
        """Everything after `cursor` in one message; only if `head` is beyond it."""
        if cursor < self.reset or cursor < self.base.broadcast:
            return self.snapshot(encoding)._replace(merged=len(self.ring) + 1)
        first = self._first_after(cursor)
        key = (self.ring[first].broadcast, encoding)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._merged(first, encoding)
        return found

    def snapshot(self, encoding: Encoding) -> CatchUp:
        """The whole view; only once there is one."""
        assert self.view is not None
        key = (-1, encoding)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = CatchUp(
                self._encoded_snapshot(self.view, encoding), 1, is_snapshot=True
            )
        return found

    def _encoded_snapshot(self, view: View, encoding: Encoding) -> bytes:
        if encoding in PLAIN:
            return self._deflated(self.snapshot(PLAIN[encoding]).data)
        self.counters.snapshot_encodings += 1
        return encode(view.snapshot_message(self.symbol), encoding)

    def remembered(self, seq: int) -> State:
        """The newest remembered state with a seq up to `seq`, the oldest if there is none."""
        newer = bisect_right(self.ring, seq, key=lambda step: step.delta.seq)
        if not newer:
            return self.base
        step = self.ring[newer - 1]
        return State(step.broadcast, step.delta.seq, step.delta.digest)

    def _first_after(self, cursor: int) -> int:
        return bisect_right(self.ring, cursor, key=lambda step: step.broadcast)

    def _merged(self, first: int, encoding: Encoding) -> CatchUp:
        assert self.view is not None
        steps = list(islice(self.ring, first, None))
        if len(steps) == 1 and steps[0].broadcast > self.seen:
            return CatchUp(self._encoded(steps[0], encoding), 1, is_snapshot=False)
        if encoding in PLAIN:
            plain = self.catch_up(steps[0].broadcast - 1, PLAIN[encoding])
            if plain.is_snapshot:
                return self.snapshot(encoding)._replace(merged=plain.merged)
            return plain._replace(data=self._deflated(plain.data))
        delta = merge([step.delta for step in steps]) if len(steps) > 1 else steps[0].delta
        if len(steps) > 1 and len(delta.bids) + len(delta.asks) > len(self.view):
            return self.snapshot(encoding)._replace(merged=len(steps))
        return CatchUp(self._encode(delta, len(steps), encoding), len(steps), is_snapshot=False)

    def _encoded(self, step: Step, encoding: Encoding) -> bytes:
        data = step.frames.get(encoding)
        if data is None:
            if encoding in PLAIN:
                data = self._deflated(self._encoded(step, PLAIN[encoding]))
            else:
                data = self._encode(step.delta, 1, encoding)
            step.frames[encoding] = data
        return data

    def _encode(self, delta: ViewDelta, merged: int, encoding: Encoding) -> bytes:
        self.counters.delta_encodings += 1
        return encode(delta_message(self.symbol, self.depth, delta, merged), encoding)

    def _deflated(self, plain: bytes) -> bytes:
        data = deflated(plain, self._deflate_bytes_min)
        if data is not plain:
            self.counters.deflated += 1
            self.counters.deflated_bytes_saved += len(plain) - len(data)
        return data
