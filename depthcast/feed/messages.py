"""Recordings whose numbers are decimal text: what each line means for a book becomes input entries.

A format says what its lines mean as the outputs of `depthcast.feed.venue`, or as `Orders`; sizes, ticks,
lots, oracles and the account of what went wrong are the same for all formats, and are here.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from depthcast.feed.account import Account
from depthcast.feed.decimals import Grid, Units
from depthcast.feed.entry import CLEAR, UPDATE, Event, FeedEntry, Recorded, Source
from depthcast.feed.oracle import BestPrices, Oracle, TopLevels
from depthcast.feed.tickers import Numbered, Rule, Ticker, with_oracles
from depthcast.feed.venue import Best, Doubt, Output, Refused, Skipped, Snapshot, Update, VenueLevel
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Side, Symbol

HEARTBEATS: Final = "heartbeats and confirmations"

Tops = tuple[Sequence[VenueLevel], Sequence[VenueLevel]]

OrderEvent = tuple[int, int | None, str | None, str | None, int | str | None]
"""Op, side, price, quantity and order id of an orders feed; price and quantity as decimal text."""


class Orders(NamedTuple):
    """Events that apply as one unit, by level or by order; `ts` and `sequence` as in `Update`."""

    symbol: str
    events: Sequence[OrderEvent]
    ts: int | None = None
    sequence: int | None = None


class Note(NamedTuple):
    """Something that a reader of the summary should know."""

    text: str


class Item(NamedTuple):
    """One thing that a line means. `top`: the best levels of the adapter's own book after it."""

    output: Output | Orders | Note
    at_us: int | None
    line: int
    beside: str = ""
    top: Tops | None = None

    @property
    def place(self) -> str:
        """Where it came from, such as `line 7`."""
        return f"{self.beside + ', ' if self.beside else ''}line {self.line}"


Items = Callable[[], Iterable[Item]]
"""Reads the recording from its beginning."""


class MessageRecording:
    """A recording of messages; the first pass, which finds symbols and sizes, is made at once.

    `named`: the symbols that it has messages of; it may be filled by the first pass.
    """

    def __init__(
        self,
        source: Source,
        items: Items,
        feed: Feed = Feed.LEVELS,
        hint: str = "",
        rule: Rule = Rule.SEQUENCE,
        named: Collection[str] = (),
    ) -> None:
        self._source = source
        self._named = named
        self._rule = rule
        self._items = items
        self._feed = feed
        self.recorded: Mapping[str, Recorded] = self._measure(hint)

    def entries(
        self, working: Mapping[str, Instrument], account: Account, *, verify: bool = False
    ) -> Iterator[FeedEntry]:
        """Yield an entry for each snapshot, update and group of order events."""
        account.without_book += sorted(set(self._named) - self.recorded.keys())
        books = {name: _Book(instrument) for name, instrument in working.items()}
        made = _entries(self._source.path, self._items(), books, account)
        if verify:
            yield from with_oracles(made, self._rule)
        else:
            yield from (each.entry for each in made if isinstance(each, Numbered))

    def _measure(self, hint: str) -> dict[str, Recorded]:
        grids: defaultdict[str, tuple[Grid, Grid]] = defaultdict(lambda: (Grid(), Grid()))
        booked: set[str] = set()
        for item in self._items():
            try:
                if (name := _measure(item.output, grids)) is not None:
                    booked.add(name)
            except ValueError as error:
                raise FeedError(
                    self._source.path, item.line, f"{error}; remove the line, or record again"
                ) from None
        if not booked:
            raise FeedError(self._source.path, 0, hint or "has no book in it: no snapshot was found")
        return {
            name: Recorded(
                Instrument(
                    Symbol(name), grids[name][0].power_of_ten, grids[name][1].power_of_ten, self._feed
                ),
                grids[name][0].step,
                grids[name][1].step,
            )
            for name in sorted(booked)
        }


def _measure(output: Output | Orders | Note, grids: Mapping[str, tuple[Grid, Grid]]) -> str | None:
    """Take the numbers of one output into account; returns the symbol if it changes a book."""
    if isinstance(output, Snapshot | Update):
        prices, quantities = grids[output.symbol]
        for levels in (output.bids, output.asks):
            for price, quantity in levels:
                prices.add(price)
                quantities.add(quantity)
        return output.symbol
    if isinstance(output, Orders):
        prices, quantities = grids[output.symbol]
        for event in output.events:
            for grid, number in ((prices, event[2]), (quantities, event[3])):
                if number is not None:
                    grid.add(number)
        return output.symbol
    return None


