"""Every field of every message, absent and of every wrong type: a doubt or nothing, never an exception."""

import copy
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

import pytest

from depthcast.feed import exact_json
from depthcast.feed.venue import (
    Adapter,
    Alive,
    Best,
    Doubt,
    DoubtReason,
    Output,
    Refused,
    Reply,
    Skipped,
    Snapshot,
    Update,
    Venue,
)
from depthcast.feed.venues import bitget, kraken, kraken_v1, okx
from depthcast.feed.venues.registry import VENUES
from tests.venues.field_faults import MISSING, NUMBERS, FieldFault, Path, field_faults, with_fault
from tests.venues.model import Kind, Message, ModelVenue
from tests.venues.model_bitget import BitgetModel
from tests.venues.model_kraken import KrakenModel
from tests.venues.model_okx import OkxModel
from tests.venues.models import models

NAMES: Final = ("bitmex", "coinbase", "coinbase-exchange", "deribit")
NOW: Final = 1_700_000_000_000_000
SIDES: Final = {(name,) for name in ("asks", "bids", "a", "b", "as", "bs")}

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


def subscribed(name: str, before: list[str]) -> Adapter:
    adapter = VENUES[name].adapter()
    adapter.subscribe(sorted(models()[name](Random(1)).market.books))
    for raw in before:
        list(adapter.take(raw, NOW))
    return adapter


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


def is_free(name: str, fault: FieldFault) -> bool:
    """Whether the message may still be taken: it is as documented, only says something else."""
    path, wrong = fault.path, fault.wrong
    key, parent = path[-1], path[-2] if len(path) > 1 else None
    if UNREAD[name].intersection(part for part in path if isinstance(part, str)):
        return True
    if wrong is MISSING:
        return parent in LISTS or key in OPTIONAL.get(name, set())
    if wrong == []:
        return key in LISTS
    in_entry = isinstance(key, int) and isinstance(parent, int)
    return wrong in NUMBERS and (in_entry or key in VALUES)


