"""The words of the contract as types: side, symbol, limits of numbers, delta, snapshot.

No behaviour beyond checking a value's range lives here. All prices are integer ticks, all quantities integer lots,
all times microseconds since 1970 (`docs/protocol.md`, section 1).
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple, NewType

Symbol = NewType("Symbol", str)

MAX_INTEGER: Final = 2**53 - 1
"""Largest price magnitude and quantity: every number survives a trip through an IEEE double."""

INTEGER_BITS: Final = MAX_INTEGER.bit_length()
"""`number >> INTEGER_BITS` is 0 for exactly the integers from 0 to `MAX_INTEGER`."""

SYMBOL_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")


class Side(IntEnum):
    """Side of the book; the numbers are the wire's."""

    BID = 0
    ASK = 1


LevelChange = tuple[int, int, int]
"""One level's net change: price, then its new and its old quantity, absolute, 0 = no such level."""


class Delta(NamedTuple):
    """Net change of one symbol from state `prev_seq` to state `seq`, as carried by a `deltas` entry.

    `bids` and `asks` are flat `[price, quantity, price, quantity, …]`; `digest` covers the whole book after it;
    `events` counts the input events merged into it.
    """

    prev_seq: int
    seq: int
    bids: Sequence[int]
    asks: Sequence[int]
    digest: int
    events: int


class Snapshot(NamedTuple):
    """The whole book of one symbol at `seq`: flat arrays, best first; `ts` in microseconds."""

    seq: int
    bids: Sequence[int]
    asks: Sequence[int]
    digest: int
    ts: int


class EntryInfo(NamedTuple):
    """The `_` map of a `deltas` entry (section 2.2). `src` and `prev` are stream IDs as text; `prev` only at n = 0.

    `successor`: in the last entry of a leadership that was handed over, the ingestor that is to go on.
    """

    ts: int
    src: str
    applied: int
    rejected: int
    ignored: int
    event_ts: int | None = None
    prev: str | None = None
    successor: str | None = None


def is_symbol(text: object) -> bool:
    """Whether `text` is a valid symbol: `[A-Za-z0-9][A-Za-z0-9._-]{0,31}`."""
    return isinstance(text, str) and SYMBOL_PATTERN.match(text) is not None
