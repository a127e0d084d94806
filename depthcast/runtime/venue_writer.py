"""Writes the entries of live feeds to the input log: each once, in order, or none of its symbol any more.

A script compares, for each entry, the name of the feeder and the number of its last entry of that symbol with
what stands in the partition's hash `feeders`. So an entry that is sent again because no answer came is not
added twice, however late its first copy arrives; entries that Redis has lost are noticed at the next one; and
a feeder that another one has replaced can write nothing more.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from redis.asyncio import Redis

from depthcast.feed.symbol_feed import LiveEntry, LocalDoubt, SymbolFeed
from depthcast.shared.backoff import Backoff
from depthcast.shared.codec import pack
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import to_table
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.types import Symbol

logger = logging.getLogger(__name__)

ENTRIES_PER_STEP: Final = 64
EVENTS_PER_STEP: Final = 20_000
"""Limits of what one script writes; a single entry may have more events."""

RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 2.0

_APPEND: Final = """
local function refuse(key, wanted)
  local held = redis.call('TYPE', key).ok
  if held ~= 'none' and held ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. held .. ', not a ' .. wanted)
  end
end
local problem = refuse(KEYS[1], 'stream') or refuse(KEYS[2], 'hash')
if problem then return problem end
if not redis.acl_check_cmd('XADD', KEYS[1], '*', '_', '') then
  return redis.error_reply('NOPERM this user may not run XADD on ' .. KEYS[1])
end
if not redis.acl_check_cmd('HSET', KEYS[2], '', '') then
  return redis.error_reply('NOPERM this user may not run HSET on ' .. KEYS[2])
