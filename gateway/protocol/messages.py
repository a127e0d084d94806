"""The encodings of messages, and the gateway's messages (`docs/protocol.md`, section 3).

A message is a map; JSON, msgpack and events carry the same map. Parsing what clients send is in
`depthcast.gateway.protocol.requests`.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import msgpack
import orjson

from depthcast.gateway.protocol.events import CONTENT_TYPE, event
from depthcast.gateway.protocol.frames import BINARY, TEXT, frame
from depthcast.shared.instruments import Instrument

Message = dict[str, Any]

DEPTHS: Final = (0, 1, 5, 10, 25, 50, 100, 500, 1000)
"""Depths a client may subscribe to, in levels per side; 0 is the full book."""

UNGROUPED: Final = 1
"""A `group` of one tick is the book as it is, and no message names it."""

Row = tuple[int, ...]
"""One changed level: price, new quantity, old quantity, as in `depthcast.shared.types.LevelChange`.

In a view with the number of orders, the new and the old number follow, as in
`depthcast.shared.replica.CountedChange`.
"""

Rows = Sequence[Row]


Levels = Sequence[tuple[int, int]]
"""(price, quantity) of one side, best first."""


class ViewDelta(NamedTuple):
    """Net change of a view from its state `prev_seq` to its state `seq`.

    In each row, new and old are the client's quantities after and before the change, 0 = none. `digest` is of
    the view after the change, `ts` the time of the broadcast, `event_ts` the newest source time (both µs).
    In a view with the number of orders, `digest` has two (`depthcast.gateway.market.orders_view.joined`).
    """

    prev_seq: int
    seq: int
    ts: int
    bids: Rows
    asks: Rows
    digest: int
    event_ts: int | None = None


class Encoding(Enum):
    """How a client's messages are encoded; the value of a plain WebSocket encoding is its subprotocol.

    A deflated encoding is the plain one with snapshots and deltas compressed if that makes them shorter
    (`depthcast.gateway.protocol.frames.deflated`). `EVENTS` is the encoding of event streams.
    """

    JSON = "depthcast.v1.json"
    MSGPACK = "depthcast.v1.msgpack"
    JSON_DEFLATED = "depthcast.v1.json deflated"
    MSGPACK_DEFLATED = "depthcast.v1.msgpack deflated"
    EVENTS = CONTENT_TYPE

    # Members are dictionary keys on the hot path, and Enum's own hash is a Python function.
    __hash__ = object.__hash__


PLAIN: Final = {Encoding.JSON_DEFLATED: Encoding.JSON, Encoding.MSGPACK_DEFLATED: Encoding.MSGPACK}
"""The plain encoding that belongs to each deflated one."""
DEFLATED: Final = {plain: deflated for deflated, plain in PLAIN.items()}
TEXTUAL: Final = frozenset((Encoding.JSON, Encoding.JSON_DEFLATED))


def encode(message: Message, encoding: Encoding) -> bytes:
    """One message as a complete WebSocket frame, never compressed, or as a server-sent event."""
    if encoding in TEXTUAL:
        return frame(TEXT, orjson.dumps(message))
    if encoding is Encoding.EVENTS:
        return event(message)
    return frame(BINARY, msgpack.packb(message, use_bin_type=True))


def delta_message(
    symbol: str,
    depth: int,
    delta: ViewDelta,
    merged: int,
    because: str | None = None,
    *,
    group_ticks: int = UNGROUPED,
) -> Message:
    """A `delta` that merges `merged` view-changing broadcasts; `because`: what held them back, if known."""
    message: Message = {
        "type": "delta",
        "symbol": symbol,
        "depth": depth,
        "prev_seq": delta.prev_seq,
        "seq": delta.seq,
        "ts": delta.ts,
        "bids": _pairs(delta.bids),
        "asks": _pairs(delta.asks),
        "merged": merged,
        "digest": delta.digest,
    }
    if delta.event_ts is not None:
        message["event_ts"] = delta.event_ts
    if because is not None:
        message["because"] = because
    return _grouped(message, group_ticks)


def snapshot_message(
    symbol: str,
    depth: int,
    seq: int,
    ts: int,
    levels: tuple[Levels, Levels],
    digest: int,
    event_ts: int | None = None,
    *,
    group_ticks: int = UNGROUPED,
) -> Message:
    """A `snapshot`: `levels` are bids and asks, best first; `event_ts`: the newest source time, if known."""
    bids, asks = levels
    message: Message = {
        "type": "snapshot",
        "symbol": symbol,
        "depth": depth,
        "seq": seq,
        "ts": ts,
        "bids": bids,
        "asks": asks,
        "digest": digest,
    }
    if event_ts is not None:
        message["event_ts"] = event_ts
    return _grouped(message, group_ticks)


def snapshot_in_parts(snapshot: Message, levels_max: int) -> list[Message]:
    """A `snapshot` as several with up to `levels_max` levels each: all bids, best first, then all asks."""
    bids, asks = snapshot["bids"], snapshot["asks"]
    starts = range(0, len(bids) + len(asks), levels_max)
    return [
        {
            **snapshot,
            "part": number,
            "parts": len(starts),
            "bids": bids[start : start + levels_max],
            "asks": asks[max(0, start - len(bids)) : max(0, start + levels_max - len(bids))],
        }
        for number, start in enumerate(starts, 1)
    ]


def status_message(
    symbol: str,
    stale: bool,
    lag_ms: int | None = None,
    reason: str | None = None,
    input_age_ms: int | None = None,
) -> Message:
    """A `status`: live or stale; `lag_ms`: age of the oldest unread input, None if it is not the reason.

    `reason`: why a producer calls the book stale, None if it does not. `input_age_ms`: age of the symbol's
    last input, None if it is not the reason.
    """
    message: Message = {"type": "status", "symbol": symbol, "state": state_name(stale)}
    if lag_ms is not None:
        message["lag_ms"] = lag_ms
    if reason is not None:
        message["reason"] = reason
    if input_age_ms is not None:
        message["input_age_ms"] = input_age_ms
    return message


def state_name(stale: bool) -> str:
    """The protocol's word for a symbol's status."""
    return "stale" if stale else "live"


def subscribed_message(
    instrument: Instrument,
    depth: int,
    interval_ms: int,
    seq: int | None,
    *,
    group_ticks: int = UNGROUPED,
    orders: bool = False,
) -> Message:
    """A `subscribed`; `seq` is the resumed state's, None if nothing was resumed."""
    message: Message = {
        "type": "subscribed",
        "symbol": instrument.symbol,
        "depth": depth,
        "interval_ms": interval_ms,
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "resumed": seq is not None,
    }
    if orders:
        message["orders"] = True
    if seq is not None:
        message["seq"] = seq
    return _grouped(message, group_ticks)


def _pairs(rows: Iterable[Row]) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in rows]


def _grouped(message: Message, group_ticks: int) -> Message:
    """Name the grouping of a message, if there is one."""
    if group_ticks != UNGROUPED:
        message["group"] = group_ticks
    return message
