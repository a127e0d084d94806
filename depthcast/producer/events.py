"""Checks and converts the events that a producer is given (`docs/protocol.md`, section 2.1.1).

Pure. An integer is a number of ticks or lots. A `Decimal` or text is a price or quantity as people write it,
and becomes ticks or lots exactly, or is refused. A float is always refused: it may have lost what it meant.
"""

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, InvalidOperation
from operator import index
from typing import Any, Final, NamedTuple, SupportsIndex

from depthcast.shared.codec import pack
from depthcast.shared.errors import InvalidEvent
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import MAX_INTEGER

OPS: Final = {"add": 0, "update": 1, "delete": 2, "reduce": 3, "clear": 4}
SIDES: Final = {"bid": 0, "ask": 1}

ADD, UPDATE, DELETE, REDUCE, CLEAR = OPS.values()

ITEMS_MAX: Final = 5
ORDER_ID_BYTES_MAX: Final = 64
ORDER_ID_LEAST: Final = -(2**63)
ORDER_ID_MOST: Final = 2**64 - 1

_EXACT: Final = Context(prec=200)
"""Enough digits for any size and any price that is in range."""

Number = int | str | Decimal
EventLike = Sequence[str | int | Decimal | None]
"""`[op, side, price, quantity, order_id]`, trailing items that mean nothing left out."""


class _Refused(Exception):
    """An item is wrong: problem and remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem)


class Sizes(NamedTuple):
    """A symbol's tick and lot size as decimals, its kind of feed, and its listing, if that is known."""

    symbol: str
    feed: Feed
    tick: Decimal
    lot: Decimal
    listing: int | None = None

    @classmethod
    def of(cls, instrument: Instrument, listing: int | None = None) -> "Sizes":
        """The sizes of an instrument."""
        tick, lot = Decimal(instrument.tick_size), Decimal(instrument.lot_size)
        return cls(instrument.symbol, instrument.feed, tick, lot, listing)


def encode_events(sizes: Sizes, events: Iterable[EventLike]) -> tuple[bytes, int]:
    """Return the array in msgpack, and the number of its events; raises `InvalidEvent`."""
    convert = _order_event if sizes.feed is Feed.ORDERS else _level_event
    if isinstance(events, str | bytes | dict):
        raise InvalidEvent(sizes.symbol, None, f"{events!r:.60} is no array", "give a list of events")
    array = []
    for place, event in enumerate(events):
        try:
            array.append(convert(sizes, _items(event)))
        except _Refused as refused:
            raise InvalidEvent(sizes.symbol, place, refused.problem, refused.remedy) from None
    return pack(array), len(array)


def encode_options(symbol: str, atomic: object, ts: object, listing: int | None = None) -> dict[str, object]:
    """Check the options of an entry, and return those that are set; raises `InvalidEvent`.

    `listing`: the one whose sizes the events were converted by, so that no other one takes them.
    """
    options: dict[str, object] = {} if listing is None else {"listing": listing}
    if type(atomic) is not bool:
        raise InvalidEvent(symbol, None, f"atomic is {atomic!r}", "it is True or False")
    if atomic:
        options["atomic"] = True
    if ts is not None:
        if type(ts) is not int or not 0 <= ts <= MAX_INTEGER:
            nanoseconds = type(ts) is int and MAX_INTEGER < ts < MAX_INTEGER * 1000
            remedy = "divide nanoseconds by 1000" if nanoseconds else "it is an integer, in µs since 1970"
            raise InvalidEvent(symbol, None, f"ts is {ts!r}", remedy)
        options["ts"] = ts
    return options


def _items(event: object) -> list[Any]:
    """The five items of an event, None for those left out."""
    if isinstance(event, str | bytes) or not isinstance(event, Sequence):
        raise _Refused(f"{event!r:.60} is no event", 'an event is such as ("update", "bid", 6500010, 5)')
    if not 1 <= len(event) <= ITEMS_MAX:
        raise _Refused(
            f"{event!r:.60} has {len(event)} items", "an event is (op, side, price, quantity, order_id)"
        )
    return [*event, *[None] * (ITEMS_MAX - len(event))]


