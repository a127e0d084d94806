"""Books of Databento's schema MBO, an orders feed; `depthcast.feed.databento` has the rules."""

from collections.abc import Iterator
from typing import Final

from depthcast.feed.csv_lines import Row, integer, refused, time_us
from depthcast.feed.databento_records import (
    BY_PRICE,
    LAST,
    MAYBE_BAD_BOOK,
    TOP_OF_BOOK,
    Names,
    price_of,
    received,
    renamed,
)
from depthcast.feed.entry import ADD, CLEAR, REDUCE, UPDATE, LineReader
from depthcast.feed.messages import Item, OrderEvent, Orders
from depthcast.feed.table_form import Rows
from depthcast.feed.venue import Doubt, DoubtReason, Skipped

_SIDES: Final = {"B": 0, "A": 1}
_CHANGES: Final = ("A", "C", "M")
_NOTHING: Final = ("T", "F", "N")
_BEFORE: Final = "records about orders from before the file"
_IN_DOUBT: Final = "records of books in doubt"


class _OrderBook:
    """What is known of one instrument.

    - `events`: of records that are not complete yet, `line`: the first of them.
    - `orders`: side, price and remaining size of each order.
    - `begun`: a record changed or cleared it. `partial`: orders from before the file are not known.
    - `doubted`: nothing applies until it is cleared.
    """

    def __init__(self) -> None:
        self.events: list[OrderEvent] = []
        self.line = 0
        self.orders: dict[int, tuple[int, str, int]] = {}
        self.begun = False
        self.partial = False
        self.doubted = False
        self.instrument = ""
        self.newest_us: int | None = None
        self.cleared_us: int | None = None
        self.record: Row = {}

    def clear(self) -> None:
        self.orders.clear()
        self.partial = self.doubted = False
        self.events[:] = [(CLEAR, None, None, None, None)]


