"""Recordings of Databento: the schemas MBO (an orders feed) and MBP-10 (the best ten levels), as CSV.

- Records of one instrument up to the flag F_LAST are one event of the venue, and one atomic entry.
- MBO: Add, Cancel (by the quantity of the record), Modify (an unknown order is added), cleaR. Trade and Fill
  change no book: the Cancel that follows does.
- MBP-10: a record has the whole best levels after it. What left them is removed, so the book is the best ten.
- F_MAYBE_BAD_BOOK puts the book in doubt until it is cleared; for MBP-10, until a record is without it.
- Prices are decimals, or integers in units of 10⁻⁹; times are ns since 1970 or ISO dates.

Source: Databento, "Market by order", "Market by price", "Common fields, enums and types", "Order tracking".
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from depthcast.feed.csv_lines import Row, header, integer, number, refused, rows, time_us
from depthcast.feed.entry import ADD, CLEAR, REDUCE, UPDATE, Format, Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording, OrderEvent, Orders
from depthcast.feed.venue import Doubt, DoubtReason, Skipped, Snapshot, Update
from depthcast.shared.instruments import Feed

LAST: Final = 128
MAYBE_BAD_BOOK: Final = 4

_UNDEFINED: Final = ("", "9223372036854775807")
_SIDES: Final = {"B": 0, "A": 1}
_MBO: Final = ("ts_event", "action", "side", "price", "size", "order_id", "flags", "instrument_id")
_MBP: Final = (
    "ts_event",
    "action",
    "flags",
    "instrument_id",
    "bid_px_00",
    "ask_px_00",
    "bid_sz_00",
    "ask_sz_00",
)
_LEVEL: Final = re.compile(r"bid_px_(\d\d)\Z")

Rows = Iterable[Row]
Levels = dict[str, str]


class _Event:
    """Records of one instrument that are not complete yet."""

    def __init__(self) -> None:
        self.events: list[OrderEvent] = []
        self.line = 0
        self.doubted = False
        self.known: set[int] = set()


def mbo_items(reader: LineReader, records: Rows) -> Iterator[Item]:
    """Yield what records of the schema MBO mean."""
    instruments: dict[str, _Event] = {}
    for row in records:
        name, flags, at_us = _name(row), integer(reader, row, "flags"), _received(reader, row)
        event = instruments.setdefault(name, _Event())
        event.line = event.line or reader.line
        if flags & MAYBE_BAD_BOOK and not event.doubted and row["action"] != "R":
            event.doubted = True
            yield Item(Doubt(name, DoubtReason.GAP, "flag F_MAYBE_BAD_BOOK"), at_us, reader.line)
        changes = _change(reader, row, event)
        if changes is None:
            yield Item(Skipped(f"records of action {row['action']}"), at_us, reader.line)
        else:
            event.events.append(changes)
        if flags & LAST:
            if event.events and not event.doubted:
                ts = time_us(reader, row["ts_event"])
                yield Item(Orders(name, event.events, ts), at_us, event.line)
            event.events, event.line = [], 0
    for name, event in instruments.items():
        if event.events:
            detail = "the file ends within an event: no record with the flag F_LAST"
            yield Item(Doubt(name, DoubtReason.MALFORMED, detail), None, event.line)


def _change(reader: LineReader, row: Row, event: _Event) -> OrderEvent | None:
    """Return what a record does to the book; None if nothing."""
    action = row["action"]
    if action in ("T", "F", "N"):
        return None
    if action == "R":
        event.doubted = False
        event.known.clear()
        event.events.clear()
        return CLEAR, None, None, None, None
    if action not in ("A", "C", "M"):
        raise refused(reader, "action", action, "ACMRTFN")
    order, size = integer(reader, row, "order_id"), str(integer(reader, row, "size"))
    if action == "C":
        return REDUCE, None, None, size, order
    if row["side"] not in _SIDES:
        raise refused(reader, "side", row["side"], _SIDES)
    price = _price(reader, "price", row["price"])
    op = ADD if action == "A" or order not in event.known else UPDATE
    event.known.add(order)
    return op, _SIDES[row["side"]], price, size, order


class _Depth:
    """The best levels of one instrument."""

    def __init__(self) -> None:
        self.sides: tuple[Levels, Levels] | None = None
        self.doubted = False


def mbp_items(reader: LineReader, records: Rows) -> Iterator[Item]:
    """Yield what records of the schema MBP-10 mean."""
    instruments: dict[str, _Depth] = {}
    for row in records:
        name, flags, at_us = _name(row), integer(reader, row, "flags"), _received(reader, row)
        depth = instruments.setdefault(name, _Depth())
        if flags & MAYBE_BAD_BOOK:
            if not depth.doubted:
                yield Item(Doubt(name, DoubtReason.GAP, "flag F_MAYBE_BAD_BOOK"), at_us, reader.line)
            depth.doubted, depth.sides = True, None
            continue
        if not flags & LAST:
            yield Item(Skipped("records within an event"), at_us, reader.line)
            continue
        depth.doubted = False
        before, now = depth.sides, (_side(reader, row, "bid"), _side(reader, row, "ask"))
        depth.sides, ts = now, time_us(reader, row["ts_event"])
        if before is None:
            yield Item(Snapshot(name, list(now[0].items()), list(now[1].items()), ts), at_us, reader.line)
            continue
        bids, asks = (_changes(old, new) for old, new in zip(before, now, strict=True))
        if bids or asks:
            yield Item(Update(name, bids, asks, ts), at_us, reader.line)
        else:
            yield Item(Skipped("records that change no level"), at_us, reader.line)


def _side(reader: LineReader, row: Row, side: str) -> Levels:
    levels = {}
    for name in row:
        if (match := _LEVEL.match(name)) and row[f"{side}_px_{match[1]}"] not in _UNDEFINED:
            size = str(integer(reader, row, f"{side}_sz_{match[1]}"))
            if size != "0":
                levels[_price(reader, "price", row[f"{side}_px_{match[1]}"])] = size
    return levels


def _changes(old: Levels, new: Levels) -> list[tuple[str, str]]:
    gone = [(price, "0") for price in old if price not in new]
    return gone + [(price, size) for price, size in new.items() if old.get(price) != size]


def _price(reader: LineReader, name: str, text: str) -> str:
    """Return a price as a decimal: without a decimal point it is in units of 10⁻⁹."""
    if text in _UNDEFINED:
        raise reader.error(f"{name} is undefined in a record that needs one")
    if "." in number(reader, name, text):
        return text
    return f"{Decimal(text).scaleb(-9):f}"


def _name(row: Row) -> str:
    return row.get("symbol") or row["instrument_id"]


def _received(reader: LineReader, row: Row) -> int | None:
    return time_us(reader, row.get("ts_recv") or row["ts_event"])


def _has(head: Head, columns: Iterable[str]) -> bool:
    return set(columns) <= set(header(head.first))


def _read_mbo(source: Source) -> MessageRecording:
    def items() -> Iterator[Item]:
        reader = LineReader(source.path)
        return mbo_items(reader, rows(reader, source.lines(), _MBO))

    return MessageRecording(source, items, Feed.ORDERS)


def _read_mbp(source: Source) -> MessageRecording:
    def items() -> Iterator[Item]:
        reader = LineReader(source.path)
        return mbp_items(reader, rows(reader, source.lines(), _MBP))

    return MessageRecording(source, items)


MBO: Final = Format(
    name="databento-mbo",
    title="Databento MBO, CSV",
    example="1703116800000000000,1703116799999999000,160,1,5482,A,B,4799.250000000,1,0,6413364814613,128,"
    "1000,12345,ESH4",
    how="CSV with a header and a symbol column, as `dbn --csv --map-symbols` writes it.",
    matches=lambda head: _has(head, _MBO),
    read=_read_mbo,
)

MBP: Final = Format(
    name="databento-mbp-10",
    title="Databento MBP-10, CSV",
    example="1703116800000000000,1703116799999999000,10,1,5482,A,B,0,4799.250000000,1,130,1000,12345,"
    "4799.250000000,4799.500000000,21,14,11,9,…,ESH4",
    how="As for MBO; the book is the best ten levels.",
    matches=lambda head: _has(head, _MBP),
    read=_read_mbp,
)
