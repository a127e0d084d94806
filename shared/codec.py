"""Encodes and decodes the `deltas` and `snapshots` streams (`docs/protocol.md`, section 2).

Both are msgpack with flat arrays. Encoding trusts its caller; decoding checks everything and raises
`CodecError`. JSON, WebSocket messages and input events are encoded by the modules that use them.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgpack

from depthcast.shared.digest import digest_of_flat
from depthcast.shared.errors import CodecError
from depthcast.shared.types import MAX_INTEGER, Delta, EntryInfo, Snapshot

INFO_FIELD: Final = b"_"
"""Field of a stream entry that describes the entry itself."""

WRITTEN_FIELD: Final = b"_w"
"""Field of a `deltas` entry that says when it was written; the server adds it."""

SNAPSHOT_FIELD: Final = b"s"

Marks = Mapping[str, Any]
"""What a delta or a snapshot says of its book beside levels, by key; readers ignore keys they do not know."""

NO_MARKS: Final[Mapping[str, Any]] = MappingProxyType({})

_DELTA_ITEMS: Final = 6
_SNAPSHOT_ITEMS: Final = 5

_INFO_NEEDED: Final = ("ts", "src", "applied", "rejected", "ignored")
_INFO_WHOLE: Final = ("lag_ms", "entries", "lost")

_WRITTEN_DIGITS: Final = 18

LARGEST: Final = 1 << 62
"""Greatest seq or time that is taken: what is behind the decoder keeps them in 64 bits with a sign."""

_INTEGERS: Final = {int}
_MOST = MAX_INTEGER
"""Defined in this module, so that it is a C constant when compiled."""


def pack(value: object) -> bytes:
    """Encode with msgpack. Integers beyond 64 bits raise `OverflowError`."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(raw: bytes, what: str) -> Any:
    """Decode exactly one msgpack value; raises `CodecError`, which names `what`."""
    try:
        return msgpack.unpackb(raw, raw=False, strict_map_key=False)
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError) as error:
        raise CodecError(what, f"not msgpack ({error or type(error).__name__})") from error


def encode_delta(delta: Delta, marks: Marks = NO_MARKS) -> bytes:
    """One symbol's field of a `deltas` entry: `[prev_seq, seq, bids, asks, digest, events, marks]`.

    Empty marks are left out.
    """
    return pack((*delta, dict(marks)) if marks else delta)


def encode_deltas(
    deltas: Iterable[tuple[str, Delta]], marks: Mapping[str, Marks] = NO_MARKS
) -> list[tuple[bytes, bytes]]:
    """Encode the fields of many symbols, in order; `marks` by symbol.

    One packer serves all of them: making it is most of the cost.
    """
    packed = msgpack.Packer(use_bin_type=True).pack
    if not marks:
        return [(symbol.encode(), packed(delta)) for symbol, delta in deltas]
    return [
        (symbol.encode(), packed((*delta, dict(marks[symbol])) if symbol in marks else delta))
        for symbol, delta in deltas
    ]


def decode_marks(raw: bytes) -> Marks:
    """The marks of a delta that `decode_delta` accepts, empty if it has none; trailing items are ignored."""
    items = unpack(raw, "delta")
    return _marks(items, _DELTA_ITEMS)


def decode_delta(raw: bytes) -> Delta:
    """Inverse of `encode_delta`; trailing items are ignored."""
    return _delta(unpack(raw, "delta"))


def decode_marked_delta(raw: bytes) -> tuple[Delta, Marks]:
    """A delta and its marks, which are empty if it has none."""
    items = unpack(raw, "delta")
    delta = _delta(items)
    return delta, _marks(items, _DELTA_ITEMS)


def decode_trailing_marks(raw: bytes) -> Marks:
    """The marks of a delta from their first byte on, if nothing follows them."""
    found = unpack(raw, "delta")
    return found if isinstance(found, dict) else NO_MARKS


