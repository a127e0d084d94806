"""The engine: all books of one partition behind one lock.

Every call is atomic and allowed from any thread. So an interval has all events of an input entry or none, and
a snapshot is exactly the last drained state. Decoding input and sorting a snapshot happen outside the lock.
"""

import threading
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from depthcast.broadcaster.merger import snapshot_of
from depthcast.broadcaster.numbering import ORIGIN_MS, first_seq
from depthcast.ingestor.book_state import BookState
from depthcast.ingestor.events import encode_event, op_of, read_entry
from depthcast.ingestor.levels import LevelsState
from depthcast.ingestor.orders import OrdersCopy, OrdersState
from depthcast.ingestor.rejects import (
    EVENT_BYTES_MAX,
    NAME_CHARS_MAX,
    WHOLE,
    ArrayResult,
    Reason,
    RefusedError,
    Reject,
)
from depthcast.shared.book import Book
from depthcast.shared.codec import INFO_FIELD
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.partition import partition_of
from depthcast.shared.types import Delta, Snapshot, Symbol


class Interval(NamedTuple):
    """The result of one drain: everything that must be published in one atomic step.

    - `src`: ID of the last input entry consumed, `0-0` for none.
    - `event_ts`: newest source time (µs) consumed since the last drain.
    - `applied`, `rejected`, `ignored`: events since the partition began; `rejected` is the sum of `count`
      over all rejects.
    - `deltas`: at most one per symbol, births included.
    - `born`: symbols registered (again) since the last drain; their snapshots and checkpoints are published
      with the interval.
    - `orders`: copies of the orders as of `src`, for `born` symbols with an orders feed and for those
      requested.
    - `touched`: symbols with applied events; without a net change, their orders may still have changed.
    """

    src: str
    event_ts: int | None
    applied: int
    rejected: int
    ignored: int
    deltas: list[tuple[Symbol, Delta]]
    rejects: list[Reject]
    born: list[Symbol]
    orders: dict[Symbol, OrdersCopy]
    touched: list[Symbol]


class Stats(NamedTuple):
    """Sizes of all books at one moment, for metrics."""

    symbols: int
    levels: int
    orders: int


