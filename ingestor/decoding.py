"""Decodes one value of an input entry: JSON or msgpack, told apart by the first byte.

Whatever the bytes are, it raises nothing but `UndecodableError` and `MemoryError`. What is decoded depends on
the bytes alone, because input is replayed.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final

import msgpack

from depthcast.shared.codec import unpack
from depthcast.shared.errors import CodecError
from depthcast.shared.types import MAX_INTEGER

JSON_ARRAY: Final = b"["
"""First byte of an array in JSON; other values are msgpack."""

JSON_MAP: Final = b"{"

NESTING_MAX: Final = 64
"""JSON nested this deep is always decoded. Python's own limit depends on the caller, and is never reached."""
TOO_DEEP: Final = f"JSON nested more than {NESTING_MAX} levels deep"

DESCRIBED_MAX: Final = 60
"""A value is described in up to this many characters."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_BRACES_AS_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_JSON_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

_INT_DIGITS_MAX: Final = 20
_BEYOND_ANY_RANGE: Final = 10**_INT_DIGITS_MAX


class UndecodableError(Exception):
    """The bytes are not one value of their encoding; the text says where and why."""


def described(value: object) -> str:  # noqa: PLR0911  # a table of kinds
    """A decoded value for people, in at most `DESCRIBED_MAX` characters."""
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, RoundedFloat):
        return "a number with a fraction"
    if type(value) is int or type(value) is float:
        return _cut(str(value))
    if type(value) is str:
        return _cut(json.dumps(value[:DESCRIBED_MAX]))
    if type(value) is list:
        return f"an array of {len(value)} items"
    if isinstance(value, dict | _Pairs):
        return "a map"
    return "binary data" if type(value) is bytes else "a msgpack extension"


def _cut(text: str) -> str:
    return text if len(text) <= DESCRIBED_MAX else text[: DESCRIBED_MAX - 1] + "…"


class RoundedFloat(float):
    """A JSON number with a fraction so small that a float has no room for it: it only looks integral."""


def decode_value(raw: bytes, json_mark: bytes) -> Any:
    """Decode JSON if `raw` begins with `json_mark`, else msgpack; raises `UndecodableError`."""
    if not raw.startswith(json_mark):
        try:
            return unpack(raw, "input")
        except CodecError as error:
            raise UndecodableError(error.problem) from error
    _check_nesting(raw)
    try:
        return read_json(raw.decode())
    except (ValueError, RecursionError) as error:
        raise UndecodableError(why_no_json(error)) from error


def decode_pairs(raw: bytes) -> list[tuple[Any, Any]] | None:
    """The keys and values of a map, repeated ones too; None if it is no map. Raises `UndecodableError`."""
    if raw.startswith(JSON_MAP):
        _check_nesting(raw)
        try:
            found = _PAIRS_DECODER.decode(raw.decode())
        except (ValueError, RecursionError) as error:
            raise UndecodableError(why_no_json(error)) from error
    else:
        try:
            found = msgpack.unpackb(raw, raw=False, strict_map_key=False, object_pairs_hook=_Pairs)
        except (ValueError, msgpack.UnpackException, TypeError, RecursionError) as error:
            raise UndecodableError(f"not msgpack ({str(error) or type(error).__name__})") from error
    return found if type(found) is _Pairs else None


class _Pairs(list[tuple[Any, Any]]):
    """A map as it was written; a dict would keep only the last of several equal keys."""


def as_map(value: object) -> dict[str, Any] | None:
    """A map within decoded pairs; None if it is none, or if its keys are no text or not distinct."""
    if not isinstance(value, _Pairs):
        return None
    table = dict(value)
    return table if len(table) == len(value) and all(type(key) is str for key in table) else None


def why_no_json(error: Exception) -> str:
    """What a person needs to find the mistake."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"not JSON: no UTF-8 at byte {error.start}"
    return f"not JSON ({type(error).__name__})"


def _check_nesting(raw: bytes) -> None:
    if nests_too_deep(raw):
        raise UndecodableError(TOO_DEEP)


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
    """Decode JSON; numbers may have any number of digits. Raises `ValueError`."""
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses integers with thousands of digits; the rest of the array must still count.
        return BOUNDED_DECODER.decode(text)


def _bounded_int(digits: str) -> int:
    """The integer, or one beyond any range if it has too many digits."""
    if len(digits) <= _INT_DIGITS_MAX:
        return int(digits)
    return -_BEYOND_ANY_RANGE if digits.startswith("-") else _BEYOND_ANY_RANGE


def _exact_float(text: str) -> float:
    """The float; a `RoundedFloat` if only rounding made it integral."""
    value = float(text)
    if not value.is_integer() or abs(value) > MAX_INTEGER:
        return value
    try:
        exact = Decimal(text) == value
    except ArithmeticError:  # an exponent beyond those of Decimal
        exact = False
    return value if exact else RoundedFloat(value)


DECODER: Final = json.JSONDecoder(parse_float=_exact_float)
BOUNDED_DECODER: Final = json.JSONDecoder(parse_float=_exact_float, parse_int=_bounded_int)
"""Decodes integers of any length, by `_bounded_int`."""

_PAIRS_DECODER: Final = json.JSONDecoder(
    parse_float=_exact_float, parse_int=_bounded_int, object_pairs_hook=_Pairs
)
