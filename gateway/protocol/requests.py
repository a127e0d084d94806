"""Checks what clients send: turns a raw message into a request, or into the error to answer with.

The checks are syntactic: shapes, types and ranges. `depthcast.gateway.delivery.request_handler` carries out
requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any, Final, NamedTuple

import orjson

from depthcast.gateway.protocol.messages import DEPTHS, TEXTUAL, UNGROUPED, Encoding
from depthcast.shared.codec import unpack
from depthcast.shared.errors import CodecError
from depthcast.shared.types import MAX_INTEGER
from depthcast.shared.whole_numbers import as_integer

RequestId = int | str

ID_CHARACTERS_MAX: Final = 64
TOKEN_CHARACTERS_MAX: Final = 8_192
DEPTH_DEFAULT: Final = 25
KNOWN_OPS: Final = "subscribe, unsubscribe, credit, ping and auth"
WILDCARD: Final = "*"
QUOTED_MAX: Final = 64
"""An error quotes up to this many characters of a client's value."""


_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 2 * QUOTED_MAX
_SHORT.maxlist = _SHORT.maxdict = 20
_SHORT.maxlevel = 3

SYMBOLS_MAX: Final = 5_000
SYMBOLS_LEAST: Final = 100
"""A message may name this many symbols, however few subscriptions a connection may have."""
REPEATS: Final = 2
COMMAS_PER_SYMBOL: Final = 4
"""One in `symbols`, which may name it twice, and two in `resume`."""
COMMAS_BESIDE: Final = 1_000


class Unparsable(Exception):
    """Raised for bytes that are neither JSON nor msgpack. Ten of them end the connection."""


class Refused(Exception):
    """A request that is answered by an error: the protocol's `code`, a text, and the `id` if readable."""

    def __init__(self, code: str, message: str, request_id: RequestId | None = None) -> None:
        self.code = code
        self.message = message
        self.id = request_id
        super().__init__(f"{code}: {message}")


class Resume(NamedTuple):
    """The state a client has of a symbol's view from an earlier connection.

    `orders_digest`: that of the number of orders, if it has these.
    """

    seq: int
    digest: int
    orders_digest: int | None = None


class Subscribe(NamedTuple):
    """`symbols` as sent, to be checked one by one; `wildcard`: all symbols, now and later.

    `parts`: large snapshots may come in parts. `group_ticks`: width of the buckets in which levels are
    summed, `UNGROUPED` for the book as it is. `orders`: with the number of orders at each level.
    """

    id: RequestId | None
    symbols: list[Any]
    depth: int
    interval_ms: int
    resume: Mapping[str, Resume]
    wildcard: bool
    parts: bool = False
    group_ticks: int = UNGROUPED
    orders: bool = False


class Unsubscribe(NamedTuple):
    """`wildcard`: every subscription of the session."""

    id: RequestId | None
    symbols: list[Any]
    wildcard: bool


class Credit(NamedTuple):
    """`messages` more snapshots and deltas may be sent."""

    messages: int


class Ping(NamedTuple):
    """Asks for a `pong`."""

    id: RequestId | None


@dataclass(frozen=True, slots=True)
class Auth:
    """Presents a token: the first one of a connection, or another one before it expires."""

    id: RequestId | None
    token: str = field(repr=False)


Request = Subscribe | Unsubscribe | Credit | Ping | Auth


def parse(raw: str | bytes, encoding: Encoding, symbols_max: int = SYMBOLS_MAX) -> Request:
    """Return the request in a message; raises `Unparsable` or `Refused`.

    A message has at most twice `symbols_max` symbols in its list, and `symbols_max` in `resume`.
    """
    symbols_max = max(symbols_max, SYMBOLS_LEAST)
    _check_size(raw, encoding, symbols_max)
    message = _decode(raw, encoding)
    if not isinstance(message, dict):
        raise Refused("bad_request", f"a message is a map with an op, not {_kind(message)}")
    request_id = _id(message)
    op = message.get("op")
    try:
        if op == "subscribe":
            return _subscribe(message, request_id, symbols_max)
        if op == "unsubscribe":
            symbols = _symbols(message, symbols_max)
            return Unsubscribe(request_id, symbols, symbols == [WILDCARD])
        if op == "credit":
            return Credit(_messages(message))
        if op == "auth":
            return Auth(request_id, _token(message))
        if op == "ping":
            return Ping(request_id)
    except Refused as refused:
        raise Refused(refused.code, refused.message, request_id) from None
    if not isinstance(op, str):
        raise Refused("bad_request", f'op must be text such as "subscribe", not {_kind(op)}', request_id)
    raise Refused(
        "unknown_op",
        f"unknown op {quoted(op)}; known are {KNOWN_OPS}",
        request_id,
    )


def subscription(fields: Mapping[str, Any], symbols_max: int = SYMBOLS_MAX) -> Subscribe:
    """Return the request of a `subscribe` with these fields, which came as no message; raises `Refused`."""
    return _subscribe(fields, None, max(symbols_max, SYMBOLS_LEAST))


def quoted(value: object) -> str:
    """Return a client's value for use in an error, cut to `QUOTED_MAX` characters."""
    text = _SHORT.repr(value)
    return text if len(text) <= QUOTED_MAX else text[: QUOTED_MAX - 1] + "…"


