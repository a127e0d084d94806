"""The frames of the most frequent message, a `delta` in JSON, written from numbers.

They are the same bytes as those of `depthcast.gateway.protocol.messages`. Used only if compiled.
"""

from array import array
from typing import Final

import orjson

from depthcast.gateway.protocol.frames import TEXT
from depthcast.gateway.protocol.messages import UNGROUPED, ViewDelta
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.level_rows import LevelRows

COMPILED: Final = is_compiled_at(__file__)

_SIZE: Final = 65_536
_PAGE: Final = array("B", bytes(_SIZE))
"""Where a frame is written; only one is written at a time."""

_HEADER: Final = 4
"""Bytes before a payload of 126 to 65,535 bytes."""
_SHORT_HEADER: Final = 2
_SHORT: Final = 126
_FIRST: Final = 0x80 | TEXT

_ROW_MAX: Final = 48
"""Characters of a row: two numbers of up to 20, brackets and commas."""
_REST_MAX: Final = 512
"""Characters of everything else but the beginning, at most."""

_SEQ: Final = b',"seq":'
_TS: Final = b',"ts":'
_BIDS: Final = b',"bids":['
_ASKS: Final = b'],"asks":['
_MERGED: Final = b'],"merged":'
_DIGEST: Final = b',"digest":'
_EVENT_TS: Final = b',"event_ts":'
_GROUP: Final = b',"group":'

_MINUS: Final = 45
_ZERO: Final = 48
_COMMA: Final = 44
_OPEN: Final = 91
_CLOSE: Final = 93
_END: Final = 125


def beginning_of(symbol: str, depth: int) -> bytes:
    """What every `delta` of a channel begins with in JSON, up to the value of `prev_seq`."""
    known = orjson.dumps({"type": "delta", "symbol": symbol, "depth": depth})
    return known[:-1] + b',"prev_seq":'


def delta_frame(beginning: bytes, delta: ViewDelta, merged: int, group_ticks: int) -> bytes | None:
    """A `delta` as a complete frame; None if that is left to the general encoder."""
    prev_seq, seq, ts, bids, asks, digest, event_ts = delta
    if not isinstance(bids, LevelRows) or not isinstance(asks, LevelRows):
        return None
    bid_rows, ask_rows = bids, asks
    size = len(beginning)
    if size + _REST_MAX + _ROW_MAX * (bid_rows.size + ask_rows.size) > _SIZE:
        return None
    page: array[int] = _PAGE.data.as_uchars  # type: ignore[attr-defined]  # as Cython sees an array
    at = _text(page, _HEADER, beginning, size)
    at = _number(page, at, prev_seq)
    at = _text(page, at, _SEQ, len(_SEQ))
    at = _number(page, at, seq)
    at = _text(page, at, _TS, len(_TS))
    at = _number(page, at, ts)
    at = _text(page, at, _BIDS, len(_BIDS))
    at = _rows(page, at, bid_rows)
    at = _text(page, at, _ASKS, len(_ASKS))
    at = _rows(page, at, ask_rows)
    at = _text(page, at, _MERGED, len(_MERGED))
    at = _number(page, at, merged)
    at = _text(page, at, _DIGEST, len(_DIGEST))
    at = _number(page, at, digest)
    if event_ts is not None:
        at = _text(page, at, _EVENT_TS, len(_EVENT_TS))
        at = _number(page, at, event_ts)
    if group_ticks != UNGROUPED:
        at = _text(page, at, _GROUP, len(_GROUP))
        at = _number(page, at, group_ticks)
    page[at] = _END
    at += 1
    size = at - _HEADER
    if size < _SHORT:
        page[_SHORT_HEADER], page[_SHORT_HEADER + 1] = _FIRST, size
        return page[_SHORT_HEADER:at]  # type: ignore[return-value]  # bytes, of a C array
    page[0], page[1], page[2], page[3] = _FIRST, _SHORT, size >> 8, size & 0xFF
    return page[:at]  # type: ignore[return-value]


def _text(page: "array[int]", at: int, text: bytes, size: int) -> int:
    """Write `text`; returns where the next one goes, as all of these do."""
    characters = text
    for place in range(size):
        page[at + place] = characters[place]
    return at + size


def _number(page: "array[int]", at: int, number: int) -> int:
    """Write any integer of 64 bits but −2⁶³."""
    left = number
    if number < 0:
        page[at] = _MINUS
        at += 1
        left = -number
    digits, rest = 1, left // 10
    while rest:
        digits += 1
        rest //= 10
    for place in range(at + digits - 1, at - 1, -1):
        rest = left // 10
        page[place] = _ZERO + (left - 10 * rest)
        left = rest
    return at + digits


def _rows(page: "array[int]", at: int, rows: LevelRows) -> int:
    """Write rows as `[price,quantity]`, with commas between them."""
    numbers = rows.items
    for row in range(rows.size):
        if row:
            page[at] = _COMMA
            at += 1
        page[at] = _OPEN
        at = _number(page, at + 1, numbers[3 * row])
        page[at] = _COMMA
        at = _number(page, at + 1, numbers[3 * row + 1])
        page[at] = _CLOSE
        at += 1
    return at
