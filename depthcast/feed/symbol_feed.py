"""One symbol of a live feed: what a venue's adapter says goes in, entries for the input log come out. Pure.

The book is live while it is known to be the venue's. Anything else is a *doubt*: it is marked stale at once,
and replaced by one atomic entry when it is known again. Entries never bring back an older state: a snapshot
whose number is below what was published waits until updates have led beyond.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from depthcast.feed.entry import CLEAR, UPDATE, Event
from depthcast.feed.scale import Scale
from depthcast.feed.venue import Doubt, DoubtReason, Snapshot, Update, VenueLevel
from depthcast.shared.book import Book
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Side, Symbol

HOLD_S: Final = 5.0
"""Snapshots that are older than what was published wait so long; then their venue counts as reset."""


AGAIN_S: Final = 60.0
"""A snapshot that waited and was dropped counts for the wait of one that comes within this time."""


class FeedState(StrEnum):
    """What a feed knows about a symbol."""

    WAITING = "waiting"
    """No snapshot came yet."""
    LIVE = "live"
    """The book is the venue's."""
    DOUBT = "doubt"
    """It was, but that is no longer proven."""
    REFUSED = "refused"
    """The venue, the sizes or another feeder do not allow to go on."""
    ENDED = "ended"
    """The feeder has ended."""


class LocalDoubt(StrEnum):
    """Doubts that arise on this side, beside `DoubtReason`."""

    STARTING = "starting"
    """The feeder has begun, and nobody knows what was missed before."""
    UNFIT = "unfit"
    """A number of the venue is no multiple of the registered size, or out of range."""
    REJECTED = "rejected"
    """An ingestor has rejected an entry."""
    INPUT_LOST = "input-lost"
    """Redis has lost entries."""
    RELISTED = "relisted"
    """Another listing of the symbol has begun, so its book is empty."""
    RESIZED = "resized"
    """The venue has other sizes, so another listing was asked for."""
    DELISTED = "delisted"
    """The venue lists the symbol no more."""
    BACKLOG = "backlog"
    """More waited to be written than the limit allows."""
    REFUSED = "refused"
    """See `FeedState.REFUSED`."""
    ENDED = "ended"
    """See `FeedState.ENDED`."""


class LiveEntry(NamedTuple):
    """One entry of the input log.

    `stale`: mark the book so, with this reason. `live`: the book is right after these events; if an ingestor
    rejects one, it marks the book stale itself. `listing`: the one whose sizes the events are in. `relist`: a
    listing that begins here, by its number and sizes; repeating it does nothing.
    """

    symbol: Symbol
    events: Sequence[Event]
    ts: int | None = None
    stale: str = ""
    live: bool = False
    listing: int | None = None
    relist: Instrument | None = None


class Step(NamedTuple):
    """What an output of an adapter leads to.

    - `doubt`: why the live book is in doubt now; `detail` in words.
    - `resync`: a snapshot is needed, which the adapter does not know.
    - `unfit`: a number does not fit the sizes, so they may be others by now.
    """

    entries: Sequence[LiveEntry] = ()
    doubt: str = ""
    detail: str = ""
    resync: bool = False
    unfit: bool = False


