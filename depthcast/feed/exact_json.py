"""Reads JSON without loss: numbers with a fraction or an exponent stay the text that was written."""

import json
from typing import Any


class Written(str):
    """A number as it was written, which is no text in quotes."""

    __slots__ = ()


def loads(raw: str | bytes) -> Any:
    """Return the value, with integers as `int` and all other numbers as `Written`, such as "4.8E-7".

    Raises `ValueError` for text that is not JSON, for NaN and Infinity, and for nesting too deep to read.
    """
    try:
        return json.loads(raw, parse_float=Written, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def loads_unique(raw: str | bytes) -> Any:
    """Return the value as `loads` does; an object with a key that comes twice is refused, too."""
    try:
        return json.loads(raw, parse_float=Written, parse_constant=_refuse, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:40]!r} comes twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
