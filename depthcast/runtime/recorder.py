"""The work of `depthcast record`: every delta of a deployment into Parquet files, none lost and none twice.

Each stream entry goes to the journal as it is read, and to Parquet files later, which are written whole and
then get their name. A recorder that was killed goes on from both: it restores each book from the symbol's
last file and the journal, and reads `deltas` from the last recorded position. If the stream is trimmed beyond
that, there is a gap.
"""

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from depthcast.feed.recording import (
    DELTA,
    SNAPSHOT,
    UNFINISHED,
    RecordedRow,
    file_name,
    files_of,
    library,
    read_rows,
    to_table,
)
from depthcast.runtime.record_journal import Frame, Journal, sync_folder
from depthcast.shared.errors import FeedError, RedisUnavailable, SettingsError
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate
from depthcast.shared.replica import Replica
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import POLL_S, read_instruments, wait_for_deployed
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.types import Delta, Snapshot

logger = logging.getLogger(__name__)

ABOUT: Final = "recording.json"
VERSION: Final = 2
"""Of the recording: since 2, rows have doubt. Raise it with every change of the columns."""

LOCK: Final = ".lock"
JOURNAL: Final = "journal"


_Change = tuple[str, int, int, int, int, list[int], list[int], int, int]
"""The first items of a row, up to `events`."""


@dataclass(frozen=True)
class RecordOptions:
    """Options of `depthcast record`. Files are closed after `file_s`, or `file_rows` rows of all symbols."""

    redis_url: str
    prefix: str
    partitions: int | None
    folder: Path
    file_s: float = 300.0
    file_rows: int = 100_000


@dataclass
class _Symbol:
    """A symbol's rows that are in no file yet. `start`: the book before them; None before the first row."""

    rows: list[RecordedRow] = field(default_factory=list)
    start: RecordedRow | None = None
    replica: Replica = field(default_factory=Replica)
    last: RecordedRow | None = None


@dataclass
class RecordCounts:
    """What a recorder has done since it started."""

    entries: int = 0
    deltas: int = 0
    snapshots: int = 0
    gaps: int = 0
    files: int = 0


