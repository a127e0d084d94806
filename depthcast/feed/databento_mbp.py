"""Books of Databento's schema MBP-10, the best ten levels; `depthcast.feed.databento` has the rules."""

import re
from collections.abc import Iterator
from typing import Final

from depthcast.feed.csv_lines import Row, integer, time_us
from depthcast.feed.databento_records import (
    LAST,
    MAYBE_BAD_BOOK,
    UNDEFINED,
    Names,
    price_of,
    received,
    renamed,
)
from depthcast.feed.entry import LineReader
from depthcast.feed.messages import Item
from depthcast.feed.table_form import Rows
from depthcast.feed.venue import Doubt, DoubtReason, Skipped, Snapshot, Update

_LEVEL: Final = re.compile(r"(?:bid|ask)_(?:px|sz)_(\d\d)\Z")

Levels = dict[str, str]


class _Depth:
    """The best levels of one instrument."""

    def __init__(self) -> None:
        self.sides: tuple[Levels, Levels] | None = None
        self.doubted = False
        self.instrument = ""
        self.newest_us: int | None = None


class MbpBooks:
    """Says what records of the schema MBP-10 mean, one after the other."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._names = Names()
        self._books: dict[str, _Depth] = {}

    def take(self, row: Row) -> Iterator[Item]:
        """Take the next record."""
        if not self._books:
            _check_levels(self._reader, row)
        reader, (name, before) = self._reader, self._names.of(row)
        flags = integer(reader, row, "flags")
        at_us = received(reader, row, flags)
        yield from self._leave(before, name, row["instrument_id"], at_us)
        depth = self._books.setdefault(name, _Depth())
        if (doubt := self._doubt(depth, flags, at_us)) is not None:
            if not depth.doubted:
                yield Item(Doubt(name, DoubtReason.GAP, doubt), at_us, reader.line)
            depth.doubted, depth.sides = True, None
            return
        if not flags & LAST:
            yield Item(Skipped("records within an event"), at_us, reader.line)
            return
        depth.doubted = False
        if depth.instrument != row["instrument_id"]:
            depth.instrument, depth.sides = row["instrument_id"], None
        shown, now = depth.sides, (_side(reader, row, "bid"), _side(reader, row, "ask"))
        depth.sides, ts = now, time_us(reader, row["ts_event"])
        if shown is None:
            yield Item(Snapshot(name, [*now[0].items()], [*now[1].items()], ts), at_us, reader.line)
            return
        bids, asks = (_changes(old, new) for old, new in zip(shown, now, strict=True))
        if bids or asks:
            yield Item(Update(name, bids, asks, ts), at_us, reader.line)
        else:
            yield Item(Skipped("records that change no level"), at_us, reader.line)

    def end(self) -> Iterator[Item]:
        """The file ended; every record was complete."""
        return iter(())

    def _leave(self, before: str, name: str, instrument: str, at_us: int | None) -> Iterator[Item]:
        """As of `MboBooks`."""
        depth = self._books.get(before)
        if depth is not None and depth.instrument == instrument and not depth.doubted:
            depth.doubted, depth.sides = True, None
            yield Item(renamed(before, name, instrument), at_us, self._reader.line)

    def _doubt(self, depth: _Depth, flags: int, at_us: int | None) -> str | None:
        """Return why the record puts its book in doubt; None if it does not."""
        newest_us = depth.newest_us
        if at_us is not None:
            depth.newest_us = max(at_us, newest_us or at_us)
        if flags & MAYBE_BAD_BOOK:
            return "flag F_MAYBE_BAD_BOOK"
        if at_us is not None and newest_us is not None and at_us < newest_us:
            return "is older than the record before it"
        return None


def mbp_items(reader: LineReader, records: Rows) -> Iterator[Item]:
    """Yield what records of the schema MBP-10 mean."""
    books = MbpBooks(reader)
    for row in records:
        yield from books.take(row)
    yield from books.end()


def _check_levels(reader: LineReader, row: Row) -> None:
    """Raise `FeedError` unless each level that some column is of has all its columns."""
    numbers = {match[1] for name in row if (match := _LEVEL.match(name))}
    for level in map("{:02}".format, range(len(numbers))):
        for name in (f"{side}_{what}_{level}" for side in ("bid", "ask") for what in ("px", "sz")):
            if name not in row:
                raise reader.error(f"has no column {name!r}; it has {len(numbers)} levels")


def _side(reader: LineReader, row: Row, side: str) -> Levels:
    levels: Levels = {}
    number = 0
    while (text := row.get(f"{side}_px_{number:02}")) is not None:
        size = integer(reader, row, f"{side}_sz_{number:02}")
        if text in UNDEFINED:
            if size:
                raise reader.error(f"has a {side} of {size} without a price")
        else:
            price = price_of(reader, "price", text)
            if price in levels:
                raise reader.error(f"has the {side} price {price} twice")
            if size:
                levels[price] = str(size)
        number += 1
    return levels


def _changes(old: Levels, new: Levels) -> list[tuple[str, str]]:
    gone = [(price, "0") for price in old if price not in new]
    return gone + [(price, size) for price, size in new.items() if old.get(price) != size]