class MboBooks:
    """Says what records of the schema MBO mean, one after the other."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._names = Names()
        self._books: dict[str, _OrderBook] = {}

    def take(self, row: Row) -> Iterator[Item]:
        """Take the next record."""
        reader, (name, before) = self._reader, self._names.of(row)
        flags = integer(reader, row, "flags")
        at_us = received(reader, row, flags)
        yield from self._leave(before, name, row["instrument_id"], at_us)
        book = self._books.setdefault(name, _OrderBook())
        book.line = book.line or reader.line
        if (doubt := self._doubt(book, row, flags, at_us)) is not None:
            yield Item(Doubt(name, *doubt), at_us, reader.line)
        yield from self._apply(book, row, at_us)
        if flags & LAST:
            if book.events and not book.doubted:
                yield Item(Orders(name, book.events, time_us(reader, row["ts_event"])), at_us, book.line)
            book.events, book.line = [], 0

    def end(self) -> Iterator[Item]:
        """The file ended."""
        for name, book in self._books.items():
            if book.events:
                detail = "the file ends within an event: no record with the flag F_LAST"
                yield Item(Doubt(name, DoubtReason.MALFORMED, detail), None, book.line)

    def _leave(self, before: str, name: str, instrument: str, at_us: int | None) -> Iterator[Item]:
        """Doubt the book that an instrument was until now, unless another one is that book by now."""
        book = self._books.get(before)
        if book is not None and book.instrument == instrument and not book.doubted:
            book.doubted = True
            yield Item(renamed(before, name, instrument), at_us, self._reader.line)

    def _doubt(
        self, book: _OrderBook, row: Row, flags: int, at_us: int | None
    ) -> tuple[DoubtReason, str] | None:
        """Return why the book is in doubt from this record on; None if it is not, or was already."""
        action, before, newest_us = row["action"], book.record, book.newest_us
        if at_us is not None:
            book.newest_us = max(at_us, newest_us or at_us)
        book.record = row
        if action == "R":
            return self._clears(book, row)
        if book.doubted:
            return None
        if flags & MAYBE_BAD_BOOK:
            book.doubted = True
            return DoubtReason.GAP, "flag F_MAYBE_BAD_BOOK"
        if action not in _CHANGES:
            return None
        instrument, book.instrument = book.instrument, row["instrument_id"]
        if instrument not in ("", row["instrument_id"]):
            found = DoubtReason.RESET, f"is instrument {row['instrument_id']} from here, not {instrument}"
        elif flags & (TOP_OF_BOOK | BY_PRICE):
            found = DoubtReason.PARTIAL, "flag F_TOB or F_MBP: the record is of no single order"
        elif problem := _disorder(row, before, at_us, newest_us) or self._contradiction(book, row):
            found = DoubtReason.GAP, problem
        else:
            found = None
        if found is not None:
            book.doubted = True
        elif not book.begun:
            book.partial = True
            found = DoubtReason.PARTIAL, "begins within the book: no record before it clears it (action R)"
        book.begun = True
        return found

    def _clears(self, book: _OrderBook, row: Row) -> tuple[DoubtReason, str] | None:
        """Clear the book, unless the same was done before."""
        at_us = time_us(self._reader, row.get("ts_recv") or row["ts_event"])
        again = book.cleared_us is not None and at_us is not None and at_us <= book.cleared_us
        if again and book.orders:
            book.doubted = True
            return DoubtReason.GAP, "clears the book again, but is no later than the record that did"
        book.begun, book.instrument, book.cleared_us = True, row["instrument_id"], at_us
        book.clear()
        return None

    def _contradiction(self, book: _OrderBook, row: Row) -> str:
        """Return what the record says against the orders that are known; empty if nothing."""
        reader, order = self._reader, integer(self._reader, row, "order_id")
        known = book.orders.get(order)
        if row["action"] == "A":
            return "" if known is None else f"order {order} is added again"
        if known is None:
            complete = book.begun and not book.partial
            return f"order {order} is not known" if row["action"] == "C" and complete else ""
        if row["action"] == "C" and integer(reader, row, "size") > known[2]:
            return f"cancels {row['size']} of order {order}, which has {known[2]}"
        changes_side = row["action"] == "M" and _SIDES.get(row["side"]) != known[0]
        return f"order {order} changes its side" if changes_side else ""

    def _apply(self, book: _OrderBook, row: Row, at_us: int | None) -> Iterator[Item]:
        """Take the record into the book, unless it is in doubt; yields what is skipped."""
        action = row["action"]
        if action == "R":
            return
        skipped = f"records of action {action}" if action in _NOTHING else ""
        if not skipped:
            event = self._event(book, row)
            if book.doubted:
                skipped = _IN_DOUBT
            elif event is None:
                skipped = _BEFORE
            else:
                book.events.append(event)
        if skipped:
            yield Item(Skipped(skipped), at_us, self._reader.line)

    def _event(self, book: _OrderBook, row: Row) -> OrderEvent | None:
        """Return what a record does to its order; None if that order is from before the file."""
        reader, action = self._reader, row["action"]
        if action not in _CHANGES:
            raise refused(reader, "action", action, "ACMRTFN")
        order, size = integer(reader, row, "order_id"), integer(reader, row, "size")
        if action == "C":
            side, price, has = book.orders.pop(order, (0, "", 0))
            if has > size:
                book.orders[order] = side, price, has - size
            return (REDUCE, None, None, str(size), order) if has else None
        if row["side"] not in _SIDES:
            raise refused(reader, "side", row["side"], _SIDES)
        price, side = price_of(reader, "price", row["price"]), _SIDES[row["side"]]
        op = UPDATE if action == "M" and order in book.orders else ADD
        book.orders[order] = side, price, size
        return op, side, price, str(size), order


def _disorder(row: Row, before: Row, at_us: int | None, newest_us: int | None) -> str:
    """Return what is wrong with the order of records; empty if nothing."""
    if at_us is not None and newest_us is not None and at_us < newest_us:
        return "is older than the record before it"
    return "is there twice" if row == before and "sequence" in row else ""


def mbo_items(reader: LineReader, records: Rows) -> Iterator[Item]:
    """Yield what records of the schema MBO mean."""
    books = MboBooks(reader)
    for row in records:
        yield from books.take(row)
    yield from books.end()