def _level_event(sizes: Sizes, items: list[Any]) -> list[Any]:
    op, side = _code("op", OPS, items[0]), items[1]
    if op == CLEAR:
        return [op] if side is None else [op, _code("side", SIDES, side)]
    converted = [op, _code("side", SIDES, side), _price(sizes, items[2])]
    return converted if op == DELETE else [*converted, _quantity(sizes, op, items[3])]


def _order_event(sizes: Sizes, items: list[Any]) -> list[Any]:
    op, side = _code("op", OPS, items[0]), items[1]
    if op == CLEAR:
        return [op] if side is None else [op, _code("side", SIDES, side)]
    order_id = _order_id(items[4])
    if op == DELETE:
        return [op, None, None, None, order_id]
    quantity = _quantity(sizes, op, items[3])
    if op == REDUCE:
        return [op, None, None, quantity, order_id]
    return [op, _code("side", SIDES, side), _price(sizes, items[2]), quantity, order_id]


def _code(what: str, codes: dict[str, int], value: object) -> int:
    if isinstance(value, str) and value in codes:
        return codes[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in codes.values():
        return int(value)
    known = ", ".join(f"{name!r} ({code})" for name, code in codes.items())
    raise _Refused(f"{what} is {value!r:.60}", f"it is one of {known}")


def _price(sizes: Sizes, value: object) -> int:
    ticks = _whole("price", "tick", sizes.tick, value)
    if not -MAX_INTEGER <= ticks <= MAX_INTEGER:
        raise _Refused(
            f"price {value} is {ticks} ticks", "a price is at most 2^53 - 1 ticks: check the tick size"
        )
    return ticks


def _quantity(sizes: Sizes, op: int, value: object) -> int:
    lots = _whole("quantity", "lot", sizes.lot, value)
    if lots > MAX_INTEGER:
        raise _Refused(f"quantity {value} is {lots} lots", "it is at most 2^53 - 1 lots: check the lot size")
    if lots < 0:
        raise _Refused(f"quantity {value} is negative", "give the absolute quantity, or use reduce")
    if lots == 0 and op in (ADD, REDUCE):
        raise _Refused("quantity is 0", "only update may have quantity 0, which deletes")
    return lots


def _whole(what: str, unit: str, size: Decimal, value: object) -> int:
    """The number of units in `value`, which must be whole."""
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return index(value)
    if isinstance(value, float):
        raise _Refused(
            f"{what} {value!r} is a float, which may not be exact",
            f"give Decimal('…') or text, or a whole number of {unit}s",
        )
    if not isinstance(value, str | Decimal):
        raise _Refused(f"{what} is {value!r:.60}", f"give a whole number of {unit}s, a Decimal or text")
    number = _decimal(what, value)
    units = _EXACT.divide(number, size)
    whole = units.to_integral_value()
    if units != whole or _EXACT.multiply(whole, size) != number:
        raise _Refused(
            f"{what} {value} is no multiple of the {unit} size {size}",
            f"round it, or register the instrument with a finer {unit} size",
        )
    return int(whole)


def _decimal(what: str, value: str | Decimal) -> Decimal:
    try:
        number = value if isinstance(value, Decimal) else Decimal(value.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or (number and abs(number.adjusted()) > ORDER_ID_BYTES_MAX):
        raise _Refused(f"{what} is {value!r:.60}", "give a decimal number such as '65000.10'")
    if isinstance(value, str) and "_" in value:
        raise _Refused(f"{what} is {value!r:.60}", "write digits without _")
    return number


def _order_id(value: object) -> int | str:
    if value is None:
        raise _Refused("an order id is missing", "the symbol is an orders feed: give it as the fifth item")
    if type(value) is int and ORDER_ID_LEAST <= value <= ORDER_ID_MOST:
        return value
    if type(value) is str:
        try:
            if len(value.encode()) <= ORDER_ID_BYTES_MAX:
                return value
        except UnicodeEncodeError:
            pass
    raise _Refused(
        f"order id is {value!r:.90}", "it is an integer of 64 bits, or text of at most 64 bytes of UTF-8"
    )
