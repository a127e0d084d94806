"""Recordings of LOBSTER: the message file, as an orders feed, and the order-book file beside it.

- Columns: seconds after midnight, type, order id, size, price × 10,000, direction (1 buy, −1 sell).
- Types: 1 a new order; 2 a part of it is cancelled; 3 it is deleted; 4 it is executed, wholly or in part. 5
  (a hidden order), 6 (a cross trade) and 7 (a halt) change no visible book.
- Both files have only what happened within a number of best levels. Orders from before the file, and orders
  that were beyond those levels when they came, are in no message: only the order-book file shows them.
- With the order-book file, the book is the levels that it shows, after each message. What no message brought
  is one order for each level. Levels that leave the depth leave the book, and come back as the file shows
  them. Where the files contradict each other, the book is in doubt until they agree again.
- Without it, the book is in doubt from its beginning, and messages about unknown orders are skipped and
  counted: nothing can prove that it is right.
- The symbol and the day are in the file's name, `TICKER_YYYY-MM-DD_…_message_LEVELS.csv`; times are taken as
  if they were UTC, only to keep the pace.

Source: LOBSTER, "Data structure".
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Final

from depthcast.feed.entry import ADD, CLEAR, DELETE, REDUCE, Format, Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording, OrderEvent, Orders
from depthcast.feed.venue import Best, Doubt, DoubtReason, Skipped
from depthcast.shared.instruments import Feed

_LINE: Final = re.compile(rb"(\d{1,5}(?:\.\d{1,9})?),([1-7]),(-?\d{1,19}),(\d{1,15}),(-?\d{1,15}),(-?1)\Z")
_NAME: Final = re.compile(r"(.+?)_\d{4}-\d\d-\d\d_\d+_\d+_message_\d+\.csv(?:\.gz)?\Z")
_OTHER: Final = {5: "executions of hidden orders", 6: "cross trades", 7: "trading halts"}
_NOTHING: Final = 9_999_999_999
"""Price of a level that is not there; negative for a bid."""

_UNSEEN: Final = "messages about orders from before the file or beyond its depth"

_Side = dict[int, int]
"""Size of each level by its price in 10⁻⁴ dollars."""

_EARLIER: Final = 0
"""Id of the orders of a level that no message brought; ids of visible orders are above 0."""


class _Message:
    """One line: `side` 0 bid, 1 ask; `price` in 10⁻⁴ dollars."""

    def __init__(self, reader: LineReader, line: bytes) -> None:
        match = _LINE.match(line)
        if match is None:
            raise reader.error(
                "expected time,type,order id,size,price,direction; is the file cut off or edited?"
            )
        seconds, _, fraction = match[1].partition(b".")
        self.at_us = int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, b"0"))
        self.kind, self.order, self.size = int(match[2]), int(match[3]), int(match[4])
        self.price, self.side = int(match[5]), 0 if match[6] == b"1" else 1


def _dollars(price: int) -> str:
    digits = str(abs(price)).rjust(5, "0")
    return f"{'-' if price < 0 else ''}{digits[:-4]}.{digits[-4:]}"


def _read(source: Source) -> MessageRecording:
    named = _NAME.match(source.name)
    symbol = named[1] if named else re.split(r"[^A-Za-z0-9-]", source.name)[0]
    beside = source.beside(source.name.replace("_message_", "_orderbook_")) if named else {}
    books = next(iter(beside.values()), None)
    if books is None:
        return MessageRecording(source, lambda: _alone(source, symbol), Feed.ORDERS)
    return MessageRecording(source, lambda: _with_books(source, symbol, books), Feed.ORDERS)


def _alone(source: Source, symbol: str) -> Iterator[Item]:
    """Read messages without the order-book file."""
    reader = LineReader(source.path)
    sizes: dict[int, int] = {}
    for line in reader.lines(source.lines()):
        message = _Message(reader, line)
        if reader.line == 1:
            detail = "there is no order-book file beside it, which has the book before the first message"
            yield Item(Doubt(symbol, DoubtReason.PARTIAL, detail), message.at_us, 1)
        output: Orders | Doubt | Skipped
        if message.kind in _OTHER:
            output = Skipped(_OTHER[message.kind])
        elif problem := _against(message, sizes):
            output = Doubt(symbol, DoubtReason.GAP, problem)
        elif message.kind != 1 and message.order not in sizes:
            output = Skipped(_UNSEEN)
        else:
            by = message.size if message.kind == 1 else -message.size
            sizes[message.order] = sizes.get(message.order, 0) + by
            output = Orders(symbol, [_event(message)], None, reader.line)
            if not sizes[message.order]:
                del sizes[message.order]
        yield Item(output, message.at_us, reader.line)


def _against(message: _Message, sizes: dict[int, int]) -> str:
    """Return what a message says against the ones before it; empty if nothing."""
    size = sizes.get(message.order)
    if size is None:
        return ""
    if message.kind == 1:
        return f"order {message.order} is new again"
    if message.size > size or (message.kind == 3 and message.size != size):
        return f"takes {message.size} from order {message.order}, which has {size}"
    return ""


def _event(message: _Message) -> OrderEvent:
    if message.kind == 1:
        return ADD, message.side, _dollars(message.price), str(message.size), message.order
    if message.kind == 3:
        return DELETE, None, None, None, message.order
    return REDUCE, None, None, str(message.size), message.order


class _Level:
    """One level: the size of each of its orders; `_EARLIER` is what no message brought."""

    def __init__(self) -> None:
        self.orders: dict[int, int] = {}
        self.size = 0

    def change(self, order: int, by: int) -> None:
        self.size += by
        self.orders[order] = self.orders.get(order, 0) + by
        if not self.orders[order]:
            del self.orders[order]


class _Visible:
    """The book as both files show it. `sides`: levels by price."""

    def __init__(self, row: "_Row") -> None:
        self.sides: tuple[dict[int, _Level], dict[int, _Level]] = ({}, {})
        self.row = row
        for side in (0, 1):
            for price, size in row.sides[side].items():
                self._level(side, price).change(_EARLIER, size)

    def seed(self) -> list[OrderEvent]:
        """Return the events that make the book from nothing."""
        events: list[OrderEvent] = [(CLEAR, None, None, None, None)]
        for side, levels in enumerate(self.sides):
            for price, level in levels.items():
                for order, size in level.orders.items():
                    events.append((ADD, side, _dollars(price), str(size), _id(order, side, price)))
        return events

    def take(self, message: _Message, row: "_Row") -> list[OrderEvent] | None:
        """Apply a message and the row after it; returns its events, None if they contradict each other."""
        events: list[OrderEvent] = []
        if message.kind not in _OTHER and not self._message(message, events):
            return None
        for side in (0, 1):
            if not self._row(side, row, events):
                return None
        self.row = row
        return events

    def _message(self, message: _Message, events: list[OrderEvent]) -> bool:
        level = self.sides[message.side].get(message.price)
        if message.kind == 1:
            if message.order <= _EARLIER or (level is not None and message.order in level.orders):
                return False
            self._level(message.side, message.price).change(message.order, message.size)
            events.append(_event(message))
            return True
        if level is None:
            return False
        order = message.order if message.order in level.orders else _EARLIER
        has = level.orders.get(order, 0)
        if message.size > has or (message.kind == 3 and order and message.size != has):
            return False
        level.change(order, -message.size)
        if not level.size:
            del self.sides[message.side][message.price]
        if message.size:
            name = _id(order, message.side, message.price)
            events.append((REDUCE, None, None, str(message.size), name))
        return True

    def _row(self, side: int, row: "_Row", events: list[OrderEvent]) -> bool:
        """Compare a side with the order-book file: levels may only enter and leave at its far end."""
        levels, shown = self.sides[side], row.sides[side]
        entering = [price for price in shown if price not in levels]
        if any(levels[price].size != size for price, size in shown.items() if price in levels):
            return False
        if any(not self.row.is_beyond(side, price) for price in entering):
            return False
        leaving = [price for price in levels if price not in shown]
        if any(not row.is_beyond(side, price) for price in leaving):
            return False
        for price in leaving:
            events.extend(
                (DELETE, None, None, None, _id(order, side, price)) for order in levels[price].orders
            )
            del levels[price]
        for price in entering:
            self._level(side, price).change(_EARLIER, shown[price])
            name = _id(_EARLIER, side, price)
            events.append((ADD, side, _dollars(price), str(shown[price]), name))
        return True

    def _level(self, side: int, price: int) -> _Level:
        return self.sides[side].setdefault(price, _Level())


def _id(order: int, side: int, price: int) -> int | str:
    return order or f"before:{'ba'[side]}:{_dollars(price)}"


class _Row:
    """A line of the order-book file: the best levels of each side."""

    def __init__(self, reader: LineReader, line: bytes) -> None:
        texts = line.decode("ascii", "replace").split(",")
        if len(texts) % 4 or not all(text.lstrip("-").isdecimal() and len(text) < 17 for text in texts):
            raise reader.error("expected ask price, ask size, bid price, bid size for each level")
        values = [int(text) for text in texts]
        self.depth = len(values) // 4
        asks, bids = zip(values[::4], values[1::4], strict=True), zip(values[2::4], values[3::4], strict=True)
        self.sides: tuple[_Side, _Side] = (
            {price: size for price, size in bids if abs(price) != _NOTHING},
            {price: size for price, size in asks if abs(price) != _NOTHING},
        )

    def is_beyond(self, side: int, price: int) -> bool:
        """Return whether a price is worse than all that the row shows, and the row shows no more levels."""
        shown = self.sides[side]
        if len(shown) < self.depth:
            return False
        return price < min(shown) if side == 0 else price > max(shown)

    def best(self, symbol: str, line: int) -> Best | None:
        bids, asks = self.sides
        if not bids or not asks:
            return None
        bid, ask = max(bids), min(asks)
        return Best(symbol, (_dollars(bid), str(bids[bid])), (_dollars(ask), str(asks[ask])), line)


def _with_books(source: Source, symbol: str, books: Callable[[], Iterable[bytes]]) -> Iterator[Item]:
    """Read messages together with the order-book file."""
    reader, rows = LineReader(source.path), LineReader(source.path.replace("_message_", "_orderbook_"))
    book: _Visible | None = None
    doubted = False
    for line, shown in zip_longest(reader.lines(source.lines()), rows.lines(books())):
        if line is None or shown is None:
            raise reader.error("this file and the order-book file beside it differ in their number of lines")
        message, row, number = _Message(reader, line), _Row(rows, shown), reader.line
        begins = book is None
        events = None if book is None else book.take(message, row)
        if events is None:
            book = _Visible(row)
            if not begins:
                if not doubted:
                    detail = "the order-book file shows another book than the messages make"
                    yield Item(Doubt(symbol, DoubtReason.GAP, detail), message.at_us, number)
                doubted = True
                continue
        if (begins or doubted) and book is not None:
            events, doubted = book.seed(), False
        if not events:
            kind = _OTHER.get(message.kind, "messages that change no level")
            yield Item(Skipped(kind), message.at_us, number)
            continue
        yield Item(Orders(symbol, events, None, number), message.at_us, number)
        if best := row.best(symbol, number):
            yield Item(best, message.at_us, number)


def _matches(head: Head) -> bool:
    return _LINE.match(head.first) is not None


FORMAT: Final = Format(
    name="lobster",
    title="LOBSTER message file (an orders feed)",
    example="34200.004241176,1,16113575,18,5853300,1",
    how="As downloaded, TICKER_YYYY-MM-DD_…_message_LEVELS.csv, with the order-book file beside it.",
    oracle="best prices",
    matches=_matches,
    read=_read,
)
