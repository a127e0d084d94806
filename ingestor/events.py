"""Decodes and checks input events (`docs/protocol.md`, section 2.1).

Books are unknown here: an unknown order or a crossing is found when events are applied. Whatever the bytes
are, `read_entry` raises nothing but `MemoryError`, and checks raise only `RefusedError`. What is decoded
depends on the bytes alone, because input is replayed.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from depthcast.ingestor.decoding import JSON_ARRAY, UndecodableError, decode_value, described
from depthcast.ingestor.options import NO_OPTIONS, Options, read_options
from depthcast.ingestor.packed_events import COMPILED, read_packed
from depthcast.ingestor.rejects import EVENT_BYTES_MAX, Reason, RefusedError
from depthcast.shared.codec import INFO_FIELD, pack
from depthcast.shared.types import MAX_INTEGER
from depthcast.shared.whole_numbers import as_integer

ADD: Final = 0
UPDATE: Final = 1
DELETE: Final = 2
REDUCE: Final = 3
CLEAR: Final = 4

NO_SIDE: Final = -1
"""The side of a `clear` that names none: both."""

OrderId = int | str

LevelsEvent = tuple[int, int, int, int]
"""(op, side, price, quantity), each in range; items not used by the op are 0."""

OrdersEvent = tuple[int, int, int, int, OrderId]
"""(op, side, price, quantity, order id), with the same rules."""

_OP_NAMES: Final[dict[object, int]] = {
    "add": ADD,
    "update": UPDATE,
    "delete": DELETE,
    "reduce": REDUCE,
    "clear": CLEAR,
}
_SIDE_NAMES: Final[dict[object, int]] = {"bid": 0, "ask": 1}
_OPS: Final = _OP_NAMES | {op: op for op in (ADD, UPDATE, DELETE, REDUCE, CLEAR)}
_SIDES: Final = _SIDE_NAMES | {0: 0, 1: 1}

_BEFORE_JSON: Final = (b" ", b"\t", b"\r", b"\n", b"{", b"\xef")

_ITEMS: Final = 5
_ORDER_ID_MIN: Final = -(2**63)
_ORDER_ID_MAX: Final = 2**64 - 1
_ORDER_ID_BYTES_MAX: Final = 64


class Value(NamedTuple):
    """One field of an entry: a symbol's array as received and as decoded.

    `events` is None if it is not an array; `fault` says why.
    """

    name: bytes
    raw: bytes
    events: Sequence[Any] | None
    fault: str = ""


class InputEntry(NamedTuple):
    """One decoded input entry; without values if its options refuse it."""

    options: Options
    values: list[Value]


def read_entry(fields: Sequence[tuple[bytes, bytes]]) -> InputEntry:
    """Decode the fields of an entry in order.

    Fields that begin with `_`, other than `_` itself, are reserved for later versions and ignored.
    """
    options = NO_OPTIONS
    values = []
    for name, raw in fields:
        if not name.startswith(INFO_FIELD):
            try:
                values.append(Value(name, raw, read_events(raw)))
            except UndecodableError as error:
                values.append(Value(name, raw, None, str(error)))
        elif options is NO_OPTIONS:
            options = options_of(fields)
            if options.fault is not None:
                return InputEntry(options, [])
    return InputEntry(options, values)


def options_of(fields: Sequence[tuple[bytes, bytes]]) -> Options:
    """The options of an entry."""
    raws = [raw for name, raw in fields if name == INFO_FIELD]
    return read_options(raws) if raws else NO_OPTIONS


def values_of(fields: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields that hold events, in order."""
    return [(name, raw) for name, raw in fields if not name.startswith(INFO_FIELD)]


def encode_event(event: object, raw: bytes) -> bytes:
    """Encode one event of the array `raw`, in the encoding of `raw`, cut to `EVENT_BYTES_MAX`.

    Returns empty bytes if a value can be decoded but not encoded, for example if nested too deeply.
    """
    try:
        packed = _json_bytes(event) if raw.startswith(b"[") else pack(event)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return b""
    return packed[:EVENT_BYTES_MAX]


def op_of(event: object) -> int:
    """The op of an event of either feed; refuses events that are malformed for both kinds."""
    if type(event) is not list or not event:
        raise RefusedError(Reason.MALFORMED)
    return _code(_OPS, event[0])


def op_named(name: object) -> int | None:
    """The op with this name, None if there is none."""
    return _OP_NAMES.get(name) if type(name) is str else None


