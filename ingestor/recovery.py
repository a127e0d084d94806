"""Rebuilding a partition's published state from what Redis holds, and proving it (`docs/architecture.md`, Recovery).

Levels: newest snapshot + deltas, by the very rules every reader uses. Orders: the checkpoint, then the input log again
up to the last published `src`; the levels that the orders add up to must have the published digest. Whatever does not
fit raises `RecoveryError`: nothing is guessed. Reading Redis is `depthcast.ingestor.runtime.recover`'s part.
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
    """The published state of a partition: where its stream ends, what its last entry says, each symbol's replica."""

    position: Position
    info: EntryInfo
    replicas: Mapping[str, Replica]


class Republication(NamedTuple):
    """What a new leadership has to say again because Redis lost it; `rejects` were never published."""

    rejects: Sequence[Reject] = ()


class StateFold:
    """Folds snapshots and deltas into the published state, for as long as entries continue it.

    `snapshots` must be `within_history`; their symbols have to be followed without a gap. Other symbols of the stream are
    followed too, from their birth. `start` is the last position of the stream as read *before* the snapshots. `info`
    is what the last entry folded says.
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
        """The last entry folded, or where the oldest snapshot stands."""
        return self._reader.position or ZERO

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """What is known of each symbol so far."""
        return self._reader.shown

    def add(self, entries: Entries) -> list[str]:
        """Fold the entries that follow `position`; returns the symbols that appeared with them.

        Raises `RecoveryError` on any hole or mismatch; this fold is of no use then.
        """
        appeared = []
        for position, fields in entries:
            entry = self._reader.read(position, fields)
            if entry is None or entry.info is None:
                raise RecoveryError(self.partition, self._reader.lost_reason or "the stream has a hole")
            self.info = entry.info
            appeared += [update.symbol for update in entry.updates if update.delta is None]
            if position.n:
                self._listing_epoch = position.epoch
        for symbol, reason in tuple(self._reader.missing.items()):
            if symbol in self._known:
                raise RecoveryError(self.partition, f"{symbol}: {reason}")
            self._ignored_symbols.add(symbol)
            self._reader.forget(symbol)
        return appeared

    def finish(self, tail: Position, info: EntryInfo, instruments: Iterable[str]) -> PublishedState:
        """The state at the stream's end, which is `tail` and says `info`; all `instruments` must have been followed."""
        if self._newest is not None and self._newest[0] > tail:
            position, symbol = self._newest
            raise RecoveryError(
                self.partition,
                f"the snapshot of {symbol} stands at {position}, but the stream ended at {tail}",
            )
        if self.position != tail:
            raise RecoveryError(self.partition, f"read to {self.position}, but the stream ends at {tail}")
        return PublishedState(tail, info, self.recoverable(instruments))

    def last_registered(self) -> dict[str, Replica]:
        """Replicas of the symbols that the last leadership had.

        It began by moving each of them into its epoch. One whose seq is older was withdrawn before, and its input has been
        rejected since: it is not continued but born again.
        """
        least = first_seq(self._listing_epoch, 0)
        return {symbol: replica for symbol, replica in self._reader.shown.items() if replica.seq >= least}

    def recoverable(self, instruments: Iterable[str]) -> dict[str, Replica]:
        """`listed`, when all `instruments` were followed from their snapshots or births; otherwise `RecoveryError`."""
        for symbol in instruments:
            if symbol not in self._known and symbol not in self._reader.shown:
                raise RecoveryError(self.partition, f"{symbol} was not followed from its beginning")
        listed = self.last_registered()
        for symbol in sorted(self._reader.shown.keys() - listed.keys()):
            logger.warning(
                "the last leadership did not list this symbol, its book begins empty",
                extra={"partition": self.partition, "symbol": symbol},
            )
        return listed


def restore_levels(
    engine: Engine, replicas: Mapping[str, Replica], instruments: Mapping[str, Instrument]
) -> None:
    """Give the engine its levels-feed symbols, their books included: the replicas are not to be used any more.

    Symbols never published stay out: registering them gives birth.
    """
    for symbol, instrument in instruments.items():
        replica = replicas.get(symbol)
        if replica is not None and instrument.feed is Feed.LEVELS:
            engine.restore_book(instrument, replica.seq, replica.book, replica.digest)


def replay(engine: Engine, entries: Entries, sources: Mapping[str, Position]) -> None:
    """Apply input entries again to the orders feeds whose checkpoint, taken at the `src` given, is older."""
    for position, fields in entries:
        symbols = [symbol for symbol, src in sources.items() if src < position]
        engine.replay(str(position), fields, symbols)


def prove_orders(engine: Engine, partition: int, src: Position, replicas: Mapping[str, Replica]) -> None:
    """The orders of `replicas`' symbols, replayed to `src`, must add up to the published levels."""
    for symbol, replica in replicas.items():
        ours = engine.digest(symbol)
        if ours != replica.digest:
            raise RecoveryError(
                partition,
                f"{symbol}: checkpoint and replay to {src} give digest {ours}, but {replica.digest} was published",
            )


def check_checkpoint(partition: int, symbol: str, found: Checkpoint | None, tail: Position) -> None:
    """There must be a checkpoint, and not from beyond the stream's end."""
    if found is None:
        raise RecoveryError(partition, f"{symbol} has no checkpoint, its orders are unknown")
    if found.position > tail:
        raise RecoveryError(
            partition,
            f"the checkpoint of {symbol} stands at {found.position}, but the stream ended at {tail}",
        )
