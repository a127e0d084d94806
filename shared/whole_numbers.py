"""Integers that arrive as floats: JavaScript and some encoders write `5` as `5.0`, or as a msgpack float."""

from typing import Any

from depthcast.shared.types import MAX_INTEGER


def as_integer(value: Any) -> Any:
    """The integer that a float stands for; any other value is returned as it is.

    A float stands for an integer if it has no fraction and every integer of its size can be told apart, so
    from -(2**53-1) to 2**53-1. Above that, a float may have been rounded.
    """
    if type(value) is float and value.is_integer() and -MAX_INTEGER <= value <= MAX_INTEGER:
        return int(value)
    return value
