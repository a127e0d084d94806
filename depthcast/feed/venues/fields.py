"""Reads fields of venues' messages; whatever is not as documented raises `ValueError` and names the field."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, TypeVar

from depthcast.feed.exact_json import loads
from depthcast.feed.venue import Sizes

Item = TypeVar("Item")
Object = dict[str, Any]
"""A JSON object."""

_INTEGER_MOST: Final = 2**63
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


def parsed(raw: str | bytes) -> Object:
    """Return the object that a message or an answer is."""
    value = loads(raw)
    if isinstance(value, dict):
        return value
    raise ValueError(f"{shown(value)} is no object")


def word(message: Object, name: str) -> str:
    """Return text; empty text for anything else."""
    value = message.get(name)
    return value if isinstance(value, str) else ""


def table(message: Object, name: str) -> Object:
    """Return an object."""
    value = message.get(name)
    if isinstance(value, dict):
        return value
    raise ValueError(f"{name} is {shown(value)}, no object")


def array(message: Object, name: str) -> list[Any]:
    """Return a list."""
    value = message.get(name)
    if isinstance(value, list):
        return value
    raise ValueError(f"{name} is {shown(value)}, no list")


def tables(message: Object, name: str) -> list[Object]:
    """Return a list of objects."""
    return all_tables(array(message, name), name)


def all_tables(values: object, name: str) -> list[Object]:
    """Return a value that is a list of objects."""
    if isinstance(values, list) and all(isinstance(value, dict) for value in values):
        return values
    raise ValueError(f"{name} is {shown(values)}, no list of objects")


def described(
    instruments: Iterable[Object], read: Callable[[Object], tuple[str, Sizes] | None]
) -> dict[str, Sizes]:
    """Return the sizes of the instruments that can be read; one that cannot holds up no other."""
    found = {}
    for instrument in instruments:
        with suppress(ValueError):
            if (sizes := read(instrument)) is not None:
                found[sizes[0]] = sizes[1]
    return found


def shown(value: object) -> str:
    """Return a value for a detail, cut to a bounded length."""
    return repr(value)[:_DETAIL_MOST] if value is not None else "missing"


def batches(items: Iterable[Item], most: int) -> Iterator[Sequence[Item]]:
    """Yield the items in lists of up to `most`."""
    rest = iter(items)
    while batch := list(islice(rest, most)):
        yield batch
