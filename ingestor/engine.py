"""The engine: all books of one partition behind one lock.

Every call is atomic and allowed from any thread. So an interval has all events of an input entry or none, and
a snapshot is exactly the last drained state. Decoding input and sorting a snapshot happen outside the lock.

A large entry is applied in slices (`apply_in_slices`). While a change is in progress, and for ever after one
that ended in an exception, the engine is not `whole`: nothing can be drained or copied. So no input entry is
counted as consumed without all of its outcome.
"""

import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from depthcast.broadcaster.merger import Copies, snapshot_of
from depthcast.broadcaster.numbering import ORIGIN_MS
from depthcast.ingestor.book_state import BookState
from depthcast.ingestor.chunks import Array, open_array
from depthcast.ingestor.events import begins_anew, op_of, options_of, read_entry, values_of
from depthcast.ingestor.interval import Interval, Stats
from depthcast.ingestor.limits import DEFAULT, SMALL_BYTES, Limits, entry_bytes
from depthcast.ingestor.listed_books import ListedBooks
from depthcast.ingestor.options import NO_OPTIONS, Fault, Options
from depthcast.ingestor.orders import OrdersCopy, OrdersState
from depthcast.ingestor.reject_log import RejectLog
from depthcast.ingestor.rejects import (
    REJECTS_PER_ENTRY,
    WHOLE,
    ArrayResult,
    Reason,
    RefusedError,
)
from depthcast.shared.book import Book
from depthcast.shared.codec import INFO_FIELD
from depthcast.shared.doubt import REJECTED
from depthcast.shared.errors import EngineBroken, RecoveryError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.listing import Listing
from depthcast.shared.order_counts import OrderCounts
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.types import Delta, Snapshot, Symbol

_END: Final = object()


