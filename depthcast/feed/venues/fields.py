"""Reads fields of venues' messages; whatever is not as documented raises `ValueError` and names the field."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

Item = TypeVar("Item")

_INTEGER_MOST: Final = 2**63
_MS_MOST: Final = 10**14
_DETAIL_MOST: Final = 200


def integer(message: dict[str, Any], name: str) -> int:
    """Return an integer of 0 to 2⁶³−1."""
    value = message.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGER_MOST:
        return value
    raise ValueError(f"{name} is {shown(value)}, no integer")


def text(message: dict[str, Any], name: str) -> str:
    """Return text that is not empty."""
    value = message.get(name)
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{name} is {shown(value)}, no text")


def microseconds(value: object) -> int | None:
    """Return a time in ms since 1970 in µs; None for anything else, because no book depends on it."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MS_MOST:
        return value * 1000
    return None


def shown(value: object) -> str:
    """Return a value for a detail, cut to a bounded length."""
    return repr(value)[:_DETAIL_MOST] if value is not None else "missing"


def batches(items: Iterable[Item], most: int) -> Iterator[Sequence[Item]]:
    """Yield the items in lists of up to `most`."""
    rest = iter(items)
    while batch := list(islice(rest, most)):
        yield batch
