"""Decodes and checks input events (`docs/protocol.md`, section 2.1).

Books are unknown here: an unknown order or a crossing is found when events are applied. Whatever the bytes
are, decoding raises nothing but `MemoryError`, and checks raise only `RefusedError`. What is decoded depends
on the bytes alone, because input is replayed.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from depthcast.ingestor.rejects import EVENT_BYTES_MAX, Reason, RefusedError
from depthcast.shared.codec import INFO_FIELD, pack, unpack
from depthcast.shared.errors import CodecError
from depthcast.shared.types import MAX_INTEGER

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

JSON_ARRAY: Final = b"["
"""First byte of an array in JSON; other values are msgpack."""

OPTIONS_BYTES_MAX: Final = 1 << 12
"""Longest `_` that is decoded."""

NESTING_MAX: Final = 64
"""JSON nested this deep is always decoded. Python's own limit depends on the caller, and is never reached."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_BRACES_AS_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_JSON_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

_ITEMS: Final = 5
_ORDER_ID_MIN: Final = -(2**63)
_ORDER_ID_MAX: Final = 2**64 - 1
_ORDER_ID_BYTES_MAX: Final = 64
_INT_DIGITS_MAX: Final = 20
_BEYOND_ANY_RANGE: Final = 10**_INT_DIGITS_MAX


class Value(NamedTuple):
    """One field of an entry: a symbol's array as received and as decoded (None if it is not an array)."""

    name: bytes
    raw: bytes
    events: list[Any] | None


class InputEntry(NamedTuple):
    """One decoded input entry.

    `ts`: source time (µs). `faults`: malformed `_` fields as received, which have no effect.
    """

    atomic: bool
    ts: int | None
    values: list[Value]
    faults: list[bytes]


def read_entry(fields: Sequence[tuple[bytes, bytes]]) -> InputEntry:
    """Decode the fields of an entry in order.

    Fields that begin with `_`, other than `_` itself, are reserved for later versions and ignored.
    """
    options: dict[str, Any] = {}
    values, faults = [], []
    for name, raw in fields:
        if name == INFO_FIELD:
            given = _read_options(raw)
            if given is None:
                faults.append(raw)
            else:
                options.update(given)
        elif not name.startswith(INFO_FIELD):
            values.append(Value(name, raw, read_events(raw)))
    return InputEntry(options.get("atomic", False), options.get("ts"), values, faults)


def read_options(fields: Sequence[tuple[bytes, bytes]]) -> InputEntry:
    """Decode only the options of an entry; its `values` are empty."""
    return read_entry([(name, raw) for name, raw in fields if name == INFO_FIELD])


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
    _, side, price, quantity, _ = _items(event)
    if op == CLEAR:
        return op, _clear_side(side), 0, 0
    side = _code(_SIDES, side)
    if op == DELETE:
        quantity = 0
    if type(price) is not int or type(quantity) is not int:
        raise RefusedError(Reason.MALFORMED)
    _check_ranges(op, price, quantity)
    return op, side, price, quantity


def orders_event(event: object) -> OrdersEvent:
    """Check shape and ranges of an orders-feed event; raises `RefusedError`."""
    op = op_of(event)
    _, side, price, quantity, order_id = _items(event)
    if op == CLEAR:
        return op, _clear_side(side), 0, 0, 0
    if op == DELETE:
        side = price = quantity = 0
    elif op == REDUCE:
        side = price = 0
    else:
        side = _code(_SIDES, side)
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


def _items(event: Any) -> list[Any]:
    """The event's first five items; missing items are None."""
    if len(event) == _ITEMS:
        return event  # type: ignore[no-any-return]
    return [*event[:_ITEMS], *[None] * (_ITEMS - len(event))]


def _clear_side(side: object) -> int:
    return NO_SIDE if side is None else _code(_SIDES, side)


def _code(table: dict[object, int], value: object) -> int:
    # Check exact types: True and 1.0 equal 1, so the table would accept them.
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


def read_events(raw: bytes) -> list[Any] | None:
    """The array in `raw`, None if it is not an array."""
    events = _decode(raw, JSON_ARRAY)
    return events if type(events) is list else None


def _read_options(raw: bytes) -> dict[str, Any] | None:
    """The known options in `raw`, None if it is not a map or one of them is malformed."""
    options = _decode(raw, b"{") if len(raw) <= OPTIONS_BYTES_MAX else None
    if type(options) is not dict:
        return None
    known = {key: options[key] for key in ("atomic", "ts") if key in options}
    ts = known.get("ts", 0)
    if type(known.get("atomic", False)) is not bool or type(ts) is not int or not 0 <= ts <= MAX_INTEGER:
        return None
    return known


def _decode(raw: bytes, json_mark: bytes) -> Any:
    """Decode JSON if `raw` begins with `json_mark`, else msgpack; None if it is neither."""
    try:
        if raw.startswith(json_mark):
            return None if nests_too_deep(raw) else read_json(raw.decode())
        return unpack(raw, "input")
    except (CodecError, ValueError, RecursionError):
        return None


def nests_too_deep(raw: bytes) -> bool:
    """Whether JSON is nested too deep: never up to `NESTING_MAX` levels, always beyond twice as many."""
    if len(raw) <= NESTING_MAX:
        return False
    brackets = _brackets(raw)
    # What holds something nested begins with two opening brackets, so there are few of these in usual input.
    if 2 * brackets.count(b"[[") < NESTING_MAX or _left_open(brackets) <= NESTING_MAX:
        return False
    return _left_open(_brackets(_JSON_TEXT.sub(b"", raw))) > NESTING_MAX


def _brackets(raw: bytes) -> bytes:
    """Only the brackets and braces of JSON, all as brackets."""
    return raw.translate(_BRACES_AS_BRACKETS, _NO_BRACKETS)


def _left_open(brackets: bytes) -> int:
    """Number of opening brackets left after removing empty pairs `NESTING_MAX` times."""
    for _ in range(NESTING_MAX):
        inner = brackets.replace(b"[]", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    return brackets.count(b"[")


def read_json(text: str) -> Any:
    """Decode JSON; integers may have any number of digits. Raises `ValueError`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses integers with thousands of digits; the rest of the array must still count.
        return json.loads(text, parse_int=bounded_int)


def bounded_int(digits: str) -> int:
    """The integer, or one beyond any range if it has too many digits."""
    if len(digits) <= _INT_DIGITS_MAX:
        return int(digits)
    return -_BEYOND_ANY_RANGE if digits.startswith("-") else _BEYOND_ANY_RANGE


def _json_bytes(event: object) -> bytes:
    # UTF-8 cannot carry a lone surrogate, so it is written as \udxxx, as in the input.
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")
