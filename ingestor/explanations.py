"""Explains rejects to people: which item is wrong, what was found, and what is expected.

An explanation is made only for what is recorded, after the event was refused. So the checks that every event
passes carry no texts.
"""

from collections.abc import Iterator
from typing import Any, Final

from depthcast.ingestor.decoding import described
from depthcast.ingestor.events import CLEAR, DELETE, REDUCE, event_items, is_order_id, op_of, side_of
from depthcast.ingestor.rejects import Reason, RefusedError
from depthcast.shared.instruments import Feed
from depthcast.shared.types import MAX_INTEGER
from depthcast.shared.whole_numbers import as_integer

_PRICE: Final = f"a price is an integer number of ticks, -{MAX_INTEGER} to {MAX_INTEGER}"
_QUANTITY: Final = f"a quantity is an integer number of lots, 0 to {MAX_INTEGER}"
_ORDER_ID: Final = (
    "an order id is an integer, -2**63 to 2**64-1 (a float up to 2**53-1), or text of at most 64 bytes"
)
_OP: Final = "an op is add, update, delete, reduce or clear, or 0 to 4"
_SIDE: Final = "a side is bid (0) or ask (1)"
_EXAMPLE: Final = '["update", "bid", 100, 5]'


def explain(reason: Reason, event: Any, feed: Feed | None) -> str:
    """Why an event was refused for `reason`, if its items tell; `feed`: of its symbol, None if unknown."""
    if reason is Reason.MALFORMED:
        return next(_mistakes(event, feed))
    if reason is Reason.BAD_PRICE:
        return _item("price", event[2], _PRICE)
    if reason is Reason.BAD_QUANTITY:
        return _why_bad_quantity(event)
    if reason is Reason.MISSING_ORDER_ID:
        return "the event has no fifth item: on an orders feed it is the order id"
    return ""


def _mistakes(event: Any, feed: Feed | None) -> Iterator[str]:
    """What makes an event malformed. The last one is true if there is no other."""
    if type(event) is not list or not event:
        found = described(event) if event != [] else "empty"
        yield f"the event is {found}: an event is an array such as {_EXAMPLE}, a value an array of events"
    try:
        op = op_of(event)
    except RefusedError:
        yield _item("op", event[0], _OP)
        return
    _, side, price, quantity, order_id = event_items(event)
    names_order = feed is Feed.ORDERS and op in (DELETE, REDUCE)
    if not (names_order or (op == CLEAR and side is None)) and not _is_side(side):
        yield _item("side", side, _SIDE)
    if not names_order and type(as_integer(price)) is not int:
        yield _item("price", price, _PRICE)
    if op != DELETE and type(as_integer(quantity)) is not int:
        yield _item("quantity", quantity, _QUANTITY)
    if not is_order_id(as_integer(order_id)):
        yield _item("order id", order_id, _ORDER_ID)
    yield "the order is on the other side: an update cannot change its side"


def _is_side(side: object) -> bool:
    try:
        side_of(side)
    except RefusedError:
        return False
    return True


def _why_bad_quantity(event: Any) -> str:
    quantity = as_integer(event[3])
    if type(quantity) is int and 0 < quantity <= MAX_INTEGER:
        return f"quantity is {quantity}: a reduce takes at most what is there"
    expected = "an add or a reduce needs at least 1 lot" if quantity == 0 else _QUANTITY
    return _item("quantity", quantity, expected)


def _item(name: str, value: object, expected: str) -> str:
    found = "absent" if value is None else described(value)
    return f"{name} is {found}: {expected}"
