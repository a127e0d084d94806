"""Every field of a good message in turn missing, null or of a wrong type: a doubt, and never a wrong book."""

import json
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

import pytest

from depthcast.feed import exact_json
from depthcast.feed.venue import Adapter, Alive, Doubt, DoubtReason, Output, Skipped, Snapshot, Update, Venue
from depthcast.feed.venues import bitget, kraken, kraken_v1, okx
from tests.venues.model import Kind, ModelVenue
from tests.venues.model_bitget import BitgetModel
from tests.venues.model_kraken import KrakenModel
from tests.venues.model_okx import OkxModel

Path = tuple[str | int, ...]
MISSING = object()
SIDES = {(name,) for name in ("asks", "bids", "a", "b", "as", "bs")}
WRONG: list[object] = [MISSING, None, True, -1, "x", [], {}, [[]], {"x": 1}]

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


def spoilt(message: Any) -> Iterator[tuple[Path, object, str]]:
    """Yield the message with each field replaced by each wrong value."""
    for path in paths(message, ()):
        for wrong in WRONG:
            changed = deepcopy(message)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]
            if wrong is MISSING:
                del parent[path[-1]]
            elif type(parent[path[-1]]) is type(wrong) and wrong != "x":
                continue
            else:
                parent[path[-1]] = wrong
            yield path, wrong, json.dumps(changed)


def paths(value: Any, above: Path) -> Iterator[Path]:
    """Yield the path of every value inside; of a list of levels only the first two."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items += list(enumerate(value))[: 2 if len(above) > 2 else None]
    for key, inner in items:
        yield (*above, key)
        yield from paths(inner, (*above, key))


def is_harmless(case: Case, path: Path, wrong: object) -> bool:
    """Return whether no book depends on this field."""
    if path in case.harmless or (isinstance(path[-1], str) and path[-1] in case.harmless):
        return wrong in (MISSING, None) or path[-1] != "checksum"
    if wrong is MISSING and path[-2:-1] in SIDES:
        return True  # a level less: only a checksum can notice it
    in_level = len(path) > 3 and isinstance(path[-1], int) and isinstance(path[-2], int)
    return in_level and path[-1] not in (0, 1)


@pytest.mark.parametrize("update", [False, True], ids=["snapshot", "update"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_field(case: Case, *, update: bool) -> None:
    good = case.messages[update]
    expected = list(ready(case, proven=update).take(good, 0))
    assert [type(output) for output in expected] == [Update if update else Snapshot]
    tried = 0
    for path, wrong, raw in spoilt(exact_json.loads(good)):
        outputs = list(ready(case, proven=update).take(raw, 0))
        assert outputs, (path, wrong)
        tried += 1
        if not is_harmless(case, path, wrong) and (update or path[-1] != "pseq"):
            assert all(refused(output) for output in outputs), (path, wrong, outputs)
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