def _decode(raw: str | bytes, encoding: Encoding) -> Any:
    try:
        if encoding in TEXTUAL:
            return orjson.loads(raw)
        assert isinstance(raw, bytes)
        return unpack(raw, "message")
    except (orjson.JSONDecodeError, CodecError) as error:
        raise Unparsable(str(error)) from error


def _check_size(raw: str | bytes, encoding: Encoding, symbols_max: int) -> None:
    """Refuse a text with more values than an honest message has, before it is decoded.

    A comma stands between two values. In msgpack nothing tells the number of values; its lists and maps say
    their own length before anything is built.
    """
    if encoding in TEXTUAL:
        commas = raw.count(",") if isinstance(raw, str) else raw.count(b",")
        _check_count("message", commas, COMMAS_PER_SYMBOL * symbols_max + COMMAS_BESIDE)


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise Refused("limit", f"{what} has {count} items, more than {most}; ask for fewer at a time")


def _id(message: Mapping[str, Any]) -> RequestId | None:
    if "id" not in message:
        return None
    request_id = as_integer(message["id"])
    if type(request_id) is int or (isinstance(request_id, str) and len(request_id) <= ID_CHARACTERS_MAX):
        return request_id
    raise Refused(
        "bad_request",
        f"id must be an integer or text of up to {ID_CHARACTERS_MAX} characters, not {quoted(request_id)}",
    )


def _subscribe(message: Mapping[str, Any], request_id: RequestId | None, symbols_max: int) -> Subscribe:
    symbols = _symbols(message, symbols_max)
    depth = as_integer(message.get("depth", DEPTH_DEFAULT))
    if type(depth) is not int or depth not in DEPTHS:
        known = ", ".join(map(str, DEPTHS))
        raise Refused("bad_depth", f"depth {quoted(depth)} is not one of {known} (0 is the full book)")
    interval_ms = as_integer(message.get("interval_ms", 0))
    if type(interval_ms) is not int or interval_ms < 0:
        raise Refused(
            "bad_interval", f"interval_ms {quoted(interval_ms)} must be a whole number of ms, 0 or more"
        )
    group_ticks = checked_group(message.get("group", UNGROUPED))
    return Subscribe(
        request_id,
        symbols,
        depth,
        interval_ms,
        _resume(message, symbols_max),
        symbols == [WILDCARD],
        _boolean("parts", message.get("parts", False)),
        group_ticks,
        checked_orders(message.get("orders", False), group_ticks),
    )


def checked_orders(orders: Any, group_ticks: int) -> bool:
    """Return a client's `orders`, which it may not want in groups; raises `Refused`."""
    wanted = _boolean("orders", orders)
    if wanted and group_ticks != UNGROUPED:
        raise Refused(
            "bad_request", f"orders are not counted in groups; leave out one, or group {group_ticks}"
        )
    return wanted


def checked_group(group: Any) -> int:
    """Return a client's `group` in ticks; raises `Refused`."""
    ticks = as_integer(group)
    if type(ticks) is not int or not 1 <= ticks <= MAX_INTEGER:
        text = f"group {quoted(group)} must be a whole number of ticks, 1 to {MAX_INTEGER}"
        raise Refused("bad_group", text)
    return ticks


def _symbols(message: Mapping[str, Any], symbols_max: int) -> list[Any]:
    symbols = message.get("symbols")
    if not isinstance(symbols, list) or not symbols:
        raise Refused("bad_request", f"symbols must be a list of at least one symbol, not {quoted(symbols)}")
    _check_count("symbols", len(symbols), REPEATS * symbols_max)
    return symbols


def _resume(message: Mapping[str, Any], symbols_max: int) -> dict[str, Resume]:
    given = message.get("resume")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Refused("bad_request", f"resume must be a map of symbols, not {_kind(given)}")
    _check_count("resume", len(given), symbols_max)
    resume = {}
    for symbol, state in given.items():
        seq, digest = (state.get("seq"), state.get("digest")) if isinstance(state, dict) else (None, None)
        seq, digest = as_integer(seq), as_integer(digest)
        if type(seq) is not int or type(digest) is not int:
            raise Refused(
                "bad_request", f"resume of {quoted(symbol)} must be a map of the integers seq and digest"
            )
        orders_digest = as_integer(state.get("orders_digest"))
        if orders_digest is not None and type(orders_digest) is not int:
            raise Refused(
                "bad_request",
                f"orders_digest in resume of {quoted(symbol)} is no integer: {quoted(orders_digest)}",
            )
        resume[symbol] = Resume(seq, digest, orders_digest)
    return resume


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused("bad_request", f"{name} must be true or false, not {quoted(value)}")
    return value


def _messages(message: Mapping[str, Any]) -> int:
    messages = as_integer(message.get("messages"))
    if type(messages) is not int or not 1 <= messages <= MAX_INTEGER:
        raise Refused("bad_request", f"messages must be a whole number, 1 or more, not {quoted(messages)}")
    return messages


def _token(message: Mapping[str, Any]) -> str:
    """The token of a message; what is wrong with it is not quoted, because it may be one nearly."""
    token = message.get("token")
    if not isinstance(token, str) or not 1 <= len(token) <= TOKEN_CHARACTERS_MAX:
        raise Refused("bad_request", f"token must be text of up to {TOKEN_CHARACTERS_MAX} characters")
    return token


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