class SymbolFeed:
    """The state of one symbol, fed by one connection at a time.

    Connections have numbers, of which the highest is the newest. One that replaces another in time takes over
    when it has reached the state that was published, without any doubt in between.

    - `numbers_by_connection`: as in `depthcast.feed.venue.Profile`; times order the states of different ones.
    - `listing`: the one whose sizes `price` and `quantity` are, so that no other one takes the entries.
    - `reason`: why the book is not live; `since`: when the state began, in seconds by the caller's clock.
    - `source`: the connection whose book was published last.
    - `doubts`: how often a live book came into doubt, by reason.
    - `relisting`: the listing that was asked for and has not begun; until then nothing is said of the book.
    - `absent`: the venue lists the symbol no more; likewise.
    - `remedy`: what somebody has to run so that the book gets the venue's sizes; empty if nothing.
    - `relistings`: how often a listing was asked for.
    """

    def __init__(
        self,
        symbol: Symbol,
        price: Scale,
        quantity: Scale,
        now: float,
        *,
        listing: int | None = None,
        numbers_by_connection: bool = False,
    ) -> None:
        self.symbol = symbol
        self.numbers_by_connection = numbers_by_connection
        self.listing = listing
        self.price = price
        self.quantity = quantity
        self.state = FeedState.WAITING
        self.reason = str(LocalDoubt.STARTING)
        self.since = now
        self.source = 0
        self.sequence: int | None = None
        self.ts: int | None = None
        self.doubts: Counter[str] = Counter()
        self.snapshots = self.updates = self.relistings = 0
        self.relisting: Instrument | None = None
        self.absent = False
        self.remedy = ""
        self._shown: _Ladder | None = None
        self._waiting: dict[int, _Ladder] = {}
        self._held_since: float | None = None
        self._dropped_at: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more comes of this symbol."""
        return self.state in (FeedState.REFUSED, FeedState.ENDED)

    def take(self, source: int, output: Snapshot | Update | Doubt, now: float) -> Step:
        """Take what the adapter of connection `source` says about this symbol, at `now` in seconds."""
        if self.finished or self.absent or self.relisting is not None or source < self.source:
            return Step()
        if isinstance(output, Doubt):
            return self._drop(source, output.reason, output.detail, now)
        try:
            if isinstance(output, Snapshot):
                self._waiting[source] = _Ladder(self.price, self.quantity, output)
                return self._replace(source, now)
            return self._update(source, output, now)
        except _UnusableError as error:
            step = self._drop(source, error.reason, error.detail, now)
            return step._replace(detail=error.detail, resync=True, unfit=error.reason == LocalDoubt.UNFIT)

    def lose(self, reason: str, now: float) -> list[LiveEntry]:
        """Forget the book, as nothing more comes of it; the next snapshot replaces it."""
        self._shown = self._held_since = None
        self._waiting.clear()
        return self.doubt(reason, now)

    def return_to(self, source: int) -> bool:
        """Take what an older connection says again; returns whether another one's book was published."""
        if self.source <= source:
            return False
        self.source, self._shown = source, None
        if self.numbers_by_connection:
            self.sequence = None
        return True

    def doubt(self, reason: str, now: float) -> list[LiveEntry]:
        """Say that what was published is in doubt, although the connection's book is right; see `whole`."""
        if self.state is not FeedState.LIVE:
            return []
        self.doubts[str(reason)] += 1
        self._set(FeedState.DOUBT, reason, now)
        return [self._mark(reason)]

    def whole(self, now: float) -> LiveEntry:
        """Return the one entry that says all: the book, if it is known, else that it is stale."""
        shown = self._shown
        if shown is None:
            return self._mark(str(self.state) if self.finished else self.reason)
        self._set(FeedState.LIVE, "", now)
        self.sequence, self.ts = shown.sequence, shown.ts
        return self._entry(shown.whole(), shown.ts)

    def relist(self, listing: int, price: Scale, quantity: Scale, now: float) -> LiveEntry | None:
        """Go on in another listing, with its sizes, from the next snapshot; None if nothing more comes."""
        if self.finished:
            return None
        self.relisting = None
        self.listing, self.price, self.quantity = listing, price, quantity
        return self._hold(self.reason if self.absent else LocalDoubt.RELISTED, now)

    def ask_relisting(self, wanted: Instrument, now: float) -> LiveEntry | None:
        """Ask for a listing, by its number and sizes, and say no more before it has begun; see `relist`."""
        if self.finished:
            return None
        self.relisting = wanted
        self.relistings += 1
        return self._hold(LocalDoubt.RESIZED, now)

    def delist(self, now: float) -> LiveEntry | None:
        """Say that the venue lists the symbol no more: the book is in doubt until `list_again`."""
        if self.finished or self.absent:
            return None
        self.absent = True
        return self._hold(LocalDoubt.DELISTED, now)

    def list_again(self) -> None:
        """Go on from the next snapshot, as the venue lists the symbol again."""
        self.absent = False

    def fits(self, price: Scale, quantity: Scale) -> bool | None:
        """Return whether the book has whole multiples of these sizes only; None if it is not known."""
        return None if self._shown is None else self._shown.fits(price, quantity)

    def refuse(self, why: str, now: float) -> list[LiveEntry]:
        """Feed this symbol no more: the book is stale from now on."""
        return self._finish(FeedState.REFUSED, why, LocalDoubt.REFUSED, now)

    def end(self, now: float) -> list[LiveEntry]:
        """Leave the book to others: it is stale from now on."""
        return self._finish(FeedState.ENDED, LocalDoubt.ENDED, LocalDoubt.ENDED, now)

    def _hold(self, reason: str, now: float) -> LiveEntry:
        """Forget the book, and return the mark of doubt."""
        self._shown, self.sequence = None, None
        self._waiting.clear()
        if not self.doubt(reason, now):
            self._set(self.state, reason, now)
        return self._mark(reason)

    def _finish(self, state: FeedState, why: str, mark: LocalDoubt, now: float) -> list[LiveEntry]:
        if self.finished:
            return []
        self.relisting = None
        self._shown = None
        self._waiting.clear()
        self._set(state, why, now)
        return [self._mark(mark)]

    def _update(self, source: int, update: Update, now: float) -> Step:
        if source in self._waiting:
            self._waiting[source].apply(update)
            return self._replace(source, now)
        if self._shown is None or source != self.source:
            return Step()
        events = self._shown.apply(update)
        if self.state is not FeedState.LIVE:
            return Step()  # what was published is in doubt on this side; `whole` follows
        self.updates += 1
        self._held_since = None  # others may wait while this one goes on
        self.sequence, self.ts = update.sequence, update.ts
        return Step([self._entry(events, update.ts)] if events else ())

    def _replace(self, source: int, now: float) -> Step:
        """Publish the waiting book of `source`, unless it is older than what was published."""
        ladder = self._waiting[source]
        if self._is_older(source, ladder) and self._is_held(now):
            if source == self.source:
                self._shown = None
                detail = f"a snapshot of number {ladder.sequence} after {self.sequence}"
                entries = self.doubt(DoubtReason.RESET, now)
                return Step(entries, DoubtReason.RESET if entries else "", detail)
            return Step()
        self.source, self._shown, self._held_since = source, ladder, None
        self._waiting = {newer: waits for newer, waits in self._waiting.items() if newer > source}
        self.snapshots += 1
        return Step([self.whole(now)])

    def _is_older(self, source: int, ladder: "_Ladder") -> bool:
        """Whether a book is older than what was published, as far as that can be known."""
        if self.numbers_by_connection and source != self.source:
            return ladder.ts is not None and self.ts is not None and ladder.ts < self.ts
        return ladder.sequence is not None and self.sequence is not None and ladder.sequence < self.sequence

    def _is_held(self, now: float) -> bool:
        """Whether an older book has not waited for too long."""
        if self._held_since is None or (self._dropped_at is not None and now - self._dropped_at > AGAIN_S):
            self._held_since = now
        self._dropped_at = None
        return now - self._held_since < HOLD_S

    def _drop(self, source: int, reason: str, detail: str, now: float) -> Step:
        """Forget the book of `source`; if it is the published one, that is in doubt now."""
        if self._waiting.pop(source, None) is not None and not self._waiting:
            self._dropped_at = now
        if reason == DoubtReason.RESET and (source == self.source or self._shown is None):
            self.sequence = None  # else the connection that is published still proves its numbers
        if source != self.source:
            return Step()
        self._shown = None
        entries = self.doubt(reason, now)
        return Step(entries, str(reason) if entries else "", detail)

    def _mark(self, reason: str) -> LiveEntry:
        if self.relisting is not None:  # the listing whose number it would name is over by then
            return LiveEntry(self.symbol, (), stale=str(reason), relist=self.relisting)
        return LiveEntry(self.symbol, (), stale=str(reason), listing=self.listing)

    def _entry(self, events: Sequence[Event], ts: int | None) -> LiveEntry:
        return LiveEntry(self.symbol, events, ts, live=True, listing=self.listing)

    def _set(self, state: FeedState, reason: str, now: float) -> None:
        if state is not self.state:
            self.since = now
        self.state, self.reason = state, str(reason)


