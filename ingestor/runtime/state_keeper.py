"""Stores what the next leadership needs for recovery: snapshots, checkpoints, and enough history.

A snapshot or checkpoint is the published state at a position. So it is taken under the leadership's lock
`publishing`, while everything drained is also written. Encoding and writing need no lock.
"""

import asyncio
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from depthcast.broadcaster.merger import SLICE_LEVELS, Copies, SideCopy, snapshot_of
from depthcast.broadcaster.publication import Attachment, Record, batches
from depthcast.broadcaster.retention import Retention
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.broadcaster.schedule import SnapshotSchedule
from depthcast.ingestor import checkpoint
from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.limits import NOTHING, Limits
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.publishing import PublishingLock
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.codec import Marks, encode_snapshot
from depthcast.shared.doubt import STALE
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.input_times import to_marks
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import Snapshot, Symbol

logger = logging.getLogger(__name__)

STORE_EVERY_S: Final = 0.1
"""Time between checks for snapshots that are due."""

TRIM_EVERY_S: Final = 1.0

RETRY_S: Final = 0.5
"""Pause after Redis refused a snapshot or was away."""

STORE_BYTES: Final = 1 << 20
"""One script writes about this much recovery state, so that Redis is never busy for long."""

STORED_MAX: Final = 250
"""One script writes so many snapshots and checkpoints: each costs the server about 30 µs."""

RECORDED_MAX: Final = 5_000
"""One script writes so many fields of a record: each costs the server about 0.5 µs."""


_Item = TypeVar("_Item")


class LargeBook(NamedTuple):
    """A book of so many levels that its snapshot is made in slices."""

    copies: Copies
    ts: int
    marks: Marks

    async def snapshot(self) -> Snapshot:
        """Make the snapshot, with pauses in which other tasks run."""
        bids, bid_counts = await _flat(self.copies.bids)
        asks, ask_counts = await _flat(self.copies.asks)
        return _completed(self.copies.snapshot(bids, asks, (bid_counts, ask_counts)), self.ts, self.marks)


def _record(listings: Mapping[Symbol, Listing]) -> Iterator[str]:
    """Symbols and listings in turn, as the record holds them."""
    for symbol, listing in listings.items():
        yield symbol
        yield json.dumps(to_table(listing), separators=(",", ":"))


def parts_of(items: Sequence[_Item], most: int) -> Iterator[Sequence[_Item]]:
    """The items in parts of at most so many."""
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _completed(snapshot: Snapshot, ts: int, marks: Marks) -> Snapshot:
    """The snapshot with its time, and what else is said of its book."""
    return snapshot._replace(ts=ts, marks={**marks, **(snapshot.marks or {})})


async def _flat(side: SideCopy) -> tuple[list[int], list[int]]:
    """The levels of a side, and the number of orders at each."""
    flat: list[int] = []
    counts: list[int] = []
    for levels in side.slices():
        flat += levels
        counts += side.counts(levels)
        await asyncio.sleep(0)
    return flat, counts


