"""The plain format for any data: one JSON object per line.

    {"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001"}
    {"symbol": "BTC-USD", "events": [["update", "bid", 6500010, 5], ["add", "ask", 6500020, 7]], "at_ms": 0}
    {"symbol": "BTC-USD", "events": [["delete", "bid", 6500010]], "atomic": true, "ts": 1767225600000000}

- A line without `events` is an instrument: `tick_size`, `lot_size`, `feed` and `on_cross` as in an
  instruments file, all optional. A symbol without such a line gets the defaults.
- `events` are passed on as they are, in integer ticks and lots: `[op, side, price, quantity, order_id]`,
  trailing items omitted. Only the ingestor checks whether the book accepts them.
- `atomic`: all of them or none. `ts`: time at the source in µs since 1970. `at_ms`: when to send it, in ms
  from any fixed origin; lines without it are sent together with the one before.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from depthcast.feed.entry import FeedEntry, Format, Instruments, LineReader
from depthcast.shared.errors import FeedError, InstrumentsError
from depthcast.shared.instruments import Instrument, from_json
from depthcast.shared.types import Symbol, is_symbol

_KNOWN: Final = frozenset({"symbol", "events", "atomic", "ts", "at_ms"})


def instruments(path: str, lines: Iterable[bytes]) -> dict[Symbol, Instrument]:
    """Find every symbol of the file."""
    reader = LineReader(path)
    found: dict[Symbol, Instrument] = {}
    for symbol, value in _objects(reader, lines):
        if "events" in value:
            found.setdefault(symbol, Instrument(symbol))
        else:
            found[symbol] = _instrument(reader, symbol, value)
    if not found:
        raise FeedError(path, 0, "is empty")
    return found


def entries(path: str, lines: Iterable[bytes], instruments: Instruments) -> Iterator[FeedEntry]:
    """Yield an entry for each line with `events`."""
    reader = LineReader(path)
    for symbol, value in _objects(reader, lines):
        if "events" in value:
            if symbol not in instruments:
                raise reader.unknown(symbol)
            yield _entry(reader, symbol, value)


FORMAT: Final = Format("plain", "", instruments, entries)


def _objects(reader: LineReader, lines: Iterable[bytes]) -> Iterator[tuple[Symbol, dict[str, Any]]]:
    for line in reader.lines(lines):
        value = reader.json(line)
        symbol = value.get("symbol") if isinstance(value, dict) else None
        if not isinstance(symbol, str) or not is_symbol(symbol):
            raise reader.error(
                'expected an object with a symbol, such as {"symbol": "BTC-USD", "events": []}'
            )
        yield Symbol(symbol), value


def _instrument(reader: LineReader, symbol: Symbol, value: dict[str, Any]) -> Instrument:
    try:
        return from_json(symbol, orjson.dumps(value))
    except InstrumentsError as error:
        raise reader.error(error.problem) from error


def _entry(reader: LineReader, symbol: Symbol, value: dict[str, Any]) -> FeedEntry:
    unknown = sorted(set(value) - _KNOWN)
    if unknown:
        raise reader.error(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    events = value["events"]
    if not isinstance(events, list) or not all(isinstance(event, list) for event in events):
        raise reader.error('events must be a list of lists, such as [["update", "bid", 6500010, 5]]')
    atomic = value.get("atomic", False)
    if not isinstance(atomic, bool):
        raise reader.error(f"atomic is {atomic!r}; it must be true or false")
    at_ms = _number(reader, "at_ms", value.get("at_ms"))
    at_us = None if at_ms is None else at_ms * 1000
    return FeedEntry(symbol, events, _number(reader, "ts", value.get("ts")), at_us, atomic, None, reader.line)


def _number(reader: LineReader, name: str, value: object) -> int | None:
    if value is None or type(value) is int:
        return value
    raise reader.error(f"{name} is {value!r}; it must be an integer")
