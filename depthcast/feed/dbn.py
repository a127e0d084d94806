"""Recordings of Databento in DBN, its binary encoding, read by its own library.

Records become the rows that the CSV form has (`depthcast.feed.databento`), so they mean the same. Symbols
come from the mappings in the file's head, by the date of the record, or from the mapping records of a live
capture; an instrument without one is named by its number.

databento-dbn is loaded when it is needed, because it is an extra.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final, NamedTuple

from depthcast.feed.csv_lines import Row
from depthcast.feed.databento_mbo import MboBooks
from depthcast.feed.databento_mbp import MbpBooks
from depthcast.feed.entry import Format, Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording
from depthcast.feed.venue import Skipped
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed

REMEDY: Final = "pip install 'depthcast[dbn]'"

_DAY_NS: Final = 86_400_000_000_000
_EPOCH: Final = date(1970, 1, 1)
_SCHEMAS: Final = ("mbo", "mbp-10")


class _Interval(NamedTuple):
    """From when to when a number means a symbol, in ns since 1970; `end` is not included."""

    start: int
    end: int
    symbol: str


class _Symbols:
    """What the numbers of instruments mean."""

    def __init__(self, metadata: Any, dbn: Any) -> None:
        self._intervals: dict[int, list[_Interval]] = {}
        self.said: dict[int, str] = {}
        for name, intervals in metadata.mappings.items():
            for each in intervals:
                # The mapping leads from what was asked for to what is in the records, or the other way round.
                by_number = metadata.stype_in == dbn.SType.INSTRUMENT_ID
                number, symbol = (name, each["symbol"]) if by_number else (each["symbol"], name)
                if number.isascii() and number.isdecimal() and symbol:
                    span = _Interval(_ns(each["start_date"]), _ns(each["end_date"]), symbol)
                    self._intervals.setdefault(int(number), []).append(span)

    def of(self, number: int, at_ns: int) -> str:
        """Return the symbol of an instrument at a time; empty if there is none."""
        if number in self.said:
            return self.said[number]
        for start, end, symbol in self._intervals.get(number, ()):
            if start <= at_ns < end:
                return symbol
        return ""


def _ns(day: date) -> int:
    return (day - _EPOCH).days * _DAY_NS


def library(path: str) -> Any:
    """Return the library of DBN; raises `FeedError` where it is not installed."""
    try:
        import databento_dbn
    except ImportError as error:
        raise FeedError(path, 0, f"is DBN, which needs databento-dbn: {REMEDY}") from error
    return databento_dbn


def _records(reader: LineReader, source: Source, dbn: Any) -> Iterator[Any]:
    """Yield the metadata, then every record; `reader` counts the records. Raises `FeedError`."""
    decoder = dbn.DBNDecoder()
    decoded = -1
    try:
        for chunk in source.chunks():
            decoder.write(chunk)
            for record in decoder.decode():
                decoded += 1
                reader.line = decoded
                yield record
        left = len(decoder.buffer())
    except dbn.DBNError as error:
        raise reader.error(f"the DBN after this record cannot be read: {error}") from error
    if left or decoded < 0:
        raise reader.error(f"is cut off: {left} bytes after this record are no whole one")


def _book_schema(source: Source, dbn: Any) -> str:
    """Return the schema of the records that make books, `mbo` or `mbp-10`; raises `FeedError`."""
    reader = LineReader(source.path)
    records = _records(reader, source, dbn)
    declared = next(records).schema
    if declared is not None and str(declared) not in _SCHEMAS:
        raise reader.error(f"has the schema {declared}, which makes no book; get {' or '.join(_SCHEMAS)}")
    for record in records:
        if isinstance(record, dbn.MBOMsg | dbn.MBP10Msg):
            return "mbo" if isinstance(record, dbn.MBOMsg) else "mbp-10"
    raise FeedError(source.path, 0, f"has no records of the schemas {' and '.join(_SCHEMAS)}")


def _read(source: Source) -> MessageRecording:
    dbn = library(source.path)
    schema = _book_schema(source, dbn)
    feed = Feed.ORDERS if schema == "mbo" else Feed.LEVELS
    return MessageRecording(source, lambda: _items(source, dbn, schema), feed)


def _items(source: Source, dbn: Any, schema: str) -> Iterator[Item]:
    reader = LineReader(source.path)
    by_order = schema == "mbo"
    books: MboBooks | MbpBooks = MboBooks(reader) if by_order else MbpBooks(reader)
    to_row = _mbo_row if by_order else _mbp_row
    read, other = (dbn.MBOMsg, dbn.MBP10Msg) if by_order else (dbn.MBP10Msg, dbn.MBOMsg)
    records = _records(reader, source, dbn)
    symbols = _Symbols(next(records), dbn)
    for record in records:
        if isinstance(record, read):
            yield from books.take(to_row(record, symbols.of(record.instrument_id, record.ts_index)))
        elif isinstance(record, other):
            raise reader.error(f"has records of both {' and '.join(_SCHEMAS)}; split the file by its schemas")
        else:
            if isinstance(record, dbn.SymbolMappingMsg | dbn.SymbolMappingMsgV1):
                symbols.said[record.instrument_id] = record.stype_out_symbol
            yield Item(Skipped(f"records of type {record.rtype}"), None, reader.line)
    yield from books.end()


def _common(record: Any, symbol: str) -> Row:
    return {
        "ts_recv": str(record.ts_recv),
        "ts_event": str(record.ts_event),
        "publisher_id": str(record.publisher_id),
        "instrument_id": str(record.instrument_id),
        "action": str(record.action),
        "flags": str(int(record.flags)),
        "sequence": str(record.sequence),
        "symbol": symbol,
    }


def _mbo_row(record: Any, symbol: str) -> Row:
    return _common(record, symbol) | {
        "side": str(record.side),
        "price": str(record.price),
        "size": str(record.size),
        "order_id": str(record.order_id),
    }


def _mbp_row(record: Any, symbol: str) -> Row:
    row = _common(record, symbol)
    for number, level in enumerate(record.levels):
        row[f"bid_px_{number:02}"], row[f"bid_sz_{number:02}"] = str(level.bid_px), str(level.bid_sz)
        row[f"ask_px_{number:02}"], row[f"ask_sz_{number:02}"] = str(level.ask_px), str(level.ask_sz)
    return row


def _matches(head: Head) -> bool:
    return head.start.startswith(b"DBN")


FORMAT: Final = Format(
    name="databento-dbn",
    title="Databento MBO and MBP-10, DBN",
    example="glbx-mdp3-20231220.mbo.dbn.zst",
    how="As downloaded, plain or zstd; needs depthcast[dbn].",
    matches=_matches,
    read=_read,
)
