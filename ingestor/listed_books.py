"""The books of a partition by symbol, and what begins and ends their listings. Pure, and without a lock.

A listing begins with an empty book, and nothing of the one before outlives it but its last seq
(`docs/protocol.md`, section 2.2.3). Applying events to the books is the engine's.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from depthcast.broadcaster.numbering import first_seq
from depthcast.ingestor.book_state import BookState
from depthcast.ingestor.doubts import Doubts
from depthcast.ingestor.input_times import InputTimes
from depthcast.ingestor.levels import LevelsState
from depthcast.ingestor.limits import Limits
from depthcast.ingestor.orders import OrdersState
from depthcast.shared.book import Book
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.listing import Listing
from depthcast.shared.order_counts import OrderCounts
from depthcast.shared.position import Position
from depthcast.shared.types import Delta, Symbol


class ListedBooks:
    """The books, what they stand for, and what the next drain says of them.

    - `states`: every book, withdrawn symbols included; `registered`: those that accept events, by field name.
    - `orders_feeds`: those `states` that are fed by order.
    - `listings`: the listing of every symbol that the partition ever had, withdrawn ones too.
    - `births_due`: listings that began since the last drain; `withdrawn`: those that ended.
    - `born`: symbols whose recovery state is written with the next drain.
    - `changed`: books with applied events since the last drain.
    - `doubts`: those about all books; `times`: of the input of all books.
    - `limits`: of what books hold; `limits_of`: of orders feeds that are replayed under those of their
      checkpoint.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.limits_of: dict[Symbol, Limits] = {}
        self.states: dict[Symbol, BookState] = {}
        self.orders_feeds: dict[Symbol, OrdersState] = {}
        self.registered: dict[bytes, tuple[Symbol, BookState]] = {}
        self.listings: dict[Symbol, Listing] = {}
        self.births_due: dict[Symbol, None] = {}
        self.born: dict[Symbol, None] = {}
        self.withdrawn: dict[Symbol, None] = {}
        self.changed: dict[Symbol, BookState] = {}
        self.doubts = Doubts()
        self.times = InputTimes()
        # The last input before a listing that nobody knows yet began or ended.
        self._after: dict[Symbol, str] = {}
        # The last seq of the listings before, which the next one must exceed.
        self._floors: dict[Symbol, int] = {}
        # The input entry that began a listing, in this process.
        self._begun_by: dict[Symbol, str] = {}

    # --- beginning and ending listings ---------------------------------------------------------------------

    def register(self, instrument: Instrument, src: str, *, is_newer: bool = True) -> bool:
        """Accept events for a symbol; returns whether its listing stands for `instrument` then.

        `src`: the last input consumed. See `Engine.register` for what begins a listing.
        """
        symbol = instrument.symbol
        listing = self.listings.get(symbol)
        number = 0 if listing is None else listing.number
        if listing is not None and symbol.encode() in self.registered and instrument.listing <= number:
            if listing.stands_for(instrument):
                return True
            if any(self.states[symbol].book.sides):
                return False
            if not is_newer:
                return True
        number = max(number + 1, instrument.listing)
        self._begin(symbol, Listing(number, instrument._replace(listing=0)), src)
        return True

    def withdraw(self, symbol: Symbol, src: str) -> None:
        """End the symbol's listing, if it has one, and drop its book."""
        listing = self.listings.get(symbol)
        if listing is not None and not listing.withdrawn:
            self._begin(symbol, listing._replace(withdrawn=True), src)

    def relist(self, wanted: Instrument, src: str, source: str) -> None:
        """Begin the listing of a registered symbol that the input `source` asks for, if it is a later one."""
        symbol = wanted.symbol
        if symbol.encode() in self.registered and self.listings[symbol].number < wanted.listing:
            self._begin(symbol, Listing(wanted.listing, wanted._replace(listing=0)), src)
            self._begun_by[symbol] = source

    def begun_after(self, src: Position) -> set[Symbol]:
        """The symbols whose listings began by an input entry after `src`, in this process."""
        return {symbol for symbol, begun in self._begun_by.items() if Position.parse(begun) > src}

    def _begin(self, symbol: Symbol, listing: Listing, src: str) -> None:
        """Replace what there is of a symbol by an empty book of `listing`."""
        before = self.states.get(symbol)
        if before is not None:
            self._floors[symbol] = max(self._floors.get(symbol, 0), before.merger.seq)
        self._forget_pending(symbol)
        self.listings[symbol] = listing
        self._after[symbol] = src
        state = self.new_state(listing.instrument)
        self._set_state(symbol, state)
        if listing.withdrawn:
            self.registered.pop(symbol.encode(), None)
            self.withdrawn[symbol] = None
        else:
            self.registered[symbol.encode()] = (symbol, state)
            self.births_due[symbol] = None

    def _set_state(self, symbol: Symbol, state: BookState) -> None:
        self.states[symbol] = state
        if isinstance(state, OrdersState):
            self.orders_feeds[symbol] = state
        else:
            self.orders_feeds.pop(symbol, None)

    def new_state(self, instrument: Instrument, limits: Limits | None = None) -> BookState:
        """An empty book; `limits`: those it has, if not those of all."""
        evicts = instrument.on_cross == OnCross.EVICT
        state = OrdersState(evicts=evicts) if instrument.feed == Feed.ORDERS else LevelsState(evicts=evicts)
        state.set_limits(limits or self.limits)
        return state

    # --- taking over what was published --------------------------------------------------------------------

    def put(self, instrument: Instrument, state: BookState) -> None:
        """Register a symbol with its published book, in place of any other."""
        symbol = instrument.symbol
        self._set_state(symbol, state)
        self.listings[symbol] = Listing(max(instrument.listing, 1), instrument._replace(listing=0))
        self.registered[symbol.encode()] = (symbol, state)
        for waiting in (self.births_due, self.born, self.changed):
            waiting.pop(symbol, None)
        self.doubts.forget(symbol)
        self.times.forget(symbol)

    def put_book(self, instrument: Instrument, seq: int, book: Book, digest: int) -> None:
        """Register a symbol with its published levels, or bring it up to date if it has this very `book`.

        `seq` moves with every change of the book by others, so what is up to date is known by it.
        """
        symbol = instrument.symbol
        state, listing = self.states.get(symbol), self.listings.get(symbol)
        if (
            state is not None
            and state.book is book
            and listing is not None
            and listing.number == max(instrument.listing, 1)
            and listing.stands_for(instrument)
        ):
            if state.merger.seq != seq or state.merger.digest != digest:
                state.load_book(seq, book, digest)
            return
        state = self.new_state(instrument)
        state.load_book(seq, book, digest)
        self.put(instrument, state)

    def differing(self, instruments: Mapping[str, Instrument]) -> dict[str, Instrument]:
        """Those `instruments` of registered symbols that a listing may have to change for."""
        listings = self.listings
        return {
            symbol: wanted
            for symbol, wanted in instruments.items()
            if (listing := listings[Symbol(symbol)]).number < wanted.listing or not listing.stands_for(wanted)
        }

    def know(self, listings: Mapping[str, Listing]) -> None:
        """Take over the record of listings; those of restored books stay unless the record has later ones."""
        for symbol, listing in listings.items():
            name = Symbol(symbol)
            known = self.listings.get(name)
            if known is None or known.number < listing.number:
                self.listings[name] = listing

    def remove(self, symbol: Symbol) -> None:
        """Remove a symbol with its book, as if it had never been registered."""
        self.states.pop(symbol, None)
        self.orders_feeds.pop(symbol, None)
        self.listings.pop(symbol, None)
        self.registered.pop(symbol.encode(), None)
        self._forget_pending(symbol)

    def _forget_pending(self, symbol: Symbol) -> None:
        """Forget what the next drain would say of a symbol's book."""
        everything: tuple[dict[Symbol, Any], ...] = (
            self.births_due,
            self.born,
            self.changed,
            self.withdrawn,
            self.limits_of,
        )
        for waiting in everything:
            waiting.pop(symbol, None)
        self.doubts.forget(symbol)
        self.times.forget(symbol)

    def set_limits(self, limits: Limits) -> None:
        """Reject by these limits from now on; what the books already hold stays."""
        self.limits = limits
        self.limits_of.clear()
        for state in self.states.values():
            state.set_limits(limits)

    # --- what is to be published ---------------------------------------------------------------------------

    def dirty(self) -> bool:
        """Whether the next drain says anything of a book."""
        return bool(self.births_due or self.born or self.changed or self.withdrawn or self.doubts.changed)

    def holds_back(self) -> bool:
        """Whether changes stay for the next drain, because their books are born with this one."""
        return bool(self.changed or self.doubts.changed)

    def take_births(self, most: int | None, needed: Collection[str] = ()) -> dict[Symbol, None]:
        """Take births that are due: all of symbols that had input, and up to `most` others (None: all).

        What the last drain covers of the input must be public, so those of it cannot wait; nor can those of
        `needed`, whose recovery state is about to be written.
        """
        if most is None or len(self.births_due) <= most:
            births, self.births_due = self.births_due, {}
            return births
        named = (*self.changed, *self.doubts.changed, *self.times.heard(), *map(Symbol, needed))
        births = {symbol: None for symbol in named if symbol in self.births_due}
        births.update(dict.fromkeys(islice(self.births_due, most)))
        for symbol in births:
            del self.births_due[symbol]
        return births

    def is_public(self, symbol: Symbol) -> bool:
        """Whether something of the symbol's listing was drained."""
        return symbol not in self.births_due and symbol not in self.withdrawn

    def after(self, symbols: Collection[Symbol]) -> dict[Symbol, str]:
        """The last input before the listings of `symbols` began or ended, where it is known."""
        return {symbol: self._after[symbol] for symbol in symbols if symbol in self._after}

    def advance(self, symbol: Symbol, epoch: int) -> Delta:
        """Move a book on by an empty delta, beyond the listings before and into `epoch`."""
        merger = self.states[symbol].merger
        return merger.advance(first_seq(epoch, max(merger.seq, self._floors.get(symbol, 0))))

    def drain_changes(self, held_back: Collection[Symbol], epoch: int) -> list[tuple[Symbol, Delta]]:
        """Take the net changes of all books; those of `held_back` stay for the next drain."""
        changed = self.changed
        self.changed = {symbol: changed.pop(symbol) for symbol in list(changed) if symbol in held_back}
        least = first_seq(epoch, 0)
        drained = [(symbol, state.merger.drain(least)) for symbol, state in changed.items()]
        return [(symbol, delta) for symbol, delta in drained if delta is not None]

    def take_counts(self, deltas: Iterable[tuple[Symbol, Delta]]) -> dict[Symbol, OrderCounts]:
        """The number of orders at each level of the deltas that were just made, of orders feeds."""
        feeds = self.orders_feeds
        if not feeds:
            return {}
        return {symbol: feeds[symbol].merger.take_counts() for symbol, _ in deltas if symbol in feeds}
