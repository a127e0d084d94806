"""Reads from Redis what the pure `depthcast.ingestor.recovery` needs.

A leader that starts cold reads to the end once; a standby keeps reading.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from redis.asyncio import Redis

from depthcast.ingestor import checkpoint as checkpoints_codec
from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.limits import entry_bytes
from depthcast.ingestor.orders import OrdersCopy
from depthcast.ingestor.read_count import ReadCount
from depthcast.ingestor.recovery import (
    NOTHING_PUBLISHED,
    PublishedState,
    Republication,
    StateFold,
    check_checkpoint,
    prove_orders,
    replay,
    restore_doubts,
    restore_levels,
    restore_times,
    standing,
)
from depthcast.ingestor.runtime.environment import Environment
from depthcast.shared.errors import CodecError, EngineBroken, PositionError, RecoveryError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.listing import Listing
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import is_foreign, read_info, within_history
from depthcast.shared.replica import Replica
from depthcast.shared.runtime.listing_record import RecordReader
from depthcast.shared.runtime.redis import (
    FOREIGN_MAX,
    RawEntry,
    execute,
    last_position,
    newest_entry,
    newest_snapshots,
    oldest_entry,
    parse_entries,
    read_hash,
    read_stream,
    stream_info,
)
from depthcast.shared.types import EntryInfo

logger = logging.getLogger(__name__)

READ_COUNT: Final = 500

SEALS_MAX: Final = 100
"""More than all possible seals of failed starts: a stream with this many entries was not emptied."""

TRIM_RETRIES: Final = 4
"""Maximum retries while trimming moves the start of the input log."""

LOST_NAMED_MAX: Final = 20
"""An error names up to this many lost books."""

SLICE_S: Final = 0.02
"""Input is replayed for this long at a time."""

THREAD_BYTES: Final = 1 << 18
"""A checkpoint larger than this is restored in a thread."""

RESTORED_PER_SLICE: Final = 1_000
"""So many symbols are restored at a time; then other tasks run."""

NO_RECORD: Final[Mapping[str, Listing]] = MappingProxyType({})

OTHER_RULES: Final = (
    "Another version of Depthcast wrote the checkpoint, and reads the input after it by other rules: run an"
    " ingestor of that version alone, until it leads, and end it by SIGTERM: it writes a new checkpoint"
)

REMEDY: Final = (
    "Restore a backup, or delete the partition's deltas, symbols, snapshots:* and checkpoint:*, and send the"
    " books again"
)

_NO_ORDERS: Final = OrdersCopy((), (), (), ())


class Recovered(NamedTuple):
    """The state that a leadership begins with.

    `position`: end of the stream. `info`: of its last entry, with the `src` to continue after.
    `republication`: Redis lost part of the published state, so snapshots and checkpoints must be written at
    once. `listings`: those that the record or the stream names; `recorded`: those of the record.
    """

    engine: Engine
    position: Position
    info: EntryInfo
    republication: Republication | None = None
    listings: Mapping[str, Listing] = NO_RECORD
    recorded: Mapping[str, Listing] = NO_RECORD


class Recovery:
    """Rebuilds the published state of one partition: `load`, then `advance`, and `finish` at the end.

    All raise `RedisUnavailable`, or `RecoveryError` if something is inconsistent; this object cannot be used
    after an error. All but `load` may be cancelled and called again.
    """

    def __init__(
        self,
        partition: tuple[int, int],
        keys: PartitionKeys,
        instruments: Mapping[str, Instrument],
        environment: Environment,
    ) -> None:
        self.partition = partition[0]
        self.keys = keys
        self.instruments = instruments
        self.environment = environment
        self._engine = Engine(*partition)
        self._fold = StateFold(self.partition, ZERO, {})
        self._checkpoints: dict[str, Checkpoint] = {}
        self._unrestored: set[str] = set()
        self._replayed_to = ZERO
        self._replay_began = False
        self._record = RecordReader(keys)

    @property
    def position(self) -> Position:
        """Position of the last entry of `deltas` that was folded."""
        return self._fold.position

    @property
    def info(self) -> EntryInfo:
        """The info of the last entry folded."""
        return self._fold.info

    @property
    def is_published_state(self) -> bool:
        """Whether what was folded is the whole state after one entry; never true for snapshots alone."""
        return self._fold.is_published_state

    async def load(self, client: Redis) -> None:
        """Read snapshots, all deltas so far, and checkpoints."""
        symbols = list(self.instruments)
        start = await last_position(client, self.keys.deltas)
        first = await oldest_entry(client, self.keys.deltas)
        try:
            found = await newest_snapshots(client, [self.keys.snapshots(symbol) for symbol in symbols])
        except CodecError as error:
            raise RecoveryError(self.partition, str(error)) from error
        self._fold = StateFold(
            self.partition, start, within_history(dict(zip(symbols, found, strict=True)), first)
        )
        tail, self._fold.info = await self._tail(client)
        for position, fields in await self._entries(client, self._fold.position):
            if position == self._fold.position and not is_foreign(fields):
                self._fold.confirm(read_info(fields)[0])
        while self._fold.position < tail:
            batch = await self._read(client, None)
            if not batch:
                break
            self._fold.add(batch)
        self._unrestored.update(self._fold.last_registered())
        await self._catch_up(client)
        await self._record.read(client)  # so that `finish` has to parse only what is new then

    async def _entries(self, client: Redis, at: Position) -> list[RawEntry]:
        """The entry at a position, none if it is gone."""
        return parse_entries(await execute(client, "XRANGE", self.keys.deltas, str(at), str(at)))

    def follow(self, instruments: Mapping[str, Instrument]) -> bool:
        """Update to the instruments as last read.

        Returns False if one was withdrawn, or changed while the stream does not say what its book stands for:
        `load` a new recovery then.
        """
        if instruments is self.instruments:
            return True
        for symbol, instrument in self.instruments.items():
            now = instruments.get(symbol)
            if now is None or (now.terms != instrument.terms and not self._is_listed(symbol)):
                return False
        self._unrestored.update(self._fold.replicas.keys() & (instruments.keys() - self.instruments.keys()))
        self.instruments = instruments
        return True

    def _is_listed(self, symbol: str) -> bool:
        replica = self._fold.replicas.get(symbol)
        return replica is not None and replica.listing is not None

    async def advance(self, client: Redis, block_ms: int | None = None) -> bool:
        """Fold the next entries, waiting up to `block_ms` for the first; False if there was none."""
        batch = await self._read(client, block_ms)
        self._unrestored.update(self._fold.add(batch))
        await self._catch_up(client)
        return bool(batch)

    async def _read(self, client: Redis, block_ms: int | None) -> list[RawEntry]:
        return await read_stream(
            client, self.keys.deltas, self._fold.position, count=READ_COUNT, block_ms=block_ms
        )

    async def finish(self, client: Redis, instruments: Mapping[str, Instrument]) -> Recovered:
        """The engine at the end of the stream, proven correct; this object cannot be used afterwards."""
        await self._catch_up(client)
        # Read before the tail, so all of it is in what is folded.
        listed, record = await self._listed(client), await self._record.read(client)
        while True:
            tail, info = await self._tail(client)
            if self._fold.position >= tail or not await self.advance(client):
                break
        await self._check_foreign(client)
        published = self._fold.finish(tail, info, instruments)
        recorded, record = record, _completed(record, self._fold.replicas)
        gone = {symbol for symbol, listing in record.items() if listing.withdrawn}
        self._check_lost(self._fold.lost(listed, instruments.keys() - gone))
        standing_for = standing(published.replicas, instruments, record)
        self._prove_orders(published, standing_for)
        src = await surviving_src(client, self.keys, info.src)
        recovered = self._recovered(published, standing_for, src)
        return recovered._replace(listings=record, recorded=recorded)

    async def _listed(self, client: Redis) -> dict[str, Position]:
        """The record of the last leadership's symbols, empty if an older version led."""
        key, found = self.keys.symbols, await read_hash(client, self.keys.symbols)
        try:
            # Many symbols have the same one.
            positions = {value: Position.parse(value) for value in set(found.values())}
            return {name.decode(): positions[value] for name, value in found.items()}
        except (ValueError, PositionError) as error:
            raise RecoveryError(self.partition, f"a value in {key} is wrong: {error}. DEL {key}") from error

    def _check_lost(self, lost: list[str]) -> None:
        """Refuse to begin a book empty that was not empty."""
        if lost:
            key = self.keys.symbols
            remedy = f"HDEL {key} {' '.join(lost)}" if len(lost) <= LOST_NAMED_MAX else f"DEL {key}"
            raise RecoveryError(
                self.partition,
                f"{len(lost)} books cannot be rebuilt: {self.keys.snapshots(lost[0])} is gone, or older than"
                f" {self.keys.deltas}, which does not reach back to that book's beginning. Restore a backup,"
                f" or let them begin empty: {remedy}",
            )

    async def _check_foreign(self, client: Redis) -> None:
        """Check that the entry before a foreign one is still there, if we passed one."""
        foreign = self._fold.foreign
        if foreign is not None:
            if not await self._entries(client, foreign[1]):
                raise RecoveryError(
                    self.partition, f"entry {foreign[0]} is of no leader, and {foreign[1]} before it is gone"
                )
            logger.warning(
                "an entry that no leader wrote is left out, every book is published again",
                extra={"partition": self.partition, "key": self.keys.deltas, "entry": str(foreign[0])},
            )

    async def finish_emptied(
        self, client: Redis, instruments: Mapping[str, Instrument], tail: Position
    ) -> Recovered:
        """The engine at the last entry folded, for a stream that was emptied.

        `tail`: the end of the emptied stream. Raises `RecoveryError` if the stream was emptied before all was
        read: snapshots alone are of different entries, and nothing says up to where the input was consumed.
        """
        if not self.is_published_state:
            raise RecoveryError(
                self.partition,
                f"{self.keys.deltas} was emptied before it was read. {REMEDY}",
            )
        info = self._fold.info
        if not await input_continues(client, self.keys, self._input_position(info)):
            raise RecoveryError(
                self.partition,
                f"{self.keys.deltas} was emptied, and {info.src}, the last input that this ingestor knows of,"
                f" is gone from {self.keys.events}. {REMEDY}",
            )
        published = PublishedState(self._fold.position, info, self._fold.last_registered())
        record = _completed(await self._record.read(client), self._fold.replicas)
        standing_for = standing(published.replicas, instruments, record)
        self._prove_orders(published, standing_for)
        recovered = self._recovered(published, standing_for, await surviving_src(client, self.keys, info.src))
        return recovered._replace(position=tail, republication=Republication(), listings=record)

    def _prove_orders(self, published: PublishedState, instruments: Mapping[str, Instrument]) -> None:
        """Check that the orders feeds are exactly at the published state."""
        src = self._input_position(published.info)
        replicas = self._orders_of(published.replicas, instruments)
        for symbol in replicas:
            check_checkpoint(self.partition, symbol, self._checkpoints.get(symbol), published.position)
        if replicas and self._replayed_to < src and any(c.src < src for c in self._checkpoints.values()):
            raise RecoveryError(
                self.partition, f"replayed the input to {self._replayed_to}, but {src} was published"
            )
        self._prove(src, replicas)

    def _prove(self, src: Position, replicas: Mapping[str, Replica]) -> None:
        try:
            prove_orders(self._engine, self.partition, src, replicas)
        except RecoveryError as error:
            if all(self._checkpoints[symbol].rules == checkpoints_codec.RULES for symbol in replicas):
                raise
            raise RecoveryError(self.partition, f"{error.problem}. {OTHER_RULES}") from error

    def _recovered(
        self, published: PublishedState, instruments: Mapping[str, Instrument], src: Position
    ) -> Recovered:
        engine, info = self._engine, published.info
        replicas = self._orders_of(published.replicas, instruments)
        engine.keep_only(instruments.keys() & published.replicas.keys())
        for symbol, replica in replicas.items():
            engine.set_seq(symbol, replica.seq)
            if self._checkpoints[symbol].position.epoch != published.position.epoch:
                # A leader with other limits has written a newer checkpoint, or had none to write.
                engine.forget_limits(symbol)
            if replica.orders_digest is None:
                # Readers find the number of orders in the snapshot that this has written at once.
                engine.restate(symbol)
        restore_levels(engine, published.replicas, instruments)
        restore_doubts(engine, published.replicas)
        restore_times(engine, published.replicas)
        engine.resume_counting(str(src), info.applied, info.rejected, info.ignored)
        again = str(src) != info.src or self._fold.foreign is not None
        republication = Republication() if again else None
        if str(src) != info.src:
            # As many were consumed as before; the log's own count will say what became of the others.
            info = info._replace(src=str(src))
        return Recovered(engine, published.position, info, republication)

    def _orders_of(
        self, replicas: Mapping[str, Replica], instruments: Mapping[str, Instrument]
    ) -> dict[str, Replica]:
        return {
            symbol: replica
            for symbol, replica in replicas.items()
            if symbol in instruments and instruments[symbol].feed is Feed.ORDERS
        }

    # --- orders --------------------------------------------------------------------------------------------

    async def _catch_up(self, client: Redis) -> None:
        """Restore new orders feeds, and replay the input published since the last call."""
        await self._restore_orders(client)
        await self._replay(client)

    async def _restore_orders(self, client: Redis) -> None:
        for number, symbol in enumerate(sorted(self._unrestored)):
            if number % RESTORED_PER_SLICE == RESTORED_PER_SLICE - 1:
                await asyncio.sleep(0)
            # A new listing began, or this is the first: nothing of an earlier one counts.
            self._checkpoints.pop(symbol, None)
            self._engine.remove(symbol)
            wanted, replica = self.instruments.get(symbol), self._fold.replicas.get(symbol)
            # Without a replica, it was born again since it first appeared.
            if wanted is not None and replica is not None:
                instrument = standing({symbol: replica}, {symbol: wanted}, NO_RECORD).get(symbol)
                if instrument is not None and instrument.feed is Feed.ORDERS:
                    await self._restore_symbol(client, instrument)
                elif instrument is not None and replica.listing is not None:
                    # `finish` brings it up to date, which is less work.
                    self._engine.restore_book(instrument, replica.seq, replica.book, replica.digest)
            self._unrestored.discard(symbol)

    async def _restore_symbol(self, client: Redis, instrument: Instrument) -> None:
        symbol = str(instrument.symbol)
        raw = await execute(client, "GET", self.keys.checkpoint(symbol))
        if raw is None:
            return  # `finish` decides whether this is an error
        run = self.environment.run_in_thread if len(raw) > THREAD_BYTES else _at_once
        found = await run(lambda: self._restore(instrument, raw))
        if self._replay_began and found.src < self._replayed_to:
            raise RecoveryError(
                self.partition, f"{symbol} appeared before the input was replayed to {self._replayed_to}"
            )
        self._replayed_to = min(self._replayed_to, found.src) if self._checkpoints else found.src
        self._checkpoints[symbol] = found._replace(orders=_NO_ORDERS)

    def _restore(self, instrument: Instrument, raw: bytes) -> Checkpoint:
        try:
            found = checkpoints_codec.decode(raw)
        except CodecError as error:
            raise RecoveryError(self.partition, str(error)) from error
        seq = self._fold.replicas[instrument.symbol].seq
        self._engine.restore(instrument, seq, (), (), 0, orders=found.orders, limits=found.limits)
        return found

    async def _replay(self, client: Redis) -> None:
        """Replay `events` from the last entry replayed up to the last published `src`."""
        until = self._input_position(self._fold.info)
        if self._checkpoints and self._replayed_to < until:
            await self._ensure_input(client, until)
            self._replay_began = True
            sources = {symbol: found.src for symbol, found in self._checkpoints.items()}
            count = ReadCount(READ_COUNT)
            while self._replayed_to < until:
                reply = await execute(
                    client,
                    "XRANGE",
                    self.keys.events,
                    f"({self._replayed_to}",
                    str(until),
                    "COUNT",
                    count.count,
                )
                batch = parse_entries(reply)
                if not batch:
                    break
                count.record(len(batch), sum(entry_bytes(fields) for _, fields in batch))
                await self._replay_batch(batch, sources)
        self._prove(until, self._provable(until))

    async def _replay_batch(self, batch: list[RawEntry], sources: Mapping[str, Position]) -> None:
        """Replay entries in slices. Cancelled within a large entry, this object cannot be used afterwards."""
        until = self.environment.monotonic() + SLICE_S
        try:
            for entry in batch:
                for _ in replay(self._engine, entry, sources):
                    until = await self._pause(until)
                self._replayed_to = entry[0]
                until = await self._pause(until)
        except (EngineBroken, MemoryError) as error:
            raise RecoveryError(self.partition, f"the replay failed: {error!r}") from error

    async def _pause(self, until: float) -> float:
        if self.environment.monotonic() < until:
            return until
        await asyncio.sleep(0)
        return self.environment.monotonic() + SLICE_S

    async def _ensure_input(self, client: Redis, until: Position) -> None:
        """Check that the input to replay still exists; raises `RecoveryError` if not.

        The leader may trim the log while we read, after writing newer checkpoints, so checkpoints that are
        now too old are read again.
        """
        for _ in range(TRIM_RETRIES):
            if self._replayed_to >= until or await self._input_reaches_back(client):
                return
            first = await self._first_input(client)
            for symbol, found in list(self._checkpoints.items()):
                if max(found.src, self._replayed_to) < first:
                    del self._checkpoints[symbol]
                    self._unrestored.add(symbol)
            self._replay_began = False
            await self._restore_orders(client)
            # Without checkpoints there is nothing to replay; `finish` reports the missing one.
            self._replayed_to = min((found.src for found in self._checkpoints.values()), default=until)
        raise RecoveryError(
            self.partition,
            f"the input after {self._replayed_to} is to be replayed,"
            f" but {self.keys.events} does not reach back so far",
        )

    async def _input_reaches_back(self, client: Redis) -> bool:
        if self._replayed_to == ZERO:
            info = await stream_info(client, self.keys.events)
            return info is not None and info[b"entries-added"] == info[b"length"]
        return bool(
            await execute(client, "XRANGE", self.keys.events, str(self._replayed_to), str(self._replayed_to))
        )

    async def _first_input(self, client: Redis) -> Position:
        found = parse_entries(await execute(client, "XRANGE", self.keys.events, "-", "+", "COUNT", 1))
        return found[0][0] if found else await last_position(client, self.keys.events)

    def _provable(self, until: Position) -> dict[str, Replica]:
        """The orders feeds that are exactly at the `src` of the last entry folded."""
        if self._replayed_to < until and any(found.src < until for found in self._checkpoints.values()):
            return {}
        replicas = self._fold.replicas
        return {
            symbol: replicas[symbol]
            for symbol, found in self._checkpoints.items()
            if found.src <= until and symbol in replicas
        }

    def _input_position(self, info: EntryInfo) -> Position:
        """Parse an entry's `src`; raises `RecoveryError` if it is not a position."""
        try:
            return Position.parse(info.src)
        except PositionError as error:
            raise RecoveryError(self.partition, f"src: {error}") from error

    async def _tail(self, client: Redis) -> tuple[Position, EntryInfo]:
        """The stream's last position and the info of its last entry."""
        last_id = await last_position(client, self.keys.deltas)
        if last_id == ZERO:
            return ZERO, NOTHING_PUBLISHED
        newest = await newest_entry(client, self.keys.deltas)
        if newest is None or newest[0] < last_id:
            raise RecoveryError(
                self.partition,
                f"entry {last_id}, the last of {self.keys.deltas}, is gone and its src with it",
            )
        return newest[0], await self._info_before(client, newest)

    async def _info_before(self, client: Redis, newest: RawEntry) -> EntryInfo:
        """The info of the last entry that a leader wrote."""
        entries = [newest]
        if is_foreign(newest[1]):
            reply = await execute(client, "XREVRANGE", self.keys.deltas, "+", "-", "COUNT", FOREIGN_MAX)
            entries = parse_entries(reply)
        for _, fields in entries:
            if not is_foreign(fields):
                return read_info(fields)[0]
        if len(entries) == FOREIGN_MAX:
            raise RecoveryError(
                self.partition, f"the last {FOREIGN_MAX} entries of {self.keys.deltas} are of no leader"
            )
        return NOTHING_PUBLISHED


