"""One leadership of one partition: consume input, broadcast changes, store recovery state.

Three tasks share the engine and the publisher. `_consume` applies input, `_broadcast` publishes an interval
when the schedule says so, and the state keeper writes snapshots and checkpoints and trims. The lock
`_publishing` is held from a drain until its result is written: while it is free, the drained state equals the
published state.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from depthcast.broadcaster.publication import SYMBOLS_PER_ENTRY, Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.broadcaster.schedule import BroadcastSchedule
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.limits import Limits, entry_bytes
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.output import broadcast_of, marks_of, reject_fields
from depthcast.ingestor.read_count import ReadCount
from depthcast.ingestor.recent_rejects import RecentRejects
from depthcast.ingestor.recovery import NOTHING_PUBLISHED, Republication
from depthcast.ingestor.rejects import Reason, Reject
from depthcast.ingestor.runtime.consumption import Consumption
from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.guard import MARKED_BYTES, EntryGuard
from depthcast.ingestor.runtime.input_watch import InputWatch
from depthcast.ingestor.runtime.lease import wait_for
from depthcast.ingestor.runtime.publishing import PublishingLock
from depthcast.ingestor.runtime.state_keeper import StateKeeper, parts_of
from depthcast.ingestor.runtime.stats import RESULTS, PartitionStats
from depthcast.shared.codec import Marks
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.listing import Listing
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import BLOCK_MS, OnConnect, RawEntry
from depthcast.shared.runtime.tail import ReplyTooBig, Tail
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import Delta, EntryInfo, Symbol

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.2

MOVED_MAX: Final = SYMBOLS_PER_ENTRY
"""One step moves so many symbols into an epoch, as one entry: each costs the server about 1 µs."""

BIRTHS_MAX: Final = 250
"""One script publishes so many births of symbols without input: each costs the server about 40 µs."""

STOP_S: Final = 5.0
"""At a clean end, publishing the consumed input may take this long."""

GROUP_BYTES: Final = 1 << 20
GROUP_FIELDS: Final = 10_000
"""With interval 0, one script broadcasts about this many input fields; its limit is a million arguments."""

REPLY_MARGIN_BYTES: Final = 8 << 20
"""A reply with input may exceed the largest entry by this much, for other entries and the protocol."""

BAD_TS_LOG_S: Final = 60.0
"""A producer whose source times are wrong is logged at most this often."""

SMALL_REPLY_BYTES: Final = 4096
"""A reply with input up to this size takes much less time to apply than the next one to be read."""

SLICE_S: Final = 0.02
"""Input is applied for this long at a time; then other tasks run, such as heartbeats and the lease."""


class RetainedState(NamedTuple):
    """The state that an ended leadership leaves to the next one in this process.

    `position`, `info`: of its last entry. `rejects`: drained but not published. `symbols`: those whose books
    were published, each with a snapshot; what began since then the engine has alone.
    """

    engine: Engine
    position: Position
    info: EntryInfo
    rejects: Sequence[Reject]
    symbols: Collection[str]


class Leadership:
    """Made by the leader after its seal. Call `begin` first, then `run`.

    `unpublished`: rejects of a publish that failed or has not finished. `failed_at`: the input entry that
    could not be applied, because applying it raised an exception. `on_connect`: checks that input is read at
    the server to which the publisher writes; while there are two masters, the other one has other input.
    """

    def __init__(
        self,
        settings: IngestorSettings,
        engine: Engine,
        publisher: Publisher,
        stats: PartitionStats,
        environment: Environment,
        guard: EntryGuard | None = None,
        recent: RecentRejects | None = None,
        *,
        on_connect: OnConnect | None = None,
    ) -> None:
        self.settings = settings
        self.environment = environment
        self.engine = engine
        self.publisher = publisher
        self.stats = stats
        self._on_connect = on_connect
        self._publishing = PublishingLock()
        self.state_keeper = StateKeeper(settings, engine, publisher, stats, environment, self._publishing)
        self._schedule = BroadcastSchedule(settings.interval_ms / 1000, environment.monotonic())
        self._wake = asyncio.Event()
        self._capacity = asyncio.Event()
        self._capacity.set()
        self._info = NOTHING_PUBLISHED
        self._input_outage = Outage(logger, "input waits for Redis", key=publisher.keys.events)
        self.unpublished: list[Reject] = []
        self._recent = RecentRejects() if recent is None else recent
        self.failed_at: Position | None = None
        self._read_count = ReadCount(settings.input_batch)
        self._reply_bytes_max = settings.entry_bytes_max + REPLY_MARGIN_BYTES
        self.guard = EntryGuard(publisher) if guard is None else guard
        self._refused_before: Mapping[Reason, int] = dict(engine.rejects_by_reason())
        self._instruments_wait: tuple[Mapping[str, Instrument], Collection[str], str] | None = None
        self._totals_counted = (engine.evicted, publisher.resends, engine.bad_ts)
        self._bad_ts_logged_at = -BAD_TS_LOG_S
        self._changes_refused: dict[str, Instrument] = {}
        self._consumption = Consumption(publisher.partition, stats, environment)
        self._published = (0, 0, 0)

    async def begin(
        self,
        epoch: int,
        instruments: Mapping[str, Instrument],
        known: Collection[str],
        republication: Republication | None = None,
        info: EntryInfo = NOTHING_PUBLISHED,
        listings: Mapping[str, Listing] = MappingProxyType({}),
        recorded: Mapping[str, Listing] = MappingProxyType({}),
        *,
        oldest: Position = ZERO,
    ) -> None:
        """Move every symbol into the leadership's epoch, after the seal, and publish the first births.

        `epoch`: that of the seal. `info`: of the last entry before it. `listings`: those that the record and
        the stream name; `recorded`: those of the record. `oldest`: the first input that is not consumed, if
        there is any.
        `republication`: Redis lost the state, so all snapshots and checkpoints are written in the same step.
        """
        src = self.engine.last_consumed()
        entries = info.entries if src == info.src else None
        self._watch = InputWatch(self.publisher, self.stats, info._replace(src=src, entries=entries), oldest)
        self._published = (info.applied, info.rejected, info.ignored)
        self.engine.set_all_symbols(known)
        self.engine.know_listings(listings)
        self._withdraw_missing(instruments)
        recovered = self.engine.symbols()
        # What was recovered may have begun after the instruments were read.
        self._register(instruments, unsure=recovered)
        recovered = self.engine.public()
        by_order = self.engine.fed_by_order()
        orders = [symbol for symbol in recovered if symbol in by_order]
        limits = Limits.of(self.settings)
        for symbol in orders:
            # What follows is replayed under these limits only if a checkpoint says so.
            if self.engine.replayed_under(symbol) != limits:
                self.engine.restate(symbol)
        self.engine.use_limits(limits)
        self.state_keeper.add_recovered(recovered, orders)
        async with self._publishing:
            moved, moves = await self._move(epoch, info, at_once=republication is not None)
            await self.state_keeper.record(moved, recorded)
            intervals = self._drain(orders if republication else ())
            if republication:
                first = intervals[0]
                born = list(dict.fromkeys((*map(Symbol, moved), *first.born)))
                rejects = [*republication.rejects, *first.rejects]
                intervals[0] = first._replace(born=born, rejects=rejects)
            await self._write(intervals, moves)

    async def _move(self, sealed: int, info: EntryInfo, *, at_once: bool) -> tuple[Sequence[str], "_Moves"]:
        """Move every public book into the epoch; returns the symbols, and the moves still to be published.

        More than `MOVED_MAX` are moved in steps, each the entry n = 0 of an epoch of its own, up to the epoch
        of this leadership, whose numbers all moves have. Only its first entry with n > 0 says that all are
        moved: until then an ingestor of any version takes up the books of the leadership before. Books that
        are restated wait for that entry, because readers need their snapshots in the step of their moves;
        all do if they are moved `at_once`.
        """
        stored = self.engine.stored_next()
        early = [] if at_once else [symbol for symbol in self.engine.public() if symbol not in stored]
        parts = list(parts_of(early, MOVED_MAX)) if len(early) > MOVED_MAX else []
        epoch = await self._epoch_of(sealed, parts)
        symbols = self.engine.enter_epoch(epoch)
        if epoch == sealed:
            return symbols, self._moves(symbols)
        about = info._replace(event_ts=None, prev=None, successor=None, lag_ms=None, inputs=None)
        for step, part in enumerate(parts, sealed + 1):
            moved = Broadcast(about._replace(ts=self.environment.now_us()), *self._moves(part))
            await self.publisher.move(step, moved)
        return symbols, self._moves([symbol for symbol in symbols if symbol in stored])

    async def _epoch_of(self, sealed: int, parts: Sequence[Sequence[Symbol]]) -> int:
        """The epoch of this leadership, which has an epoch for the seal and for each of these parts.

        The numbers of an epoch that has not come yet may become those of another leader. If the clock does
        not get there, all are moved in one step.
        """
        epoch = sealed + len(parts)
        if (wait_ms := epoch - self.environment.now_ms()) > 0 and parts:
            await asyncio.sleep((min(wait_ms, len(parts)) + 1) / 1000)
        return epoch if self.environment.now_ms() >= epoch else sealed

    def _moves(self, symbols: Sequence[Symbol]) -> "_Moves":
        """Move some books into the epoch."""
        deltas = self.engine.move(symbols)
        listings, counts = self.engine.listings_of(symbols), self.engine.orders_unchanged(symbols)
        marks = marks_of(listings, {}, counts=counts)
        return _Moves([(str(symbol), delta) for symbol, delta in deltas], marks)

    def update_instruments(
        self, instruments: Mapping[str, Instrument], known: Collection[str], read_after: str
    ) -> None:
        """Apply the instruments as last read: new ones are born, missing ones withdrawn.

        `read_after`: the last input entry that was consumed when they were asked for. A listing that a later
        entry began is what the instruments were to say by then, so they do not change it before they are
        read again.
        """
        if not self.engine.whole:
            self._instruments_wait = (instruments, known, read_after)  # until the large entry is applied
            return
        self.engine.set_all_symbols(known)
        self._withdraw_missing(instruments)
        self._register(instruments, unsure=self.engine.begun_after(read_after))
        if self.engine.dirty():
            self._wake.set()

    def look_again(self, instruments: Mapping[str, Instrument], read_after: str) -> None:
        """Apply what had to wait of `instruments`, which are as last passed to `update_instruments`.

        That is what differs from a listing whose book held levels, or that input began. `read_after`: as
        there.
        """
        waiting = self._changes_refused.keys() | self.engine.begun_after(NOTHING_PUBLISHED.src)
        if not waiting or not self.engine.whole or self._instruments_wait is not None:
            return
        led = [symbol for symbol in waiting if not self.engine.listing(symbol).withdrawn]
        self._change(
            {symbol: instruments[symbol] for symbol in led if symbol in instruments},
            unsure=self.engine.begun_after(read_after),
        )
        if self.engine.dirty():
            self._wake.set()

    def _withdraw_missing(self, instruments: Mapping[str, Instrument]) -> None:
        for symbol, listing in self.engine.listings().items():
            if symbol not in instruments and not listing.withdrawn:
                logger.info("listing withdrawn", extra={"symbol": symbol, "listing": listing.number})
                self.engine.withdraw(symbol)

    def _register(self, instruments: Mapping[str, Instrument], unsure: Collection[str]) -> None:
        """Register the instruments, up to the limit; those registered before stay.

        What differs from a listing whose book holds levels is not applied: the listing goes on. `unsure`:
        symbols whose listing may have begun after the instruments were read.
        """
        held = set(self.engine.symbols())
        room = max(self.settings.symbols_max - len(held), 0)
        new = [instrument for symbol, instrument in instruments.items() if symbol not in held]
        for instrument in new[:room]:
            self.engine.register(instrument)
        self._change(
            {symbol: instrument for symbol, instrument in instruments.items() if symbol in held}, unsure
        )
        self.stats.symbols = len(held) + len(new[:room])
        left_out = len(new[room:])
        if left_out != self.stats.symbols_left_out:
            logger.warning(
                "more symbols than symbols_max; events of the others are rejected",
                extra={"partition": self.publisher.partition, "left_out": left_out},
            )
        self.stats.symbols_left_out = left_out

    def _change(self, instruments: Mapping[str, Instrument], unsure: Collection[str]) -> None:
        """Apply these instruments of registered symbols; those that have to wait are tried again."""
        unsure = frozenset(unsure)  # a list would take the square of the symbols
        refused = {
            symbol: instrument
            for symbol, instrument in self.engine.differing(instruments).items()
            if not self.engine.register(instrument, is_newer=symbol not in unsure)
        }
        for symbol, instrument in refused.items():
            if self._changes_refused.get(symbol) != instrument:
                logger.warning(
                    "a change of an instrument waits while its book holds levels; its listing goes on."
                    " Empty the book, or run depthcast instruments set with --relist",
                    extra={"symbol": symbol, "listing": self.engine.listing(symbol).number},
                )
        self._changes_refused = refused
        self.stats.changes_refused = len(refused)

    async def run(
        self, stop: asyncio.Event, lease: asyncio.Task[None], successor: Callable[[], str | None]
    ) -> None:
        """Lead until `stop` is set, then publish what was consumed. Raises `Fenced` or `RedisUnavailable`.

        `successor` is called at the end and returns the next leader, if known.
        """
        tasks = [
            asyncio.create_task(self._consume()),
            asyncio.create_task(self._broadcast()),
            asyncio.create_task(self.state_keeper.run()),
            asyncio.create_task(stop.wait(), name="stop"),
        ]
        try:
            done, _ = await asyncio.wait([*tasks, lease], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
            await self._stop(tasks, successor())
        finally:
            await _cancel(tasks)
            if not self.engine.whole and self.failed_at is None:
                await self.guard.clear()

    async def _stop(self, tasks: list[asyncio.Task[Any]], successor: str | None) -> None:
        """Publish what was consumed, and name the `successor`, which follows hot and continues at once.

        Without a successor, write fresh snapshots and checkpoints, so that the next start has little to read.
        A publish in progress is never cancelled, because its changes would be missing from the next one. If
        it does not end in time, the next leader consumes the same input again.
        """
        try:
            async with asyncio.timeout(STOP_S):
                async with self._publishing:
                    await _cancel(tasks)
                    checkpoints = () if successor else self.state_keeper.checkpoints.symbols()
                    await self._write(self._drain(checkpoints), successor=successor)
                if successor is None:
                    await self.state_keeper.store(self.state_keeper.snapshots.symbols())
        except TimeoutError:
            logger.warning("ended before everything consumed was published; it will be consumed again")

    @property
    def problem(self) -> str:
        """Why it cannot do all its work until somebody mends Redis; empty if it can."""
        outages = (self.publisher.outage, self.state_keeper.outage, self._input_outage)
        return next((outage.lasting for outage in outages if outage.lasting), "")

    def retained_state(self) -> RetainedState | None:
        """The state to retain, in case Redis loses what this leadership published; None if it is broken."""
        if not self.engine.whole:
            return None
        has_snapshot = set(self.state_keeper.snapshots.symbols())
        published = [symbol for symbol in self.engine.symbols() if symbol in has_snapshot]
        return RetainedState(self.engine, self.publisher.position, self._info, self.unpublished, published)

    # --- input ---------------------------------------------------------------------------------------------

    async def _consume(self) -> None:
        """Apply input as it arrives; the next batch is read while one is applied.

        Before a large batch blocks the loop, the next read is sent. After a small one it is sent behind what
        the batch leads to: nothing else has to wait for it, so its result goes out first.
        """
        client = self.environment.connect(self.settings.redis_url, on_connect=self._on_connect)
        # While a slot of a cluster is being moved, nothing can be published: so nothing is read either.
        tail = Tail(client, self.publisher.keys.events, reply_bytes_max=self._reply_bytes_max, follows=False)
        at = self.state_keeper.src
        each = self.settings.interval_ms == 0
        reading: asyncio.Task[list[RawEntry]] | None = None
        try:
            while True:
                batch = await (self._read_input(tail, at) if reading is None else reading)
                reading = None
                if batch:
                    at = batch[-1][0]
                small = tail.reply_bytes <= SMALL_REPLY_BYTES
                if each or not small:
                    reading = asyncio.create_task(self._read_input(tail, at))
                if not small:
                    await asyncio.sleep(0)
                await self._take_input(batch)
                if reading is None:
                    await self._broadcast_due()
        finally:
            try:
                if reading is not None:
                    await _cancel([reading])
            finally:
                await client.aclose()

    async def _read_stub(self, after: Position) -> list[RawEntry]:
        """The beginning of an entry that is too large to be read; it will be rejected."""
        try:
            found = await self.publisher.read_stub(after)
        except RedisUnavailable:
            await asyncio.sleep(RETRY_S)
            return []
        self.guard.stubs.update(position for position, _ in found)
        return found

    async def _read_input(self, tail: Tail, after: Position) -> list[RawEntry]:
        milestone = self._watch.begin_read()
        try:
            batch = await tail.read(after, count=self._read_count.count, block_ms=BLOCK_MS)
            self._read_count.record(len(batch), tail.reply_bytes)
        except ReplyTooBig:
            batch = [] if self._read_count.shrink() else await self._read_stub(after)
            if not batch:
                return []
        except RedisUnavailable as error:
            self._input_outage.note(error)
            await asyncio.sleep(RETRY_S)
            return []
        self._input_outage.over()
        self._watch.record_read(batch, milestone)
        return batch

    async def _take_input(self, batch: list[RawEntry]) -> None:
        if not batch:
            return
        if self.settings.interval_ms == 0:
            for group in _groups(batch, self.guard.watches):
                await self._broadcast_each(group)
            return
        self._consumption.begin_batch(batch[0][0], self._watch.server_us())
        until = self.environment.monotonic() + SLICE_S
        for position, fields in batch:
            self._consumption.begin_entry()
            size = entry_bytes(fields)
            if self.guard.watches(position, size):
                async with self._publishing:
                    await self._apply_guarded(position, fields, size)
                    if size >= MARKED_BYTES:
                        await self._in_slices(self.engine.settle())
                        await self._write(self._drain(self.state_keeper.checkpoints_due()))
                        self._update_waiting()
            else:
                self._apply(position, fields)
            self.stats.entries_consumed += 1
            self._wake.set()
            await self._wait_for_capacity()
            if self.environment.monotonic() >= until:
                await asyncio.sleep(0)
                until = self.environment.monotonic() + SLICE_S

    def _apply(self, position: Position, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Apply a small entry."""
        try:
            self.engine.apply(str(position), fields)
        except MemoryError:
            raise  # a small entry is not to blame
        except Exception:
            self.failed_at = position
            raise

    async def _apply_guarded(
        self, position: Position, fields: Sequence[tuple[bytes, bytes]], size: int
    ) -> None:
        """Apply an entry that is large or suspect, in slices. The caller holds `_publishing`."""
        reason = self.guard.refusal(position)
        if reason is not None:
            logger.error(
                "an input entry is rejected as a whole",
                extra={"partition": self.publisher.partition, "entry": str(position), "reason": str(reason)},
            )
            self.engine.refuse(str(position), fields, reason)
            return
        if size >= MARKED_BYTES and self.engine.dirty():
            await self._write(self._drain(self.state_keeper.checkpoints_due()))
        await self.guard.mark(position, size)
        await self._apply_in_slices(position, fields)
        self._update_waiting()

    def _update_waiting(self) -> None:
        """Apply the instruments that were read while the engine was not whole."""
        if self._instruments_wait is not None:
            instruments, self._instruments_wait = self._instruments_wait, None
            self.update_instruments(*instruments)

    async def _apply_in_slices(self, position: Position, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Apply an entry with pauses."""
        await self._in_slices(self._blamed(position, fields))

    def _blamed(self, position: Position, fields: Sequence[tuple[bytes, bytes]]) -> Iterator[None]:
        """Apply an entry in slices, and record if it is to blame for an exception."""
        try:
            yield from self.engine.apply_in_slices(str(position), fields)
        except Exception:
            self.failed_at = position
            raise

    async def _in_slices(self, slices: Iterator[None]) -> None:
        """Do work with pauses, in which other tasks run and heartbeats are written."""
        until = self.environment.monotonic() + SLICE_S
        for _ in slices:
            if self.environment.monotonic() >= until:
                await asyncio.sleep(0)
                if self.environment.monotonic() >= self._schedule.due(dirty=False):
                    await self._write_heartbeat()
                until = self.environment.monotonic() + SLICE_S

    async def _wait_for_capacity(self) -> None:
        """Wait while too many rejects are pending."""
        paused = False
        while self.engine.pending_rejects() >= self.settings.pending_rejects_max:
            self.stats.input_pauses += not paused
            paused = True
            self._capacity.clear()
            await self._capacity.wait()

    async def _broadcast_each(self, group: list[RawEntry]) -> None:
        """Interval 0: make each input entry an interval; the intervals of a group are written together."""
        async with self._publishing:
            intervals = self._drain() if self.engine.dirty() else []
            if intervals and self.guard.watches(group[0][0], entry_bytes(group[0][1])):
                await self._write(intervals)  # a large entry may need a second and more
                intervals = []
            self._consumption.begin_batch(group[0][0], self._watch.server_us())
            self._consumption.begin_entry()
            # A new symbol's checkpoint is written with the last entry, so it must reflect all input up to
            # there.
            born = _begun(intervals)
            for position, fields in group:
                size = entry_bytes(fields)
                if self.guard.watches(position, size):
                    await self._apply_guarded(position, fields, size)
                    await self._in_slices(self.engine.settle())
                else:
                    self._apply(position, fields)
                last = position == group[-1][0]
                drained = self._drain([*born, *self.state_keeper.checkpoints_due()] if last else (), 0)
                born += _begun(drained)
                intervals += drained
            self.stats.entries_consumed += len(group)
            await self._write(intervals)
            self._update_waiting()

    # --- output --------------------------------------------------------------------------------------------

    async def _broadcast(self) -> None:
        while True:
            dirty = self.engine.dirty()
            wait_s = self._schedule.due(dirty) - self.environment.monotonic()
            births = self.engine.births_due() > 0
            if births:
                await asyncio.sleep(0)
            elif wait_s > 0:
                self._wake.clear()
                await (asyncio.sleep(wait_s) if dirty else wait_for(self._wake, wait_s))
                continue
            async with self._publishing:
                if (
                    not births
                    and self.engine.dirty()
                    and not self._schedule.may_broadcast(self.environment.monotonic())
                ):
                    await self._write_heartbeat()
                    continue
                await self._write(self._drain(self.state_keeper.checkpoints_due()))
            self._capacity.set()

    async def _broadcast_due(self) -> None:
        """Publish at once what `_broadcast` would publish some turns of the event loop later."""
        if not self._publishing.free or self.engine.births_due() or not self._changes_are_due():
            return
        async with self._publishing:
            if self._changes_are_due():  # others may have waited for the lock
                await self._write(self._drain(self.state_keeper.checkpoints_due()))
        self._capacity.set()

    def _changes_are_due(self) -> bool:
        return self.engine.dirty() and self._schedule.may_broadcast(self.environment.monotonic())

    def _drain(self, checkpoints: Collection[str] = (), births_max: int = BIRTHS_MAX) -> list[Interval]:
        """Drain once, or twice if a symbol was born and has changed already.

        Its changes need a separate entry.
        """
        intervals = [self.engine.drain(checkpoints, births_max)]
        if self.engine.holds_back():
            intervals.append(self.engine.drain(births_max=0))
        return intervals

    async def _write(
        self,
        intervals: list[Interval],
        moves: "_Moves | None" = None,
        successor: str | None = None,
    ) -> None:
        """Publish `moves`, then intervals in order, in one atomic step. The caller holds `_publishing`.

        `moves`: of all symbols, where the leadership begins.
        """
        now = self.environment.monotonic()
        broadcasts = [broadcast_of(interval, self.environment.now_us()) for interval in intervals]
        if moves is not None and moves.deltas:
            # An entry has each symbol at most once, so changes already pending follow in the next entry.
            broadcasts[: not broadcasts[0].deltas] = [Broadcast(broadcasts[0].info, *moves)]
        if successor is not None:
            broadcasts[-1] = broadcasts[-1]._replace(info=broadcasts[-1].info._replace(successor=successor))
        broadcasts = self._watch.stamp(broadcasts)
        rejects = [reject_fields(reject) for interval in intervals for reject in interval.rejects]
        born = [str(symbol) for interval in intervals for symbol in interval.born]
        copies = _last_orders(intervals)
        self.unpublished += [reject for interval in intervals for reject in interval.rejects]
        drained = self._consumption.drain(interval.event_ts for interval in intervals)
        await self.publisher.publish(
            broadcasts,
            rejects,
            lambda position: self.state_keeper.attachments(position, intervals, copies),
        )
        self._recent.record(self.unpublished)
        self.unpublished = []
        self._watch.record_publish()
        self._info = broadcasts[-1].info._replace(event_ts=None, successor=None, inputs=None)
        # Where a leadership begins, births delay no change.
        passed_over = [0 if moves is None else len(interval.listings) for interval in intervals]
        something = any(
            len(interval.deltas) > births or interval.rejects
            for interval, births in zip(intervals, passed_over, strict=True)
        )
        self._schedule.record_entry(now, dirty=something or intervals[-1].src != str(self.state_keeper.src))
        self.state_keeper.record_publish(intervals, born, copies, now)
        self._consumption.publish(drained, intervals[-1].src)
        self._count(intervals[-1], broadcasts, self.environment.monotonic() - now)

    async def _write_heartbeat(self) -> None:
        """Write a heartbeat within a long interval; pending changes and `src` stay as they are."""
        now = self.environment.monotonic()
        heartbeat = Broadcast(self._info._replace(ts=self.environment.now_us()), ())
        await self.publisher.publish(self._watch.stamp([heartbeat], self.engine.last_consumed()))
        self._watch.record_publish()
        self._schedule.record_entry(now, dirty=False)
        self.state_keeper.record_heartbeat()
        self.stats.heartbeats += 1

    def _count(self, last: Interval, broadcasts: Sequence[Broadcast], took_s: float) -> None:
        stats = self.stats
        stats.applied, stats.rejected, stats.ignored = last.applied, last.rejected, last.ignored
        counts = (last.applied, last.rejected, last.ignored)
        for result, count, before in zip(RESULTS, counts, self._published, strict=True):
            stats.events[result] += max(count - before, 0)
        self._published = counts
        for reason, count in self.engine.rejects_by_reason().items():
            new = count - self._refused_before.get(reason, 0)
            stats.rejects_by_reason[reason] = stats.rejects_by_reason.get(reason, 0) + new
        self._refused_before = dict(self.engine.rejects_by_reason())
        evicted, resends, bad_ts = self.engine.evicted, self.publisher.resends, self.engine.bad_ts
        stats.evicted += evicted - self._totals_counted[0]
        stats.resends += resends - self._totals_counted[1]
        stats.bad_ts += bad_ts - self._totals_counted[2]
        if bad_ts != self._totals_counted[2]:
            self._log_bad_ts()
        self._totals_counted = (evicted, resends, bad_ts)
        stats.in_doubt = self.engine.doubts()
        stats.publish_s += took_s
        stats.deltas += sum(len(broadcast.deltas) for broadcast in broadcasts)
        changed = sum(bool(broadcast.deltas) for broadcast in broadcasts)
        stats.broadcasts += changed
        stats.heartbeats += len(broadcasts) - changed

    def _log_bad_ts(self) -> None:
        """Log the last one, at most one in `BAD_TS_LOG_S`."""
        now = self.environment.monotonic()
        if now - self._bad_ts_logged_at >= BAD_TS_LOG_S:
            self._bad_ts_logged_at = now
            logger.warning(
                "a producer sends a ts that is left out; its events are applied",
                extra={"partition": self.publisher.partition, "entry": self.engine.last_bad_ts},
            )


def _last_orders(intervals: Sequence[Interval]) -> dict[str, OrdersCopy]:
    """The orders last copied of each symbol, without those of a listing that another one has followed."""
    copies: dict[str, OrdersCopy] = {}
    for interval in intervals:
        for symbol in interval.listings:
            copies.pop(str(symbol), None)
        copies.update((str(symbol), orders) for symbol, orders in interval.orders.items())
    return copies


class _Moves(NamedTuple):
    """The deltas that move all symbols into an epoch, and their marks."""

    deltas: Sequence[tuple[str, Delta]]
    marks: Mapping[str, Marks]


def _begun(intervals: Sequence[Interval]) -> list[Symbol]:
    """The symbols whose recovery state is written with these intervals."""
    return [symbol for interval in intervals for symbol in (*interval.born, *interval.withdrawn)]


def _groups(batch: Sequence[RawEntry], alone: Callable[[Position, int], bool]) -> Iterator[list[RawEntry]]:
    """Split input entries into groups of about `GROUP_FIELDS` and `GROUP_BYTES`, at least one in each.

    An entry that must be `alone`, by position and size, is a group of its own.
    """
    group: list[RawEntry] = []
    count = size = 0
    for entry in batch:
        entry_size = entry_bytes(entry[1])
        is_alone = alone(entry[0], entry_size)
        if group and (is_alone or count + len(entry[1]) > GROUP_FIELDS or size + entry_size > GROUP_BYTES):
            yield group
            group, count, size = [], 0, 0
        if is_alone:
            yield [entry]
            continue
        group.append(entry)
        count += len(entry[1])
        size += entry_size
    if group:
        yield group


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
