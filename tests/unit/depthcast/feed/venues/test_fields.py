"""Every field of every message, absent and of every wrong type: a doubt or nothing, never an exception."""

import copy
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pytest

from depthcast.feed.venue import (
    Adapter,
    Alive,
    Best,
    Doubt,
    Output,
    Refused,
    Reply,
    Skipped,
    Snapshot,
    Update,
)
from depthcast.feed.venues.registry import VENUES
from tests.venues.model import Kind, Message
from tests.venues.models import models

NAMES: Final = ("bitmex", "coinbase", "coinbase-exchange", "deribit")
NOW: Final = 1_700_000_000_000_000
WRONG: Final[tuple[Any, ...]] = (None, "", "x", -1, 10**30, True, [], {}, [None], [[]], {"a": 1})

BESIDE: Final[dict[str, list[str]]] = {
    "bitmex": [
        '{"info":"Welcome","version":"2","timestamp":"2026-01-31T12:00:00.000Z","limit":{"remaining":39}}',
        '{"success":true,"subscribe":"orderBookL2:XBTUSD","request":{"op":"subscribe","args":["a"]}}',
        '{"status":400,"error":"Unknown","meta":{},"request":{"op":"subscribe","args":["orderBookL2:A"]}}',
        (
            '{"table":"quote","action":"insert","data":[{"timestamp":"2026-01-31T12:00:00.000Z","symbol":"XBTUSD",'
            '"bidSize":1,"bidPrice":9.5,"askPrice":10,"askSize":2}]}'
        ),
        '{"table":"trade","action":"insert","data":[]}',
        "pong",
    ],
    "coinbase": [
        '{"type":"error","message":"rate limit exceeded"}',
        (
            '{"channel":"ticker","client_id":"","timestamp":"2026-01-31T12:00:00.123456789Z","sequence_num":99,'
            '"events":[{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"1",'
            '"best_bid":"1.0","best_bid_quantity":"2","best_ask":"1.1","best_ask_quantity":"3"}]}]}'
        ),
    ],
    "coinbase-exchange": [
        '{"type":"error","message":"Failed to subscribe","reason":"A is not a valid product"}',
        (
            '{"type":"ticker","sequence":7,"product_id":"BTC-USD","price":"1","best_bid":"1.0","best_bid_size":"2",'
            '"best_ask":"1.1","best_ask_size":"3","time":"2026-01-31T12:00:00.123456Z"}'
        ),
        '{"type":"match","trade_id":1,"product_id":"BTC-USD","size":"1","price":"1","side":"sell"}',
    ],
    "deribit": [
        '{"jsonrpc":"2.0","id":2,"error":{"code":10028,"message":"too_many_requests"},"usIn":1,"usOut":2}',
        (
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.BTC-PERPETUAL","data":{"timestamp":1,'
            '"instrument_name":"BTC-PERPETUAL","best_bid_price":1.5,"best_bid_amount":10.0,"best_ask_price":2.0,'
            '"best_ask_amount":20.0}}}'
        ),
        '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.raw","data":[]}}',
    ],
}
"""Messages beside those that the models send."""


def messages(name: str) -> Iterator[tuple[list[str], Message]]:
    """Yield a message of each form, with those that come before it."""
    venue, model = VENUES[name], models()[name](Random(1))
    connection = model.connect("/", NOW)
    requests = venue.adapter().subscribe(sorted(model.market.books))
    sent = [answer for raw in requests for answer in connection.receive(raw, NOW)]
    for step in range(12):
        model.market.step(1)
        sent.extend(connection.due(NOW + step * 50_000))
    forms: set[str] = set()
    before: list[str] = []
    for message in sent:
        form = re.sub(r"[-0-9.:TZ]+", "", str(message.raw).replace(message.symbol or "?", ""))[:120]
        if form not in forms:
            forms.add(form)
            yield list(before), message
        before.append(str(message.raw))
    for raw in BESIDE[name]:
        yield list(before), Message(raw, Kind.CONTROL)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_with_a_wrong_field_is_a_doubt_or_changes_no_book(name: str) -> None:
    doubts = wrong = 0
    for before, message in messages(name):
        if message.raw == "pong":
            continue
        good, proven = json.loads(message.raw), subscribed(name, before)
        for spoiled, path, value in spoiled_by_each_field(good):
            adapter = copy.deepcopy(proven)
            outputs = list(adapter.take(json.dumps(spoiled), NOW))
            wrong += 1
            doubts += any(isinstance(output, Doubt) for output in outputs)
            allowed: tuple[type, ...] = (Doubt, Skipped, Alive, Reply, Best, Refused)
            if is_free(name, path, value):
                allowed = (*allowed, Snapshot, Update)
            assert all(isinstance(output, allowed) for output in outputs), (path, value, outputs)
            if message.kind is not Kind.CONTROL and not is_free(name, path, value):
                assert noticed(outputs, name, path), (path, value, outputs)
    assert doubts > wrong / 5 > 20


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_json_object_is_a_doubt_of_every_book(name: str) -> None:
    before, _ = list(messages(name))[-1]
    for raw in (
        "",
        "{",
        "[]",
        "null",
        "7",
        '"a"',
        '{"a": NaN}',
        "[" * 100_000,
        b"\xff",
        '{"a":' + "9" * 5_000 + "}",
    ):
        outputs = list(subscribed(name, before).take(raw, NOW))
        assert [type(output) for output in outputs] == [Doubt, Doubt], (raw[:20], outputs)


