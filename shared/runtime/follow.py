"""Feeds a `PartitionReader` from Redis: loads snapshots, reads the stream, and starts again after a loss.

The gateway and the stream consumer use it. It never gives up: while Redis is away it logs that, waits and
retries.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

from redis.asyncio import Redis

from depthcast.shared.backoff import Backoff, no_jitter
from depthcast.shared.errors import RedisUnavailable, WrongKey
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import (
    AppliedEntry,
    LoadedSnapshots,
    OldestEntry,
    OnRebuilding,
    PartitionReader,
    Written,
    within_history,
    written_in,
)
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import (
    BLOCK_MS,
    RawEntry,
    last_position,
    newest_snapshots,
    oldest_entry,
    parse_entries,
    read_range,
    snapshots_before,
    stream_info,
)
from depthcast.shared.runtime.tail import Tail
from depthcast.shared.runtime.take_up import RangeLength, TakenUp, read_beginning

logger = logging.getLogger(__name__)

READ_COUNT: Final = 200
PAUSE_FIRST_S: Final = 0.05
PAUSE_MOST_S: Final = 2.0

LOOK_AGAIN_S: Final = 2.0
"""Snapshots of symbols without a book are looked for this often: nothing in the stream says that one came."""

LOOKED_AT_MAX: Final = 1_000
"""So many of them in one look, in turn; the stream is not read meanwhile."""

NAMED_MAX: Final = 10
"""A line of the log names up to this many symbols."""


class Start(NamedTuple):
    """What a load begins with: the end of the stream, snapshots, and the freshness of the last entry."""

    tail: Position
    snapshots: LoadedSnapshots
    written: Written | None


class Follower:
    """Follows one partition's `deltas`; `symbols` returns the symbols that are currently wanted.

    `past_s`: the first load begins so early, where that is possible, that so many seconds of changes follow.
    `rest_look_s`: while no symbol is wanted, entries are not read, and the end of the stream is looked at so
    often; None: they are always read.

    `more`: whether what was read has entries after the one that was yielded. `resyncs` counts loads after the
    first one, `reads` counts reads, `outages` counts attempts that failed because Redis was unavailable;
    `outage` says why.
    """

    def __init__(
        self,
        client: Redis,
        keys: PartitionKeys,
        reader: PartitionReader,
        symbols: Callable[[], Collection[str]],
        *,
        past_s: float = 0,
        rest_look_s: float | None = None,
    ) -> None:
        self.client = client
        self.keys = keys
        self.reader = reader
        self.symbols = symbols
        self.resyncs = 0
        self.reads = 0
        self.outages = 0
        self.more = False
        self._backoff = Backoff(PAUSE_FIRST_S, PAUSE_MOST_S, no_jitter)
        self._past_us = round(past_s * 1_000_000)
        self._loaded_once = False
        self._bookless: dict[str, None] = {}
        self._look_at = 0.0
        self._rest_look_s = rest_look_s
        self._at_rest = False
        self._taken_up = asyncio.Event()
        self._range = RangeLength()
        self._tail = Tail(client, keys.deltas)
        self.outage = Outage(logger, "reading waits for Redis", key=keys.deltas)

    async def entries(self) -> AsyncGenerator[AppliedEntry | None, None]:
        """Yield entries one at a time; None if nothing came for a while or Redis is unavailable.

        An entry is applied to the replicas when it is requested. Until then they are exactly at the previous
        entry, and nothing is read while the caller works.
        """
        while True:
            try:
                batch = await self._next()
            except RedisUnavailable as error:
                self.outages += 1
                self.outage.note(error)
                if isinstance(error, WrongKey):
                    self.reader.mark_lost(error.problem)
                yield None
                await self._pause()
                continue
            self.outage.over()
            empty = True
            for entry in batch:
                empty = False
                yield entry
            if empty:
                yield None

    async def take_up(
        self, symbols: Collection[str], on_past: OnRebuilding | None = None, *, past: bool = False
    ) -> TakenUp | None:
        """Read the newest snapshots of further symbols and the entries from there to the reader's position.

        `PartitionReader.adopt` has to follow before anything is awaited. `entries` may go on. None if
        the reader is being loaded, or the stream does not go on from the snapshots to its position: try again
        later. Raises `RedisUnavailable`.

        `past`: as `past_s` of the follower. `on_past`: called with each change of a symbol on the way.
        """
        reader, resting, position = self.reader, self.resting, self.reader.position
        if reader.lost_reason is not None and not resting:
            return None
        ends, snapshots, entries = await read_beginning(self.client, self.keys, symbols, self._range.newest)
        if past and self._past_us:
            snapshots = await self._with_past(snapshots, ends.oldest)
        if resting:
            position = ends.tail
        assert position is not None, "a reader that reads has a position"
        beside = reader.beside(symbols, position)
        beside.on_rebuilding = on_past
        beside.load_beside(snapshots)
        if not await self._read_on(beside, entries, ends.tail if resting else None):
            return None
        if resting:
            if not self.resting:
                return None
            assert beside.position is not None
            reader.rest_at(beside.position)
        self._taken_up.set()
        bookless = [symbol for symbol, found in snapshots.items() if found is None]
        self._bookless.update(dict.fromkeys(bookless))
        return TakenUp(beside, symbols, ends.written if resting else None)

    async def _read_on(
        self, beside: PartitionReader, entries: Sequence[RawEntry], upto: Position | None
    ) -> bool:
        """Let a reader `beside` read on to `upto`, or to where the reader is; False if it does not get there.

        `entries`: some that were read already; they count if nothing is missing before them.
        """
        assert beside.position is not None
        reader, read = self.reader, 0
        if entries and entries[0][0] > beside.position:
            entries = ()
        while upto is not None or reader.lost_reason is None:
            goal = upto or reader.position
            assert goal is not None
            for position, fields in entries:
                if beside.position < position <= goal:
                    if beside.read(position, fields) is None:
                        return False
                    read += 1
            if beside.position >= goal:
                self._range.taken_up(read)
                return beside.position == goal
            entries = await read_range(
                self.client, self.keys.deltas, beside.position, goal, count=self._range.count
            )
            if not entries:
                return False
            self._range.read(entries)
        return False

    @property
    def _wants_rest(self) -> bool:
        return self._rest_look_s is not None and not self.symbols()

    @property
    def resting(self) -> bool:
        """Whether nobody reads the entries, and nobody is about to."""
        return self._at_rest and self._wants_rest

    async def _rest(self) -> list[AppliedEntry]:
        """Look at the end of the stream, after a while, as long as no symbol is wanted."""
        await self._tail.release()
        if self._at_rest:
            self._taken_up.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest_look_s):
                    await self._taken_up.wait()
        self._at_rest = self._loaded_once = True
        return await self._look_at_end()

    async def _look_at_end(self) -> list[AppliedEntry]:
        """Go to the end of the stream, unless a symbol is wanted meanwhile."""
        before = self.reader.position
        tail, written = await self._newest_entry()
        if not self._wants_rest:
            return []
        self._backoff.reset()
        self.reader.rest_at(tail)
        if written is not None:
            written = written._replace(is_new=before is not None and tail > before)
        return [AppliedEntry(tail, None, [], written)]

    async def _next(self) -> Iterable[AppliedEntry]:
        if self._wants_rest:
            return await self._rest()
        self._at_rest = False
        if self._bookless and asyncio.get_running_loop().time() >= self._look_at:
            await self._look_again()
        if self.reader.lost_reason is not None or self.reader.missing:
            return await self._load()
        return await self._read()

    async def _load(self) -> list[AppliedEntry]:
        await self._tail.release()
        reader = self.reader
        wanted = sorted(self.symbols() if reader.lost_reason is not None else reader.missing)
        if self._loaded_once:
            self.resyncs += reader.lost_reason is not None or any(
                why != "not loaded yet" for why in reader.missing.values()
            )
            reason = reader.lost_reason or dict(islice(reader.missing.items(), NAMED_MAX))
            logger.info(
                "loading snapshots",
                extra={"key": self.keys.deltas, "symbols": len(wanted), "reason": reason},
            )
            await self._pause()
        tail, snapshots, written = await self._start(wanted)
        self._bookless.update({symbol: None for symbol, found in snapshots.items() if found is None})
        self._look_at = asyncio.get_running_loop().time() + LOOK_AGAIN_S
        updates = reader.load(tail, snapshots)
        self._loaded_once = True
        self.more = False
        assert reader.position is not None
        return [AppliedEntry(reader.position, None, updates, written if reader.position == tail else None)]

    async def _start(self, symbols: Collection[str]) -> Start:
        """Read what a load of `symbols` begins with, in this order: the snapshots last."""
        tail, written = await self._newest_entry()
        oldest = await oldest_entry(self.client, self.keys.deltas)
        snapshots = await self._snapshots(symbols, oldest)
        if self._past_us and not self._loaded_once:
            snapshots = await self._with_past(snapshots, oldest)
        return Start(tail, snapshots, written)

    async def _with_past(self, snapshots: LoadedSnapshots, oldest: OldestEntry | None) -> LoadedSnapshots:
        """Take the snapshot before the newest one of each symbol, if much more of its past follows that."""
        known = {symbol: found for symbol, found in snapshots.items() if found is not None}
        latest = max((found[1].ts for found in known.values()), default=0)
        keys = {
            self.keys.snapshots(symbol): symbol
            for symbol, found in known.items()
            if found[1].ts > latest - self._past_us
        }
        newest = {key: known[symbol][0] for key, symbol in keys.items()}
        before = {keys[key]: found for key, found in (await snapshots_before(self.client, newest)).items()}
        # One that is much older was followed by no change, or deltas may be trimmed behind it any moment.
        near = {
            symbol: found
            for symbol, found in before.items()
            if known[symbol][1].ts - found[1].ts <= self._past_us
        }
        kept = {symbol: found for symbol, found in within_history(near, oldest).items() if found is not None}
        return {**snapshots, **kept}

    async def _snapshots(
        self, symbols: Collection[str], oldest: OldestEntry | None, *, upto: Position | None = None
    ) -> LoadedSnapshots:
        """Read the newest snapshots from which the stream goes on; `upto`: of entries up to this one."""
        keys = [self.keys.snapshots(symbol) for symbol in symbols]
        found = await newest_snapshots(self.client, keys, upto=upto, unreadable=set())
        return within_history(dict(zip(symbols, found, strict=True)), oldest)

    async def _look_again(self) -> None:
        """Have symbols loaded that have no book, if there is a snapshot now: it was deleted or unreadable."""
        self._look_at = asyncio.get_running_loop().time() + LOOK_AGAIN_S
        self._bookless = {symbol: None for symbol in self._bookless if self.reader.is_empty(symbol)}
        symbols = list(islice(self._bookless, LOOKED_AT_MAX))
        for symbol in symbols:  # the next look begins with others
            self._bookless[symbol] = self._bookless.pop(symbol)
        oldest = await oldest_entry(self.client, self.keys.deltas)
        for symbol, snapshot in (await self._snapshots(symbols, oldest)).items():
            if snapshot is not None:
                self.reader.reload_empty(symbol, "its snapshot is there again")

    async def _newest_entry(self) -> tuple[Position, Written | None]:
        """Return the stream's last position, and what the entry there says about freshness."""
        info = await stream_info(self.client, self.keys.deltas)
        if info is None:
            return ZERO, None
        tail = Position.parse(info[b"last-generated-id"])
        newest = parse_entries([info[b"last-entry"] or (b"0-0", ())])
        return tail, written_in(*newest[0]) if newest and newest[0][0] == tail else None

    async def _read(self) -> Iterable[AppliedEntry]:
        reader = self.reader
        assert reader.position is not None
        raw = await self._tail.read(reader.position, count=READ_COUNT, block_ms=BLOCK_MS)
        self.reads += 1
        if not raw:
            reader.check_tail(await last_position(self.client, self.keys.deltas))
            return []
        return self._applied(raw)

    def _applied(self, raw: Sequence[RawEntry]) -> Iterator[AppliedEntry]:
        """Apply entries one by one, as they are requested, until one does not follow."""
        last = raw[-1][0]
        for position, fields in raw:
            entry = self.reader.read(position, fields)
            if entry is None:
                return
            self.more = position != last
            yield entry
        if not self.reader.missing and self.reader.lost_reason is None:
            self._backoff.reset()

    async def _pause(self) -> None:
        """Wait before the next attempt, longer each time until a read succeeds."""
        await asyncio.sleep(self._backoff.next_s())
