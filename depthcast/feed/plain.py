"""The plain format: one JSON object a line, for data of one's own.

    {"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001"}
    {"symbol": "BTC-USD", "events": [["update", "bid", 6500010, 5], ["update", "ask", 6500020, 7]], "at_ms": 0}
    {"symbol": "BTC-USD", "events": [["clear"], ["add", "bid", 6500000, 12]], "atomic": true, "ts": 1767225600000000}

- A line without `events` is an instrument: `tick_size`, `lot_size`, `feed` and `on_cross` as in an instruments file,
  all optional. A symbol without such a line has the defaults.
- `events` are passed on as they are, in integer ticks and lots: `[op, side, price, quantity, order_id]`, trailing items
  omitted. Whether the book takes them is the ingestor's to say.
- `atomic`: all of them or none. `ts`: time at the source in µs since 1970. `at_ms`: when to send it, in ms from any
  common beginning; lines without it are sent together with the one before.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from depthcast.feed.entry import Cursor, FeedEntry, Format, Instruments
from depthcast.shared.errors import FeedError, InstrumentsError
from depthcast.shared.instruments import Instrument, from_json
from depthcast.shared.types import Symbol, is_symbol

_KNOWN: Final = frozenset({"symbol", "events", "atomic", "ts", "at_ms"})


def instruments(path: str, lines: Iterable[bytes]) -> dict[Symbol, Instrument]:
    """Every symbol of the file."""
    cursor = Cursor(path)
    found: dict[Symbol, Instrument] = {}
    for symbol, value in _objects(cursor, lines):
        if "events" in value:
            found.setdefault(symbol, Instrument(symbol))
        else:
            found[symbol] = _instrument(cursor, symbol, value)
    if not found:
        raise FeedError(path, 0, "is empty")
    return found


def entries(path: str, lines: Iterable[bytes], _instruments: Instruments) -> Iterator[FeedEntry]:
    """One entry for each line with `events`."""
    cursor = Cursor(path)
    for symbol, value in _objects(cursor, lines):
        if "events" in value:
            yield _entry(cursor, symbol, value)


FORMAT: Final = Format("plain", "", instruments, entries)


def _objects(cursor: Cursor, lines: Iterable[bytes]) -> Iterator[tuple[Symbol, dict[str, Any]]]:
    for line in cursor.walk(lines):
        value = cursor.json(line)
        symbol = value.get("symbol") if isinstance(value, dict) else None
        if not isinstance(symbol, str) or not is_symbol(symbol):
            raise cursor.error(
                'expected an object with a symbol, such as {"symbol": "BTC-USD", "events": []}'
            )
        yield Symbol(symbol), value


def _instrument(cursor: Cursor, symbol: Symbol, value: dict[str, Any]) -> Instrument:
    try:
        return from_json(symbol, orjson.dumps(value))
    except InstrumentsError as error:
        raise cursor.error(error.problem) from error


def _entry(cursor: Cursor, symbol: Symbol, value: dict[str, Any]) -> FeedEntry:
    unknown = sorted(set(value) - _KNOWN)
    if unknown:
        raise cursor.error(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    events = value["events"]
    if not isinstance(events, list) or not all(isinstance(event, list) for event in events):
        raise cursor.error('events must be a list of lists, such as [["update", "bid", 6500010, 5]]')
    atomic = value.get("atomic", False)
    if not isinstance(atomic, bool):
        raise cursor.error(f"atomic is {atomic!r}; it must be true or false")
    at_ms = _number(cursor, "at_ms", value.get("at_ms"))
    at_us = None if at_ms is None else at_ms * 1000
    return FeedEntry(symbol, events, _number(cursor, "ts", value.get("ts")), at_us, atomic, None, cursor.line)


def _number(cursor: Cursor, name: str, value: object) -> int | None:
    if value is None or type(value) is int:
        return value
    raise cursor.error(f"{name} is {value!r}; it must be an integer")
