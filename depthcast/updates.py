"""What readers of books are told: one update type for the WebSocket client and the stream consumer."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from depthcast.shared.book import Book
from depthcast.shared.types import EntryInfo

Levels = Sequence[tuple[int, int]]
"""(price in ticks, quantity in lots) of one side."""


class Kind(StrEnum):
    """What an update brings."""

    SNAPSHOT = "snapshot"
    """The book was replaced as a whole."""
    DELTA = "delta"
    """Some levels changed."""
    STATUS = "status"
    """Only the state changed."""


class State(StrEnum):
    """How far a book can be trusted to be the present one."""

    LIVE = "live"
    STALE = "stale"
    """Upstream is silent, the connection is lost, or the book is being rebuilt: it is right, but old."""
    REMOVED = "removed"
    """The server ended the subscription; nothing more comes."""


class BookUpdate(NamedTuple):
    """One symbol's step.

    - `book`: the live book (read it, do not keep it: it goes on changing with the next update asked for).
    - `seq`: the state it is at. `ts`: µs since 1970 of the broadcast, 0 for a status.
    - `bids`, `asks`: the levels that changed, with their new quantities, 0 = gone; empty unless `kind` is DELTA.
    - `merged`: broadcasts merged into this update: 1 = none was skipped; 0 for a snapshot or a status.
    - `info`: of the stream entry it came with, for the stream consumer only.
    """

    symbol: str
    kind: Kind
    state: State
    seq: int
    book: Book
    bids: Levels = ()
    asks: Levels = ()
    merged: int = 0
    ts: int = 0
    info: EntryInfo | None = None


def joined(first: BookUpdate, second: BookUpdate) -> BookUpdate:
    """Two updates of a symbol, of which nobody has seen the first, as one: last write wins per level."""
    if second.kind is Kind.SNAPSHOT:
        return second
    if first.kind is Kind.STATUS:
        return second
    if second.kind is Kind.STATUS:
        return first._replace(state=second.state, seq=second.seq)
    if first.kind is Kind.SNAPSHOT:
        return second._replace(kind=Kind.SNAPSHOT, bids=(), asks=(), merged=0)
    return second._replace(
        bids=tuple({**dict(first.bids), **dict(second.bids)}.items()),
        asks=tuple({**dict(first.asks), **dict(second.asks)}.items()),
        merged=first.merged + second.merged,
    )