def noticed(outputs: list[Output], name: str, fault: FieldFault) -> bool:
    """Whether a doubt is said, now or, where a chain proves each book, with its next message."""
    chained = name == "deribit" and fault.path[:2] in {("params",), ("params", "channel"), ("method",)}
    return chained or any(isinstance(output, Doubt) for output in outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_message_with_a_wrong_field_is_a_doubt_or_changes_no_book(name: str) -> None:
    doubts = wrong = 0
    for before, message in messages(name):
        if message.raw == "pong":
            continue
        good, proven = json.loads(message.raw), subscribed(name, before)
        for fault in field_faults(good):
            adapter = copy.deepcopy(proven)
            outputs = list(adapter.take(with_fault(good, fault), NOW))
            wrong += 1
            doubts += any(isinstance(output, Doubt) for output in outputs)
            allowed: tuple[type, ...] = (Doubt, Skipped, Alive, Reply, Best, Refused)
            if is_free(name, fault):
                allowed = (*allowed, Snapshot, Update)
            assert all(isinstance(output, allowed) for output in outputs), (fault, outputs)
            if message.kind is not Kind.CONTROL and not is_free(name, fault):
                assert noticed(outputs, name, fault), (fault, outputs)
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
    good = json.loads(answer)
    for fault in field_faults(good):
        try:
            found = venue.read_instruments([with_fault(good, fault).encode()])
        except ValueError:
            refused += 1
            assert fault.in_list or fault.path[-1] in {"products", "result"}
        else:
            left_out += len(found) < len(symbols)
            assert len(found) >= len(symbols) - 1 or len(fault.path) == 1
    assert refused > 5
    assert left_out > 20


V1_LEVELS = (
    '{"as":[["5.20","1.0","1618678133.1"],["5.30","2.0","1618678133.2"]],"bs":[["5.10","1","1618678133.3"]]}'
)
V1_CHANGES = '{"a":[["5.20","0.0","1618678134.1"]]},{"b":[["5.10","3.0","1618678134.2","r"]],"c":"321398152"}'
KRAKEN_V1 = (f'[7,{V1_LEVELS},"book-10","XBT/USD"]', f'[7,{V1_CHANGES},"book-10","XBT/USD"]')


class Case(NamedTuple):
    """A snapshot and an update, and the fields that no book depends on."""

    name: str
    venue: Venue
    symbols: list[str]
    messages: tuple[str, str]
    harmless: frozenset[str | Path]


def of_model(
    name: str, venue: Venue, model: ModelVenue, harmless: frozenset[str | Path] = frozenset()
) -> Case:
    """Make a case of what a model says."""
    symbols = sorted(model.market.books)
    connection, adapter = model.connect("/", 0), venue.adapter()
    messages = [message for raw in adapter.subscribe(symbols) for message in connection.receive(raw, 0)]
    model.market.step(3)
    messages += connection.due(0)
    snapshot, update = (
        next(str(m.raw) for m in messages if (m.kind, m.symbol) == (kind, symbols[0]))
        for kind in (Kind.SNAPSHOT, Kind.BOOK)
    )
    return Case(name, venue, symbols, (snapshot, update), harmless | {"ts", "timestamp"})


CASES = [
    of_model("kraken", kraken.VENUE, KrakenModel(Random(1))),
    Case("kraken-v1", kraken_v1.VENUE, ["XBT/USD"], KRAKEN_V1, frozenset({(0,)})),
    of_model("okx", okx.VENUE, OkxModel(Random(1)), frozenset({"checksum"})),
    of_model("okx-old", okx.VENUE, OkxModel(Random(1), old=True)),
    of_model("bitget", bitget.VENUE, BitgetModel(Random(1)), frozenset({"checksum"})),
    of_model("bitget-old", bitget.VENUE, BitgetModel(Random(1), old=True)),
]


def ready(case: Case, *, proven: bool) -> Adapter:
    """Return an adapter before the message that is to be spoilt."""
    adapter = case.venue.adapter()
    adapter.subscribe(case.symbols)
    if proven:
        assert isinstance(next(iter(adapter.take(case.messages[0], 0))), Snapshot)
    return adapter


def is_harmless(case: Case, fault: FieldFault) -> bool:
    """Return whether no book depends on this field."""
    path, wrong = fault.path, fault.wrong
    if path in case.harmless or (isinstance(path[-1], str) and path[-1] in case.harmless):
        return wrong is MISSING or wrong is None or path[-1] != "checksum"
    if wrong is MISSING and path[-2:-1] in SIDES:
        return True  # a level less: only a checksum can notice it
    in_level = len(path) > 3 and isinstance(path[-1], int) and isinstance(path[-2], int)
    return in_level and path[-1] not in (0, 1)


def says_nothing(fault: FieldFault) -> bool:
    """Return whether another value of the same kind is no fault by its form."""
    same = type(fault.wrong) is type(fault.value) and fault.wrong != "x"
    return same or (not isinstance(fault.wrong, bool) and fault.wrong in NUMBERS)


@pytest.mark.parametrize("update", [False, True], ids=["snapshot", "update"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_field(case: Case, *, update: bool) -> None:
    good = case.messages[update]
    expected = list(ready(case, proven=update).take(good, 0))
    assert [type(output) for output in expected] == [Update if update else Snapshot]
    tried = 0
    message = exact_json.loads(good)
    for fault in field_faults(message):
        if says_nothing(fault):
            continue
        outputs = list(ready(case, proven=update).take(with_fault(message, fault), 0))
        assert outputs, fault
        tried += 1
        if not is_harmless(case, fault) and (update or fault.path[-1] != "pseq"):
            assert all(refused(output) for output in outputs), (fault, outputs)
    assert tried > 80


def refused(output: Output) -> bool:
    """Return whether an output says nothing of a book but that it is in doubt."""
    doubted = isinstance(output, Doubt) and output.reason in (DoubtReason.MALFORMED, DoubtReason.CHECKSUM)
    return doubted or isinstance(output, Skipped | Alive)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            "{",
            "[]",
            "{}",
            "null",
            "7",
            '"x"',
            "NaN",
            "[" * 100_000,
            b"\xff\xfe\xff",
            b"\x00",
            "[1,2,3,4]",
        ),
        *('{"channel":"book"}', '{"channel":["book"]}', '{"event":{}}', '{"arg":{}}', '{"method":1}'),
    ],
    ids=lambda raw: repr(raw)[:20],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_no_message(case: Case, raw: str | bytes) -> None:
    for output in ready(case, proven=True).take(raw, 0):
        assert not isinstance(output, Snapshot | Update)
