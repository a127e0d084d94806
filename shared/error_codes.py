"""Every code that a `ClientError` can have.

A newer gateway may send a code that is not listed here; the client passes it on unchanged.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GATEWAY_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_request": "a message that the gateway cannot read, or fields of the wrong shape",
        "unknown_op": "no such operation",
        "unknown_symbol": "no such instrument",
        "bad_depth": "a depth that is not one of the nine",
        "bad_interval": "an `interval_ms` that is negative or not an integer",
        "bad_group": "a `group` that is not a whole number of ticks, 1 or more",
        "not_subscribed": "no subscription to the symbol",
        "no_orders": "the number of orders was asked for, and the feed of the symbol names levels",
        "limit": "a limit of the gateway: subscriptions of a connection, levels of a full or grouped book, "
        "views, groups, or symbols of a message",
        "rate_limited": "more than a client may ask for in that time; slow down",
        "unauthorized": "the gateway wants a token, or another one",
        "forbidden": "not allowed there, or not with this token",
        "unavailable": "the gateway knows no instruments yet; try again in a few seconds",
    }
)
"""Codes of `error` messages (`docs/protocol.md`, section 3.2)."""

CLIENT_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bad_url": "the gateway's address cannot be understood",
        "bad_encoding": "an encoding other than json and msgpack, or one that the gateway does not speak",
        "bad_request": "HTTP 400 in answer to the handshake",
        "unauthorized": "HTTP 401 in answer to the handshake",
        "forbidden": "HTTP 403 in answer to the handshake",
        "not_found": "HTTP 404 in answer to the handshake: no gateway, or another path",
        "unreachable": "the first connection could not be made",
        "closed": "the connection ended with a final close code, or the client was closed",
        "bad_message": "the gateway sent something that does not follow the contract",
        "inconsistent": "snapshot after snapshot did not lead to a continuous book",
        "not_subscribed": "the client has no subscription to the symbol",
        "not_grouped": "the gateway is too old to group levels",
        "no_book": "the consumer has seen no book of the symbol yet",
        "no_sizes": "the stream does not say what a tick and a lot of the symbol are",
    }
)
"""Codes that the WebSocket client and the stream consumer raise themselves."""
