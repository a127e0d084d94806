"""JSON lines, the plain format for any data: one JSON object per line.

    {"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001"}
    {"symbol": "BTC-USD", "events": [["update", "bid", 6500010, 5], ["add", "ask", 6500020, 7]], "at_ms": 0}
    {"symbol": "BTC-USD", "events": [["delete", "bid", 6500010]], "atomic": true, "ts": 1767225600000000}

- A line without `events` is an instrument: `tick_size`, `lot_size`, `feed` and `on_cross` as in an
  instruments file, all optional. A symbol without such a line has the sizes that are registered.
- `events` are `[op, side, price, quantity, order_id]`, trailing items omitted, in integer ticks and lots; in
  a deployment with other sizes they are converted, exactly. With `"numbers": "decimal"` on the instrument
  line, prices and quantities are decimals instead: `["update", "bid", 65000.10, 0.005]`.
- `atomic`: all of them or none. `ts`: time at the source in µs since 1970. `at_ms`: when to send it, in ms
  from any fixed origin; lines without it are sent together with the one before.

Apart from numbers, only the ingestor checks whether the book accepts an event. A line that has a number with
a fraction where ticks or lots belong is refused whole. So is every number of that symbol with a decimal
point, as `10.00` would then mean a price and not ten ticks.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import partial
from math import gcd
from typing import Any, Final, NamedTuple

import orjson

from depthcast.feed import exact_json
from depthcast.feed.account import Account
from depthcast.feed.decimals import Grid, Units
from depthcast.feed.entry import Event, FeedEntry, Format, Head, LineReader, Recorded, Source
from depthcast.shared.errors import FeedError, InstrumentsError
from depthcast.shared.instruments import Instrument, from_json
from depthcast.shared.types import MAX_INTEGER, Symbol

_ENTRY: Final = frozenset({"symbol", "events", "atomic", "ts", "at_ms"})
_INSTRUMENT: Final = frozenset({"symbol", "tick_size", "lot_size", "feed", "on_cross", "numbers"})
_NUMBERS: Final = ("ticks", "decimal")
_WHOLE: Final = re.compile(r"(-?\d{1,20})\.0*\Z", re.ASCII)

_MOST: Final = 2**63 - 1

_PRICE: Final = 2
_QUANTITY: Final = 3

_Scale = Callable[[Any], Any]
"""Converts one number; raises `ValueError` for one that cannot be."""


class _Symbol:
    """What the first pass finds about a symbol."""

    def __init__(self, name: str) -> None:
        self.instrument = Instrument(Symbol(name))
        self.sized = False
        self.decimal = False
        self.fractions = False
        self.steps = [0, 0]
        self.grids = (Grid(), Grid())


class PlainRecording:
    """A file of JSON lines, after its first pass."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._symbols: dict[str, _Symbol] = {}
        reader = LineReader(source.path)
        for name, value in _objects(reader, source):
            if "events" in value:
                self._measure(self._symbols.setdefault(name, _Symbol(name)), _events(reader, value))
            else:
                self._define(reader, name, value)
        if not self._symbols:
            raise FeedError(source.path, 0, "is empty")
        self.recorded: Mapping[str, Recorded] = {
            name: _recorded(each) for name, each in self._symbols.items()
        }

    def entries(
        self, working: Mapping[str, Instrument], account: Account, *, verify: bool = False
    ) -> Iterator[FeedEntry]:
        """Yield an entry for each line with `events`; a refused one is in the account instead."""
        del verify  # the format has no oracle
        scales = {name: _scales(self._symbols[name], instrument) for name, instrument in working.items()}
        for name, each in self._symbols.items():
            if not each.sized and name in working:
                account.notes.append(
                    f"{name}: the file names no sizes; its numbers are taken as ticks of "
                    f"{working[name].tick_size} and lots of {working[name].lot_size}"
                )
        reader = LineReader(self._source.path)
        for name, value in _objects(reader, self._source):
            if "events" not in value:
                continue
            if name not in scales:
                raise reader.unknown(name)
            if entry := _entry(reader, name, value, scales[name], account):
                yield entry

    def _define(self, reader: LineReader, name: str, value: dict[str, Any]) -> None:
        each = self._symbols.setdefault(name, _Symbol(name))
        instrument, decimal = _instrument(reader, name, value)
        if each.sized and (instrument, decimal) != (each.instrument, each.decimal):
            raise reader.error(f"another instrument line for {name}; split the file before this line")
        if decimal and any(each.steps):
            raise reader.error(f"the instrument line of {name} must be before its events; move it up")
        each.instrument, each.decimal, each.sized = instrument, decimal, True

    @staticmethod
    def _measure(each: _Symbol, events: list[Event]) -> None:
        for event in events:
            for place, item in enumerate(event[_PRICE : _QUANTITY + 1]):
                if not isinstance(item, int | str):
                    continue  # the ingestor says what it thinks of it
                number = _integer(item)
                if each.decimal:
                    with suppress(ValueError):  # the second pass says it
                        each.grids[place].add(str(item))
                elif isinstance(number, str):
                    each.fractions = True
                else:
                    each.steps[place] = gcd(each.steps[place], number)


