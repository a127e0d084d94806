"""Recordings of LOBSTER: the message file, as an orders feed; the order-book file beside it is the oracle.

- Columns: seconds after midnight, type, order id, size, price × 10,000, direction (1 buy, −1 sell).
- Types: 1 a new order; 2 a part of it is cancelled; 3 it is deleted; 4 it is executed, wholly or in part. 5
  (a hidden order), 6 (a cross trade) and 7 (a halt) change no visible book.
- Orders from before the file are known only by the order-book file: what it shows at first, less the first
  message, becomes one order for each level. Without that file, events about them are rejected.
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
from depthcast.feed.venue import Best, Skipped
from depthcast.shared.instruments import Feed

_LINE: Final = re.compile(rb"(\d{1,5}(?:\.\d{1,9})?),([1-7]),(-?\d{1,19}),(\d{1,15}),(-?\d{1,15}),(-?1)\Z")
_NAME: Final = re.compile(r"(.+?)_\d{4}-\d\d-\d\d_\d+_\d+_message_\d+\.csv(?:\.gz)?\Z")
_OTHER: Final = {5: "executions of hidden orders", 6: "cross trades", 7: "trading halts"}
_NOTHING: Final = "9999999999"
"""Price of a level that is not there."""

_Sides = tuple[dict[str, int], dict[str, int]]


class _Message:
    """One line: `side` 0 bid, 1 ask; `price` as decimal text."""

    def __init__(self, reader: LineReader, line: bytes) -> None:
        match = _LINE.match(line)
        if match is None:
            raise reader.error(
                "expected time,type,order id,size,price,direction; is the file cut off or edited?"
            )
        seconds, _, fraction = match[1].partition(b".")
        self.at_us = int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, b"0"))
        self.kind, self.order, self.size = int(match[2]), int(match[3]), int(match[4])
        self.price, self.side = _dollars(match[5].decode()), 0 if match[6] == b"1" else 1


def _dollars(text: str) -> str:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    digits = digits.rjust(5, "0")
    return f"{sign}{digits[:-4]}.{digits[-4:]}"


def _read(source: Source) -> MessageRecording:
    named = _NAME.match(source.name)
    symbol = named[1] if named else re.split(r"[^A-Za-z0-9-]", source.name)[0]
    beside = source.beside(source.name.replace("_message_", "_orderbook_")) if named else {}
    books = next(iter(beside.values()), None)
    return MessageRecording(source, lambda: _items(source, symbol, books), Feed.ORDERS)


def _items(source: Source, symbol: str, books: Callable[[], Iterable[bytes]] | None) -> Iterator[Item]:
    reader = LineReader(source.path)
    earlier: _Sides = ({}, {})
    ids: set[int] = set()
    states = LineReader(source.path.replace("_message_", "_orderbook_"))
    book_lines = states.lines(books()) if books else iter(())
    for line, state in zip_longest(reader.lines(source.lines()), book_lines):
        if line is None:
            break
        if books and state is None:
            raise reader.error("the order-book file is shorter than this one")
        message = _Message(reader, line)
        if reader.line == 1 and state:
            _undone(_levels(states, state), message, earlier)
            yield Item(Orders(symbol, _seed(earlier)), message.at_us, 1)
        events = _events(message, earlier, ids)
        if events:
            yield Item(Orders(symbol, events, None, reader.line), message.at_us, reader.line)
        else:
            yield Item(Skipped(_OTHER[message.kind]), message.at_us, reader.line)
        if state and (best := _best(symbol, _levels(states, state), reader.line)):
            yield Item(best, message.at_us, reader.line)


def _events(message: _Message, earlier: _Sides, ids: set[int]) -> list[OrderEvent]:
    if message.kind == 1:
        ids.add(message.order)
        return [(ADD, message.side, message.price, str(message.size), message.order)]
    if message.kind in _OTHER:
        return []
    remaining = earlier[message.side].get(message.price, 0)
    if message.order not in ids and remaining >= message.size:
        earlier[message.side][message.price] = remaining - message.size
        return [(REDUCE, None, None, str(message.size), _earlier_id(message.side, message.price))]
    if message.kind == 3:
        return [(DELETE, None, None, None, message.order)]
    return [(REDUCE, None, None, str(message.size), message.order)]


def _levels(reader: LineReader, line: bytes) -> list[tuple[str, int, str, int]]:
    """Read a line of the order-book file: (ask, its size, bid, its size) for each level."""
    values = line.decode("ascii", "replace").split(",")
    if len(values) % 4 or not all(value.lstrip("-").isdecimal() for value in values):
        raise reader.error("expected ask price, ask size, bid price, bid size for each level")
    return [
        (values[at], int(values[at + 1]), values[at + 2], int(values[at + 3]))
        for at in range(0, len(values), 4)
    ]


def _undone(levels: list[tuple[str, int, str, int]], first: _Message, earlier: _Sides) -> None:
    """Set the book before the first message."""
    for ask, ask_size, bid, bid_size in levels:
        if bid.lstrip("-") != _NOTHING:
            earlier[0][_dollars(bid)] = bid_size
        if ask.lstrip("-") != _NOTHING:
            earlier[1][_dollars(ask)] = ask_size
    if first.kind <= 4:
        side = earlier[first.side]
        side[first.price] = side.get(first.price, 0) + (-first.size if first.kind == 1 else first.size)


def _seed(earlier: _Sides) -> list[OrderEvent]:
    events: list[OrderEvent] = [(CLEAR, None, None, None, None)]
    for side, levels in enumerate(earlier):
        events += [
            (ADD, side, price, str(size), _earlier_id(side, price))
            for price, size in levels.items()
            if size > 0
        ]
    return events


def _earlier_id(side: int, price: str) -> str:
    return f"before:{'ba'[side]}:{price}"


def _best(symbol: str, levels: list[tuple[str, int, str, int]], line: int) -> Best | None:
    ask, ask_size, bid, bid_size = levels[0]
    if _NOTHING in (ask.lstrip("-"), bid.lstrip("-")):
        return None
    return Best(symbol, (_dollars(bid), str(bid_size)), (_dollars(ask), str(ask_size)), line)


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
