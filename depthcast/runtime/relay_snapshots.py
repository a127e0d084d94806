"""Copies the snapshots of one partition: new ones as they come, and all of them where a copy begins again.

A snapshot may be in the copy before the entries that it includes: readers wait for its entry. It must not
come long after them, so the copy is trimmed only behind snapshots that were copied.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from depthcast.relay.comparison import Entry, size_of
from depthcast.relay.pace import Pace
from depthcast.runtime.relay_sides import CopyWriter, Side
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import execute, parse_entries, read_streams

KEYS_AT_ONCE: Final = 200
SEEN_S: Final = 60.0
"""A symbol that an entry names is copied for so long, also if it is not listed: the list is read by then."""
KEPT: Final = 2
"""Entries in a stream of snapshots."""


class SnapshotCopier:
    """Copies snapshots from `source` by `writer`.

    `symbols`: the symbols of the partition that are known now. `copied`: symbol → ID of the newest snapshot
    in the copy, as far as is known. `seen`: since when a symbol is known. `busy`: held by whoever
    changes where the copy begins, or writes snapshots.
    """

    def __init__(
        self,
        source: tuple[Redis, Side, PartitionKeys],
        writer: CopyWriter,
        symbols: Callable[[], Iterable[str]],
        bytes_max: int,
        read_bytes_max: int,
    ) -> None:
        self.client, self.side, self.keys = source
        self.writer = writer
        self.symbols = symbols
        self.bytes_max = bytes_max
        self.pace = Pace(read_bytes_max // KEPT, KEYS_AT_ONCE)
        self.copied: dict[str, Position] = {}
        self.seen: dict[str, float] = {}
        self.snapshots = 0
        self.busy = asyncio.Lock()

    def wanted(self) -> list[str]:
        """All symbols whose snapshots are copied."""
        return sorted(self.seen.keys() | set(self.symbols()))

    async def look(self) -> None:
        """Find out which snapshots the copy has."""
        await self._look(self.wanted())

    async def _look(self, symbols: Sequence[str]) -> None:
        for some in _batched(symbols, KEYS_AT_ONCE):
            found = await self.writer.last([self.writer.keys.snapshots(symbol) for symbol in some])
            self.copied.update(zip(some, found, strict=True))

    async def copy_new(self, symbols: Collection[str] | None = None) -> None:
        """Copy the snapshots that are newer than those in the copy; of these symbols, or of all."""
        if symbols is None:
            self._forget_withdrawn()
        wanted = self.wanted() if symbols is None else sorted(symbols)
        if unknown := [symbol for symbol in wanted if symbol not in self.copied]:
            self.seen.update(dict.fromkeys(unknown, asyncio.get_running_loop().time()))
            await self._look(unknown)
        for some in self._as_fit(wanted):
            by_key = {self.keys.snapshots(symbol): symbol for symbol in some}
            async with self.side.reached():
                found_new = await read_streams(
                    self.client, {key: self.copied[symbol] for key, symbol in by_key.items()}, count=KEPT
                )
            self._note(found_new.values())
            await self._store({by_key[key]: entries for key, entries in found_new.items()})

    def _forget_withdrawn(self) -> None:
        """Forget symbols that are not listed, and that entries named first a while ago."""
        before = asyncio.get_running_loop().time() - SEEN_S
        self.seen = {symbol: at for symbol, at in self.seen.items() if at > before}
        for symbol in self.copied.keys() - set(self.wanted()):
            del self.copied[symbol]

    async def copy_all(self) -> None:
        """Make all snapshots those of the source, whatever the copy has."""
        for some in self._as_fit(self.wanted()):
            async with self.side.reached():
                found = await self._newest(some)
            self._note(found.values())
            await self._store(found, replace=True)

    async def take_back(self, end: Position) -> None:
        """Replace the snapshots of entries behind `end` that the source does not have, by those that it has.

        They were copied before their entries, which the source has lost if another leader begins: call this
        before its first entry is copied. Nothing tells afterwards.
        """
        ahead = [symbol for symbol, at in self.copied.items() if at > end]
        for some in self._as_fit(ahead):
            async with self.side.reached():
                found = await self._newest(some)
            self._note(found.values())
            lost = {
                symbol: entries
                for symbol, entries in found.items()
                if (entries[-1][0] if entries else ZERO) < self.copied[symbol]
            }
            await self._store(lost, replace=True)

    def _as_fit(self, symbols: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield all symbols, each time as many as may be read at once."""
        start = 0
        while start < len(symbols):
            yield (some := symbols[start : start + self.pace.count])
            start += len(some)

    def _note(self, found: Iterable[Sequence[Entry]]) -> None:
        self.pace.note(max((size_of(entry) for entries in found for entry in entries), default=0))

    async def _newest(self, symbols: Sequence[str]) -> dict[str, list[Entry]]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for symbol in symbols:
                pipeline.execute_command("XREVRANGE", self.keys.snapshots(symbol), "+", "-", "COUNT", KEPT)
            replies = await pipeline.execute()
        return {
            symbol: list(reversed(parse_entries(reply)))
            for symbol, reply in zip(symbols, replies, strict=True)
        }

    async def _store(self, found: Mapping[str, Sequence[Entry]], *, replace: bool = False) -> None:
        part: dict[str, Sequence[Entry]] = {}
        size = 0
        for symbol, entries in found.items():
            own = sum(map(size_of, entries))
            if part and size + own > self.bytes_max:
                await self._write(part, replace=replace)
                part, size = {}, 0
            part[symbol] = entries
            size += own
        if part:
            await self._write(part, replace=replace)

    async def _write(self, found: Mapping[str, Sequence[Entry]], *, replace: bool) -> None:
        keys = self.writer.keys
        await self.writer.store(
            {keys.snapshots(symbol): entries for symbol, entries in found.items()}, replace=replace
        )
        for symbol, entries in found.items():
            self.copied[symbol] = entries[-1][0] if entries else ZERO
            self.snapshots += len(entries)

    async def oldest(self) -> Position | None:
        """The oldest ID that the source holds, None if it holds nothing."""
        async with self.side.reached():
            entries = parse_entries(
                await execute(self.client, "XRANGE", self.keys.deltas, "-", "+", "COUNT", 1)
            )
        return entries[0][0] if entries else None


def _batched(symbols: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (symbols[start : start + size] for start in range(0, len(symbols), size))
