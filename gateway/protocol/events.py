"""Server-sent events (HTML standard, section 9.2): the gateway's messages as the lines of an event stream.

An event is the same bytes for every client. Its id names the state that a snapshot or a delta leads to, so a
client that comes back with it can resume. What ends a view, or begins a new one, clears the id: a browser
offers by itself what it was told last, and must hold that. Other messages leave the id as it is.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from depthcast.shared.close_codes import Reconnect, closing

CONTENT_TYPE: Final = "text/event-stream"
HEARTBEAT: Final = "heartbeat"
"""The only type of message that is an event of its own name, so a browser's `onmessage` does not see it."""
STATEFUL: Final = frozenset({"snapshot", "delta"})
RETRY_MS: Final = {Reconnect.AT_ONCE: 1_000, Reconnect.WITH_BACKOFF: 5_000, Reconnect.NEVER: 600_000}
"""Least wait of a browser before it connects again, each time: it does not double its wait by itself."""
_STATE: Final = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]{0,31}):([0-9]{1,16}):([0-9]{1,10})(?::([0-9]{1,10}))?"
)


class State(NamedTuple):
    """The state of a view that an event id names.

    `orders_digest`: that of the number of orders, None if the view does not have them.
    """

    seq: int
    digest: int
    orders_digest: int | None = None


def event(message: Mapping[str, Any]) -> bytes:
    """One message as an event."""
    kind, data = message["type"], orjson.dumps(message)
    if kind in STATEFUL:
        return b"id: %b\ndata: %b\n\n" % (event_id(message).encode(), data)
    if kind == HEARTBEAT:
        return b"event: %b\ndata: %b\n\n" % (HEARTBEAT.encode(), data)
    if kind == "unsubscribed" or (kind == "subscribed" and not message["resumed"]):
        return b"id:\ndata: %b\n\n" % data
    return b"data: %b\n\n" % data


def event_id(message: Mapping[str, Any]) -> str:
    """The id of a snapshot or a delta: `SYMBOL:SEQ:DIGEST`, and `:ORDERS_DIGEST` if it has one."""
    levels = f"{message['symbol']}:{message['seq']}:{message['digest']}"
    orders = message.get("orders_digest")
    return levels if orders is None else f"{levels}:{orders}"


def parse_event_id(text: str) -> dict[str, State] | None:
    """The states by symbol in one id, or in several separated by commas; None if that is not what it is."""
    states = {}
    for item in text.split(","):
        found = _STATE.fullmatch(item.strip())
        if found is None:
            return None
        orders = None if found[4] is None else int(found[4])
        states[found[1]] = State(int(found[2]), int(found[3]), orders)
    return states


def retry(reconnect: Reconnect, share: float) -> bytes:
    """Tell a browser to wait before it connects again: for the least wait, up to twice as long.

    `share`: a random number from 0 to 1, so that clients do not all come back at once.
    """
    return b"retry: %d\n\n" % int(RETRY_MS[reconnect] * (1 + share))


def end(code: int, share: float) -> bytes:
    """The last event of a stream, which stands for the close frame of a WebSocket."""
    meant = closing(code)
    message = {"type": "close", "code": int(code), "reason": meant.reason}
    return retry(meant.reconnect, share) + event(message)