def _delta(items: Any) -> Delta:
    if type(items) is not list or len(items) != _DELTA_ITEMS:
        items = _array(items, _DELTA_ITEMS, "delta")
    prev_seq, seq, bids, asks, digest, events = items
    if not (
        type(prev_seq) is type(seq) is type(digest) is type(events) is int
        and min(prev_seq, digest, events) >= 0
    ):
        _whole("delta", prev_seq, seq, digest, events)
    if prev_seq >= seq:
        raise CodecError("delta", f"seq {seq} does not follow prev_seq {prev_seq}")
    if seq > LARGEST:
        _bounded("delta", seq)
    # Fast check of both sides at once; on failure `_flat` finds out what is wrong.
    if not (
        type(bids) is type(asks) is list
        and len(bids) % 2 == 0 == len(asks) % 2
        and _in_range(bids, 0)
        and _in_range(asks, 0)
    ):
        bids, asks = _flat("delta", bids, 0), _flat("delta", asks, 0)
    for side in (bids, asks):
        if names_twice(side):
            raise CodecError("delta", "names a price twice")
    # `tuple.__new__` avoids the Python function call that `Delta(…)` would cost.
    return tuple.__new__(Delta, (prev_seq, seq, bids, asks, digest, events))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Field `s` of a snapshot entry: `[seq, bids, asks, digest, ts, marks]`; empty marks are left out."""
    return pack((*snapshot[:_SNAPSHOT_ITEMS], *([dict(snapshot.marks)] if snapshot.marks else [])))


def decode_snapshot(raw: bytes) -> Snapshot:
    """Inverse of `encode_snapshot`; trailing items are ignored.

    The digest is checked here, because deltas only move it: they would agree with a wrong book for ever.
    """
    whole = unpack(raw, "snapshot")
    seq, bids, asks, digest, ts = _array(whole, _SNAPSHOT_ITEMS, "snapshot")
    _whole("snapshot", seq, digest, ts)
    _bounded("snapshot", seq, ts)
    snapshot = Snapshot(
        seq,
        _flat("snapshot", bids, 1),
        _flat("snapshot", asks, 1),
        digest,
        ts,
        _marks(whole, _SNAPSHOT_ITEMS) or None,
    )
    for side in (bids, asks):
        if names_twice(side):
            raise CodecError("snapshot", "names a price twice")
    if (held := digest_of_flat(bids, asks)) != digest:
        raise CodecError("snapshot", f"has the digest {held}, but says {digest}")
    return snapshot


def encode_info(info: EntryInfo) -> bytes:
    """Encode the `_` field of a `deltas` entry, without optional values that are None."""
    return pack({name: value for name, value in info._asdict().items() if value is not None})


def decode_info(raw: bytes) -> EntryInfo:
    """Inverse of `encode_info`; unknown keys are ignored."""
    value = unpack(raw, "entry info")
    if not isinstance(value, dict):
        raise CodecError("entry info", f"expected a map, got {type(value).__name__}")
    get = value.get
    missing = [name for name in _INFO_NEEDED if name not in value]
    if missing:
        raise CodecError("entry info", f"lacks {', '.join(missing)}")
    ts, src, applied, rejected, ignored = [value[name] for name in _INFO_NEEDED]
    event_ts, prev, successor = get("event_ts"), get("prev"), get("successor")
    optional = [get(name) for name in _INFO_WHOLE]
    whole = [value for value in (event_ts, *optional) if value is not None]
    _whole("entry info", ts, applied, rejected, ignored, *whole)
    _bounded("entry info", ts)
    if (
        not isinstance(src, str)
        or not (prev is None or isinstance(prev, str))
        or not (successor is None or isinstance(successor, str))
    ):
        raise CodecError("entry info", "src, prev and successor must be text")
    lag_ms, entries, lost = optional
    inputs = _names(get("inputs"))
    return EntryInfo(
        ts, src, applied, rejected, ignored, event_ts, prev, successor, lag_ms, entries, lost, inputs
    )


def decode_written(raw: bytes) -> int | None:
    """The time in an entry's field `_w`, µs since 1970; None if it is malformed."""
    return int(raw) if raw.isdigit() and len(raw) <= _WRITTEN_DIGITS else None


def _names(value: Any) -> tuple[str, ...] | None:
    if value and not (isinstance(value, list) and set(map(type, value)) == {str}):
        raise CodecError("entry info", "inputs must be a list of symbols")
    return tuple(value) if value else None


def _marks(items: list[Any], place: int) -> Marks:
    found = items[place] if len(items) > place else None
    return found if isinstance(found, dict) else NO_MARKS


def _array(value: Any, items: int, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) < items:
        raise CodecError(what, f"expected an array of at least {items} items")
    return value[:items]


def _whole(what: str, *numbers: object) -> None:
    for number in numbers:
        if type(number) is not int or number < 0:
            raise CodecError(what, f"{number!r} is not a whole number")


def _bounded(what: str, *numbers: int) -> None:
    for number in numbers:
        if number > LARGEST:
            raise CodecError(what, f"{number} is out of range")


def _flat(what: str, value: Any, least_quantity: int) -> Sequence[int]:
    if not isinstance(value, list) or len(value) % 2:
        raise CodecError(what, "levels must be a flat array of price and quantity")
    if _in_range(value, least_quantity):
        return value
    if set(map(type, value)) != _INTEGERS:
        raise CodecError(what, "prices and quantities must be integers")
    prices, quantities = value[::2], value[1::2]
    if min(prices) < -MAX_INTEGER or max(prices) > MAX_INTEGER:
        raise CodecError(what, f"prices {min(prices)} to {max(prices)} are out of range")
    raise CodecError(what, f"quantities {min(quantities)} to {max(quantities)} are out of range")


def names_twice(flat: Sequence[int]) -> bool:
    """Whether a price stands more than once in `[price, quantity, …]`."""
    return len(set(flat[::2])) * 2 != len(flat)


def _in_range(flat: list[Any], least_quantity: int) -> bool:
    """Whether all of `[price, quantity, …]` are integers in range."""
    try:
        for at in range(0, len(flat), 2):
            price, quantity = flat[at], flat[at + 1]
            if type(price) is not int or type(quantity) is not int:
                return False
            ticks, lots = price, quantity
            if not (-_MOST <= ticks <= _MOST and least_quantity <= lots <= _MOST):
                return False
    except OverflowError:  # pragma: no cover  # compiled, ticks and lots are integers of 64 bits
        return False
    return True