class Engine:
    """The books of one partition, number `partition` of `partitions`.

    `evicted`: levels removed by `on_cross: evict` in this process, all symbols together. `bad_ts`: source
    times without effect in this process; `last_bad_ts`: the last one, with its entry. `whole`: False while a
    change is in progress or after one that failed. Tests pass a `lock` to schedule threads themselves.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        *,
        limits: Limits = DEFAULT,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        self.evicted = 0
        self.bad_ts = 0
        self.last_bad_ts = ""
        self.whole = True
        self._partition = partition
        self._partitions = partitions
        self._lock = threading.Lock() if lock is None else lock
        self._epoch = ORIGIN_MS
        self._known: Collection[str] = frozenset()
        self._books = ListedBooks(limits)
        self._log = RejectLog()
        self._has_input = False
        self._src = "0-0"
        self._event_ts: int | None = None
        self._applied = self._ignored = 0

    @property
    def limits(self) -> Limits:
        """The limits that events are rejected by."""
        return self._books.limits

    # --- symbols -------------------------------------------------------------------------------------------

    def set_all_symbols(self, symbols: Collection[str]) -> None:
        """Set the symbols of the whole deployment, to tell a wrong partition from an unknown symbol."""
        with self._lock:
            self._known = frozenset(symbols)

    def register(self, instrument: Instrument, *, is_newer: bool = True) -> bool:
        """Accept events for a symbol from now on; returns whether its listing stands for `instrument` then.

        A new or withdrawn symbol begins a new listing, with an empty book whose birth is due with the next
        drain. So does a registered one that is to have a later listing, or that differs while its book is
        empty. If it differs while the book holds levels, its listing goes on unchanged. `is_newer`: False if
        `instrument` may have been read before the listing began: then it is no reason to begin another one.
        """
        with self._lock:
            return self._books.register(instrument, self._src, is_newer=is_newer)

    def withdraw(self, symbol: str) -> None:
        """End the symbol's listing and drop its book; its events are refused as `unknown_symbol` from now on.

        The next drain says so. Nothing happens if it has no listing, or if that is withdrawn already.
        """
        with self._lock:
            self._books.withdraw(Symbol(symbol), self._src)

    def begun_after(self, src: str) -> set[Symbol]:
        """The symbols whose listings began by an input entry after `src`, in this process."""
        with self._lock:
            return self._books.begun_after(Position.parse(src))

    def know_listings(self, listings: Mapping[str, Listing]) -> None:
        """Take over the record of listings; those of restored books stay unless the record has later ones."""
        with self._lock:
            self._books.know(listings)

    def listings(self) -> dict[Symbol, Listing]:
        """The listing of every symbol that the partition ever had, withdrawn ones too."""
        with self._lock:
            return dict(self._books.listings)

    def listings_of(self, symbols: Iterable[Symbol]) -> dict[Symbol, Listing]:
        """The listings of these symbols; `KeyError` if one never had one."""
        with self._lock:
            return {symbol: self._books.listings[symbol] for symbol in symbols}

    def listing(self, symbol: str) -> Listing:
        """The listing of a symbol; `KeyError` if it never had one."""
        with self._lock:
            return self._books.listings[Symbol(symbol)]

    def begins(self, symbol: str) -> bool:
        """Whether the symbol's listing has begun or ended since the last drain: nothing of it is public."""
        with self._lock:
            return not self._books.is_public(Symbol(symbol))

    def symbols(self) -> list[Symbol]:
        """All registered symbols."""
        with self._lock:
            return [symbol for symbol, _ in self._books.registered.values()]

    def public(self) -> list[Symbol]:
        """The registered symbols of whose listing something was drained or restored."""
        with self._lock:
            books = self._books
            return [symbol for symbol, _ in books.registered.values() if books.is_public(symbol)]

    def stored_next(self) -> set[Symbol]:
        """The public symbols whose recovery state is written with the next drain."""
        with self._lock:
            return {symbol for symbol in self._books.born if self._books.is_public(symbol)}

    def fed_by_order(self) -> set[Symbol]:
        """The symbols whose feed is by order, withdrawn ones too."""
        with self._lock:
            return set(self._books.orders_feeds)

    def differing(self, instruments: Mapping[str, Instrument]) -> dict[str, Instrument]:
        """Those `instruments`, all of registered symbols, that `register` may do something for."""
        with self._lock:
            return self._books.differing(instruments)

    # --- input ---------------------------------------------------------------------------------------------

    def use_limits(self, limits: Limits) -> None:
        """Reject by these limits from now on; what the books already hold stays."""
        with self._lock:
            self._books.set_limits(limits)

    def replayed_under(self, symbol: str) -> Limits | None:
        """The limits of the checkpoint that an orders feed was restored from; None if it was not."""
        return self._books.limits_of.get(Symbol(symbol))

    def forget_limits(self, symbol: str) -> None:
        """Forget the limits of the checkpoint: it may not be the one in Redis."""
        with self._lock:
            self._books.limits_of.pop(Symbol(symbol), None)

    def restate(self, symbol: str) -> None:
        """Have the next drain list the symbol in `born`, so that its recovery state is written with it."""
        with self._lock:
            if symbol.encode() in self._books.registered:
                self._books.born[Symbol(symbol)] = None

    def apply(self, source: str, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Apply one input entry; whatever it holds, its events apply or are rejected.

        `source`: its stream ID. `fields`: its fields in order, including repeated ones. After an exception,
        such as `MemoryError`, the entry is not consumed: nothing has changed, or the engine is not `whole`.
        """
        limits = self._books.limits
        if entry_bytes(fields) > SMALL_BYTES or _limit_hit(fields, limits) is not None:
            for _ in self.apply_in_slices(source, fields):
                pass
            return
        options, values = read_entry(fields)
        if options.fault is not None:
            self.refuse(source, fields, Reason.BAD_OPTIONS, options.fault)
            return
        with self._lock:
            self._begin_entry(source)
            self._relist(source, options)
            failed, replaced = set[bytes](), set[bytes]()
            for name, raw, events, fault in values:
                rejected = self._log.total
                if options.live and begins_anew(events):
                    replaced.add(name)
                if events is None:
                    self._log.add_whole(name, Reason.MALFORMED, raw, detail=fault)
                elif len(events) > limits.array_events_max:
                    self._log.add_whole(name, Reason.TOO_MANY_EVENTS, raw, len(events))
                else:
                    outcome = self._apply_array(name, events, options)
                    if outcome.refused:
                        self._log.begin_array()
                        self._log_refused(name, raw, events, 0, outcome.refused, len(events) * options.atomic)
                if self._log.total != rejected:
                    failed.add(name)
            if options.about_doubt:
                self._apply_doubt(fields, options, failed, replaced)
            self._end_entry(source, options)

    def apply_in_slices(self, source: str, fields: Sequence[tuple[bytes, bytes]]) -> Iterator[None]:
        """Apply one input entry as `apply` does, with a pause after each slice of some milliseconds.

        Until the end the engine is not `whole`, and no symbol may be registered or withdrawn.
        """
        reason = _limit_hit(fields, self.limits)
        if reason is not None:
            self.refuse(source, fields, reason)
            return
        options = options_of(fields)
        if options.fault is not None:
            self.refuse(source, fields, Reason.BAD_OPTIONS, options.fault)
            return
        with self._lock:
            self._begin_entry(source)
            self._relist(source, options)
        failed, replaced = set[bytes](), set[bytes]()
        for name, raw in values_of(fields):
            rejected = self._log.total
            array = yield from open_array(raw, self.limits)
            if options.live:
                array = array._replace(pieces=_noting(array.pieces, name, replaced))
            if array.refused is not None:
                self._log.add_whole(name, array.refused, raw, array.events, array.detail)
            else:
                yield from self._apply_pieces(name, raw, array, options)
            if self._log.total != rejected:
                failed.add(name)
            yield
        with self._lock:
            if options.about_doubt:
                self._apply_doubt(fields, options, failed, replaced)
            self._end_entry(source, options)

    def _apply_doubt(
        self,
        fields: Sequence[tuple[bytes, bytes]],
        options: Options,
        failed: Collection[bytes],
        replaced: Collection[bytes] = (),
    ) -> None:
        """Begin or end the doubt about the books of an entry.

        `failed`: names with rejected events; `replaced`: names with an array that begins the book anew.
        """
        doubts = self._books.doubts
        for name, _ in values_of(fields):
            symbol, state = self._books.registered.get(name, (Symbol(""), None))
            if state is None:
                continue
            if options.stale is not None:
                doubts.begin(symbol, options.stale)
            elif name in failed:  # it is not what the producer says it is
                doubts.begin(symbol, REJECTED)
            elif not options.is_meant_for(symbol, self._books.listings[symbol].number):
                continue
            elif name in replaced or doubts.now.get(symbol) != REJECTED:
                # What was rejected is missing until the whole book is replaced.
                doubts.end(symbol)

    def refuse(
        self,
        source: str,
        fields: Sequence[tuple[bytes, bytes]],
        reason: Reason,
        fault: Fault | None = None,
    ) -> None:
        """Consume one input entry by rejecting each of its values for `reason`; nothing of it is applied.

        What it says about doubt counts, if that can be understood: its books lack its events. `fault`: the
        options that are the reason, which are a reject too.
        """
        with self._lock:
            self._begin_entry(source)
            values = values_of(fields)
            detail, singles = "", REJECTS_PER_ENTRY - 1
            if fault is not None:
                self._log.add_whole(INFO_FIELD, Reason.MALFORMED, fault.raw, detail=fault.detail)
                detail, singles = f"the entry is refused for its _: {fault.detail}", singles - 1
            if reason is Reason.POISON:
                self._restate_orders(name for name, _ in values)
            for name, raw in values[:singles]:
                self._log.add_whole(name, reason, raw, detail=detail)
            rest = values[singles:]
            if rest:
                self._log.add_whole(rest[0][0], reason, rest[0][1], len(rest), detail)
            if fault is None and len(fields) - len(values) <= self.limits.entry_values_max:
                options = options_of(fields)
                if options.fault is None and options.about_doubt:
                    self._apply_doubt(fields, options, failed={name for name, _ in values})
            self._end_entry(source, NO_OPTIONS)

    def _restate_orders(self, names: Iterable[bytes]) -> None:
        """Have orders written with the next drain: a replay must not apply the entry that is refused."""
        for name in names:
            symbol, state = self._books.registered.get(name, (Symbol(""), None))
            if isinstance(state, OrdersState):
                self._books.born[symbol] = None

    def _begin_entry(self, source: str) -> None:
        self._check_whole()
        self.whole = False
        self._log.begin_entry(source)

    def _end_entry(self, source: str, options: Options) -> None:
        """Count the entry as consumed, after everything else."""
        ts = options.ts
        if ts is not None:
            self._event_ts = ts if self._event_ts is None else max(ts, self._event_ts)
        if options.bad_ts:
            self.bad_ts += len(options.bad_ts)
            self.last_bad_ts = f"{source}: {options.bad_ts[-1]}"
        self._has_input = True
        self._src = source
        self.whole = True

    def _check_whole(self) -> None:
        if not self.whole:
            raise EngineBroken(self._partition)

    def _relist(self, source: str, options: Options) -> None:
        """Begin the listings that an entry asks for, whatever their books hold; not those begun already."""
        for wanted in options.relist:
            self._books.relist(wanted, self._src, source)

    def _apply_array(self, name: bytes, events: Sequence[object], options: Options) -> ArrayResult:
        found = self._books.registered.get(name)
        if found is None or not options.is_meant_for(found[0], self._books.listings[found[0]].number):
            return self._refuse_all(name, events, options.atomic)
        symbol, state = found
        outcome = state.apply(events, atomic=options.atomic)
        self._count(symbol, state, outcome)
        self._note_input(symbol, outcome, len(events), options)
        return outcome

    def _apply_pieces(self, name: bytes, raw: bytes, array: Array, options: Options) -> Iterator[None]:
        """Apply an array of a large entry, in slices."""
        self._log.begin_array()
        atomic, found = options.atomic, self._books.registered.get(name)
        if found is None or not options.is_meant_for(found[0], self._books.listings[found[0]].number):
            yield from self._refuse_pieces(name, raw, array, atomic=atomic)
            return
        symbol, state = found

        def log(events: Sequence[object], first: int, refused: Sequence[tuple[int, Reason]]) -> None:
            self._log_refused(name, raw, events, first, refused, array.events * atomic)

        outcome = yield from self._run_pieces(state, array, log, atomic=atomic)
        self._count(symbol, state, outcome)
        self._note_input(symbol, outcome, array.events, options)

    def _run_pieces(
        self,
        state: BookState,
        array: Array,
        log: Callable[[Sequence[object], int, Sequence[tuple[int, Reason]]], None],
        *,
        atomic: bool,
    ) -> Generator[None, None, ArrayResult]:
        """Apply the pieces of an array to `state`; `log` gets the refused events of each."""
        applied = ignored = first = evicted = 0
        refused: list[tuple[int, Reason]] = []
        with self._lock:
            state.begin_array(atomic=atomic)
        for events in array.pieces:
            with self._lock:
                outcome = state.run(events)
                applied, ignored = applied + outcome.applied, ignored + outcome.ignored
                evicted = outcome.evicted  # of the whole array so far
                if outcome.refused:
                    log(events, first, outcome.refused)
            if outcome.refused and atomic:
                refused = outcome.refused
                break
            first += len(events)
            yield
        with self._lock:
            ended = state.end_array(ArrayResult(applied, ignored, refused, evicted))
            if ended.refused and not refused:
                log([], 0, ended.refused)
        return ended

    def _refuse_pieces(self, name: bytes, raw: bytes, array: Array, *, atomic: bool) -> Iterator[None]:
        first = 0
        for events in array.pieces:
            refused = self._refuse_all(name, events, atomic).refused
            self._log_refused(name, raw, events, first, refused, array.events * atomic)
            if atomic:
                return
            first += len(events)
            yield

    def _log_refused(
        self,
        name: bytes,
        raw: bytes,
        events: Sequence[object],
        first: int,
        refused: Sequence[tuple[int, Reason]],
        atomic_events: int,
    ) -> None:
        """Record refused events; an atomic array of `atomic_events` (0: not atomic) is one reject."""
        feed = self._feed_of(name)
        if not atomic_events:
            self._log.add_events(name, raw, feed, events, first, refused)
            return
        for index, reason in refused:
            if index == WHOLE:
                self._log.add_whole(name, reason, raw, atomic_events)
            else:
                self._log.add_event(name, raw, feed, events[index], first + index, atomic_events, reason)

    def _feed_of(self, name: bytes) -> Feed | None:
        """The kind of feed of a symbol, None if it is not registered."""
        found = self._books.registered.get(name)
        if found is None:
            return None
        return Feed.ORDERS if isinstance(found[1], OrdersState) else Feed.LEVELS

    def _refuse_all(self, name: bytes, events: Sequence[object], atomic: bool) -> ArrayResult:
        """Refuse events that are not for a book of ours; an atomic array gets one reject for all events."""
        reason = Reason.WRONG_PARTITION if self._is_of_another_partition(name) else Reason.UNKNOWN_SYMBOL
        if name in self._books.registered:
            reason = Reason.OTHER_LISTING
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

    def _count(self, symbol: Symbol, state: BookState, outcome: ArrayResult) -> None:
        if outcome.applied:
            self._books.changed[symbol] = state
        self._applied += outcome.applied
        self._ignored += outcome.ignored
        self.evicted += outcome.evicted

    def _note_input(self, symbol: Symbol, outcome: ArrayResult, events: int, options: Options) -> None:
        """Note that a symbol had input, if an array of `events` counts as such."""
        if outcome.applied:
            self._books.times.note(symbol, options.ts)
        elif options.stale is None and (outcome.ignored or not events):
            # An ignored event confirms the book; an array without events says that its producer is there.
            self._books.times.note(symbol, None)

    # --- output --------------------------------------------------------------------------------------------

    def drain(self, checkpoints: Collection[str] = (), births_max: int | None = None) -> Interval:
        """Take the changes since the last drain, and copy the orders of the symbols in `checkpoints`.

        Raises `EngineBroken` if the engine is not `whole`.
        If a new symbol already has changes, this drain has its birth and the next one its changes.
        `holds_back` is true then: drain again at once and publish both intervals in one atomic step, because
        `src` covers both. `births_max`: so many births of symbols without input are taken; others wait, but
        not those in `checkpoints`: copies are of a listing that is public.
        """
        with self._lock:
            self._check_whole()
            self.whole = False
            books = self._books
            touched = list(books.changed | books.doubts.changed)
            births = books.take_births(births_max, checkpoints)
            books.born.update(births)
            withdrawn, books.withdrawn = tuple(books.withdrawn), {}
            begun = (*births, *withdrawn)
            deltas = [(symbol, books.advance(symbol, self._epoch)) for symbol in begun]
            changes = books.drain_changes(births, self._epoch)
            deltas.extend(changes)
            event_times, inputs = books.times.drain(births, [symbol for symbol, _ in changes], self._src)
            doubts = self._drain_doubts(births, deltas)
            order_counts = books.take_counts(deltas)
            born, books.born = list(books.born), {}
            rejects = self._log.take()
            event_ts, self._event_ts = self._event_ts, None
            self._has_input = False
            orders = self._copy_orders(dict.fromkeys((*born, *withdrawn, *checkpoints)))
            closed = tuple(symbol for symbol in orders if symbol.encode() not in books.registered)
            counts = (self._applied, self._log.total, self._ignored)
            listings = {symbol: books.listings[symbol] for symbol in begun}
            interval = Interval(
                self._src,
                event_ts,
                *counts,
                deltas,
                rejects,
                born,
                orders,
                touched,
                withdrawn,
                closed,
                listings,
                books.after(begun),
                doubts,
                event_times,
                inputs,
                order_counts,
            )
            self.whole = True
            return interval

    def settle(self) -> Iterator[None]:
        """Do most of the work of the next `drain`, with a pause after each slice of some milliseconds.

        Until the end the engine is not `whole`; drain at once then, before anything else is applied.
        """
        with self._lock:
            self._check_whole()
            self.whole = False
            births, changes = self._books.births_due, self._books.changed
            changed = [state for symbol, state in changes.items() if symbol not in births]
        for state in changed:
            slices = state.merger.settle()
            while True:
                with self._lock:
                    if next(slices, _END) is _END:
                        break
                yield
        with self._lock:
            self.whole = True

    def _drain_doubts(
        self, held_back: Collection[Symbol], deltas: list[tuple[Symbol, Delta]]
    ) -> dict[Symbol, str | None]:
        """Take the changes of doubt; adds an empty delta for each symbol that has none in `deltas`."""
        drained = self._books.doubts.drain(held_back)
        if drained:
            named = {symbol for symbol, _ in deltas}
            bare = [symbol for symbol in drained if symbol not in named]
            deltas.extend((symbol, self._books.advance(symbol, self._epoch)) for symbol in bare)
        return drained

    def _copy_orders(self, symbols: Collection[str]) -> dict[Symbol, OrdersCopy]:
        states = ((Symbol(symbol), self._books.states.get(Symbol(symbol))) for symbol in symbols)
        return {symbol: state.copy() for symbol, state in states if isinstance(state, OrdersState)}

    def snapshot(self, symbol: str) -> Snapshot:
        """The last drained state of a symbol; `KeyError` if it was never registered. The caller sets `ts`."""
        return snapshot_of(self.copies(symbol))

    def copies(self, symbol: str) -> Copies:
        """What its snapshot is made of, copied now; `KeyError` if it was never registered."""
        with self._lock:
            self._check_whole()
            return self._books.states[Symbol(symbol)].merger.copies()

    def orders_of(self, symbol: str) -> OrdersCopy | None:
        """All orders of a symbol, copied now; None if its feed has no orders."""
        with self._lock:
            self._check_whole()
            return self._copy_orders([symbol]).get(Symbol(symbol))

    def dirty(self) -> bool:
        """Whether the next drain has anything to publish: consumed input, due births or deferred changes."""
        with self._lock:
            return self._has_input or self._books.dirty()

    def holds_back(self) -> bool:
        """Whether the last drain left changes of newborn books, which belong into the same atomic step."""
        with self._lock:
            return self._books.holds_back()

    def births_due(self) -> int:
        """How many births wait for the next drains."""
        return len(self._books.births_due)

    def doubt(self, symbol: str) -> str | None:
        """Why the book was in doubt at the last drain; None if it was not."""
        with self._lock:
            return self._books.doubts.published.get(Symbol(symbol))

    def times(self, symbol: str) -> tuple[int | None, int]:
        """The book's last source time, and when its last input came (0: not known), as of the last drain."""
        with self._lock:
            times = self._books.times
            return times.event_ts.get(Symbol(symbol)), times.input_ts.get(Symbol(symbol), 0)

    def doubts(self) -> int:
        """How many books are in doubt."""
        with self._lock:
            return len(self._books.doubts.now)

    def pending_rejects(self) -> int:
        """Number of rejects that wait for the next drain."""
        with self._lock:
            return len(self._log.pending)

    def rejects_by_reason(self) -> Mapping[Reason, int]:
        """Events rejected in this process, by reason."""
        return self._log.by_reason

    def digest(self, symbol: str) -> int:
        """Digest of a symbol at its last drained, restored or replayed state."""
        with self._lock:
            return self._books.states[Symbol(symbol)].merger.digest

    def orders_digest(self, symbol: str) -> int:
        """Digest of the number of orders at each level of an orders feed, at the same state."""
        with self._lock:
            return self._books.orders_feeds[Symbol(symbol)].merger.orders_digest

    def orders_unchanged(self, symbols: Iterable[Symbol]) -> dict[Symbol, OrderCounts]:
        """What a delta without levels says of the number of orders, for each orders feed of `symbols`."""
        with self._lock:
            feeds = self._books.orders_feeds
            found = [(symbol, feeds[symbol]) for symbol in symbols if symbol in feeds]
            return {symbol: OrderCounts((), (), state.merger.orders_digest) for symbol, state in found}

    def stats(self) -> Stats:
        """Sizes of all books, including withdrawn symbols."""
        with self._lock:
            states = self._books.states.values()
            levels = sum(len(side) for state in states for side in state.book.sides)
            orders = sum(len(state) for state in states if isinstance(state, OrdersState))
            return Stats(len(states), levels, orders)

    # --- recovery ------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int, *, births: bool = True) -> list[tuple[Symbol, Delta]]:
        """Move every registered symbol into `epoch` (ms since 1970), by an empty delta or its birth.

        The next drain lists newborns in `born`. Pending changes stay pending, and so do births without
        `births`.
        """
        with self._lock:
            self._check_whole()
            books = self._books
            if births:
                books.born.update(books.births_due)
                books.births_due = {}
            return self._moved(self._entered(epoch))

    def enter_epoch(self, epoch: int) -> list[Symbol]:
        """Begin `epoch` without a move; returns the symbols to `move`, before anything of them is drained."""
        with self._lock:
            self._check_whole()
            return self._entered(epoch)

    def move(self, symbols: Iterable[Symbol]) -> list[tuple[Symbol, Delta]]:
        """Move these symbols into the epoch that was entered, by an empty delta each."""
        with self._lock:
            self._check_whole()
            return self._moved(symbols)

    def _entered(self, epoch: int) -> list[Symbol]:
        self._epoch = epoch
        books = self._books
        return [symbol for symbol, _ in books.registered.values() if symbol not in books.births_due]

    def _moved(self, symbols: Iterable[Symbol]) -> list[tuple[Symbol, Delta]]:
        self.whole = False
        moves = [(symbol, self._books.advance(symbol, self._epoch)) for symbol in symbols]
        self.whole = True
        return moves

    def restore(
        self,
        instrument: Instrument,
        seq: int,
        bids: Sequence[int],
        asks: Sequence[int],
        digest: int,
        orders: OrdersCopy | None,
        limits: Limits | None = None,
    ) -> None:
        """Register a symbol with its published state at `seq` (0: its birth is due), replacing any other.

        `instrument`: what its listing stands for, and the number of that listing (0: the first).

        A levels feed takes flat `[price, quantity, …]` sides and their digest. An orders feed takes only
        `orders`; levels and digest follow from them. Once the input up to the published `src` was replayed,
        `digest` must equal the published digest. Raises `RecoveryError` if the orders are missing or
        contradict each other. `limits`: those that the symbol's input is replayed under, if not the engine's.
        """
        symbol = instrument.symbol
        state = self._books.new_state(instrument, limits)
        if limits is not None:
            self._books.limits_of[symbol] = limits
        if isinstance(state, OrdersState):
            self._load_orders(symbol, state, seq, orders)
        else:
            state.load_levels(seq, bids, asks, digest)
        self._put(instrument, state)
        if not seq:
            with self._lock:
                self._books.births_due[symbol] = None

    def _put(self, instrument: Instrument, state: BookState) -> None:
        with self._lock:
            self._books.put(instrument, state)

    def restore_doubts(self, doubts: Mapping[str, str]) -> None:
        """Take over the published doubt about books that were restored, by symbol."""
        with self._lock:
            for symbol, reason in doubts.items():
                if symbol.encode() in self._books.registered:
                    self._books.doubts.restore(Symbol(symbol), reason)

    def restore_times(self, times: Mapping[str, tuple[int | None, int]]) -> None:
        """Take over the published times of books that were restored, by symbol, as `times` returns them."""
        with self._lock:
            states, restore = self._books.states, self._books.times.restore
            for symbol, (event_ts, input_ts) in times.items():
                if (event_ts is not None or input_ts) and symbol in states:
                    restore(Symbol(symbol), event_ts, input_ts)

    def _load_orders(self, symbol: Symbol, state: OrdersState, seq: int, orders: OrdersCopy | None) -> None:
        if orders is None:
            raise RecoveryError(self._partition, f"{symbol} has an orders feed but no orders were kept")
        try:
            state.load_orders(seq, orders)
        except (ValueError, TypeError) as error:
            raise RecoveryError(self._partition, f"the orders kept of {symbol} are wrong: {error}") from error

    def restore_book(self, instrument: Instrument, seq: int, book: Book, digest: int) -> None:
        """Register a levels-feed symbol with its published state; the engine takes over `book`.

        Called again with the same book, which a reader has gone on with, it costs little.
        """
        with self._lock:
            self._books.put_book(instrument, seq, book, digest)

    def set_seq(self, symbol: str, seq: int) -> None:
        """Set the published seq of a symbol whose orders were replayed up to it."""
        with self._lock:
            self._books.states[Symbol(symbol)].merger.seq = seq

    def keep_only(self, symbols: Collection[str]) -> None:
        """Remove all other symbols with their books, as if they had never been registered."""
        for name in [name for name in self._books.states if name not in symbols]:
            self.remove(name)

    def remove(self, symbol: str) -> None:
        """Remove a symbol with its book, as if it had never been registered."""
        with self._lock:
            self._books.remove(Symbol(symbol))

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
            self._applied, self._log.total, self._ignored = applied, rejected, ignored

    def replay(self, source: str, fields: Sequence[tuple[bytes, bytes]], symbols: Collection[str]) -> None:
        """Apply again the events of an entry for `symbols`; they were published before.

        Nothing is counted, rejected or pending afterwards, and `src` stays, because all that was recorded the
        first time.
        """
        for _ in self.replay_in_slices(source, fields, symbols):
            pass

    def replay_in_slices(
        self,
        source: str,  # noqa: ARG002  # called like `apply_in_slices`
        fields: Sequence[tuple[bytes, bytes]],
        symbols: Collection[str],
    ) -> Iterator[None]:
        """Replay an entry as `replay` does, with a pause after each slice of some milliseconds."""
        self._check_whole()
        self.whole = False
        options: Options | None = None
        for name, raw in values_of(fields):
            symbol, state = self._books.registered.get(name, (Symbol(""), None))
            if state is None or symbol not in symbols:
                continue
            assert symbol not in self._books.changed, "replayed over changes that are pending"
            limits = self._books.limits_of.get(symbol, self.limits)
            if _limit_hit(fields, limits) is not None:
                continue
            options = options or options_of(fields)
            if options.fault is not None or not options.is_meant_for(
                symbol, self._books.listings[symbol].number
            ):
                continue
            array = yield from open_array(raw, limits)
            if array.refused is None:
                yield from self._run_pieces(state, array, _ignore, atomic=options.atomic)
                with self._lock:
                    state.merger.absorb()
        self.whole = True


def _noting(pieces: Iterable[Sequence[Any]], name: bytes, replaced: set[bytes]) -> Iterator[Sequence[Any]]:
    """The pieces of an array; adds `name` to `replaced` if it begins the book anew."""
    for number, events in enumerate(pieces):
        if not number and begins_anew(events):
            replaced.add(name)
        yield events


def _limit_hit(fields: Sequence[tuple[bytes, bytes]], limits: Limits) -> Reason | None:
    """The reason to refuse a whole entry for its size."""
    if len(fields) > limits.entry_values_max:
        return Reason.TOO_MANY_VALUES
    return Reason.TOO_BIG if entry_bytes(fields) > limits.entry_bytes_max else None


def _ignore(events: Sequence[object], first: int, refused: Sequence[tuple[int, Reason]]) -> None:
    """Record nothing: these events were rejected before."""
