"""Recordings of NASDAQ TotalView-ITCH 5.0, as an orders feed, read by the library itchfeed.

- A file is messages, each after its length in two bytes, from the system event O to the system event C; a
  length of 0 ends it too. Framing is read here; what a message says, by the library.
- A (F with attribution) adds an order; E, C and X take from it; D deletes it; U replaces it by another order,
  which begins anew in the queue. H and the like (halts), P, Q, B (trades) and the rest change no book.
- A book begins empty with its stock directory message R. Without one, the file begins within the day: the
  book is in doubt, and messages about earlier orders are skipped.
- What cannot follow from the messages before puts the book in doubt for the rest of the file, as nothing
  clears it: an order that is not known or is added again, more taken from it than it has, another stock or
  an older time than before, a message that is there twice.
- Prices have four decimals. Times are since midnight, taken as if they were UTC, only to keep the pace.

Source: Nasdaq, "Nasdaq TotalView-ITCH 5.0", and "BinaryFILE" for the framing.

itchfeed is loaded when it is needed, because it is an extra.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

from depthcast.feed.entry import ADD, CLEAR, DELETE, REDUCE, Format, Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording, Note, OrderEvent, Orders
from depthcast.feed.venue import Doubt, DoubtReason, Skipped
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed

REMEDY: Final = "pip install 'depthcast[itch]'"

_SIZES: Final = {
    b"S": 12, b"R": 39, b"H": 25, b"Y": 20, b"L": 26, b"V": 35, b"W": 12, b"K": 28, b"J": 35, b"h": 21,
    b"A": 36, b"F": 40, b"E": 31, b"C": 36, b"X": 23, b"D": 19, b"U": 35, b"P": 44, b"Q": 40, b"B": 19,
    b"I": 50, b"N": 20, b"O": 48,
}  # fmt: skip
"""Bytes of each message of ITCH 5.0."""

_OF_ORDERS: Final = b"AFECXDU"
_OTHER: Final = {
    b"S": "system events",
    b"R": "stock directory messages",
    b"H": "trading halts",
    b"h": "trading halts",
    b"P": "trades",
    b"Q": "trades",
    b"B": "trades",
}
_SIDES: Final = {b"B": 0, b"S": 1}
_END: Final = b"\0\0"
"""A message of no bytes, which ends a file."""

_END_OF_MESSAGES: Final = b"C"
_BEFORE: Final = "messages about orders from before the file"
_IN_DOUBT: Final = "messages of books in doubt"


class _Stock:
    """One stock. `begun`: its book was cleared. `partial`, `doubted`: as in `depthcast.feed.databento`."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.begun = False
        self.partial = False
        self.doubted = False
        self.newest_ns = 0
        self.message = b""


class _Order:
    """One order: `shares` remain."""

    __slots__ = ("shares", "side", "stock")

    def __init__(self, stock: _Stock, side: int, shares: int) -> None:
        self.stock = stock
        self.side = side
        self.shares = shares


