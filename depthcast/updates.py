"""What readers of books receive: one update type for the WebSocket client and the stream consumer."""

from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Sequence
from enum import StrEnum
from inspect import isawaitable
from typing import Final, NamedTuple

from depthcast.shared.book import Book
from depthcast.shared.sizes import Prices, checked, exact
from depthcast.shared.types import EntryInfo

Levels = Sequence[tuple[int, int]]
"""Levels of one side as (price in ticks, quantity in lots)."""


class Kind(StrEnum):
    """What kind of change an update delivers."""

    SNAPSHOT = "snapshot"
    """The whole book was replaced."""
    DELTA = "delta"
    """Some levels changed."""
    STATUS = "status"
    """Only the state changed."""


class State(StrEnum):
    """Whether a book is up to date."""

    LIVE = "live"
    """The book is continuous, and its source is publishing."""
    STALE = "stale"
    """The book may be out of date: its source is silent, the connection is lost, or it is being rebuilt."""
    REMOVED = "removed"
    """The server ended the subscription; no more updates follow."""


class BookUpdate(NamedTuple):
    """One symbol's change, as `async for` over a client or a consumer delivers it.

    - `symbol`, `kind`, `state`: which book, what the update brings, and whether the book is up to date.
    - `seq`: sequence number of the book after the update. It only increases, and may skip numbers.
    - `book`: the current book. It changes when the next update is requested; `book.copy()` is yours to keep.
    - `bids`, `asks`: changed levels as (price in ticks, new quantity in lots), 0 = the level is gone. Empty
      unless `kind` is DELTA.
    - `merged`: number of broadcasts in this update: 1 if none were merged, 0 for a snapshot or a status.
    - `ts`: time of the broadcast in µs since 1970, 0 for a status.
    - `info`: data of the stream entry; None from the WebSocket client and for books loaded from snapshots.
    - `event_ts`: newest time at the source of what this update brings, in µs since 1970; None if the producer
      names none.
    - `because`: what held merged broadcasts back at the gateway: `buffer`, `credit` or `interval`; None if
      nothing did, or if they were merged by this client alone.
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
    event_ts: int | None = None
    because: str | None = None

    def changes(self) -> Prices:
        """Return `bids` and `asks` in exact decimals; raises `CodecError` if the book has no sizes."""
        sizes = checked(self.book.sizes)
        return Prices(exact(self.bids, sizes), exact(self.asks, sizes))


OnUpdate = Callable[[BookUpdate], Awaitable[None] | None]
"""What is called with each update: a function, or a coroutine function, which is awaited."""


CAUSES: Final = ("buffer", "credit", "interval")
"""What can hold broadcasts back, the most severe cause first."""


async def deliver(updates: AsyncIterable[BookUpdate], on_update: OnUpdate) -> None:
    """Call `on_update` with each update, one after the other."""
    async for update in updates:
        waiting = on_update(update)
        if isawaitable(waiting):
            await waiting


def names_of(symbols: str | Collection[str]) -> Collection[str]:
    """Return the names given: a text is one name, not a collection of letters."""
    return (symbols,) if isinstance(symbols, str) else symbols


def conflate(first: BookUpdate, second: BookUpdate) -> BookUpdate:
    """Combine two successive, undelivered updates of a symbol; the last write to a level wins."""
    if second.kind is Kind.SNAPSHOT:
        return second
    if first.kind is Kind.STATUS:
        return second
    if second.kind is Kind.STATUS:
        return first._replace(state=second.state, seq=second.seq)
    event_ts = _newest(first.event_ts, second.event_ts)
    if first.kind is Kind.SNAPSHOT:
        return second._replace(
            kind=Kind.SNAPSHOT, bids=(), asks=(), merged=0, event_ts=event_ts, because=None
        )
    return second._replace(
        bids=tuple({**dict(first.bids), **dict(second.bids)}.items()),
        asks=tuple({**dict(first.asks), **dict(second.asks)}.items()),
        merged=first.merged + second.merged,
        event_ts=event_ts,
        because=_most_severe(first.because, second.because),
    )


def _newest(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return first if second is None else second
    return max(first, second)


def _most_severe(first: str | None, second: str | None) -> str | None:
    """The more severe cause of two; one that this version does not know counts as less severe."""
    if first is None or second is None:
        return first or second
    return next((cause for cause in CAUSES if cause in (first, second)), second)
