"""Rebuilds a partition's published state from what Redis holds, and proves it.

Levels feeds: newest snapshot and deltas, by the rules of every reader. Orders feeds: the checkpoint, then the
input log again up to the last published `src`; the orders must add up to levels with the published digest.
Whatever is inconsistent raises `RecoveryError`: nothing is guessed. `depthcast.ingestor.runtime.recover`
reads Redis; `docs/architecture.md`, Recovery, has the whole.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from depthcast.broadcaster.numbering import first_seq
from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.rejects import Reject
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import LoadedSnapshots, PartitionReader
from depthcast.shared.replica import Replica
from depthcast.shared.types import EntryInfo

logger = logging.getLogger(__name__)

Entries = Sequence[tuple[Position, Sequence[tuple[bytes, bytes]]]]

NOTHING_PUBLISHED = EntryInfo(ts=0, src="0-0", applied=0, rejected=0, ignored=0)


class PublishedState(NamedTuple):
    """The published state of a partition: the last position, the info of that entry, and all replicas."""

    position: Position
    info: EntryInfo
    replicas: Mapping[str, Replica]


class Republication(NamedTuple):
    """Makes a new leadership publish everything again, because Redis lost it.

    `rejects` were never published.
    """

    rejects: Sequence[Reject] = ()


class StateFold:
    """Folds snapshots and deltas into the published state, as long as each entry continues the one before.

    `snapshots` must have passed `within_history`; their symbols have to be followed without a gap. Other
    symbols are followed from their birth. `start` is the last position of the stream as read *before* the
    snapshots. `info` is that of the last entry folded.
    """

    def __init__(self, partition: int, start: Position, snapshots: LoadedSnapshots) -> None:
        self.partition = partition
        self.info = NOTHING_PUBLISHED
        self._known = frozenset(snapshots)
        self._newest = max(
            ((found[0], symbol) for symbol, found in snapshots.items() if found is not None), default=None
        )
        self._ignored_symbols: set[str] = set()
        self._listing_epoch = max(
            (found[0].epoch for found in snapshots.values() if found is not None), default=0
        )
        self._reader = PartitionReader(lambda symbol: symbol not in self._ignored_symbols)
        self._reader.load(start, snapshots)

    @property
    def position(self) -> Position:
        """Position of the last entry folded; before the first, that of the oldest snapshot."""
        return self._reader.position or ZERO

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """The replica of each symbol so far."""
        return self._reader.shown

    def add(self, entries: Entries) -> list[str]:
        """Fold the entries that follow `position`; returns the symbols that appeared with them.

        Raises `RecoveryError` on a hole or a digest mismatch; the fold cannot be used afterwards.
        """
        appeared = []
        for position, fields in entries:
            entry = self._reader.read(position, fields)
            if entry is None or entry.info is None:
                raise RecoveryError(self.partition, self._reader.lost_reason or "the stream has a hole")
            self.info = entry.info
            appeared += [update.symbol for update in entry.updates if update.delta is None]
            if position.n:  # a seal moves no symbol: a leader that died right after it withdrew none
                self._listing_epoch = position.epoch
        for symbol, reason in tuple(self._reader.missing.items()):
            if symbol in self._known:
                raise RecoveryError(self.partition, f"{symbol}: {reason}")
            self._ignored_symbols.add(symbol)
            self._reader.forget(symbol)
        return appeared

    def finish(self, tail: Position, info: EntryInfo, instruments: Iterable[str]) -> PublishedState:
        """The state at the stream's end, which is the entry `tail` with `info`.

        Raises `RecoveryError` unless it was reached, with all `instruments` followed.
        """
        if self._newest is not None and self._newest[0] > tail:
            position, symbol = self._newest
            raise RecoveryError(
                self.partition,
                f"the snapshot of {symbol} is at {position}, but the stream ended at {tail}",
            )
        if self.position != tail:
            raise RecoveryError(self.partition, f"read to {self.position}, but the stream ends at {tail}")
        return PublishedState(tail, info, self.recoverable(instruments))

    def last_registered(self) -> dict[str, Replica]:
        """Replicas of the symbols that the last leadership had registered.

        A leadership first moves each of its symbols into its epoch. A symbol with an older seq was withdrawn
        before, and its input has been rejected since: its book begins empty again.
        """
        least = first_seq(self._listing_epoch, 0)
        return {symbol: replica for symbol, replica in self._reader.shown.items() if replica.seq >= least}

    def recoverable(self, instruments: Iterable[str]) -> dict[str, Replica]:
        """`last_registered`; raises `RecoveryError` unless all `instruments` were followed from the start."""
        for symbol in instruments:
            if symbol not in self._known and symbol not in self._reader.shown:
                raise RecoveryError(self.partition, f"{symbol} was not followed from its beginning")
        listed = self.last_registered()
        for symbol in sorted(self._reader.shown.keys() - listed.keys()):
            logger.warning(
                "the last leadership did not have this symbol, its book begins empty",
                extra={"partition": self.partition, "symbol": symbol},
            )
        return listed


def restore_levels(
    engine: Engine, replicas: Mapping[str, Replica], instruments: Mapping[str, Instrument]
) -> None:
    """Give the engine its levels-feed symbols with their books; the replicas must not be used afterwards.

    Symbols that were never published are left out: registering them gives birth to them.
    """
    for symbol, instrument in instruments.items():
        replica = replicas.get(symbol)
        if replica is not None and instrument.feed is Feed.LEVELS:
            engine.restore_book(instrument, replica.seq, replica.book, replica.digest)


def replay(engine: Engine, entries: Entries, sources: Mapping[str, Position]) -> None:
    """Apply input entries again to the orders feeds; `sources` has the `src` of each symbol's checkpoint."""
    for position, fields in entries:
        symbols = [symbol for symbol, src in sources.items() if src < position]
        engine.replay(str(position), fields, symbols)


def prove_orders(engine: Engine, partition: int, src: Position, replicas: Mapping[str, Replica]) -> None:
    """Check that the orders of `replicas`' symbols, replayed to `src`, add up to the published levels."""
    for symbol, replica in replicas.items():
        ours = engine.digest(symbol)
        if ours != replica.digest:
            raise RecoveryError(
                partition,
                f"{symbol}: checkpoint and replay to {src} give digest {ours},"
                f" but {replica.digest} was published",
            )


def check_checkpoint(partition: int, symbol: str, found: Checkpoint | None, tail: Position) -> None:
    """Check that there is a checkpoint, and that it is not beyond the stream's end."""
    if found is None:
        raise RecoveryError(partition, f"{symbol} has no checkpoint, its orders are unknown")
    if found.position > tail:
        raise RecoveryError(
            partition,
            f"the checkpoint of {symbol} is at {found.position}, but the stream ended at {tail}",
        )