class _Books:
    """Says what messages mean, one after the other."""

    def __init__(self, reader: LineReader, classes: Any) -> None:
        self._reader = reader
        self._classes = classes
        self._stocks: dict[int, _Stock] = {}
        self._early: set[int] = set()
        self._orders: dict[int, _Order] = {}
        self._ended = False

    def take(self, raw: bytes) -> Iterator[Item]:
        """Take the next message; raises `FeedError`."""
        reader, kind = self._reader, raw[:1]
        if self._ended:
            raise reader.error("follows the end of messages; are these two files in one?")
        message = self._parsed(kind, raw)
        at_us = message.timestamp // 1000
        if kind in _OF_ORDERS:
            yield from self._order_message(kind, message, raw, at_us)
            return
        if kind == b"R" and message.stock_locate not in self._stocks:
            yield from self._begin(message, at_us, partial=message.stock_locate in self._early)
        self._ended = kind == b"S" and message.event_code == _END_OF_MESSAGES
        yield Item(Skipped(_OTHER.get(kind) or f"messages of type {kind.decode()}"), at_us, reader.line)

    def end(self) -> Iterator[Item]:
        """The file ended."""
        if not self._ended:
            text = "the file ends without the system event that ends a day: was it cut off?"
            yield Item(Note(text), None, self._reader.line)

    def _parsed(self, kind: bytes, raw: bytes) -> Any:
        reader = self._reader
        if kind not in _SIZES:
            raise reader.error(f"is of the type {kind!r}, which ITCH 5.0 does not have")
        try:
            return self._classes[kind](raw)
        except (struct.error, ValueError) as error:
            problem = f"{len(raw)} bytes, not the {_SIZES[kind]} of the type {kind.decode()}"
            raise reader.error(problem) from error

    def _order_message(self, kind: bytes, message: Any, raw: bytes, at_us: int) -> Iterator[Item]:
        line = self._reader.line
        adds = kind in b"AF"
        stock = self._stocks.get(message.stock_locate)
        if stock is None:
            if not adds:
                self._early.add(message.stock_locate)
                yield Item(Skipped(_BEFORE), at_us, line)
                return
            yield from self._begin(message, at_us, partial=True)
            stock = self._stocks[message.stock_locate]
        if not stock.doubted and (problem := self._problem(stock, kind, message, raw)):
            stock.doubted = True
            yield Item(Doubt(stock.symbol, DoubtReason.GAP, problem), at_us, line)
        stock.newest_ns, stock.message = max(stock.newest_ns, message.timestamp), raw
        if stock.doubted:
            yield Item(Skipped(_IN_DOUBT), at_us, line)
        elif not adds and message.order_reference_number not in self._orders:
            yield Item(Skipped(_BEFORE), at_us, line)
        else:
            events = self._events(stock, kind, message)
            if not stock.begun:
                stock.begun = True
                if not stock.partial:
                    events.insert(0, (CLEAR, None, None, None, None))
            yield Item(Orders(stock.symbol, events), at_us, line)

    def _begin(self, message: Any, at_us: int, *, partial: bool) -> Iterator[Item]:
        """Begin the book of a stock; `partial`: it had orders before."""
        stock = self._stocks[message.stock_locate] = _Stock(_text(message.stock))
        stock.partial = partial
        if partial:
            detail = "begins within the day: no stock directory message before its first order"
            yield Item(Doubt(stock.symbol, DoubtReason.PARTIAL, detail), at_us, self._reader.line)

    def _problem(self, stock: _Stock, kind: bytes, message: Any, raw: bytes) -> str:
        """Return what the message says against the ones before it; empty if nothing."""
        if raw == stock.message:
            return "is there twice"
        if message.timestamp < stock.newest_ns:
            return "is older than the message before it"
        return self._wrong_add(stock, message) if kind in b"AF" else self._wrong_change(stock, kind, message)

    def _wrong_add(self, stock: _Stock, message: Any) -> str:
        number, symbol = message.order_reference_number, _text(message.stock)
        if symbol != stock.symbol:
            return f"names {symbol}, the stock of this number is {stock.symbol}"
        if message.buy_sell_indicator not in _SIDES:
            return f"buy/sell indicator is {message.buy_sell_indicator!r}"
        return f"order {number} is added again" if number in self._orders else ""

    def _wrong_change(self, stock: _Stock, kind: bytes, message: Any) -> str:
        number = message.order_reference_number
        order = self._orders.get(number)
        if order is None:
            return "" if stock.partial else f"order {number} is not known"
        if order.stock is not stock:
            return f"order {number} is of {order.stock.symbol}"
        if kind == b"U" and message.new_order_reference_number in self._orders:
            return f"order {message.new_order_reference_number} is added again"
        taken = _taken(kind, message)
        return f"takes {taken} from order {number}, which has {order.shares}" if taken > order.shares else ""

    def _events(self, stock: _Stock, kind: bytes, message: Any) -> list[OrderEvent]:
        """Change the orders, and return the events that do the same."""
        number, orders = message.order_reference_number, self._orders
        if kind in b"AF":
            side = _SIDES[message.buy_sell_indicator]
            orders[number] = _Order(stock, side, message.shares)
            return [(ADD, side, _price(message.price), str(message.shares), number)]
        if kind in b"DU":
            side = orders.pop(number).side
            deleted: OrderEvent = (DELETE, None, None, None, number)
            if kind == b"D":
                return [deleted]
            number = message.new_order_reference_number
            orders[number] = _Order(stock, side, message.shares)
            return [deleted, (ADD, side, _price(message.price), str(message.shares), number)]
        taken = _taken(kind, message)
        orders[number].shares -= taken
        if not orders[number].shares:
            del orders[number]
        return [(REDUCE, None, None, str(taken), number)]


def _taken(kind: bytes, message: Any) -> int:
    if kind in b"EC":
        return int(message.executed_shares)
    return int(message.cancelled_shares) if kind == b"X" else 0


def _text(stock: bytes) -> str:
    return stock.decode("ascii", "replace").rstrip()


def _price(price: int) -> str:
    return f"{price // 10_000}.{price % 10_000:04}"


def library(path: str) -> Any:
    """Return the library's classes by type; raises `FeedError` where it is not installed."""
    try:
        from itch.messages import messages
    except ImportError as error:
        raise FeedError(path, 0, f"is ITCH 5.0, which needs itchfeed: {REMEDY}") from error
    return messages


def _messages(reader: LineReader, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the messages of a file; `reader` counts them. Raises `FeedError`."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        at = 0
        while len(buffer) - at >= 2:
            size = int.from_bytes(buffer[at : at + 2], "big")
            if len(buffer) - at - 2 < size or not size:
                break
            reader.line += 1
            yield buffer[at + 2 : at + 2 + size]
            at += 2 + size
        buffer = buffer[at:]
        if buffer.startswith(_END) and buffer != _END:
            raise reader.error("a message without bytes follows, which only ends a file")
    if buffer not in (b"", _END):
        raise reader.error(f"is cut off: {len(buffer)} bytes after this message are no whole one")


def _read(source: Source) -> MessageRecording:
    classes = library(source.path)
    return MessageRecording(
        source,
        lambda: _items(source, classes),
        Feed.ORDERS,
        hint="has no orders",
    )


def _items(source: Source, classes: Any) -> Iterator[Item]:
    reader = LineReader(source.path)
    books = _Books(reader, classes)
    for raw in _messages(reader, source.chunks()):
        yield from books.take(raw)
    yield from books.end()


def _matches(head: Head) -> bool:
    return len(head.start) > 2 and _SIZES.get(head.start[2:3]) == int.from_bytes(head.start[:2], "big")


FORMAT: Final = Format(
    name="itch-5.0",
    title="NASDAQ TotalView-ITCH 5.0 (an orders feed)",
    example="01302020.NASDAQ_ITCH50.gz",
    how="As NASDAQ publishes a day, plain or gzip; needs depthcast[itch].",
    matches=_matches,
    read=_read,
)
