"""The two encodings of WebSocket messages, and the messages the gateway sends (`docs/protocol.md`, section 3).

A message is a map; JSON and msgpack carry the same map. Parsing what clients send is in `gateway.requests`.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import msgpack
import orjson

from gateway.frames import BINARY, TEXT, frame
from gateway.view import Row, View, ViewDelta
from shared.instruments import Instrument

PROTOCOL: Final = 1

Message = dict[str, Any]


class Encoding(Enum):
    """How a connection's messages are written; the value of a plain one is the WebSocket subprotocol's name.

    A deflated one is the same, with snapshots and deltas compressed where that pays (`gateway.frames.deflated`).
    """

    JSON = "depthcast.v1.json"
    MSGPACK = "depthcast.v1.msgpack"
    JSON_DEFLATED = "depthcast.v1.json deflated"
    MSGPACK_DEFLATED = "depthcast.v1.msgpack deflated"

    # Members are dictionary keys on the hot path, and Enum's own hash is a Python function.
    __hash__ = object.__hash__


PLAIN: Final = {Encoding.JSON_DEFLATED: Encoding.JSON, Encoding.MSGPACK_DEFLATED: Encoding.MSGPACK}
"""The plain encoding of each deflated one."""
DEFLATED: Final = {plain: deflated for deflated, plain in PLAIN.items()}
TEXTUAL: Final = frozenset((Encoding.JSON, Encoding.JSON_DEFLATED))


def encode(message: Message, encoding: Encoding) -> bytes:
    """One message as a complete WebSocket frame, never compressed."""
    if encoding in TEXTUAL:
        return frame(TEXT, orjson.dumps(message))
    return frame(BINARY, msgpack.packb(message, use_bin_type=True))


def delta_message(symbol: str, depth: int, delta: ViewDelta, merged: int) -> Message:
    """A `delta`: `merged` view-changing broadcasts in one."""
    return {
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


def snapshot_message(symbol: str, view: View) -> Message:
    """A `snapshot` of the view as it stands."""
    return {
        "type": "snapshot",
        "symbol": symbol,
        "depth": view.depth,
        "seq": view.seq,
        "ts": view.ts,
        "bids": view.bids.levels(),
        "asks": view.asks.levels(),
        "digest": view.digest,
    }


def status_message(symbol: str, stale: bool) -> Message:
    """A `status`: whether the book shown is live."""
    return {"type": "status", "symbol": symbol, "state": state_name(stale)}


def state_name(stale: bool) -> str:
    """The word for a symbol's state."""
    return "stale" if stale else "live"


def subscribed_message(instrument: Instrument, depth: int, interval_ms: int, seq: int | None) -> Message:
    """A `subscribed`; `seq` is that of the resumed state, None when nothing was resumed."""
    message: Message = {
        "type": "subscribed",
        "symbol": instrument.symbol,
        "depth": depth,
        "interval_ms": interval_ms,
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "resumed": seq is not None,
    }
    if seq is not None:
        message["seq"] = seq
    return message


def _pairs(rows: Iterable[Row]) -> list[tuple[int, int]]:
    return [(price, new) for price, new, _ in rows]
