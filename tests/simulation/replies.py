"""Replies of the in-memory store, and helpers of its commands."""

from typing import Any, Final

Reply = Any
"""None, int, bytes, `Status`, or a list of replies."""


class ReplyError(Exception):
    """An error reply; the text begins with its code."""


class Status(bytes):
    """A simple string such as OK."""


OK: Final = Status(b"OK")
SYNTAX: Final = "ERR syntax error"


def integer(raw: bytes) -> int:
    """A command's integer argument; raises `ReplyError`."""
    try:
        return int(raw)
    except ValueError:
        raise ReplyError("ERR value is not an integer or out of range") from None