class _Book:
    """Converts one symbol's numbers to ticks and lots."""

    def __init__(self, instrument: Instrument) -> None:
        self.tick, self.lot = Units(instrument.tick_size), Units(instrument.lot_size)

    def levels(self, bids: Sequence[VenueLevel], asks: Sequence[VenueLevel]) -> list[Event]:
        tick, lot = self.tick.of, self.lot.of
        return [
            (UPDATE, int(side), tick(price), lot(quantity))
            for side, levels in ((Side.BID, bids), (Side.ASK, asks))
            for price, quantity in levels
        ]

    def level(self, level: VenueLevel) -> tuple[int, int]:
        return self.tick.of(level[0]), self.lot.of(level[1])

    def orders(self, events: Sequence[OrderEvent]) -> list[Event]:
        return [
            (
                op,
                side,
                None if price is None else self.tick.of(price),
                None if quantity is None else self.lot.of(quantity),
                order,
            )
            for op, side, price, quantity, order in events
        ]

    def best(self, best: Best) -> BestPrices | None:
        """The oracle of a ticker; None if it is finer than the book, so that it cannot be of it."""
        try:
            return BestPrices(self._part(best.bid), self._part(best.ask))
        except ValueError:
            return None

    def _part(self, level: VenueLevel) -> tuple[int, int | None]:
        """A level of a ticker; without its quantity if the ticker does not tell it."""
        price, quantity = level
        return self.tick.of(price), self.lot.of(quantity) if quantity.strip("0.") else None

    def top(self, top: Tops) -> TopLevels:
        bids, asks = top
        return TopLevels(tuple(map(self.level, bids)), tuple(map(self.level, asks)))


def _entries(
    path: str, items: Iterable[Item], books: Mapping[str, _Book], account: Account
) -> Iterator[Numbered | Ticker]:
    for item in items:
        output = item.output
        if isinstance(output, Snapshot | Update | Orders):
            book = books.get(output.symbol)
            if book is None:
                raise FeedError(
                    path,
                    item.line,
                    f"has {output.symbol!r}, which was not there before; is it still being recorded?",
                )
            try:
                yield _entry(item, output, book, account)
            except ValueError as error:
                raise FeedError(path, item.line, str(error)) from None
        elif isinstance(output, Best):
            if (book := books.get(output.symbol)) and (prices := book.best(output)):
                yield Ticker(output.symbol, prices, output.sequence, output.ts)
            account.skipped["tickers"] += 1
        else:
            _note(item, account)
            if isinstance(output, Doubt) and output.symbol in books:
                yield Numbered(_doubt(item, output))


def _doubt(item: Item, doubt: Doubt) -> FeedEntry:
    """Mark a book as stale until its next snapshot."""
    return FeedEntry(
        Symbol(doubt.symbol), [], None, item.at_us, True, None, item.line, item.beside, doubt.reason.value
    )


def _entry(item: Item, output: Snapshot | Update | Orders, book: _Book, account: Account) -> Numbered:
    oracle: Oracle | None = None
    best: BestPrices | None = None
    if isinstance(output, Orders):
        events: list[Event] = book.orders(output.events)
    else:
        events = book.levels(output.bids, output.asks)
        if isinstance(output, Snapshot):
            events.insert(0, (CLEAR,))
        else:
            account.proven += output.checked or output.sequence is not None
        if item.top is not None:
            if output.checked:
                oracle = book.top(item.top)
            elif item.top[0] and item.top[1]:
                best = BestPrices(book.level(item.top[0][0]), book.level(item.top[1][0]))
    reloads = bool(events) and [*events[0][:2]] in ([CLEAR], [CLEAR, None])
    if reloads:
        account.certain(output.symbol, item.at_us)
        account.reloads += 1
    entry = FeedEntry(
        Symbol(output.symbol),
        events,
        output.ts,
        item.at_us,
        True,
        oracle,
        item.line,
        item.beside,
        live=reloads,
        sure=not isinstance(output, Orders),
    )
    return Numbered(entry, output.sequence, best)


def _note(item: Item, account: Account) -> None:
    output = item.output
    if isinstance(output, Doubt):
        text = f"{item.place}, {output.symbol}: {output.detail}"
        account.doubt(output.symbol, output.reason.value, text, item.at_us)
    elif isinstance(output, Skipped):
        account.skipped[output.kind] += 1
    elif isinstance(output, Note):
        account.notes.append(f"{item.place}: {output.text}")
    elif isinstance(output, Refused):
        account.notes.append(
            f"{item.place}: the venue refused {output.symbol or 'a request'}: {output.detail}"
        )
    else:
        account.skipped[HEARTBEATS] += 1