class RecordFolder:
    """The files and the journal of a recording, and what is in neither yet.

    `positions`: up to which each partition is recorded. `symbols`: those with any row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / JOURNAL)
        self.positions: dict[int, Position] = {}
        self.symbols: dict[str, _Symbol] = {}
        self.counts = RecordCounts()
        self.rows_waiting = 0
        self._hour = ""

    def restore(self) -> None:
        """Read what an earlier recorder left; afterwards all of it is in files. Raises `FeedError`."""
        for path in self.folder.glob(f"symbol=*/hour=*/*{UNFINISHED}"):
            path.unlink()
        try:
            files = files_of(self.folder)
        except FeedError:
            files = {}
        for symbol, each in files.items():
            restored = self.symbols.setdefault(symbol, _Symbol())
            for row in read_rows(each[-1].path):
                _follow(restored, row)
            restored.start = _snapshot_of(restored)
        for frame in self.journal.read():
            for number, position in frame.positions.items():
                self.positions[number] = max(position, self.positions.get(number, position))
            for symbol, row in frame.rows:
                restored = self.symbols.setdefault(symbol, _Symbol())
                if restored.last is None or row.seq > restored.last.seq:
                    self._add(symbol, row)
                    _follow(restored, row)
        self.flush()

    def take(self, partition: int, position: Position, rows: list[tuple[str, RecordedRow, Replica]]) -> None:
        """Record an entry: its rows, each with the replica after it.

        Files are closed after the first entry of an hour: before it, replicas are ahead of the last row.
        """
        hour = max((_hour(row.ts) for _, row, _ in rows), default="")
        is_due = hour > self._hour and self.rows_waiting > 0
        self._hour = max(hour, self._hour)
        position = max(position, self.positions.get(partition, position))
        self.positions[partition] = position
        self.journal.append(Frame({partition: position}, [(symbol, row) for symbol, row, _ in rows]))
        for symbol, row, replica in rows:
            known = self.symbols.setdefault(symbol, _Symbol())
            if row.kind == SNAPSHOT and known.last is not None:
                self.counts.gaps += 1
                extra = {"symbol": symbol, "after_seq": known.last.seq, "to_seq": row.seq}
                logger.warning("a gap: deltas are missing in the recording", extra=extra)
            self._add(symbol, row)
            known.last, known.replica = row, replica
            self.counts.deltas += row.kind == DELTA
            self.counts.snapshots += row.kind == SNAPSHOT
        self.counts.entries += 1
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Write all waiting rows to files, and begin a new journal."""
        for symbol, known in self.symbols.items():
            if not known.rows:
                continue
            rows = known.rows
            if known.start is not None and rows[0].kind != SNAPSHOT:
                rows = [known.start, *rows]
            self._write(symbol, rows)
            known.rows = []
            known.start = _snapshot_of(known)
        self.rows_waiting = 0
        self.journal.begin(self.positions)

    def close(self) -> None:
        """Write everything."""
        self.flush()
        self.journal.close()

    def _add(self, symbol: str, row: RecordedRow) -> None:
        self.symbols[symbol].rows.append(row)
        self.rows_waiting += 1

    def _write(self, symbol: str, rows: list[RecordedRow]) -> None:
        hour = _hour(next((row.ts for row in rows if row.kind == DELTA), rows[-1].ts))
        home = self.folder / f"symbol={symbol}" / f"hour={hour}"
        home.mkdir(parents=True, exist_ok=True)
        path = home / file_name(rows[0].prev_seq or rows[0].seq, rows[-1].seq)
        unfinished = path.with_suffix(UNFINISHED)
        with unfinished.open("wb") as file:
            library().parquet.write_table(to_table(rows), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        sync_folder(home)
        self.counts.files += 1


def _follow(known: _Symbol, row: RecordedRow) -> None:
    """Apply a recorded row to the replica; raises `FeedError` if it does not fit."""
    if row.kind == SNAPSHOT:
        known.replica = Replica(Snapshot(row.seq, row.bids, row.asks, row.digest, row.ts))
    else:
        if not row.prev_seq:
            known.replica = Replica()  # the birth of a listing
        delta = Delta(row.prev_seq, row.seq, row.bids, row.asks, row.digest, row.events)
        outcome, _ = known.replica.apply(delta)
        if outcome.name != "APPLIED":
            raise FeedError("the recording", 0, f"has a {outcome.value} at {row.position}; see --check")
    known.replica.doubt = row.doubt or None
    known.last = row


def _snapshot_of(known: _Symbol) -> RecordedRow:
    """The snapshot with which the next file begins."""
    assert known.last is not None
    book = known.replica.book
    return known.last._replace(
        kind=SNAPSHOT, prev_seq=0, bids=book.bids.flat(), asks=book.asks.flat(), events=0
    )


def _hour(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H")


@contextmanager
def locked(folder: Path, about: dict[str, object]) -> Iterator[bool]:
    """Hold the folder; raises `SettingsError` if another recorder does, or it is of another deployment.

    Yields whether it has a recording of an older version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError("DIR", str(folder), "is being written to by another recorder") from error
        path, is_older = folder / ABOUT, False
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8") or "{}")
            is_older = held == about | {"version": 1}
            if held != about and not is_older:
                raise SettingsError("DIR", str(folder), f"has a recording of {held}, not of {about}")
        else:
            unfinished = path.with_suffix(UNFINISHED)
            unfinished.write_text(json.dumps(about), encoding="utf-8")
            unfinished.rename(path)
        yield is_older


async def record(options: RecordOptions, counts: RecordCounts) -> None:
    """Record until cancelled; then everything is in files."""
    library()
    keys = DeploymentKeys.at(options.redis_url, options.prefix)
    async with redis.connect(options.redis_url) as client:
        partitions, keys = await wait_for_deployed(client, keys, options.partitions)
        about: dict[str, object] = {"prefix": options.prefix, "partitions": partitions, "version": VERSION}
        with locked(options.folder, about) as is_older:
            folder = RecordFolder(options.folder)
            folder.counts = counts
            folder.restore()
            if is_older:  # nobody knows whether its last books were in doubt
                folder.close()
                problem = "has an older recording, without doubt: record into a new folder; replay reads both"
                raise SettingsError("DIR", str(options.folder), problem)
            try:
                await Recorder(options, keys, partitions, folder).run(client)
            finally:
                folder.close()


class Recorder:
    """Follows all partitions into a folder."""

    def __init__(
        self, options: RecordOptions, keys: DeploymentKeys, partitions: int, folder: RecordFolder
    ) -> None:
        self.options = options
        self.keys = keys
        self.folder = folder
        self.instruments: Mapping[str, Instrument] = {}
        self._unsure: list[set[str]] = [set() for _ in range(partitions)]
        # Recordings have no number of orders; a reader that misses it loads the book anew.
        self.readers = [PartitionReader(lambda _: True, orders=False) for _ in range(partitions)]
        for number, position in folder.positions.items():
            self.readers[number].position = position
            self.readers[number].lost_reason = None
        for symbol, known in folder.symbols.items():
            self.readers[partition_of(symbol, partitions)].shown[symbol] = known.replica

    async def run(self, client: Redis) -> None:
        """Record until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            polled = asyncio.Event()
            tasks.create_task(self._poll(client, polled))
            await polled.wait()
            tasks.create_task(self._keep())
            for number, reader in enumerate(self.readers):
                tasks.create_task(self._follow(number, reader))

    async def _poll(self, client: Redis, polled: asyncio.Event) -> None:
        """Follow the instruments: a new symbol is recorded from its birth on."""
        outage = Outage(logger, "instruments are not read", key=self.keys.instruments)
        while True:
            try:
                self.instruments = await read_instruments(client, self.keys, self.instruments)
            except RedisUnavailable as error:
                outage.note(error)
            else:
                outage.over()
                for symbol in self.instruments:
                    self.readers[partition_of(symbol, len(self.readers))].want(symbol)
                polled.set()
            await asyncio.sleep(POLL_S)

    async def _keep(self) -> None:
        """Keep what was written, and close files when they are due."""
        loop = asyncio.get_running_loop()
        flushed_at = loop.time()
        while True:
            await asyncio.sleep(POLL_S)
            self.folder.journal.sync()
            waiting = self.folder.rows_waiting
            if waiting >= self.options.file_rows or loop.time() - flushed_at >= self.options.file_s:
                self.folder.flush()
                flushed_at = loop.time()

    async def _follow(self, number: int, reader: PartitionReader) -> None:
        async with redis.connect(self.options.redis_url) as client:
            follower = Follower(client, self.keys.partition(number), reader, lambda: self._symbols(number))
            async for entry in follower.entries():
                if entry is not None:
                    self.take(number, entry)

    def take(self, number: int, entry: AppliedEntry) -> None:
        """Record what a partition's reader has just applied."""
        rows = [each for update in entry.updates if (each := self._row(entry, update)) is not None]
        self.folder.take(number, entry.position, rows)
        self._unsure[number] = {*self.readers[number].missing, *self.readers[number].rebuilding}

    def _symbols(self, number: int) -> set[str]:
        known = {*self.instruments, *self.folder.symbols}
        return {symbol for symbol in known if partition_of(symbol, len(self.readers)) == number}

    def _row(self, entry: AppliedEntry, update: ReplicaUpdate) -> tuple[str, RecordedRow, Replica] | None:
        """The row of an update; None if it is a load of the state that is recorded already."""
        symbol, replica, delta, *_ = update
        known = self.folder.symbols.get(symbol)
        if known is not None and known.last is not None and replica.seq <= known.last.seq:
            known.replica = replica
            return None
        info, written = entry.info, entry.written
        listing, tick_size, lot_size = self._sizes(symbol, replica)
        if delta is None and entry.info is not None and self._is_birth(symbol, replica):
            changed: _Change = (DELTA, *entry.position, 0, replica.seq, [], [], 0, 0)
        elif delta is None:
            bids, asks = replica.book.bids.flat(), replica.book.asks.flat()
            changed = (SNAPSHOT, *entry.position, 0, replica.seq, bids, asks, replica.digest, 0)
        else:
            changed = (
                DELTA,
                *entry.position,
                delta.prev_seq,
                delta.seq,
                list(delta.bids),
                list(delta.asks),
                delta.digest,
                delta.events,
            )
        ts = info.ts if info is not None else replica.loaded_ts
        event_ts = info.event_ts if info is not None else None
        written_us = written.us if written is not None else None
        listed = (listing, tick_size, lot_size, replica.doubt or "", self._is_withdrawn(symbol, replica))
        return symbol, RecordedRow(*changed, ts, event_ts, written_us, *listed), replica

    def _is_birth(self, symbol: str, replica: Replica) -> bool:
        """Whether a replica was replaced by the birth or withdrawal of a listing, and not after a gap."""
        empty = not replica.digest and not len(replica.book.bids) and not len(replica.book.asks)
        return empty and symbol not in self._unsure[partition_of(symbol, len(self.readers))]

    def _is_withdrawn(self, symbol: str, replica: Replica) -> bool:
        """Whether the listing of a book has ended."""
        if replica.listing is not None:
            return replica.listing.withdrawn
        known = self.folder.symbols.get(symbol)  # a restored replica has no listing until the stream names it
        if known is None or known.last is None or known.replica is not replica:
            return False
        return bool(known.last.withdrawn)

    def _sizes(self, symbol: str, replica: Replica) -> tuple[int | None, str, str]:
        """Number and sizes of what the book stands for."""
        if replica.listing is not None:
            instrument = replica.listing.instrument
            return replica.listing.number, instrument.tick_size, instrument.lot_size
        known = self.folder.symbols.get(symbol)
        if known is not None and known.last is not None and known.replica is replica:
            return known.last.listing, known.last.tick_size, known.last.lot_size
        registered = self.instruments.get(symbol)
        return (None, "1", "1") if registered is None else (None, registered.tick_size, registered.lot_size)
