"""How a reader of one partition starts, continues and starts again (`docs/protocol.md`, section 2.4).

`PartitionReader` is the state machine that the gateway and the stream consumer share. It takes snapshots and
entries, checks that positions and seqs are continuous, and reports what changed. After a loss it keeps
showing the old book until a rebuilt one is at least as new, so viewers never see a book go back. Its input
and output is in `depthcast.shared.runtime.follow`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from depthcast.shared.codec import (
    INFO_FIELD,
    NO_MARKS,
    WRITTEN_FIELD,
    Marks,
    decode_delta,
    decode_info,
    decode_marked_delta,
    decode_trailing_marks,
    decode_written,
)
from depthcast.shared.doubt import doubt_after
from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.input_times import EVENT_TS, INPUT_TS, input_ts_of, time_in
from depthcast.shared.listing import of_table
from depthcast.shared.order_counts import ORDERS, counts_in, counts_of
from depthcast.shared.packed_delta import COMPILED, read_packed_delta
from depthcast.shared.position import LAST, ZERO, Position, follows
from depthcast.shared.replica import NO_CHANGES, ApplyResult, Changes, Replica
from depthcast.shared.types import Delta, EntryInfo, Snapshot

_APPLIED: Final = ApplyResult.APPLIED
_ALREADY: Final = ApplyResult.ALREADY
"""Stored once, because looking up a member of an enumeration costs a call."""

_UNMARKED: Final = b"\x96"
"""First byte of a delta without marks: a msgpack array of six items."""

_new_tuple = tuple.__new__
"""Makes a named tuple without the Python function call that its class would cost."""

LoadedSnapshots = Mapping[str, tuple[Position, Snapshot] | None]
"""Newest snapshot of each requested symbol, None if there is none."""


class OldestEntry(NamedTuple):
    """The oldest entry that a `deltas` stream still holds; `prev`: the position it continues, if given."""

    position: Position
    prev: Position | None


def within_history(snapshots: LoadedSnapshots, first: OldestEntry | None) -> LoadedSnapshots:
    """Replace each snapshot that the stream no longer continues by None.

    The stream is only trimmed behind every symbol's newest snapshot. So if `first` was read *before* the
    snapshots, an older snapshot belongs to a withdrawn symbol: if that symbol returns, its book starts empty.
    """
    if first is None:
        return snapshots
    oldest, prev = first
    return {
        symbol: found if found is None or found[0] >= oldest or follows(oldest, found[0], prev) else None
        for symbol, found in snapshots.items()
    }


class ReplicaUpdate(NamedTuple):
    """One symbol's change. `delta` is None and `changes` empty if the whole replica was replaced.

    `event_ts`: newest source time of what is merged in the delta (µs), None if it has none.
    """

    symbol: str
    replica: Replica
    delta: Delta | None
    changes: Changes
    event_ts: int | None = None


OnRebuilding = Callable[[ReplicaUpdate, int], None]


class Written(NamedTuple):
    """How fresh books are that include an entry.

    - `us`: when the entry was written, by the server's clock (µs since 1970); None if it does not say.
    - `lag_ms`: age of the oldest unread input then; None if it does not say.
    - `is_new`: whether it was written after the reader last loaded.
    - `is_seal`: whether n is 0: a seal or a step of moves, written before the leader looked at the input.
    """

    us: int | None
    lag_ms: int | None
    is_new: bool
    is_seal: bool = False


class AppliedEntry(NamedTuple):
    """One `deltas` entry as applied; `info` None: a load of snapshots instead of an entry.

    `written`: of this entry; None for a load after which older entries are still to be read.
    """

    position: Position
    info: EntryInfo | None
    updates: list[ReplicaUpdate]
    written: Written | None = None


class PartitionReader:
    """Replicas of those symbols of one partition for which `wants` is true.

    - `position`: position of the last entry read; None before the first load.
    - `shown`: replicas to show to users, each at its last good state.
    - `rebuilding`: loaded replicas that are still older than the one shown, or ahead of what was read.
    - `ahead`: symbol → the entry of its snapshot, where that was not read yet.
    - `missing`: symbol → why it needs a fresh snapshot; the replica shown is stale until then.
    - `lost_reason`: why the whole partition must be loaded again; None while the stream is continuous.

    `confirms`: a snapshot counts only once the last entry in it was read. A recovery takes what there is,
    because it publishes every book again that may have been lost.

    `orders`: whether the replicas of orders feeds have the number of orders at each level. Without it, what
    is said of that is not even looked at.

    `as_numbers`: if modules are compiled, changes are `LevelRows`, and the levels of deltas are arrays.

    `on_rebuilding`: called after each delta that was applied to a replica which is not shown yet, with the
    time of its entry (µs).

    The owner loads while `lost_reason` or `missing` is set, and reads entries otherwise.
    """

    def __init__(
        self,
        wants: Callable[[str], bool],
        *,
        confirms: bool = True,
        orders: bool = True,
        as_numbers: bool = False,
    ) -> None:
        self.wants = wants
        self.on_rebuilding: OnRebuilding | None = None
        self._confirms = confirms
        self._orders = orders
        self._as_numbers = as_numbers and COMPILED
        self.position: Position | None = None
        self.shown: dict[str, Replica] = {}
        self.rebuilding: dict[str, Replica] = {}
        self.missing: dict[str, str] = {}
        self.lost_reason: str | None = "not loaded yet"
        self._tail = ZERO
        self._ts = 0
        self.ahead: dict[str, Position] = {}
        self._ahead_in_order: list[tuple[Position, str]] = []

    def is_current(self, symbol: str) -> bool:
        """Return whether the shown replica of `symbol` includes every entry read."""
        return (
            self.lost_reason is None
            and symbol in self.shown
            and symbol not in self.missing
            and symbol not in self.rebuilding
        )

    def want(self, symbol: str) -> None:
        """Follow `symbol`; the next load includes it unless it is followed already."""
        if symbol not in self.shown and symbol not in self.rebuilding:
            self.missing.setdefault(symbol, "not loaded yet")

    def forget(self, symbol: str) -> None:
        """Stop following `symbol`."""
        self.shown.pop(symbol, None)
        self.rebuilding.pop(symbol, None)
        self.missing.pop(symbol, None)
        self.ahead.pop(symbol, None)

    def mark_lost(self, reason: str) -> None:
        """Require a load of everything: the stream cannot be continued from `position`."""
        self.lost_reason = reason

    def load(self, tail: Position, snapshots: LoadedSnapshots) -> list[ReplicaUpdate]:
        """Start from snapshots: of all wanted symbols if `lost_reason` is set, else of the missing ones.

        `tail` is the last position of the stream, read *before* the snapshots. So a symbol without a snapshot
        has its first broadcast after `tail`, and reading continues from there. Symbols wanted or forgotten
        since then stay so. A symbol that is not shown yet waits until the entry at `tail` was read, because
        other readers may already have shown that state. A snapshot of a later entry than `position` waits
        until that entry was read: a failover may lose it, and nothing need be published for the symbol then.
        """
        self._tail = tail
        positions = [found[0] for found in snapshots.values() if found is not None]
        if self.lost_reason is not None or self.position is None:
            self.position = min(positions if positions and all(snapshots.values()) else [*positions, tail])
            self.rebuilding.clear()
            self.ahead.clear()
            self._ahead_in_order.clear()
        else:
            positions.append(self.position)
            self.position = min(positions)
        self.lost_reason = None
        for symbol, found in snapshots.items():
            self.missing.pop(symbol, None)
            self.ahead.pop(symbol, None)
            if self.wants(symbol):
                snapshot = found[1] if found else None
                self.rebuilding[symbol] = _loaded(symbol, snapshot, orders=self._orders)
                if self._confirms and found is not None and found[0] > self.position:
                    self.ahead[symbol] = found[0]
                    heappush(self._ahead_in_order, (found[0], symbol))
        return self._promote_all()

    def read(self, position: Position, fields: Sequence[tuple[bytes, bytes]]) -> AppliedEntry | None:
        """Apply the next entry; returns None if it does not follow the last one (see `lost_reason`)."""
        try:
            info, named = read_info(fields)
        except (CodecError, PositionError) as error:
            self.mark_lost(f"entry {position}: {error}")
            return None
        assert self.position is not None, "load before read"
        if not follows(position, self.position, named):
            self.mark_lost(f"a hole between {self.position} and {position}")
            return None
        updates: list[ReplicaUpdate] = []
        missing, wants = self.missing, self.wants
        written_us = None
        input_ts = input_ts_of(info.src)
        self._ts = info.ts
        for name, raw in fields:
            if name.startswith(b"_"):
                if name == WRITTEN_FIELD:
                    written_us = decode_written(raw)
                continue
            symbol = name.decode("utf-8", "replace")
            if symbol in missing or not wants(symbol):
                continue
            update = self._read_symbol(symbol, raw, input_ts)
            if update is not None:
                updates.append(update)
        if info.inputs is not None:
            self._take_inputs(info.inputs, input_ts)
        caught_up = self.position < self._tail <= position
        self.position = position
        reached = self._reach(position) if self.ahead else ()
        # Nothing else lets a replica be shown that did not have to change with this entry.
        updates += self._promote_all() if caught_up else self._promoted(reached)
        written = Written(written_us, info.lag_ms, position > self._tail, is_seal=position.n == 0)
        return AppliedEntry(position, info, updates, written)

    def beside(self, symbols: Collection[str], position: Position) -> "PartitionReader":
        """Return a reader at `position` that takes up further symbols, for `adopt`.

        It is loaded with their snapshots, and then reads on until it is where this one is. It shows nothing.
        """
        other = PartitionReader(symbols.__contains__, orders=self._orders, as_numbers=self._as_numbers)
        other.position, other.lost_reason = position, None
        return other

    def load_beside(self, snapshots: LoadedSnapshots) -> None:
        """Load a reader that `beside` made at a position of *before* the snapshots were read.

        So a symbol without one is born after its position. The position goes back to the oldest snapshot.
        """
        self.load(LAST, snapshots)

    def rest_at(self, position: Position) -> None:
        """Go on from `position`, whatever was there before: no symbol is followed."""
        assert not {*self.shown, *self.rebuilding, *self.missing}, "some symbols are followed"
        self.position = self._tail = position
        self.lost_reason = None
        self.ahead.clear()
        self._ahead_in_order.clear()

    def adopt(self, other: "PartitionReader", symbols: Collection[str]) -> list[ReplicaUpdate]:
        """Follow `symbols` from now on, with the replicas of a reader `beside`, which is at this position.

        A symbol whose deltas did not continue its snapshot is loaded as any other that is missing.
        """
        assert other.position == self.position
        updates = []
        for symbol in symbols:
            if symbol in other.missing:
                self.missing[symbol] = other.missing[symbol]
                continue
            self.rebuilding[symbol] = other.rebuilding[symbol]
            if symbol in other.ahead:
                self.ahead[symbol] = other.ahead[symbol]
                heappush(self._ahead_in_order, (other.ahead[symbol], symbol))
            if other.rebuilding[symbol].seq and (update := self._promote(symbol)) is not None:
                updates.append(update)
        return updates

    def is_empty(self, symbol: str) -> bool:
        """Whether the last load of `symbol` brought nothing, and nothing came since."""
        replica = self.rebuilding.get(symbol)
        return replica is not None and not replica.seq

    def reload_empty(self, symbol: str, reason: str) -> None:
        """Load `symbol` again if its last load brought nothing."""
        if self.is_empty(symbol):
            self._fail(symbol, reason)

    def pass_over(self, position: Position) -> list[ReplicaUpdate]:
        """Go on after an entry that no leader wrote; only for a recovery that publishes every book again."""
        self.lost_reason = None
        self.position = position
        self._reach(position)
        return self._promote_all()

    def check_tail(self, last: Position) -> None:
        """Compare the stream's last ID with our position; if it is lower, Redis has lost data."""
        if self.position is not None and last < self.position:
            self.mark_lost(f"the stream ends at {last}, behind our position {self.position}")

    def _read_symbol(self, symbol: str, raw: bytes, input_ts: int) -> ReplicaUpdate | None:
        rebuilding = self.rebuilding
        replica = rebuilding.get(symbol) if rebuilding else None
        try:
            delta, marks = _read_numbers(raw) if self._as_numbers else _read(raw)
            if replica is None:
                replica = self.shown.get(symbol)
            if replica is None or (not delta.prev_seq and replica.seq < delta.seq):
                replica = rebuilding[symbol] = Replica()  # a birth: no book before it counts any more
            outcome, changes = (
                _apply(replica, delta, marks) if marks and self._orders else replica.apply(delta)
            )
        except CodecError as error:
            self._fail(symbol, str(error))
            return None
        if outcome is _ALREADY:
            return None
        if outcome is not _APPLIED:
            self._fail(symbol, f"{outcome.value} at seq {replica.seq}, delta {delta.prev_seq} to {delta.seq}")
            return None
        event_ts = time_in(marks, EVENT_TS) if marks else None
        if marks and not self._take_marks(symbol, replica, marks, event_ts):
            return None
        if delta.events and input_ts > replica.input_ts:
            replica.input_ts = input_ts
        if changes.counted is None and replica.orders_digest is not None:
            replica.forget_orders()
        if rebuilding and symbol in rebuilding:
            if self.on_rebuilding is not None:
                self.on_rebuilding(ReplicaUpdate(symbol, replica, delta, changes, event_ts), self._ts)
            return self._promote(symbol)
        return _new_tuple(ReplicaUpdate, (symbol, replica, delta, changes, event_ts))

    def _take_marks(self, symbol: str, replica: Replica, marks: Marks, event_ts: int | None) -> bool:
        """Take what a delta says of its book; False if the listing it names cannot be that of this book.

        `event_ts`: the source time in the marks; most deltas have no other mark.
        """
        if event_ts is not None:
            replica.event_ts = event_ts
            if len(marks) == 1:
                return True
        try:
            named = of_table(symbol, marks)
        except CodecError as error:
            self._fail(symbol, str(error))
            return False
        if named is not None:
            if replica.listing not in (None, named):
                self._fail(symbol, f"the book of listing {replica.listing} goes on as {named}")
                return False
            replica.listing = named
        replica.doubt = doubt_after(marks, replica.doubt)
        return True

    def _take_inputs(self, symbols: Sequence[str], input_ts: int) -> None:
        """Take that books which did not change had input."""
        for symbol in symbols:
            replica = self.rebuilding.get(symbol) or self.shown.get(symbol)
            # An entry may be read again, and a snapshot may be newer than it.
            if replica is not None and input_ts > replica.input_ts:
                replica.input_ts = input_ts

    def _reach(self, position: Position) -> list[str]:
        """Compare `position` with the entries of snapshots ahead; returns the symbols of those that it is."""
        reached = []
        while self._ahead_in_order and self._ahead_in_order[0][0] <= position:
            wanted, symbol = heappop(self._ahead_in_order)
            if self.ahead.get(symbol) != wanted:
                continue  # loaded again or forgotten since
            if wanted == position:
                del self.ahead[symbol]
                reached.append(symbol)
            else:
                self._fail(symbol, f"its snapshot is of the entry {wanted}, which Redis has lost")
        return reached

    def _promote_all(self) -> list[ReplicaUpdate]:
        if not self.shown and self.position is not None and self.position < self._tail:
            return []
        return self._promoted(list(self.rebuilding))

    def _promoted(self, symbols: Iterable[str]) -> list[ReplicaUpdate]:
        """Show the rebuilt replicas of these symbols that may be shown; an empty one waits for its birth."""
        known = [symbol for symbol in symbols if self.rebuilding[symbol].seq]
        return [update for symbol in known if (update := self._promote(symbol)) is not None]

    def _promote(self, symbol: str) -> ReplicaUpdate | None:
        """Show the rebuilt replica once it is as new as the one shown here or by other readers."""
        rebuilt, shown = self.rebuilding[symbol], self.shown.get(symbol)
        assert self.position is not None
        if symbol in self.ahead:
            return None
        if self.position < self._tail if shown is None else rebuilt.seq < shown.seq:
            return None
        self.shown[symbol] = self.rebuilding.pop(symbol)
        return ReplicaUpdate(symbol, rebuilt, None, NO_CHANGES)

    def _fail(self, symbol: str, reason: str) -> None:
        self.rebuilding.pop(symbol, None)
        self.ahead.pop(symbol, None)
        self.missing[symbol] = reason