class Engine:
    """The books of one partition, number `partition` of `partitions`.

    `evicted`: levels removed by `on_cross: evict` in this process, all symbols together. Tests pass a `lock`
    to schedule threads themselves.
    """

    def __init__(
        self, partition: int, partitions: int, *, lock: AbstractContextManager[object] | None = None
    ) -> None:
        self.evicted = 0
        self._partition = partition
        self._partitions = partitions
        self._lock = threading.Lock() if lock is None else lock
        self._epoch = ORIGIN_MS
        self._known: Collection[str] = frozenset()
        self._states: dict[Symbol, BookState] = {}
        # Symbols that accept events, by their field name.
        self._registered: dict[bytes, tuple[Symbol, BookState]] = {}
        self._births_due: dict[Symbol, None] = {}
        self._born: dict[Symbol, None] = {}
        self._changed: dict[Symbol, BookState] = {}
        self._rejects: list[Reject] = []
        self._has_input = False
        self._src = "0-0"
        self._event_ts: int | None = None
        self._applied = self._rejected = self._ignored = 0

    # --- symbols -------------------------------------------------------------------------------------------

    def set_all_symbols(self, symbols: Collection[str]) -> None:
        """Set the symbols of the whole deployment, to tell a wrong partition from an unknown symbol."""
        with self._lock:
            self._known = frozenset(symbols)

    def register(self, instrument: Instrument) -> None:
        """Accept events for a symbol from now on.

        A new symbol gets an empty book, and its birth is due with the next drain. A withdrawn symbol
        continues with its book, and the next drain lists it in `born`. A registered symbol does not change.
        """
        with self._lock:
            symbol = instrument.symbol
            if symbol.encode() in self._registered:
                return
            if symbol not in self._states:
                self._states[symbol] = _new_state(instrument)
            (self._born if self._states[symbol].merger.seq else self._births_due)[symbol] = None
            self._registered[symbol.encode()] = (symbol, self._states[symbol])

    def withdraw(self, symbol: str) -> None:
        """Refuse the symbol's events as `unknown_symbol` from now on; its book and pending changes stay."""
        with self._lock:
            name = Symbol(symbol)
            self._registered.pop(name.encode(), None)
            self._born.pop(name, None)
            if name in self._births_due and name not in self._changed:
                del self._births_due[name], self._states[name]  # it was never published

    def symbols(self) -> list[Symbol]:
        """All registered symbols."""
        with self._lock:
            return [symbol for symbol, _ in self._registered.values()]

    # --- input ---------------------------------------------------------------------------------------------

    def apply(self, source: str, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Apply one input entry; never raises.

        `source`: its stream ID. `fields`: its fields in order, including repeated ones.
        """
        entry = read_entry(fields)
        with self._lock:
            self._has_input = True
            self._src = source
            if entry.ts is not None:
                self._event_ts = entry.ts if self._event_ts is None else max(entry.ts, self._event_ts)
            for raw in entry.faults:
                self._reject(INFO_FIELD, Reason.MALFORMED, source, WHOLE, 1, raw)
            for name, raw, events in entry.values:
                if events is None:
                    self._reject(name, Reason.MALFORMED, source, WHOLE, 1, raw)
                    continue
                outcome = self._apply_array(name, events, entry.atomic)
                self._count(outcome)
                for index, reason in outcome.refused:
                    event = raw if index == WHOLE else encode_event(events[index], raw)
                    self._reject(name, reason, source, index, len(events) if entry.atomic else 1, event)

    def _apply_array(self, name: bytes, events: list[object], atomic: bool) -> ArrayResult:
        found = self._registered.get(name)
        if found is None:
            return self._refuse_all(name, events, atomic)
        symbol, state = found
        outcome = state.apply(events, atomic=atomic)
        if outcome.applied:
            self._changed[symbol] = state
        return outcome

    def _refuse_all(self, name: bytes, events: list[object], atomic: bool) -> ArrayResult:
        """Refuse the events of a symbol that is not ours; an atomic array gets one reject for all events."""
        reason = Reason.WRONG_PARTITION if self._is_of_another_partition(name) else Reason.UNKNOWN_SYMBOL
        refused = []
        for index, event in enumerate(events[:1] if atomic else events):
            try:
                op_of(event)
                refused.append((index, reason))
            except RefusedError as refusal:
                refused.append((index, refusal.reason))
        return ArrayResult(0, 0, refused, 0)

    def _is_of_another_partition(self, name: bytes) -> bool:
        symbol = name.decode(errors="replace")
        return symbol in self._known and partition_of(symbol, self._partitions) != self._partition

    def _count(self, outcome: ArrayResult) -> None:
        self._applied += outcome.applied
        self._ignored += outcome.ignored
        self.evicted += outcome.evicted

    def _reject(self, name: bytes, reason: Reason, source: str, index: int, count: int, event: bytes) -> None:
        symbol = name.decode(errors="replace")[:NAME_CHARS_MAX]
        self._rejects.append(Reject(symbol, reason, source, index, count, event[:EVENT_BYTES_MAX]))
        self._rejected += count

    # --- output --------------------------------------------------------------------------------------------

    def drain(self, checkpoints: Collection[str] = ()) -> Interval:
        """Take the changes since the last drain, and copy the orders of the symbols in `checkpoints`.

        If a new symbol already has changes, this drain has its birth and the next one its changes. `dirty`
        stays true then: drain again at once and publish both intervals in one atomic step, because `src`
        covers both.
        """
        with self._lock:
            touched = list(self._changed)
            births, self._births_due = self._births_due, {}
            self._born.update(births)
            deltas = [(symbol, self._advance(symbol)) for symbol in births]
            deltas.extend(self._drain_changes(held_back=births))
            born, self._born = list(self._born), {}
            rejects, self._rejects = self._rejects, []
            event_ts, self._event_ts = self._event_ts, None
            self._has_input = False
            orders = self._copy_orders(dict.fromkeys((*born, *checkpoints)))
            counts = (self._applied, self._rejected, self._ignored)
            return Interval(self._src, event_ts, *counts, deltas, rejects, born, orders, touched)

    def _drain_changes(self, held_back: Collection[Symbol]) -> list[tuple[Symbol, Delta]]:
        changed = self._changed
        self._changed = {symbol: changed.pop(symbol) for symbol in list(changed) if symbol in held_back}
        least = first_seq(self._epoch, 0)
        drained = [(symbol, state.merger.drain(least)) for symbol, state in changed.items()]
        return [(symbol, delta) for symbol, delta in drained if delta is not None]

    def _advance(self, symbol: Symbol) -> Delta:
        merger = self._states[symbol].merger
        return merger.advance(first_seq(self._epoch, merger.seq))

    def _copy_orders(self, symbols: Collection[str]) -> dict[Symbol, OrdersCopy]:
        states = ((Symbol(symbol), self._states.get(Symbol(symbol))) for symbol in symbols)
        return {symbol: state.copy() for symbol, state in states if isinstance(state, OrdersState)}

    def snapshot(self, symbol: str) -> Snapshot:
        """The last drained state of a symbol; `KeyError` if it was never registered. The caller sets `ts`."""
        with self._lock:
            copies = self._states[Symbol(symbol)].merger.copies()
        return snapshot_of(copies)

    def dirty(self) -> bool:
        """Whether the next drain has anything to publish: consumed input, due births or deferred changes."""
        with self._lock:
            return bool(self._has_input or self._births_due or self._born or self._changed)

    def pending_rejects(self) -> int:
        """Number of rejects that wait for the next drain."""
        with self._lock:
            return len(self._rejects)

    def digest(self, symbol: str) -> int:
        """Digest of a symbol at its last drained, restored or replayed state."""
        with self._lock:
            return self._states[Symbol(symbol)].merger.digest

    def stats(self) -> Stats:
        """Sizes of all books, including withdrawn symbols."""
        with self._lock:
            states = self._states.values()
            levels = sum(len(side) for state in states for side in state.book.sides)
            orders = sum(len(state) for state in states if isinstance(state, OrdersState))
            return Stats(len(states), levels, orders)

    # --- recovery ------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> list[tuple[Symbol, Delta]]:
        """Move every registered symbol into `epoch` (ms since 1970), by an empty delta or its birth.

        The next drain lists newborns in `born`. Pending changes stay pending.
        """
        with self._lock:
            self._epoch = epoch
            self._born.update(self._births_due)
            self._births_due = {}
            return [(symbol, self._advance(symbol)) for symbol, _ in self._registered.values()]

    def restore(
        self,
        instrument: Instrument,
        seq: int,
        bids: Sequence[int],
        asks: Sequence[int],
        digest: int,
        orders: OrdersCopy | None,
    ) -> None:
        """Register a symbol with its published state at `seq` (0: its birth is due), replacing any other.

        A levels feed takes flat `[price, quantity, …]` sides and their digest. An orders feed takes only
        `orders`; levels and digest follow from them. Once the input up to the published `src` was replayed,
        `digest` must equal the published digest. Raises `RecoveryError` if the orders are missing or
        contradict each other.
        """
        symbol = instrument.symbol
        state = _new_state(instrument)
        if isinstance(state, OrdersState):
            self._load_orders(symbol, state, seq, orders)
        else:
            state.load_levels(seq, bids, asks, digest)
        self._put(symbol, state)
        if not seq:
            with self._lock:
                self._births_due[symbol] = None

    def _put(self, symbol: Symbol, state: BookState) -> None:
        with self._lock:
            self._states[symbol] = state
            self._registered[symbol.encode()] = (symbol, state)
            for waiting in (self._births_due, self._born, self._changed):
                waiting.pop(symbol, None)

    def _load_orders(self, symbol: Symbol, state: OrdersState, seq: int, orders: OrdersCopy | None) -> None:
        if orders is None:
            raise RecoveryError(self._partition, f"{symbol} has an orders feed but no orders were kept")
        try:
            state.load_orders(seq, orders)
        except (ValueError, TypeError) as error:
            raise RecoveryError(self._partition, f"the orders kept of {symbol} are wrong: {error}") from error

    def restore_book(self, instrument: Instrument, seq: int, book: Book, digest: int) -> None:
        """Register a levels-feed symbol with its published state; the engine takes over `book`."""
        state = _new_state(instrument)
        state.load_book(seq, book, digest)
        self._put(instrument.symbol, state)

    def set_seq(self, symbol: str, seq: int) -> None:
        """Set the published seq of a symbol whose orders were replayed up to it."""
        with self._lock:
            self._states[Symbol(symbol)].merger.seq = seq

    def keep_only(self, symbols: Collection[str]) -> None:
        """Remove all other symbols with their books, as if they had never been registered."""
        with self._lock:
            for name in [name for name in self._states if name not in symbols]:
                del self._states[name]
                self._registered.pop(name.encode(), None)
                for waiting in (self._births_due, self._born, self._changed):
                    waiting.pop(name, None)

    def last_consumed(self) -> str:
        """ID of the last input entry consumed, `0-0` for none."""
        with self._lock:
            return self._src

    def continue_from(self, src: str) -> None:
        """Continue after `src`, because the input log was lost: the entries after it are consumed next."""
        with self._lock:
            self._src = src

    def resume_counting(self, src: str, applied: int, rejected: int, ignored: int) -> None:
        """Continue with the `src` and the totals of a published entry."""
        with self._lock:
            self._src = src
            self._applied, self._rejected, self._ignored = applied, rejected, ignored

    def replay(
        self,
        source: str,  # noqa: ARG002  # called like `apply`
        fields: Sequence[tuple[bytes, bytes]],
        symbols: Collection[str],
    ) -> None:
        """Apply again the events of an entry for `symbols`; they were published before.

        Nothing is counted, rejected or pending afterwards, and `src` stays, because all that was recorded the
        first time.
        """
        entry = read_entry(fields)
        with self._lock:
            for name, _, events in entry.values:
                symbol, state = self._registered.get(name, (Symbol(""), None))
                if state is not None and events is not None and symbol in symbols:
                    assert symbol not in self._changed, "replayed over changes that are pending"
                    state.apply(events, atomic=entry.atomic)
                    state.merger.absorb()


def _new_state(instrument: Instrument) -> BookState:
    evicts = instrument.on_cross == OnCross.EVICT
    return OrdersState(evicts=evicts) if instrument.feed == Feed.ORDERS else LevelsState(evicts=evicts)
