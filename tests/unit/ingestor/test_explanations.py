"""What a reject says to a person: which item, what was found, what is expected."""

from random import Random
from typing import Any

import pytest

from depthcast.ingestor.decoding import read_json
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.explanations import explain
from depthcast.ingestor.rejects import DETAIL_CHARS_MAX, Reason
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol
from tests.random_events import JUNK, encode, random_event

ONE = Symbol("A")
PRICE = "a price is an integer number of ticks, -9007199254740991 to 9007199254740991"
QUANTITY = "a quantity is an integer number of lots, 0 to 9007199254740991"
ARRAY = 'an event is an array such as ["update", "bid", 100, 5], a value an array of events'
OP = "an op is add, update, delete, reduce or clear, or 0 to 4"
SIDE = "a side is bid (0) or ask (1)"
ORDER_ID = "an order id is an integer, -2**63 to 2**64-1 (a float up to 2**53-1), or text of at most 64 bytes"


def refused(event: Any, feed: Feed, *, as_json: bool = True) -> list[tuple[str, str]]:
    engine = Engine(0, 1)
    engine.register(Instrument(ONE, feed=feed))
    engine.apply("1-0", [(b"A", b'[["update","bid",100,5,7],["add","bid",100,5,7]]')])
    engine.drain()
    engine.apply("2-0", [(b"A", event if isinstance(event, bytes) else encode([event], as_json))])
    return [(str(reject.reason), reject.detail) for reject in engine.drain().rejects]


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ("update", f'the event is "update": {ARRAY}'),
        (5, f"the event is 5: {ARRAY}"),
        (None, f"the event is null: {ARRAY}"),
        ({}, f"the event is a map: {ARRAY}"),
        ([], f"the event is empty: {ARRAY}"),
        (["UPDATE", "bid", 100, 5], f'op is "UPDATE": {OP}'),
        ([[]], f"op is an array of 0 items: {OP}"),
        (["update", "buy", 100, 5], f'side is "buy": {SIDE}'),
        (["update"], f"side is absent: {SIDE}"),
        (["clear", True], f"side is true: {SIDE}"),
        (["update", "bid", 12.5, 5], f"price is 12.5: {PRICE}"),
        (["update", "bid", None, 5], f"price is absent: {PRICE}"),
        (["update", "bid", "100", 5], f'price is "100": {PRICE}'),
        (["update", "bid", 1e300, 5], f"price is 1e+300: {PRICE}"),
        (["update", "bid", 100, 0.5], f"quantity is 0.5: {QUANTITY}"),
        (["update", "bid", 100, True], f"quantity is true: {QUANTITY}"),
        (["update", "bid", 100], f"quantity is absent: {QUANTITY}"),
    ],
)
def test_malformed_events(event: Any, detail: str) -> None:
    for feed in Feed:
        assert refused(event, feed) == [("malformed", detail)]
        assert refused(event, feed, as_json=False) == [("malformed", detail)]


@pytest.mark.parametrize(
    ("event", "reason", "detail"),
    [
        (["delete", 0, 0, 0, 1.5], "malformed", f"order id is 1.5: {ORDER_ID}"),
        (["delete", 0, 0, 0, 2.0**53], "malformed", f"order id is 9007199254740992.0: {ORDER_ID}"),
        (
            ["update", 0, 5, 5, "é" * 33],
            "malformed",
            "order id is " + '"' + "\\u00e9" * 9 + f"\\u00…: {ORDER_ID}",
        ),
        (["reduce", "?", "?", None, 7], "malformed", f"quantity is absent: {QUANTITY}"),
        (
            ["update", 1, 500, 5, 7],
            "malformed",
            "the order is on the other side: an update cannot change its side",
        ),
        (
            ["add", 0, 1, 1],
            "missing_order_id",
            "the event has no fifth item: on an orders feed it is the order id",
        ),
        (["reduce", 0, 0, 9, 7], "bad_quantity", "quantity is 9: a reduce takes at most what is there"),
        (["add", 0, 1, 0, 1], "bad_quantity", "quantity is 0: an add or a reduce needs at least 1 lot"),
        (["add", 0, 1, -4.0, 1], "bad_quantity", f"quantity is -4: {QUANTITY}"),
        (["add", 0, 2**53, 1, 1], "bad_price", f"price is 9007199254740992: {PRICE}"),
        (["delete", 0, 0, 0, 9], "unknown_order", ""),
    ],
)
def test_events_of_orders(event: Any, reason: str, detail: str) -> None:
    assert refused(event, Feed.ORDERS) == [(reason, detail)]


def test_a_number_that_only_looks_integral_is_not_shown_as_one() -> None:
    raw = b'[["update","bid",9007199254740991.4,5]]'
    assert refused(raw, Feed.LEVELS) == [("malformed", f"price is a number with a fraction: {PRICE}")]


def test_details_are_bounded_whatever_is_sent() -> None:
    event = read_json('["' + "x" * 100_000 + '",' + "9" * 4000 + "]")
    assert len(explain(Reason.MALFORMED, event, None)) < DETAIL_CHARS_MAX
    assert len(explain(Reason.BAD_PRICE, [0, 0, event[1], 1], Feed.LEVELS)) < DETAIL_CHARS_MAX
    long = b'[["' + b"\\ud800" * 500 + b'"]]'
    ((_, detail),) = refused(long, Feed.LEVELS)
    assert len(detail.encode()) < DETAIL_CHARS_MAX


ITEMS = {"op": 0, "side": 1, "price": 2, "quantity": 3, "order id": 4}
GOOD = ["add", "bid", 1, 1, 1]


@pytest.mark.parametrize("feed", [*Feed, None])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_mends_what_is_named_ends_with_an_event_that_is_well_formed(
    feed: Feed | None, seed: int
) -> None:
    rng = Random(seed)
    for _ in range(1000):
        event = random_event(rng)
        for _ in range(rng.randint(0, 3)):
            if isinstance(event, list) and event:
                event[rng.randrange(len(event))] = rng.choice(JUNK)
        for _ in range(7):
            detail = explain(Reason.MALFORMED, event, feed)
            assert detail
            assert len(detail) < DETAIL_CHARS_MAX
            name, _, _ = detail.partition(" is ")
            if name == "the event":
                event = list(GOOD)
            elif name in ITEMS:
                event = [*event, *[None] * (5 - len(event))]
                event[ITEMS[name]] = GOOD[ITEMS[name]]
            else:
                break
        else:
            pytest.fail(f"{event} has always another mistake")
        if feed is not None:
            assert all(reason != "malformed" for reason, _ in refused(event, feed)) or event[0] in (
                "update",
                1,
            )
