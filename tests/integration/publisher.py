"""An ingestor's output as tests want it, written with the shared codec."""

import time
from collections.abc import Iterable, Mapping

from redis.asyncio import Redis

from depthcast.shared.codec import NO_MARKS, encode_delta, encode_info, encode_snapshot
from depthcast.shared.digest import digest_of
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol

SYMBOL = "BTC-USD"


class Publisher:
    """An ingestor's output, one partition at a time: bids only, which is enough here."""

    def __init__(self, client: Redis, prefix: str, partitions: int = 1) -> None:
        self.client = client
        self.keys = DeploymentKeys(prefix)
        self.partitions = partitions
        self.epoch = 1767225600000
        self.first_seq = 1000
        self.books: dict[str, dict[int, int]] = {}
        self.seqs: dict[str, int] = {}
        self.positions: dict[int, Position] = {}

    async def create(self, symbols: Iterable[str] = (SYMBOL,)) -> None:
        """Write `meta`, and publish `symbols` with a snapshot each."""
        await self.client.hset(self.keys.meta, mapping={"protocol": 1, "partitions": self.partitions})
        for symbol in symbols:
            await self.bear(symbol)

    async def bear(self, symbol: str) -> None:
        await self.client.hset(self.keys.instruments, symbol, to_json(Instrument(Symbol(symbol))))
        self.books[symbol], self.seqs[symbol] = {}, self.first_seq
        await self._entry(symbol, Delta(0, self.first_seq, [], [], 0, 0), "0-0")
        await self.snapshot(symbol)

    async def change(
        self,
        symbol: str,
        levels: Mapping[int, int],
        src: str = "0-0",
        *,
        spoil: int = 0,
        marks: Mapping[str, object] = NO_MARKS,
    ) -> None:
        """Publish a change; `spoil` is added to its digest."""
        book, seq = self.books[symbol], self.seqs[symbol]
        book.update(levels)
        self.seqs[symbol] = seq + 1
        flat = [number for level in levels.items() for number in level]
        delta = Delta(seq, seq + 1, flat, [], self._digest(symbol) + spoil, 1)
        await self._entry(symbol, delta, src, marks)

    async def nothing(self, partition: int, src: str) -> None:
        """An entry without a change."""
        await self._add(partition, {"_": self._info(partition, src)})

    async def snapshot(self, symbol: str, marks: Mapping[str, object] | None = None) -> None:
        part = self.keys.partition(partition_of(symbol, self.partitions))
        book = self.books[symbol]
        levels = [number for price in sorted(book, reverse=True) for number in (price, book[price])]
        value = encode_snapshot(Snapshot(self.seqs[symbol], levels, [], self._digest(symbol), 1, marks))
        position = self.positions[partition_of(symbol, self.partitions)]
        await self.client.xadd(part.snapshots(symbol), {"s": value}, id=str(position))

    def skip(self, symbol: str) -> None:
        """Leave out a position."""
        partition = partition_of(symbol, self.partitions)
        self.positions[partition] = self.positions[partition].next()

    async def _entry(
        self, symbol: str, delta: Delta, src: str, marks: Mapping[str, object] = NO_MARKS
    ) -> None:
        partition = partition_of(symbol, self.partitions)
        await self._add(partition, {"_": self._info(partition, src), symbol: encode_delta(delta, marks)})

    async def _add(self, partition: int, fields: dict[str, bytes]) -> None:
        position = self._next(partition)
        written = {**fields, "_w": b"%d" % (time.time_ns() // 1000)}
        await self.client.xadd(self.keys.partition(partition).deltas, written, id=str(position))  # type: ignore[arg-type]
        self.positions[partition] = position

    def _next(self, partition: int) -> Position:
        last = self.positions.get(partition)
        return Position(self.epoch, 0) if last is None else last.next()

    def _info(self, partition: int, src: str) -> bytes:
        prev = "0-0" if partition not in self.positions else None
        return encode_info(EntryInfo(5, src, 1, 0, 0, None, prev))

    def _digest(self, symbol: str) -> int:
        return digest_of(self.books[symbol].items(), ())