@pytest.mark.parametrize("name", NAMES)
def test_an_instrument_of_a_wrong_form_holds_up_no_other(name: str) -> None:
    venue, model = VENUES[name], models()[name](Random(1))
    symbols = sorted(model.market.books)
    (request,) = venue.instruments_requests(symbols)
    answer = model.rest(request.path.partition("?")[0], {}, NOW).body
    right = venue.read_instruments([answer])
    assert sorted(right) == symbols
    refused = left_out = 0
    for spoiled, path, _ in spoiled_by_each_field(json.loads(answer)):
        try:
            found = venue.read_instruments([json.dumps(spoiled).encode()])
        except ValueError:
            refused += 1
            assert not isinstance(path[-1], str) or path[-1] in {"products", "result"}
        else:
            left_out += len(found) < len(symbols)
            assert len(found) >= len(symbols) - 1 or len(path) == 1
    assert refused > 5
    assert left_out > 20


def subscribed(name: str, before: list[str]) -> Adapter:
    adapter = VENUES[name].adapter()
    adapter.subscribe(sorted(models()[name](Random(1)).market.books))
    for raw in before:
        list(adapter.take(raw, NOW))
    return adapter


def spoiled_by_each_field(good: Any) -> Iterator[tuple[Any, tuple[Any, ...], Any]]:
    """Yield copies with one field absent (value `...`) or wrong, where it is, and the value."""
    for path in paths(good):
        for value in (..., *WRONG):
            copied = copy.deepcopy(good)
            parent = copied
            for key in path[:-1]:
                parent = parent[key]
            if value == parent[path[-1]] and type(value) is type(parent[path[-1]]):
                continue
            if value is ...:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            yield copied, path, value


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    )
    for key, item in items:
        yield from paths(item, (*path, key))


UNREAD: Final = {
    "bitmex": {"keys"},
    "coinbase": {"client_id", "event_time", "timestamp"},
    "coinbase-exchange": set[str](),
    "deribit": {"jsonrpc"},
}
"""Fields that no book depends on."""
OPTIONAL: Final = {"bitmex": {"price", "timestamp"}, "coinbase-exchange": {"time"}}
"""Fields that older messages do not have."""
LISTS: Final = {"bids", "asks", "changes", "updates", "data", "events"}
"""Lists that may have any number of entries."""
VALUES: Final = {"price", "price_level", "new_quantity"}
"""Fields with numbers of any size."""


def is_free(name: str, path: tuple[Any, ...], value: Any) -> bool:
    """Whether the message may still be taken: it is as documented, only says something else."""
    key, parent = path[-1], path[-2] if len(path) > 1 else None
    if UNREAD[name].intersection(part for part in path if isinstance(part, str)):
        return True
    if value is ...:
        return parent in LISTS or key in OPTIONAL.get(name, set())
    if value == []:
        return key in LISTS
    in_entry = isinstance(key, int) and isinstance(parent, int)
    return value == 10**30 and (in_entry or key in VALUES)


def noticed(outputs: list[Output], name: str, path: tuple[Any, ...]) -> bool:
    """Whether a doubt is said, now or, where a chain proves each book, with its next message."""
    chained = name == "deribit" and path[:2] in {("params",), ("params", "channel"), ("method",)}
    return chained or any(isinstance(output, Doubt) for output in outputs)