class StateKeeper:
    """The recovery state of one leadership.

    `src`: from the last entry it published. `outage`: why it waits.
    """

    def __init__(
        self,
        settings: IngestorSettings,
        engine: Engine,
        publisher: Publisher,
        stats: PartitionStats,
        environment: Environment,
        publishing: PublishingLock,
    ) -> None:
        self.engine = engine
        self.publisher = publisher
        self.keys = publisher.keys
        self.stats = stats
        self.environment = environment
        self.src = ZERO
        self.snapshots = SnapshotSchedule(settings.snapshot_interval_ms / 1000)
        self.checkpoints = SnapshotSchedule(settings.snapshot_interval_ms / 1000)
        self.retention = Retention(settings.retention_s)
        self.pending_checkpoints: dict[str, Checkpoint] = {}
        self.outage = Outage(logger, "snapshots wait for Redis", key=self.keys.deltas)
        self._publishing = publishing
        self._trimmed = environment.monotonic()

    def add_recovered(self, symbols: Collection[str], orders: Collection[str]) -> None:
        """Add the recovered symbols; `orders`: those of them with an orders feed.

        Their snapshots and checkpoints are older than anything this leadership writes, so nothing is trimmed
        before each has been renewed.
        """
        now = self.environment.monotonic()
        self.retention.record_state(dict.fromkeys(symbols, ZERO), dict.fromkeys(orders, ZERO))
        self.snapshots.add(symbols, now)
        self.checkpoints.add(orders, now)

    def checkpoints_due(self) -> list[str]:
        """Symbols whose orders the next drain must copy."""
        return self.checkpoints.due(self.environment.monotonic())

    async def record(self, symbols: Sequence[str], recorded: Mapping[str, Listing]) -> None:
        """Record the symbols of a leadership that begins, and the listings that differ from `recorded`.

        This comes after the seal and before the moves, so every symbol that was moved is in the record.
        Listings that begin or end only now are recorded with their births and withdrawals. Raises `Fenced` or
        `RedisUnavailable`; the leadership must end then, because a record may arrive late.
        """
        changed = {
            symbol: listing
            for symbol, listing in self.engine.listings().items()
            if recorded.get(symbol) != listing and not self.engine.begins(symbol)
        }
        parts = list(parts_of(symbols, RECORDED_MAX)) or [()]
        # To delete a record of very many symbols would take long. What stays of it has an earlier epoch, and
        # counts no more.
        how = Record.WHOLE if len(parts) == 1 else Record.MORE
        records = [Attachment.record(self.keys.symbols, part, how) for part in parts]
        for names in parts_of(list(changed), RECORDED_MAX):
            values = _record({name: changed[name] for name in names})
            records.append(Attachment.record(self.keys.listings, values, Record.VALUES))
        for each in records:
            await self.publisher.store([each])

    # --- with the entries of a publish ---------------------------------------------------------------------

    def attachments(
        self,
        position: Position,
        intervals: Sequence[Interval],
        copies: Mapping[str, OrdersCopy],
    ) -> list[Attachment]:
        """Recovery state that must be written with the entries of `intervals`, the last one at `position`.

        Of symbols that were born or registered again; the empty snapshots of those that were withdrawn, and
        their checkpoints, with the first input that they no longer took; and the record of listings that
        began or ended.
        """
        if not any(interval.born or interval.withdrawn or interval.listings for interval in intervals):
            return []
        attachments = []
        born = list(dict.fromkeys(symbol for interval in intervals for symbol in interval.born))
        withdrawn = [symbol for interval in intervals for symbol in interval.withdrawn]
        begun: dict[Symbol, Listing] = {}
        for interval in intervals:
            begun.update(interval.listings)
        if begun:
            attachments.append(Attachment.record(self.keys.listings, _record(begun), Record.VALUES))
        if born:
            attachments.append(Attachment.record(self.keys.symbols, born, Record.MORE))
        for symbol in dict.fromkeys((*born, *withdrawn)):
            snapshot = self._snapshot(symbol)
            attachments.append(Attachment(self.keys.snapshots(symbol), encode_snapshot(snapshot), position))
        src = Position.parse(intervals[-1].src)
        for symbol in dict.fromkeys((*born, *withdrawn)):
            if symbol in copies:
                value = Checkpoint(position, src, copies[symbol], self._limits(symbol, intervals))
                attachments.append(Attachment(self.keys.checkpoint(symbol), checkpoint.encode(value), None))
        return attachments

    def _limits(self, symbol: str, intervals: Sequence[Interval]) -> Limits:
        """The limits for what follows in the log: a withdrawn symbol takes none of it."""
        closed = any(symbol in interval.unregistered for interval in intervals)
        return NOTHING if closed else self.engine.limits

    def record_publish(
        self, intervals: Sequence[Interval], born: list[str], copies: Mapping[str, OrdersCopy], now: float
    ) -> None:
        """Record a publish that succeeded; it wrote `intervals`, drained at `now`."""
        position, self.src = self.publisher.position, Position.parse(intervals[-1].src)
        self.retention.record_entry(position, self.environment.monotonic())
        for interval in intervals:
            self.snapshots.mark_changed(interval.touched)
            self.checkpoints.mark_changed(interval.touched)
        self.snapshots.add(born, now)
        self.checkpoints.add(copies, now)
        self.checkpoints.mark_taken(copies, now)
        self.retention.record_state(
            dict.fromkeys(born, position), {symbol: self.src for symbol in copies if symbol in born}
        )
        ended = {symbol for interval in intervals for symbol in interval.listings if symbol not in copies}
        self.checkpoints.remove(ended)  # of feeds that had orders in the listing before
        self.retention.forget_checkpoints(ended)
        withdrawn = {symbol for interval in intervals for symbol in interval.withdrawn}
        for symbol, orders in copies.items():
            if symbol not in born and symbol not in withdrawn:
                self.pending_checkpoints[symbol] = Checkpoint(
                    position, self.src, orders, self._limits(symbol, intervals)
                )

    def record_heartbeat(self) -> None:
        """Record that a heartbeat was written."""
        self.retention.record_entry(self.publisher.position, self.environment.monotonic())

    # --- between publishes ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what is due, and trim what is no longer needed, until cancelled."""
        while True:
            await asyncio.sleep(STORE_EVERY_S)
            try:
                # Trim first: a server with full memory refuses writes but still trims.
                await self._trim()
                await self.store(self.snapshots.due(self.environment.monotonic()))
                self.outage.over()
            except RedisUnavailable as error:
                self.outage.note(error)
                await asyncio.sleep(RETRY_S)

    async def store(self, symbols: Sequence[str]) -> None:
        """Write snapshots of `symbols`, and the checkpoints copied by drains since the last call."""
        async with self._publishing:
            now, position = self.environment.monotonic(), self.publisher.position
            # What has begun since the last publish has no public state yet.
            symbols = [symbol for symbol in symbols if not self.engine.begins(symbol)]
            snapshots = [(symbol, self._copied(symbol)) for symbol in symbols]
            copies, self.pending_checkpoints = self.pending_checkpoints, {}
            self.snapshots.mark_taken(symbols, now)
        try:
            attachments = await self._attachments(position, snapshots, copies)
            for batch in batches(attachments, STORE_BYTES, STORED_MAX):
                await self.publisher.store(batch)
        except RedisUnavailable:
            self.snapshots.mark_changed(symbols)
            self.checkpoints.mark_changed(copies)
            raise
        self.stats.snapshots += len(snapshots)
        self.stats.checkpoints += len(copies)
        self.retention.record_state(
            dict.fromkeys(symbols, position), {symbol: copy.src for symbol, copy in copies.items()}
        )

    def _snapshot(self, symbol: str) -> Snapshot:
        """The published state; call only while no publish is in progress."""
        return _completed(self.engine.snapshot(symbol), self.environment.now_us(), self._marks(symbol))

    def _marks(self, symbol: str) -> Marks:
        """What a snapshot of the symbol says of its book beside levels."""
        marks = to_table(self.engine.listing(symbol)) | to_marks(*self.engine.times(symbol))
        if (doubt := self.engine.doubt(symbol)) is not None:
            marks[STALE] = doubt
        return marks

    def _copied(self, symbol: str) -> Snapshot | LargeBook:
        """The same, but a large book is not yet made into a snapshot, for that takes some time."""
        copies = self.engine.copies(symbol)
        if len(copies.bids) + len(copies.asks) > SLICE_LEVELS:
            return LargeBook(copies, self.environment.now_us(), self._marks(symbol))
        return _completed(snapshot_of(copies), self.environment.now_us(), self._marks(symbol))

    async def _attachments(
        self,
        position: Position,
        snapshots: Iterable[tuple[str, Snapshot | LargeBook]],
        copies: Mapping[str, Checkpoint],
    ) -> list[Attachment]:
        """Encode in slices, so that a book of a million levels or orders does not block the event loop."""
        attachments = []
        for symbol, copied in snapshots:
            snapshot = copied if isinstance(copied, Snapshot) else await copied.snapshot()
            attachments.append(Attachment(self.keys.snapshots(symbol), encode_snapshot(snapshot), position))
            await asyncio.sleep(0)
        for symbol, copy in copies.items():
            slices = []
            for encoded in checkpoint.slices(copy):
                slices.append(encoded)
                await asyncio.sleep(0)
            attachments.append(Attachment(self.keys.checkpoint(symbol), b"".join(slices), None))
        return attachments

    async def _trim(self) -> None:
        now = self.environment.monotonic()
        if now - self._trimmed >= TRIM_EVERY_S:
            self._trimmed = now
            await self.publisher.trim(self.retention.deltas_from(now), self.retention.events_from(self.src))