async def emptied_tail(client: Redis, keys: PartitionKeys) -> Position | None:
    """The last position of a `deltas` stream that holds no state; None if it holds state.

    `0-0` if there is no stream. Otherwise such a stream has only seals, of leaders that found no state or
    ended before they republished their retained state, and entries that no leader wrote.
    """
    first = parse_entries(await execute(client, "XRANGE", keys.deltas, "-", "+", "COUNT", 1))
    if first and first[0][0].n and not is_foreign(first[0][1]):
        return None
    found = parse_entries(await execute(client, "XRANGE", keys.deltas, "-", "+", "COUNT", SEALS_MAX))
    if not found:
        last = await last_position(client, keys.deltas)
        return last if last == ZERO else None
    if len(found) == SEALS_MAX:
        return None
    before, begun = ZERO, False
    for position, fields in found:
        if not is_foreign(fields):
            if position.n or (not begun and read_info(fields)[1] != before):
                return None
            begun = True
        before = position
    return found[-1][0]


async def surviving_src(client: Redis, keys: PartitionKeys, src: str) -> Position:
    """The newest input entry up to `src` that still exists, to continue after; `0-0` if there is none.

    The entry that `src` names is never trimmed. If it is missing, the log lost its newest entries or started
    again, and everything after the returned position was not consumed.
    """
    reply = await execute(client, "XREVRANGE", keys.events, src, "-", "COUNT", 1)
    return parse_entries(reply)[0][0] if reply else ZERO


