"""Rejects: the reasons, and the record of each (`docs/protocol.md`, section 2.1)."""

from enum import StrEnum
from typing import Final, NamedTuple

REJECTS_PER_ENTRY: Final = 1_000
"""Of more rejects in one input entry, those that follow in an array are one record."""

EVENT_BYTES_MAX: Final = 1024
"""A record keeps up to this many bytes of the rejected event."""

NAME_CHARS_MAX: Final = 256
"""A record keeps up to this many characters of a field name that is not a symbol."""

DETAIL_CHARS_MAX: Final = 240
"""A record explains itself in up to this many characters."""

WHOLE: Final = -1
"""Index of a reject that does not concern a single event: an undecodable value, `_`, or an atomic array that
ends crossed.
"""


class Reason(StrEnum):
    """Reasons, in the order of the checks: the first that fails is recorded."""

    POISON = "poison"
    TOO_MANY_VALUES = "too_many_values"
    TOO_BIG = "too_big"
    BAD_OPTIONS = "bad_options"
    MALFORMED = "malformed"
    TOO_MANY_EVENTS = "too_many_events"
    UNKNOWN_SYMBOL = "unknown_symbol"
    WRONG_PARTITION = "wrong_partition"
    OTHER_LISTING = "other_listing"
    BAD_PRICE = "bad_price"
    BAD_QUANTITY = "bad_quantity"
    MISSING_ORDER_ID = "missing_order_id"
    UNKNOWN_ORDER = "unknown_order"
    DUPLICATE_ORDER = "duplicate_order"
    UNKNOWN_LEVEL = "unknown_level"
    TOO_MANY_ORDERS = "too_many_orders"
    OVERFLOW = "overflow"
    TOO_MANY_LEVELS = "too_many_levels"
    CROSSED = "crossed"


class Reject(NamedTuple):
    """One record of the `rejects` stream.

    `source`: ID of the input entry. `index`: index in the array, or `WHOLE`. `count`: number of events
    covered: 1, unless the array was atomic or there were more than `REJECTS_PER_ENTRY`. `event`: as received,
    cut to `EVENT_BYTES_MAX` bytes. `detail`: for people, what is wrong; empty where the reason says it all.
    """

    symbol: str
    reason: Reason
    source: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    count: int  # type: ignore[assignment]  # likewise tuple.count
    event: bytes
    detail: str = ""


class RefusedError(Exception):
    """An event cannot be applied; raised and caught within the modules that apply events."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


class ArrayResult(NamedTuple):
    """What happened to one array of events.

    `refused`: (index, reason) of each refused event; an atomic array that was undone has exactly one, and the
    other numbers are 0. `evicted`: levels removed as stale.
    """

    applied: int
    ignored: int
    refused: list[tuple[int, Reason]]
    evicted: int
