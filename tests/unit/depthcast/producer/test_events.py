"""A producer converts exactly or refuses, and the ingestor accepts whatever it converts."""

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.ingestor.events import levels_event, orders_event
from depthcast.producer.events import Sizes, encode_events, encode_options
from depthcast.shared.codec import unpack
from depthcast.shared.errors import InvalidEvent
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import MAX_INTEGER, Side, Symbol

LEVELS = Sizes.of(Instrument(Symbol("BTC-USD"), "0.01", "0.001"))
ORDERS = Sizes.of(Instrument(Symbol("BTC-USD"), "0.01", "0.001", Feed.ORDERS))


def converted(sizes: Sizes, *events: Any) -> Any:
    array, count = encode_events(sizes, events)
    assert count == len(events)
    return unpack(array, "events")


class AnIndex:
    """An integer of another library."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("event", "result"),
    [
        (("update", "bid", Decimal("65000.10"), "0.005"), [1, 0, 6500010, 5]),
        (("update", "bid", 6500010, 5), [1, 0, 6500010, 5]),
        (("add", Side.ASK, "65000.1", Decimal("0.0050")), [0, 1, 6500010, 5]),
        (["update", 1, "6.500010e4", "5E-3"], [1, 1, 6500010, 5]),
        ((1, 0, "-25", 0), [1, 0, -2500, 0]),
        (("delete", "ask", " 0.01 "), [2, 1, 1]),
        (("delete", "ask", 1, 99, 5), [2, 1, 1]),
        (("reduce", "bid", 1, "0.001", "ignored"), [3, 0, 1, 1]),
        (("clear",), [4]),
        (("clear", None), [4]),
        (("clear", "ask"), [4, 1]),
        (("add", "bid", AnIndex(), AnIndex()), [0, 0, 7, 7]),
        (("add", "bid", MAX_INTEGER, MAX_INTEGER), [0, 0, MAX_INTEGER, MAX_INTEGER]),
        (("add", "bid", "90071992547409.91", "9007199254740.991"), [0, 0, MAX_INTEGER, MAX_INTEGER]),
    ],
)
def test_levels(event: Any, result: list[Any]) -> None:
    assert converted(LEVELS, event) == [result]


@pytest.mark.parametrize(
    ("event", "result"),
    [
        (("add", "bid", "1.00", "0.005", 7), [0, 0, 100, 5, 7]),
        (("update", "ask", 100, 0, "a"), [1, 1, 100, 0, "a"]),
        (("delete", None, None, None, 7), [2, None, None, None, 7]),
        (("delete", "bid", "1.005", 1.5, 7), [2, None, None, None, 7]),
        (("reduce", None, None, "0.002", 2**64 - 1), [3, None, None, 2, 2**64 - 1]),
        (("clear", "bid"), [4, 0]),
    ],
)
def test_orders(event: Any, result: list[Any]) -> None:
    assert converted(ORDERS, event) == [result]


WRONG = [
    (("update", "bid", 65000.10, 5), "65000.1 is a float", "Decimal"),
    (("update", "bid", 6500010.0, 5), "float", "Decimal"),
    (("update", "bid", 1, 0.005), "quantity 0.005 is a float", "Decimal"),
    (("update", "bid", "65000.105", 5), "65000.105 is no multiple of the tick size 0.01", "finer tick size"),
    (("update", "bid", 1, Decimal("0.0005")), "no multiple of the lot size 0.001", "round it"),
    (("update", "bid", "abc", 5), "price is 'abc'", "decimal"),
    (("update", "bid", "1_000", 5), "1_000", "without _"),
    (("update", "bid", Decimal("NaN"), 5), "NaN", "decimal"),
    (("update", "bid", Decimal("Infinity"), 5), "Infinity", "decimal"),
    (("update", "bid", "1e999999999", 5), "1e999999999", "decimal"),
    (("update", "bid", True, 5), "price is True", "Decimal or text"),
    (("update", "bid", None, 5), "price is None", "Decimal or text"),
    (("update", "bid", 1), "quantity is None", "Decimal or text"),
    (("update", "bid", 2**53, 5), "9007199254740992 ticks", "tick size"),
    (("update", "bid", 1, 2**53), "9007199254740992 lots", "lot size"),
    (("update", "bid", 1, -1), "negative", "reduce"),
    (("add", "bid", 1, 0), "quantity is 0", "only update"),
    (("reduce", "bid", 1, "0.000"), "quantity is 0", "only update"),
    (("upsert", "bid", 1, 1), "op is 'upsert'", "'update' (1)"),
    ((True, "bid", 1, 1), "op is True", "'add' (0)"),
    ((5, "bid", 1, 1), "op is 5", "'clear' (4)"),
    (("add", "buy", 1, 1), "side is 'buy'", "'bid' (0)"),
    (("add", None, 1, 1), "side is None", "'bid' (0)"),
    (("clear", "buy"), "side is 'buy'", "'ask' (1)"),
    ((), "has 0 items", "op, side"),
    ((1, 0, 1, 1, None, 6), "has 6 items", "op, side"),
    ("clear", "is no event", "update"),
    (5, "is no event", "update"),
]


@pytest.mark.parametrize(("event", "problem", "remedy"), WRONG)
def test_what_is_wrong_is_refused_with_value_and_remedy(event: Any, problem: str, remedy: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        encode_events(LEVELS, [("clear",), event])
    assert caught.value.place == 1
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert str(caught.value).startswith("BTC-USD, event 1: ")


@pytest.mark.parametrize("order_id", [None, 1.0, True, b"a", 2**64, -(2**63) - 1, "ö" * 33, "\ud800", ["a"]])
def test_an_order_id_that_is_none_is_refused(order_id: Any) -> None:
    with pytest.raises(InvalidEvent, match="order id"):
        encode_events(ORDERS, [("add", "bid", 1, 1, order_id)])


@pytest.mark.parametrize("events", ["clear", b"x", {"op": 1}])
def test_what_is_no_array_is_refused(events: Any) -> None:
    with pytest.raises(InvalidEvent, match="is no array"):
        encode_events(LEVELS, events)


@pytest.mark.parametrize(
    ("ts", "remedy"),
    [
        (1_769_904_000_199_000_000, "divide nanoseconds by 1000"),
        (-1, "integer, in µs"),
        (1.5, "integer, in µs"),
        (True, "integer, in µs"),
        (2**70, "integer, in µs"),
    ],
)
def test_a_bad_source_time_is_refused(ts: Any, remedy: str) -> None:
    with pytest.raises(InvalidEvent, match=remedy):
        encode_options("BTC-USD", False, ts)


def test_options() -> None:
    assert encode_options("BTC-USD", False, None) == {}
    assert encode_options("BTC-USD", True, 5) == {"atomic": True, "ts": 5}
    with pytest.raises(InvalidEvent, match="atomic is 1"):
        encode_options("BTC-USD", 1, None)


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.decimals(),
    st.binary(max_size=3),
    st.sampled_from(["add", "update", "delete", "reduce", "clear", "bid", "ask", "1.5", "0.01"]),
    st.integers(0, 5), st.decimals(-100, 100, places=3),
)  # fmt: skip


@given(st.lists(anything, max_size=6), st.sampled_from([LEVELS, ORDERS]))
def test_whatever_is_given_is_refused_or_right_for_the_ingestor(event: list[Any], sizes: Sizes) -> None:
    try:
        (result,) = converted(sizes, event)
    except InvalidEvent:
        return
    (orders_event if sizes is ORDERS else levels_event)(result)


@given(
    st.integers(-MAX_INTEGER, MAX_INTEGER),
    st.integers(0, MAX_INTEGER),
    st.sampled_from(["0.01", "1", "0.00000000000000000001", "0.03", "25", "0.5"]),
)
def test_text_and_decimals_become_the_same_ticks_and_lots(ticks: int, lots: int, size: str) -> None:
    sizes = Sizes.of(Instrument(Symbol("X"), size, size))
    number = Decimal(size)
    price, quantity = (Decimal(format(Decimal(units), "f")) for units in (ticks, lots))
    with localcontext(prec=100):
        price, quantity = price * number, quantity * number
    assert converted(sizes, ("update", "bid", price, quantity)) == [[1, 0, ticks, lots]]
    assert converted(sizes, ("update", "bid", str(price), f"{quantity:f}")) == [[1, 0, ticks, lots]]
