"""Rebuilding a partition's published state from what Redis holds, and proving it (`docs/architecture.md`, Recovery).

Levels: newest snapshot + deltas, by the very rules every reader uses. Orders: the checkpoint, then the input log again
up to the last published `src`; the levels that the orders add up to must have the published digest. Whatever does not
fit raises `RecoveryError`: nothing is guessed. Reading Redis is `ingestor.runtime.recover`'s part.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from broadcaster.numbering import first_seq
from ingestor.checkpoint import Checkpoint
from ingestor.engine import Engine
from shared.errors import RecoveryError
from shared.instruments import Feed, Instrument
from shared.position import ZERO, Position
from shared.reader import Loaded, PartitionReader
from shared.replica import Replica
from shared.types import EntryInfo

logger = logging.getLogger(__name__)

Entries = Sequence[tuple[Position, Sequence[tuple[bytes, bytes]]]]

NOTHING_PUBLISHED = EntryInfo(ts=0, src="0-0", applied=0, rejected=0, ignored=0)


class Published(NamedTuple):
    """The published state of a partition: where its stream ends, what its last entry says, each symbol's replica."""

    position: Position
    info: EntryInfo
    replicas: Mapping[str, Replica]


class StateFold:
    """Folds snapshots and deltas into the published state up to `tail`; raises `RecoveryError` for newer snapshots.

    `snapshots` must be `within_history`.
    """

    def __init__(self, partition: int, tail: Position, snapshots: Loaded) -> None:
        self.partition = partition
        self.tail = tail
        self._moved = max((found[0].epoch for found in snapshots.values() if found is not None), default=0)
        for symbol, found in snapshots.items():
            if found is not None and found[0] > tail:
                raise RecoveryError(
                    partition,
                    f"the snapshot of {symbol} stands at {found[0]}, but the stream ended at {tail}",
                )
        self._reader = PartitionReader(snapshots.__contains__)
        self._reader.load(tail, snapshots)

    @property
    def position(self) -> Position:
        """The last entry folded, or where the oldest snapshot stands."""
        return self._reader.position or ZERO

    def add(self, entries: Entries) -> None:
        """Fold the entries that follow `position`; raises `RecoveryError` on any hole or mismatch."""
        for position, fields in entries:
            if self._reader.read(position, fields) is None:
                raise RecoveryError(self.partition, self._reader.lost or "the stream has a hole")
            if position.n:
                self._moved = position.epoch
        if self._reader.missing:
            symbol, reason = next(iter(self._reader.missing.items()))
            raise RecoveryError(self.partition, f"{symbol}: {reason}")

    def finish(self, last_info: EntryInfo) -> Published:
        """The state at the stream's end; `last_info` is the last entry's `_`."""
        if self.position != self.tail:
            raise RecoveryError(
                self.partition, f"read to {self.position}, but the stream ends at {self.tail}"
            )
        return Published(self.tail, last_info, self._still_listed())

    def _still_listed(self) -> dict[str, Replica]:
        """Replicas of the symbols that the last leadership had.

        It began by moving each of them into its epoch. One whose seq is older was withdrawn before, and its input has been
        rejected since: it is not continued but born again.
        """
        least = first_seq(self._moved, 0)
        listed = {symbol: replica for symbol, replica in self._reader.shown.items() if replica.seq >= least}
        for symbol in self._reader.shown.keys() - listed.keys():
            logger.warning(
                "the last leadership did not list this symbol, its book begins empty",
                extra={"partition": self.partition, "symbol": symbol},
            )
        return listed


def restore_levels(engine: Engine, published: Published, instruments: Mapping[str, Instrument]) -> None:
    """Give the engine its levels-feed symbols. Symbols never published stay out: registering them gives birth."""
    for symbol, instrument in instruments.items():
        replica = published.replicas.get(symbol)
        if replica is not None and instrument.feed is Feed.LEVELS:
            book = replica.book
            engine.restore(
                instrument, replica.seq, book.bids.flat(), book.asks.flat(), replica.digest, orders=None
            )


def restore_orders(
    engine: Engine,
    partition: int,
    published: Published,
    instruments: Mapping[str, Instrument],
    checkpoints: Mapping[str, Checkpoint],
) -> None:
    """Give the engine its orders-feed symbols as they were at their checkpoints; `replay` brings them up to date."""
    for symbol, instrument in instruments.items():
        replica = published.replicas.get(symbol)
        if replica is None or instrument.feed is not Feed.ORDERS:
            continue
        checkpoint = checkpoints.get(symbol)
        if checkpoint is None:
            raise RecoveryError(partition, f"{symbol} has no checkpoint, its orders are unknown")
        if checkpoint.position > published.position:
            raise RecoveryError(
                partition,
                f"the checkpoint of {symbol} stands at {checkpoint.position}, "
                f"but the stream ended at {published.position}",
            )
        engine.restore(instrument, replica.seq, (), (), 0, orders=checkpoint.orders)


def replay(engine: Engine, entries: Entries, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Apply input entries again to the orders feeds whose checkpoint is older."""
    for position, fields in entries:
        symbols = [symbol for symbol, found in checkpoints.items() if found.src < position]
        engine.replay(str(position), fields, symbols)


def prove_orders(engine: Engine, partition: int, published: Published, symbols: Sequence[str]) -> None:
    """The orders must add up to the published levels."""
    for symbol in symbols:
        ours, theirs = engine.digest(symbol), published.replicas[symbol].digest
        if ours != theirs:
            raise RecoveryError(
                partition,
                f"{symbol}: checkpoint and replay to {published.info.src} give digest {ours}, "
                f"but {theirs} was published",
            )
