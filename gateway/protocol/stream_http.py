"""The HTTP of an event stream: what a request asks for, and how the answer begins (`docs/protocol.md`, 3.6).

A request means what a `subscribe` means, and the same rules check it. Its headers are those of a browser's
`EventSource`, which sends nothing else, and never again.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from depthcast.gateway.protocol.events import CONTENT_TYPE, State, event, parse_event_id
from depthcast.gateway.protocol.http_head import Head, HeadError
from depthcast.gateway.protocol.query import boolean_in, number_in
from depthcast.gateway.protocol.requests import Refused, Subscribe, quoted, subscription

EXAMPLE: Final = "/v1/stream?symbols=BTC-USD,ETH-USD&depth=10"
LISTS: Final = ("symbols", "last_event_id")
NUMBERS: Final = ("depth", "interval_ms", "group")
BOOLEANS: Final = ("orders",)
PARAMETERS: Final = (*LISTS, *NUMBERS, *BOOLEANS, "token")
"""`token` is looked at before anything else (`depthcast.gateway.runtime.access`)."""
PASSING: Final = frozenset({429, 503})
"""Statuses of what may be otherwise a little later."""


def parse_stream(head: Head, symbols_max: int) -> Subscribe:
    """Return what a request subscribes to; raises `HeadError`."""
    given = _parameters(head.target.partition("?")[2])
    fields: dict[str, Any] = {name: number_in(given[name]) for name in NUMBERS if name in given}
    fields |= {name: boolean_in(given[name]) for name in BOOLEANS if name in given}
    states = _resume(head, given)
    resume = {symbol: state._asdict() for symbol, state in states.items()}
    try:
        return subscription({**fields, "symbols": _symbols(given), "resume": resume}, symbols_max)
    except Refused as refused:
        raise HeadError(400, refused.code, refused.message) from None


def _parameters(query: str) -> dict[str, str]:
    """The parameters by name; a list that is given in several pieces is one list."""
    found = parse_qs(query, keep_blank_values=True)
    for name, values in found.items():
        if name not in PARAMETERS:
            raise _bad(f"unknown parameter {quoted(name)}; known are {', '.join(PARAMETERS)}")
        if len(values) > 1 and name not in LISTS:
            shown = "" if name == "token" else f", as {quoted(values)}"
            raise _bad(f"{name} is given {len(values)} times{shown}; give it once")
    return {name: ",".join(values) for name, values in found.items()}


def _symbols(given: Mapping[str, str]) -> list[str]:
    if "symbols" not in given:
        raise _bad(f"symbols are missing; name them as in {EXAMPLE}, or symbols=* for all")
    symbols = given["symbols"].split(",")
    if "" in symbols:
        raise _bad(f"symbols {quoted(given['symbols'])} has an empty name; write them as in {EXAMPLE}")
    return symbols


def _resume(head: Head, given: Mapping[str, str]) -> dict[str, State]:
    """What a client has already, by its `Last-Event-ID`, or by the query where the header says nothing.

    Where both are there, the query is older: a browser repeats it each time it connects again. A header that
    is none of ours may come from another service at this address, and means that the client has nothing.
    """
    headers = [value for value in head.values("last-event-id") if value]
    if headers:
        return (parse_event_id(headers[0]) if len(headers) == 1 else None) or {}
    text = given.get("last_event_id")
    if not text:
        return {}
    states = parse_event_id(text)
    if states is None:
        raise _bad(
            f"last_event_id {quoted(text)} must be SYMBOL:SEQ:DIGEST, as in the ids of events, with "
            ":ORDERS_DIGEST where those have it, or several of them with commas between"
        )
    return states


def _bad(message: str) -> HeadError:
    return HeadError(400, "bad_request", message)


def stream_head(head: Head, *further: str) -> bytes:
    """The head of the answer, with `further` lines. It has no length: the stream ends with its connection.

    Nothing on the way may keep, change or collect events. The page of an allowed origin may read them.
    """
    lines = [
        "HTTP/1.1 200 OK",
        f"Content-Type: {CONTENT_TYPE}; charset=utf-8",
        "Cache-Control: no-store, no-transform",
        "X-Accel-Buffering: no",  # nginx, and proxies that follow it
        "X-Content-Type-Options: nosniff",
        "Vary: Origin",
        "Connection: close",
    ]
    lines += [f"Access-Control-Allow-Origin: {origin}" for origin in head.values("origin")]
    lines += further
    return ("\r\n".join(lines) + "\r\n\r\n").encode("iso-8859-1")


def refused_stream(head: Head, error: HeadError, wait: bytes, *further: str) -> bytes | None:
    """The same as a stream, `wait` and one `error`, for a browser that may come again; None for others.

    `EventSource` gives up for good at any status but 200, even while a gateway restarts.
    """
    accepts = any(CONTENT_TYPE in value.lower() for value in head.values("accept"))
    if error.status not in PASSING or not accepts:
        return None
    message = {"type": "error", "code": error.code, "message": error.message}
    return stream_head(head, *further) + wait + event(message)
