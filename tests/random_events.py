"""Random input: mostly sensible events that often interact, with every kind of mistake among them."""

import json
from random import Random
from typing import Any

import msgpack

LIMIT = 2**53 - 1

OPS: list[Any] = ["add", "update", "delete", "reduce", "clear", 0, 1, 2, 3, 4]
JUNK: list[Any] = [None, True, False, 1.0, 0.0, -1, 5, "", "x", "bid", [], {}, [1], {"a": 1}, 2**53, -(2**53)]
JUNK += [2**63, 2**64 - 1, 2**64, 2**70, "e" * 65, "é" * 33, "\ud800", float("inf"), float("nan")]


def random_event(rng: Random) -> Any:
    """One event for either feed; about one in twelve is broken on purpose."""
    op = rng.choices(OPS, [8, 8, 4, 5, 1] * 2)[0]
    side = rng.choice(["bid", "ask", 0, 1])
    bid = side in ("bid", 0)
    price = rng.randint(-7, 1) if bid else rng.randint(-1, 7)
    quantity = rng.choice([1, 2, 3, 5, 8, 1, 2, 0])
    order_id = rng.choice([*range(9), "1", "2", "é", "abc"])
    if rng.random() < 0.03:
        price = rng.choice([LIMIT, -LIMIT, LIMIT + 1, -LIMIT - 1])
    if rng.random() < 0.03:
        quantity = rng.choice([LIMIT, LIMIT - 1, LIMIT + 1, -1])
    event = [op, side, price, quantity, order_id]
    if op in ("clear", 4) and rng.random() < 0.5:
        event[1] = None
    if rng.random() < 0.05:
        event[rng.randrange(5)] = rng.choice(JUNK)
    if rng.random() < 0.05:
        event = event[: rng.randrange(6)]
    if rng.random() < 0.05:
        event = [float(item) if isinstance(item, int) else item for item in event]
    if rng.random() < 0.02:
        event.append(rng.choice(JUNK))
    return event if rng.random() > 0.01 else rng.choice(JUNK)


def random_array(rng: Random, most: int = 6) -> list[Any]:
    return [random_event(rng) for _ in range(rng.randint(0 if rng.random() < 0.1 else 1, most))]


def encode(value: Any, as_json: bool) -> bytes:
    """Encode as msgpack, or as JSON if requested or if msgpack cannot express it."""
    if not as_json:
        try:
            packed: bytes = msgpack.packb(value)
            return packed
        except (OverflowError, UnicodeEncodeError):
            pass
    return json.dumps(value).encode()
