"""The contract's basic types: side, symbol, limits of numbers, delta, snapshot.

All prices are integer ticks, all quantities integer lots, all times microseconds since 1970
(`docs/protocol.md`, section 1).
"""

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple, NewType

Symbol = NewType("Symbol", str)

MAX_INTEGER: Final = 2**53 - 1
"""Largest price magnitude and quantity: an IEEE double holds every integer up to it exactly."""

INTEGER_BITS: Final = MAX_INTEGER.bit_length()
"""`number >> INTEGER_BITS` is 0 for exactly the integers from 0 to `MAX_INTEGER`."""

SYMBOL_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")


class Side(IntEnum):
    """Side of the book, by its number on the wire."""

    BID = 0
    ASK = 1


LevelChange = tuple[int, int, int]
"""One level's net change: (price, new quantity, old quantity), 0 = no such level."""


class Delta(NamedTuple):
    """Net change of one symbol from state `prev_seq` to state `seq`, as in a `deltas` entry.

    - `bids`, `asks`: changed levels, flat: `[price, quantity, price, quantity, …]`, quantity 0 = the level is
      gone.
    - `digest`: digest of the whole book after the change.
    - `events`: number of input events merged into the change.
    """

    prev_seq: int
    seq: int
    bids: Sequence[int]
    asks: Sequence[int]
    digest: int
    events: int


class Snapshot(NamedTuple):
    """The whole book of one symbol at `seq`, as flat arrays, best level first; `ts` in µs since 1970.

    `marks`: what else is said of the book, by key (`depthcast.shared.listing`); None if nothing is.
    """

    seq: int
    bids: Sequence[int]
    asks: Sequence[int]
    digest: int
    ts: int
    marks: Mapping[str, Any] | None = None


class EntryInfo(NamedTuple):
    """The `_` map of a `deltas` entry (`docs/protocol.md`, section 2.2).

    - `ts`: time of the broadcast in µs since 1970.
    - `src`: ID of the last input entry consumed, as text; `0-0` for none.
    - `applied`, `rejected`, `ignored`: counts of the partition's input events since its beginning.
    - `event_ts`: newest source time among the input entries of the interval, in µs since 1970, or None.
    - `prev`: position that this entry continues; only in the first entry of an epoch.
    - `successor`: name of the ingestor that takes over; only in the last entry before a handover.
    - `lag_ms`: age of the oldest input entry that was not consumed yet, in ms by the server's clock.
    - `entries`: input entries added up to `src` since the input log began; None if not known.
    - `lost`: input entries that were deleted before they were consumed, since the partition's beginning.
    - `inputs`: symbols that had input in the interval, but no net change; None if there are none.
    """

    ts: int
    src: str
    applied: int
    rejected: int
    ignored: int
    event_ts: int | None = None
    prev: str | None = None
    successor: str | None = None
    lag_ms: int | None = None
    entries: int | None = None
    lost: int | None = None
    inputs: tuple[str, ...] | None = None


def is_symbol(text: object) -> bool:
    """Return whether `text` is a valid symbol: `[A-Za-z0-9][A-Za-z0-9._-]{0,31}`."""
    return isinstance(text, str) and SYMBOL_PATTERN.match(text) is not None