end
local found, at = {}, 1
while at <= #ARGV do
  local symbol, before, after, last = ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 3 + tonumber(ARGV[at + 3])
  local held = redis.call('HGET', KEYS[2], symbol) or ''
  if held == before then
    redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 4, last))
    redis.call('HSET', KEYS[2], symbol, after)
    held = after
  end
  found[#found + 1] = held
  at = last + 1
end
return found
"""
"""Append entries of `events` (KEYS 1), each if `feeders` (KEYS 2) holds what must be there; returns what it
holds then. ARGV for each: symbol, what must be there, what will be, the number of its words, these."""


class Owner(NamedTuple):
    """A value of the hash `feeders`: who may write a symbol's entries, and how many it has written."""

    feeder: str
    number: int

    @classmethod
    def parse(cls, raw: bytes) -> "Owner | None":
        """Return the value; None if there is none, or none that a feeder wrote."""
        feeder, _, number = raw.decode("utf-8", "replace").rpartition(":")
        return cls(feeder, int(number)) if feeder and number.isdecimal() else None

    def __bytes__(self) -> bytes:
        return f"{self.feeder}:{self.number}".encode()


@dataclass
class Line:
    """One symbol's place in a writer.

    - `held`: what the hash `feeders` holds for it, if no entry was lost; `number`: that of the last entry.
    - `rewrite`: its whole state is to be written; `taken_by`: the feeder that has it now.
    """

    feed: SymbolFeed
    held: bytes
    number: int = 0
    rewrite: bool = False
    taken_by: str = ""


@dataclass
class WriterCounts:
    """Counts of one partition. `lost`: how often entries had to be written anew because Redis lost some."""

    entries: int = 0
    events: int = 0
    resends: int = 0
    backlogs: int = 0
    lost: int = 0


class _Pending(NamedTuple):
    line: Line
    entry: LiveEntry


@dataclass
class PartitionWriter:
    """The writer of one partition's entries.

    - `feeder`: the name of this process, unlike that of any other.
    - `pending_max`: events that may wait; beyond, they are dropped, and each book is written whole instead.
    - `taken`: called once for a symbol that another feeder writes now.
    """

    client: Redis
    keys: PartitionKeys
    feeder: str
    pending_max: int
    now: Callable[[], float]
    taken: Callable[[SymbolFeed, str], None]
    counts: WriterCounts = field(default_factory=WriterCounts)
    lines: dict[Symbol, Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._append = self.client.register_script(_APPEND)
        self._pending: deque[_Pending] = deque()
        self._pending_events = 0
        self._rewrites: deque[Line] = deque()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._outage = Outage(logger, "the feed waits for Redis")
        self._backoff = Backoff(RETRY_S, RETRY_S_MAX, random.random)

    @property
    def available(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return not self._outage.problem

    async def claim(self, feed: SymbolFeed) -> None:
        """Begin to write a symbol: whoever wrote it before cannot any more. Raises `RedisUnavailable`."""
        held = bytes(Owner(self.feeder, 0))
        await redis.execute(self.client, "HSET", self.keys.feeders, feed.symbol, held)
        self.lines[feed.symbol] = Line(feed, held)

    async def check_owners(self) -> None:
        """Notice symbols that another feeder writes, also while nothing is to be written for them."""
        lines = [line for line in self.lines.values() if not line.taken_by]
        if not lines:
            return
        symbols = [line.feed.symbol for line in lines]
        raws = await redis.execute(self.client, "HMGET", self.keys.feeders, *symbols)
        for line, raw in zip(lines, raws, strict=True):
            self._check_owner(line, raw or b"")

    def put(self, entries: Iterable[LiveEntry]) -> None:
        """Let entries of claimed symbols be written soon, in order for each symbol."""
        for entry in entries:
            line = self.lines[entry.symbol]
            if line.rewrite or line.taken_by:
                continue  # it will be written whole, as it is then
            self._pending.append(_Pending(line, entry))
            self._pending_events += len(entry.events)
        if self._pending_events > self.pending_max:
            self._give_up_pending()
        self._begin_work()

    def rewrite(self, feed: SymbolFeed) -> None:
        """Let a symbol's whole state be written soon, in place of what waits."""
        line = self.lines[feed.symbol]
        if line.rewrite or line.taken_by:
            return
        line.rewrite = True
        kept = [item for item in self._pending if item.line is not line]
        self._pending = deque(kept)
        self._pending_events = sum(len(item.entry.events) for item in kept)
        self._rewrites.append(line)
        self._begin_work()

    async def written(self) -> None:
        """Wait until nothing waits to be written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what comes, for ever; waits while Redis is away."""
        while True:
            await self._work.wait()
            while batch := self._next_batch():
                await self._write(batch)
            self._work.clear()
            self._idle.set()

    def _begin_work(self) -> None:
        if self._pending or self._rewrites:
            self._idle.clear()
            self._work.set()

    def _give_up_pending(self) -> None:
        """Drop what waits; every symbol concerned is written whole later."""
        self.counts.backlogs += 1
        for line in {id(item.line): item.line for item in self._pending}.values():
            line.rewrite = True
            line.feed.doubt(LocalDoubt.BACKLOG, self.now())
            self._rewrites.append(line)
        self._pending.clear()
        self._pending_events = 0

    def _next_batch(self) -> list[_Pending]:
        batch: list[_Pending] = []
        events = 0
        while (
            (self._rewrites or self._pending) and len(batch) < ENTRIES_PER_STEP and events < EVENTS_PER_STEP
        ):
            if self._rewrites:
                line = self._rewrites.popleft()
                line.rewrite = False
                item = _Pending(line, line.feed.whole(self.now()))
            else:
                item = self._pending.popleft()
                self._pending_events -= len(item.entry.events)
            if not item.line.taken_by:
                batch.append(item)
                events += len(item.entry.events)
        return batch

    async def _write(self, batch: Sequence[_Pending]) -> None:
        """Write a batch, once; tries until the outcome is known."""
        words: list[str | bytes | int] = []
        expected = []
        for line, entry in batch:
            fields = entry_fields(entry)
            line.number += 1
            after = bytes(Owner(self.feeder, line.number))
            words += [entry.symbol, line.held, after, len(fields), *fields]
            expected.append(after)
            line.held = after
        found = await self._append_surely(words)
        for (line, entry), after, held in zip(batch, expected, found, strict=True):
            self._settle(line, entry, after, held)

    async def _append_surely(self, words: Sequence[str | bytes | int]) -> list[bytes]:
        while True:
            try:
                async with redis.map_errors(self.keys.events):
                    found: list[bytes] = await self._append([self.keys.events, self.keys.feeders], words)
            except RedisUnavailable as error:
                self._outage.note(error)
                self.counts.resends += 1
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._outage.over()
                self._backoff.reset()
                return found

    def _settle(self, line: Line, entry: LiveEntry, after: bytes, held: bytes) -> None:
        if held == after or self._is_later(line, held, after):
            self.counts.entries += 1
            self.counts.events += len(entry.events)
            return
        owner = self._check_owner(line, held)
        if line.taken_by:
            return
        # Redis has lost entries that it had confirmed: nobody knows what the ingestor has read.
        line.held, line.number = held, max(line.number, owner.number if owner else 0)
        if not line.rewrite:
            self.counts.lost += 1
            line.feed.doubt(LocalDoubt.INPUT_LOST, self.now())
            self.rewrite(line.feed)

    def _check_owner(self, line: Line, held: bytes) -> Owner | None:
        owner = Owner.parse(held)
        if owner is not None and owner.feeder != self.feeder and not line.taken_by:
            line.taken_by = owner.feeder
            self.taken(line.feed, owner.feeder)
        return owner

    def _is_later(self, line: Line, held: bytes, after: bytes) -> bool:
        """Whether a later entry of the same attempt was written already: this one was before it."""
        owner, wanted = Owner.parse(held), Owner.parse(after)
        return (
            owner is not None
            and wanted is not None
            and owner.feeder == self.feeder
            and wanted.number < owner.number <= line.number
        )


def entry_fields(entry: LiveEntry) -> list[str | bytes]:
    """Return the fields of an entry (`docs/protocol.md`, section 2.1)."""
    about: dict[str, object] = {"atomic": True}
    if entry.listing is not None:
        about["listing"] = entry.listing
    if entry.ts is not None and entry.ts >= 0:
        about["ts"] = entry.ts
    if entry.stale:
        about["stale"] = entry.stale
    if entry.live:
        about["live"] = True
    if entry.relist is not None:
        about["relist"] = {entry.symbol: to_table(entry.relist)}
    return ["_", pack(about), entry.symbol, pack(entry.events)]
