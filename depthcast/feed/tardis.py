"""Recordings of tardis.dev: its CSV `incremental_book_L2`, and its normalized JSON `book_change`.

- A row of the CSV is one level; rows with the same symbol, times and `is_snapshot` are one message.
- `book_change` is one message a line; `disconnect` says that the recorder was cut off.
- A message with `is_snapshot` replaces the book, if the one before it was none. Amount 0 removes a level.
- Messages are in the order of their local times: an older one puts its book in doubt.

Source: tardis.dev, "Downloadable CSV files", and tardis-machine, "normalized data types". Amounts and prices
are absolute. Nothing in the files proves that no message is missing.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import orjson

from depthcast.feed.csv_lines import Levels, Row, integer, iso_us, number, refused, truth
from depthcast.feed.entry import Format, Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording
from depthcast.feed.table_form import Rows, TableForm
from depthcast.feed.venue import Doubt, DoubtReason, Output, Skipped, Snapshot, Update

_COLUMNS: Final = ("symbol", "timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount")
_SIDES: Final = {"bid": 0, "ask": 1}
_BEFORE: Final = "messages before a snapshot"


class _Books:
    """Which symbols have a book, and whether their last message was part of a snapshot."""

    def __init__(self) -> None:
        self.reloading: dict[str, bool] = {}
        self._newest_us: dict[str, int] = {}
        self._seen: set[str] = set()

    def output(self, symbol: str, snapshot: bool, levels: Levels, ts: int | None, at_us: int) -> Output:
        newest_us = self._newest_us.get(symbol, at_us)
        self._newest_us[symbol] = max(newest_us, at_us)
        before = self.reloading.get(symbol)
        if at_us < newest_us:
            self.reloading.pop(symbol, None)
            return Doubt(symbol, DoubtReason.GAP, "is older than the message before it")
        if snapshot:
            self._seen.add(symbol)
            self.reloading[symbol] = True
            if not before:
                return Snapshot(symbol, levels.of(0, present=True), levels.of(1, present=True), ts)
        elif before is None:
            return Skipped(_BEFORE)
        else:
            self.reloading[symbol] = False
        return Update(symbol, levels.of(0), levels.of(1), ts)

    def end(self) -> list[Doubt]:
        """The file ended: nothing was known of books without any snapshot."""
        without = [symbol for symbol in self._newest_us if symbol not in self._seen]
        return [Doubt(symbol, DoubtReason.PARTIAL, "has no snapshot in the file") for symbol in without]

    def cut(self) -> list[Doubt]:
        """The recorder was cut off: every book needs a snapshot."""
        known = list(self.reloading)
        self.reloading.clear()
        return [Doubt(symbol, DoubtReason.DISCONNECTED, "the recorder was cut off") for symbol in known]


def _csv_items(reader: LineReader, rows: Rows) -> Iterator[Item]:
    books = _Books()

    def message(numbered: tuple[int, Row]) -> tuple[str, ...]:
        row = numbered[1]
        return row["symbol"], row["timestamp"], row["local_timestamp"], row["is_snapshot"]

    numbered = ((reader.line, row) for row in rows)
    for _, group in groupby(numbered, message):
        levels, first, last = Levels(), 0, {}
        for line, row in group:
            if row["side"] not in _SIDES:
                raise refused(reader, "side", row["side"], _SIDES)
            levels.set(
                _SIDES[row["side"]],
                number(reader, "price", row["price"]),
                number(reader, "amount", row["amount"]),
            )
            first, last = first or line, row
        at_us, ts = integer(reader, last, "local_timestamp"), integer(reader, last, "timestamp")
        yield Item(
            books.output(last["symbol"], truth(reader, last, "is_snapshot"), levels, ts, at_us), at_us, first
        )
    for doubt in books.end():
        yield Item(doubt, None, reader.line)


def _read_json(source: Source) -> MessageRecording:
    return MessageRecording(
        source, lambda: _json_items(source), hint="has no snapshot: no book_change has isSnapshot true"
    )


def _json_items(source: Source) -> Iterator[Item]:
    reader = LineReader(source.path)
    books = _Books()
    for line in reader.lines(source.lines()):
        message = reader.json(line)
        kind = message.get("type") if isinstance(message, dict) else None
        if not isinstance(kind, str):
            raise reader.error("expected an object with a type, such as book_change")
        if kind == "book_change":
            output, at_us = _book_change(reader, books, message)
            yield Item(output, at_us, reader.line)
        elif kind == "disconnect":
            for doubt in books.cut():
                yield Item(doubt, None, reader.line)
        else:
            yield Item(Skipped(f"{kind} messages"), None, reader.line)
    for doubt in books.end():
        yield Item(doubt, None, reader.line)


def _book_change(reader: LineReader, books: _Books, message: dict[str, Any]) -> tuple[Output, int]:
    try:
        symbol, snapshot = _text(message["symbol"]), _truth(message["isSnapshot"])
        levels = Levels()
        for side, name in ((0, "bids"), (1, "asks")):
            for level in message[name]:
                price, amount = str(level["price"]), str(level["amount"])
                levels.set(side, number(reader, "price", price), number(reader, "amount", amount))
        ts, at_us = (iso_us(reader, str(message[name])) for name in ("timestamp", "localTimestamp"))
    except (KeyError, TypeError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise reader.error(f"malformed book_change: {problem}; remove the line, or record again") from None
    return books.output(symbol, snapshot, levels, ts, at_us), at_us


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is no text")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value


def _is_json(head: Head) -> bool:
    try:
        value = orjson.loads(head.first)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and {"type", "exchange", "localTimestamp"} <= set(value)


FORM: Final = TableForm(
    name="tardis-csv",
    required=_COLUMNS,
    decimals=lambda name: name in ("price", "amount"),
    times_ns={"timestamp": 1_000, "local_timestamp": 1_000},
    items=_csv_items,
    hint="has no snapshot: no row has is_snapshot true",
)

CSV: Final = Format(
    name="tardis-csv",
    title="tardis.dev incremental_book_L2, CSV",
    example="deribit,BTC-PERPETUAL,1585699200245000,1585699209920681,true,ask,6402.5,51070",
    how="As downloaded, with its header, plain or gzip.",
    matches=FORM.heads,
    read=FORM.read_csv,
)

JSON: Final = Format(
    name="tardis-json",
    title="tardis.dev book_change, normalized JSON, one message a line",
    example='{"type":"book_change","symbol":"XBTUSD","exchange":"bitmex","isSnapshot":true,"bids":[],'
    '"asks":[{"price":7985,"amount":283318}],"timestamp":"2019-10-23T11:29:53.469Z",'
    '"localTimestamp":"2019-10-23T11:29:53.469Z"}',
    how="Write what its replay yields as lines; one exchange a file.",
    matches=_is_json,
    read=_read_json,
)
