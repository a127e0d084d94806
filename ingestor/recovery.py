"""Rebuilds a partition's published state from Redis, and proves that it is correct.

Levels feeds: newest snapshot and deltas, by the rules of every reader. Orders feeds: the checkpoint, then a
replay of the input log up to the last published `src`; the orders must add up to levels with the published
digest. Any inconsistency raises `RecoveryError`: nothing is guessed. `depthcast.ingestor.runtime.recover`
reads Redis; `docs/architecture.md`, Recovery, describes the whole procedure.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from depthcast.broadcaster.numbering import first_seq
from depthcast.ingestor.checkpoint import Checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.rejects import Reject
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.listing import Listing
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import LoadedSnapshots, PartitionReader, is_foreign
from depthcast.shared.replica import Replica
from depthcast.shared.types import EntryInfo

logger = logging.getLogger(__name__)

Entry = tuple[Position, Sequence[tuple[bytes, bytes]]]
Entries = Sequence[Entry]

NOTHING_PUBLISHED = EntryInfo(ts=0, src="0-0", applied=0, rejected=0, ignored=0)


class PublishedState(NamedTuple):
    """The published state of a partition: the last position, the info of that entry, and all replicas."""

    position: Position
    info: EntryInfo
    replicas: Mapping[str, Replica]


def standing(
    replicas: Mapping[str, Replica], wanted: Mapping[str, Instrument], record: Mapping[str, Listing]
) -> dict[str, Instrument]:
    """What the books of `wanted` symbols stand for, with the numbers of their listings.

    That is said by the stream, else by the record, else, of a deployment without listings, by `wanted`.
    Symbols whose listing was withdrawn or is not the last one are left out: their books begin empty.
    """
    found = {}
    for symbol, instrument in wanted.items():
        replica, recorded = replicas.get(symbol), record.get(symbol)
        listing = recorded if replica is None or replica.listing is None else replica.listing
        if listing is None:
            found[symbol] = instrument._replace(listing=0) if instrument.listing else instrument
        elif not listing.withdrawn and (recorded is None or recorded.number <= listing.number):
            found[symbol] = listing.instrument._replace(listing=listing.number)
    return found


class Republication(NamedTuple):
    """Makes a new leadership publish everything again, because Redis lost it.

    `rejects` were never published.
    """

    rejects: Sequence[Reject] = ()


class StateFold:
    """Folds snapshots and deltas into the published state; each entry must continue the previous one.

    `snapshots` must have passed `within_history`; their symbols must be followed without a gap. Other symbols
    are followed from their birth. `start` is the last position of the stream, read *before* the snapshots.
    `info` belongs to the last entry folded. `foreign`: the last entry that no leader wrote, and the entry
    before it, until a leader has published every book again; None if there is no such entry.
    """

    def __init__(self, partition: int, start: Position, snapshots: LoadedSnapshots) -> None:
        self.partition = partition
        self.info = NOTHING_PUBLISHED
        self._known = frozenset(snapshots)
        self._newest = max(
            ((found[0], symbol) for symbol, found in snapshots.items() if found is not None), default=None
        )
        self._snapshots_at = sorted(found[0] for found in snapshots.values() if found is not None)
        self._read_to: Position | None = None
        self.foreign: tuple[Position, Position] | None = None
        self._ignored_symbols: set[str] = set()
        self._listing_epoch = max(
            (found[0].epoch for found in snapshots.values() if found is not None), default=0
        )
        self._reader = PartitionReader(lambda symbol: symbol not in self._ignored_symbols, confirms=False)
        self._reader.load(start, snapshots)

    @property
    def position(self) -> Position:
        """Position of the last entry folded; before the first one, of the oldest snapshot."""
        return self._reader.position or ZERO

    @property
    def replicas(self) -> Mapping[str, Replica]:
        """The replica of each symbol so far."""
        return self._reader.shown

    @property
    def is_published_state(self) -> bool:
        """Whether this was the state after one entry of the stream, instead of snapshots of several.

        It is once that entry was read, and no snapshot is of a later one.
        """
        return self._read_to == self.position and (self._newest is None or self._newest[0] <= self.position)

    def add(self, entries: Entries) -> list[str]:
        """Fold the entries after `position`; returns the symbols that first appeared in them.

        Raises `RecoveryError` on a hole or a digest mismatch; the fold cannot be used afterwards.
        """
        appeared = []
        for position, fields in entries:
            if is_foreign(fields):
                appeared += self._pass_over(position)
                continue
            if self.foreign is not None and position.n and self.position == self.foreign[0]:
                raise RecoveryError(self.partition, f"entry {position} does not seal {self.position}")
            entry = self._reader.read(position, fields)
            if entry is None or entry.info is None:
                raise RecoveryError(self.partition, self._reader.lost_reason or "the stream has a hole")
            self.info = entry.info
            self._read_to = position
            appeared += [update.symbol for update in entry.updates if update.delta is None]
            if position.n:  # a seal (n = 0) lists no symbols
                self.foreign = None
                self._listing_epoch = position.epoch
        for symbol, reason in tuple(self._reader.missing.items()):
            if symbol in self._known:
                raise RecoveryError(self.partition, f"{symbol}: {reason}")
            self._ignored_symbols.add(symbol)
            self._reader.forget(symbol)
        return appeared

    def confirm(self, info: EntryInfo) -> None:
        """The entry at `position` is in the stream; `info`: its info."""
        self.info, self._read_to = info, self.position

    def _pass_over(self, position: Position) -> list[str]:
        """Go on after an entry that no leader wrote; returns the symbols that first appeared.

        What is folded is then the published state only if the entry before it was read, because nothing else
        says that none is missing in between. Whoever leads next must publish every book again, because
        readers cannot pass such an entry.
        """
        before = self.position
        if before != self._read_to or any(before < at < position for at in self._snapshots_at):
            raise RecoveryError(
                self.partition,
                f"entry {position} is of no leader, and what came before it is gone",
            )
        self.foreign = (position, before if self.foreign is None else self.foreign[1])
        self._read_to = position
        return [update.symbol for update in self._reader.pass_over(position)]

    def finish(self, tail: Position, info: EntryInfo, instruments: Iterable[str]) -> PublishedState:
        """The state at the stream's end, the entry at `tail` with `info`.

        Raises `RecoveryError` if `tail` was not reached, or if an instrument was not followed.
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

    def lost(self, listed: Mapping[str, Position], instruments: Iterable[str]) -> list[str]:
        """Those `instruments` that had a book of which nothing is left; call it after `finish`.

        `listed`: the record of the last leadership's symbols. It counts unless a leader of an older version,
        which writes none, came later.
        """
        return sorted(
            symbol
            for symbol in instruments
            if symbol in listed
            and symbol not in self._reader.shown
            and listed[symbol].epoch >= self._listing_epoch
        )

    def last_registered(self) -> dict[str, Replica]:
        """Replicas of the symbols that the last leadership had registered.

        A leadership first moves each of its symbols into its epoch. So a symbol with an older seq was
        withdrawn before that, and its input was rejected since then: its book starts empty again.
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
    """Pass the books of levels-feed symbols to the engine; the replicas must not be used afterwards.

    Symbols that were never published are left out; they are born when they are registered.
    """
    for symbol, instrument in instruments.items():
        replica = replicas.get(symbol)
        if replica is not None and instrument.feed is Feed.LEVELS:
            engine.restore_book(instrument, replica.seq, replica.book, replica.digest)


def restore_doubts(engine: Engine, replicas: Mapping[str, Replica]) -> None:
    """Pass on why restored books are in doubt."""
    engine.restore_doubts(
        {symbol: replica.doubt for symbol, replica in replicas.items() if replica.doubt is not None}
    )


def restore_times(engine: Engine, replicas: Mapping[str, Replica]) -> None:
    """Pass on the times of the last input of restored books."""
    engine.restore_times({symbol: (each.event_ts, each.input_ts) for symbol, each in replicas.items()})


def replay(engine: Engine, entry: Entry, sources: Mapping[str, Position]) -> Iterator[None]:
    """Replay an input entry for the orders feeds, with a pause after each slice of a large one.

    `sources` has the `src` of each symbol's checkpoint.
    """
    position, fields = entry
    symbols = [symbol for symbol, src in sources.items() if src < position]
    return engine.replay_in_slices(str(position), fields, symbols)


def prove_orders(engine: Engine, partition: int, src: Position, replicas: Mapping[str, Replica]) -> None:
    """Check that the orders of `replicas`' symbols, replayed to `src`, add up to the published levels.

    There must be as many at each level as was published, if that was.
    """
    for symbol, replica in replicas.items():
        compared = [("digest", engine.digest(symbol), replica.digest)]
        if replica.orders_digest is not None:
            compared.append(
                ("digest of the number of orders", engine.orders_digest(symbol), replica.orders_digest)
            )
        for what, ours, published in compared:
            if ours != published:
                raise RecoveryError(
                    partition,
                    f"{symbol}: checkpoint and replay to {src} give {what} {ours},"
                    f" but {published} was published",
                )


def check_checkpoint(partition: int, symbol: str, found: Checkpoint | None, tail: Position) -> None:
    """Check that the checkpoint exists and is not beyond the end of the stream."""
    if found is None:
        raise RecoveryError(partition, f"{symbol} has no checkpoint, its orders are unknown")
    if found.position > tail:
        raise RecoveryError(
            partition,
            f"the checkpoint of {symbol} is at {found.position}, but the stream ended at {tail}",
        )