def _read(raw: bytes) -> tuple[Delta, Marks]:
    return (decode_delta(raw), NO_MARKS) if raw[:1] == _UNMARKED else decode_marked_delta(raw)


def _read_numbers(raw: bytes) -> tuple[Delta, Marks]:
    """As `_read`, with levels as arrays unless the delta is unusual."""
    packed = read_packed_delta(raw)
    if packed is None:
        return _read(raw)
    delta, end = packed
    return delta, NO_MARKS if end == len(raw) else decode_trailing_marks(raw[end:])


def _apply(replica: Replica, delta: Delta, marks: Marks) -> tuple[ApplyResult, Changes]:
    """Apply a delta with marks; raises `CodecError` if it says the number of orders wrongly."""
    if ORDERS in marks and replica.offer(delta) is _APPLIED:
        return replica.apply_counted(delta, counts_of(marks, delta.bids, delta.asks))
    return replica.apply(delta)


def _loaded(symbol: str, snapshot: Snapshot | None, *, orders: bool) -> Replica:
    """A replica at a snapshot; empty without one, and if the snapshot's listing or order counts are wrong."""
    if snapshot is None:
        return Replica()
    try:
        listing = of_table(symbol, snapshot.marks)
        counts = counts_in(snapshot) if orders else None
    except CodecError:
        return Replica()
    replica = Replica(snapshot, counts)
    replica.listing = listing
    marks = snapshot.marks or NO_MARKS
    replica.doubt = doubt_after(marks, None)
    replica.event_ts = time_in(marks, EVENT_TS)
    replica.input_ts = time_in(marks, INPUT_TS) or 0
    return replica


def read_info(fields: Sequence[tuple[bytes, bytes]]) -> tuple[EntryInfo, Position | None]:
    """An entry's info and its `prev`; raises `CodecError` or `PositionError` if no leader wrote the entry."""
    for name, raw in fields:
        if name == INFO_FIELD:
            info = decode_info(raw)
            return info, Position.parse(info.prev) if info.prev is not None else None
    raise CodecError("entry", "has no field _")


def is_foreign(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether no leader wrote the entry: its field `_` is missing or malformed."""
    try:
        read_info(fields)
    except (CodecError, PositionError):
        return True
    return False


def written_in(position: Position, fields: Sequence[tuple[bytes, bytes]]) -> Written | None:
    """How fresh books are that include this entry, the last one of a stream; None if no leader wrote it."""
    try:
        info, _ = read_info(fields)
    except (CodecError, PositionError):
        return None
    written_us = next((decode_written(raw) for name, raw in fields if name == WRITTEN_FIELD), None)
    return Written(written_us, info.lag_ms, is_new=False, is_seal=position.n == 0)