async def input_continues(client: Redis, keys: PartitionKeys, src: Position) -> bool:
    """Whether a state in memory that includes the input up to `src` may go on with this input log.

    Leaders trim the log from its beginning, up to what they have published, and never the entry that `src`
    names. So if that entry is there, nothing after it was trimmed. If it is gone and an earlier one is there,
    the log lost its newest entries, as at a failover: the state includes what the log does not have, and a
    producer that sends this again would have it applied twice. A log that ends before `src` and has nothing
    up to there, or of which nothing was ever removed, was lost as a whole or began again: then nobody has
    consumed what comes after `src`.
    """
    survived = await surviving_src(client, keys, str(src))
    if survived > ZERO:
        return survived == src
    info = await stream_info(client, keys.events)
    if info is None or info[b"entries-added"] == info[b"length"]:
        return True
    return Position.parse(info[b"last-generated-id"]) < src


def _completed(record: Mapping[str, Listing], replicas: Mapping[str, Replica]) -> dict[str, Listing]:
    """The record with the listings that only the stream names, or names later ones of."""
    completed = dict(record)
    for symbol, replica in replicas.items():
        listing, held = replica.listing, record.get(symbol)
        if listing is not None and (held is None or held.number < listing.number):
            completed[symbol] = listing
    return completed


async def _at_once(work: Callable[[], Checkpoint]) -> Checkpoint:
    return work()