def side_named(name: object) -> int | None:
    """The side with this name, None if there is none."""
    return _SIDE_NAMES.get(name) if type(name) is str else None


def levels_event(event: object) -> LevelsEvent:
    """Check shape and ranges of a levels-feed event; raises `RefusedError`."""
    op = op_of(event)
    _, side, price, quantity, _ = event_items(event)
    if op == CLEAR:
        return op, clear_side(side), 0, 0
    side = side_of(side)
    if op == DELETE:
        quantity = 0
    price, quantity = as_integer(price), as_integer(quantity)
    if type(price) is not int or type(quantity) is not int:
        raise RefusedError(Reason.MALFORMED)
    _check_ranges(op, price, quantity)
    return op, side, price, quantity


def orders_event(event: object) -> OrdersEvent:
    """Check shape and ranges of an orders-feed event; raises `RefusedError`."""
    op = op_of(event)
    _, side, price, quantity, order_id = event_items(event)
    if op == CLEAR:
        return op, clear_side(side), 0, 0, 0
    if op == DELETE:
        side = price = quantity = 0
    elif op == REDUCE:
        side = price = 0
    else:
        side = side_of(side)
    price, quantity, order_id = as_integer(price), as_integer(quantity), as_integer(order_id)
    if type(price) is not int or type(quantity) is not int or not is_order_id(order_id):
        raise RefusedError(Reason.MALFORMED)
    _check_ranges(op, price, quantity)
    if order_id is None:
        raise RefusedError(Reason.MISSING_ORDER_ID)
    return op, side, price, quantity, order_id


def _check_ranges(op: int, price: int, quantity: int) -> None:
    if not -MAX_INTEGER <= price <= MAX_INTEGER:
        raise RefusedError(Reason.BAD_PRICE)
    if not 0 <= quantity <= MAX_INTEGER or (not quantity and op in (ADD, REDUCE)):
        raise RefusedError(Reason.BAD_QUANTITY)


def event_items(event: Any) -> list[Any]:
    """The event's first five items; missing items are None."""
    if len(event) == _ITEMS:
        return event  # type: ignore[no-any-return]
    return [*event[:_ITEMS], *[None] * (_ITEMS - len(event))]


def side_of(side: object) -> int:
    """The number of a side; refuses what is none."""
    return _code(_SIDES, side)


def begins_anew(events: Sequence[Any] | None) -> bool:
    """Whether an array begins with a `clear` of both sides, so that nothing of the book before it is left."""
    if not events:
        return False
    try:
        return op_of(events[0]) == CLEAR and clear_side(event_items(events[0])[1]) == NO_SIDE
    except RefusedError:
        return False


def clear_side(side: object) -> int:
    """The side that a `clear` names, `NO_SIDE` if none."""
    return NO_SIDE if side is None else _code(_SIDES, side)


def _code(table: dict[object, int], value: object) -> int:
    # Check exact types: True equals 1, so the table would accept it.
    value = as_integer(value)
    if type(value) is str or type(value) is int:
        code = table.get(value)
        if code is not None:
            return code
    raise RefusedError(Reason.MALFORMED)


def is_order_id(value: object) -> bool:
    """Whether `value` is a valid order id, or None for a missing one."""
    if type(value) is int:
        return _ORDER_ID_MIN <= value <= _ORDER_ID_MAX
    if type(value) is not str:
        return value is None
    if value.isascii():
        return len(value) <= _ORDER_ID_BYTES_MAX
    try:
        return len(value.encode()) <= _ORDER_ID_BYTES_MAX
    except UnicodeEncodeError:  # a lone surrogate: JSON can write it, but it is not a character
        return False


def read_events(raw: bytes) -> Sequence[Any]:
    """The array in `raw`; raises `UndecodableError` if it is not an array."""
    if COMPILED:
        packed = read_packed(raw)
        if packed is not None:
            return packed
    try:
        events = decode_value(raw, JSON_ARRAY)
    except UndecodableError as error:
        raise UndecodableError(f"the value is {error}{_hint(raw)}") from error
    if type(events) is not list:
        raise UndecodableError(f"the value is {described(events)}: it must be an array of events")
    return events


def _hint(raw: bytes) -> str:
    """Advice where a value is JSON that does not look so."""
    return "; JSON must begin with [, nothing before it" if raw[:1] in _BEFORE_JSON else ""


def _json_bytes(event: object) -> bytes:
    # UTF-8 cannot carry a lone surrogate, so it is written as \udxxx, as in the input.
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")