def matches(head: Head) -> bool:
    """Whether the first line is an object with a symbol, and with events or nothing but an instrument."""
    try:
        value = exact_json.loads(head.first)
    except ValueError:
        return False
    if not isinstance(value, dict) or not isinstance(value.get("symbol"), str):
        return False
    return not {"type", "channel", "topic", "data", "bids", "asks", "lastUpdateId"} & set(value)


FORMAT: Final = Format(
    name="plain",
    title="JSON lines, in integer ticks and lots or in decimals",
    example='{"symbol": "BTC-USD", "events": [["update", "bid", 6500010, 5]], "at_ms": 0, "atomic": true}',
    how='The first line is {"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001"}; with "numbers": '
    '"decimal" in it, prices and quantities are decimals.',
    matches=matches,
    read=PlainRecording,
)


def _recorded(each: _Symbol) -> Recorded:
    if each.decimal:
        tick, lot = (grid.step for grid in each.grids)
    else:
        tick = each.steps[0] * Decimal(each.instrument.tick_size)
        lot = each.steps[1] * Decimal(each.instrument.lot_size)
    return Recorded(each.instrument, tick, lot, each.sized)


def _objects(reader: LineReader, source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in reader.lines(source.lines()):
        value = reader.json(line)
        symbol = value.get("symbol") if isinstance(value, dict) else None
        if not isinstance(symbol, str) or not symbol:
            raise reader.error(
                'expected an object with a symbol, such as {"symbol": "BTC-USD", "events": []}'
            )
        _check_keys(reader, value)
        yield symbol, value


def _check_keys(reader: LineReader, value: dict[str, Any]) -> None:
    if unknown := sorted(set(value) - _ENTRY - _INSTRUMENT):
        known = ", ".join(sorted(_ENTRY | _INSTRUMENT))
        raise reader.error(f"unknown key {', '.join(map(repr, unknown))}; known are {known}")
    if misplaced := sorted(set(value) - (_ENTRY if "events" in value else _INSTRUMENT)):
        what = "with events" if "events" in value else "without events, which is of an instrument"
        raise reader.error(f"{misplaced[0]!r} does not belong into a line {what}")


def _instrument(reader: LineReader, name: str, value: dict[str, Any]) -> tuple[Instrument, bool]:
    numbers = value.get("numbers", "ticks")
    if numbers not in _NUMBERS:
        raise reader.error(f"numbers is {numbers!r}; it must be one of {', '.join(_NUMBERS)}")
    table = {key: item for key, item in value.items() if key not in ("symbol", "numbers")}
    try:
        # Any name is read here; whether the deployment can have it is checked after renaming.
        instrument = from_json("X", orjson.dumps(table))
    except (InstrumentsError, TypeError) as error:
        problem = error.problem if isinstance(error, InstrumentsError) else str(error)
        raise reader.error(problem) from error
    return instrument._replace(symbol=Symbol(name)), numbers == "decimal"


def _events(reader: LineReader, value: dict[str, Any]) -> list[Event]:
    events = value["events"]
    if not isinstance(events, list) or not all(isinstance(event, list) for event in events):
        raise reader.error('events must be a list of lists, such as [["update", "bid", 6500010, 5]]')
    return events


class _Scales(NamedTuple):
    """How the prices and quantities of a symbol are converted."""

    price: _Scale
    quantity: _Scale


def _entry(
    reader: LineReader, name: str, value: dict[str, Any], scales: _Scales, account: Account
) -> FeedEntry | None:
    atomic = value.get("atomic", False)
    if not isinstance(atomic, bool):
        raise reader.error(f"atomic is {atomic!r}; it must be true or false")
    at_ms = value.get("at_ms")
    if at_ms is not None and type(at_ms) is not int:
        raise reader.error(f"at_ms is {at_ms!r}; it must be an integer")
    events = _events(reader, value)
    try:
        scaled = [_scaled(event, scales) for event in events]
    except ValueError as error:
        account.refused.note(f"line {reader.line}, {name}: malformed: {error}", len(events))
        return None
    return FeedEntry(
        Symbol(name),
        scaled,
        _source_time(reader, value.get("ts"), account),
        None if at_ms is None else at_ms * 1000,
        atomic,
        None,
        reader.line,
    )


def _scaled(event: Event, scales: _Scales) -> Event:
    convert = {_PRICE: scales.price, _QUANTITY: scales.quantity}
    return [convert.get(place, _other)(item) for place, item in enumerate(event)]


def _source_time(reader: LineReader, value: object, account: Account) -> int | None:
    """The time at the source; None, and in the account, if no book can have it."""
    number = _integer(value)
    if number is None or (type(number) is int and 0 <= number <= MAX_INTEGER):
        return number
    account.left_out.note(f"line {reader.line}: ts is {value!r}")
    return None


def _scales(each: _Symbol, working: Instrument) -> _Scales:
    if each.decimal:
        tick, lot = Units(working.tick_size), Units(working.lot_size)
        return _Scales(partial(_in_units, tick), partial(_in_units, lot))
    factors = [
        Fraction(ours) / Fraction(theirs) if each.sized else Fraction(1)
        for ours, theirs in (
            (each.instrument.tick_size, working.tick_size),
            (each.instrument.lot_size, working.lot_size),
        )
    ]
    return _Scales(*(partial(_times, factor, each.fractions) for factor in factors))


def _in_units(units: Units, item: Any) -> Any:
    return units.of(str(item)) if isinstance(item, int | str) and not isinstance(item, bool) else item


def _times(factor: Fraction, fractions: bool, item: Any) -> Any:
    """Multiply an integer; `fractions`: this symbol also has numbers that are none."""
    number = _integer(item)
    if isinstance(number, str) or (fractions and isinstance(item, str)):
        raise ValueError(
            f"{item} is no integer: prices are in ticks and quantities in lots, unless the instrument line "
            'has "numbers": "decimal"'
        )
    if type(number) is not int:
        return number
    result = number * factor
    if result.denominator != 1:
        raise ValueError(f"{number} is no whole number of the registered size")
    if abs(result) > _MOST:
        raise ValueError(f"{number} is out of range")
    return int(result)


def _integer(item: Any) -> Any:
    """Return the integer that a number such as 5.0 is; everything else as it is."""
    if isinstance(item, exact_json.Written) and (match := _WHOLE.match(item)):
        return int(match[1])
    return item


def _other(item: Any) -> Any:
    """Return an item that is no price or quantity as the input log has it."""
    number = _integer(item)
    if isinstance(number, exact_json.Written):
        return float(number)
    if type(number) is int and abs(number) > _MOST:
        raise ValueError(f"{number} is out of range")
    return number