class _UnusableError(Exception):
    """What the adapter said cannot be published as it is."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class _Ladder:
    """A book in ticks and lots."""

    def __init__(self, price: Scale, quantity: Scale, snapshot: Snapshot) -> None:
        self.price = price
        self.quantity = quantity
        self.book = Book()
        self.sequence: int | None = None
        self.ts: int | None = None
        self.apply(snapshot)

    def apply(self, change: Snapshot | Update) -> list[Event]:
        """Set the levels; returns them as events. After an `_UnusableError` the book is of no use."""
        try:
            events = [*self._events(Side.BID, change.bids), *self._events(Side.ASK, change.asks)]
        except ValueError as error:
            raise _UnusableError(LocalDoubt.UNFIT, str(error)) from None
        sides = (self.book.bids, self.book.asks)
        for _, side, price, quantity in events:
            sides[side].set_level(price, quantity)
        bid, ask = (side.best() for side in sides)
        if bid is not None and ask is not None and bid >= ask:
            raise _UnusableError(DoubtReason.CROSSED, f"best bid {bid} and best ask {ask}, in ticks")
        self.sequence, self.ts = change.sequence, change.ts
        return events

    def whole(self) -> list[Event]:
        """Return the events that replace any book by this one."""
        levels = [
            (UPDATE, int(side), price, quantity)
            for side, half in ((Side.BID, self.book.bids), (Side.ASK, self.book.asks))
            for price, quantity in half.top()
        ]
        return [(CLEAR,), *levels]

    def fits(self, price: Scale, quantity: Scale) -> bool:
        """Return whether all levels are whole multiples of these sizes."""
        return all(
            price.divides(ticks, self.price) and quantity.divides(lots, self.quantity)
            for side in (self.book.bids, self.book.asks)
            for ticks, lots in side.top()
        )

    def _events(self, side: Side, levels: Iterable[VenueLevel]) -> list[Event]:
        number = int(side)
        price_of, quantity_of = self.price.whole, self.quantity.whole
        events: list[Event] = [(UPDATE, number, price_of(price), quantity_of(lots)) for price, lots in levels]
        if any(event[3] < 0 for event in events):
            raise ValueError("a quantity below 0")
        return events
