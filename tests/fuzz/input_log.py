"""Targets: input events. Bytes as they come, and arrays of events beside a naive model."""

import json
from collections.abc import Sequence
from typing import Any, Final
from unittest.mock import patch

from depthcast.ingestor import chunks
from depthcast.ingestor.chunks import open_array
from depthcast.ingestor.decoding import UndecodableError
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.events import read_events
from depthcast.ingestor.limits import DEFAULT
from depthcast.ingestor.rejects import DETAIL_CHARS_MAX, EVENT_BYTES_MAX, Reason
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.types import Symbol
from tests.book_model import refuses
from tests.engine_check import EngineCheck, check_consistent
from tests.fuzz.material import Material, packed, written
from tests.fuzz.target import Target

WORDS: Final = ("add", "update", "delete", "reduce", "clear", "bid", "ask", "atomic", "ts", "x")
NAMES: Final = (b"L", b"O", b"_", b"_w", b"Z", b"E", b"", b"\xff")
OPS: Final = ("add", "update", "delete", "reduce", "clear", 0, 1, 2, 3, 4)


def raw_entries(data: bytes) -> None:
    """Any entry is consumed: its events are applied, ignored or rejected, and the next one is unharmed."""
    material = Material(data)
    engine = Engine(0, 1)
    for name, feed, on_cross in (
        ("L", Feed.LEVELS, OnCross.REJECT),
        ("O", Feed.ORDERS, OnCross.REJECT),
        ("E", Feed.ORDERS, OnCross.EVICT),
        ("G", Feed.LEVELS, OnCross.REJECT),
    ):
        engine.register(Instrument(Symbol(name), feed=feed, on_cross=on_cross))
    engine.drain()
    number, good = 0, []
    while material.left and number < 8:
        number += 1
        fields = material.items(lambda: (material.choose(NAMES), _field(material)), 4)
        if not any(name == b"_" and refuses(raw) for name, raw in fields):
            good.append(number)
        engine.apply(f"{number}-0", [*fields, (b"G", b'[["update","bid",%d,3]]' % number)])
    rejected = 0
    interval = engine.drain()
    for reject in interval.rejects:
        assert len(reject.event) <= EVENT_BYTES_MAX
        assert reject.count >= 1
        assert len(reject.detail) <= DETAIL_CHARS_MAX
        assert reject.detail or reject.reason is not Reason.MALFORMED
        rejected += reject.count
        packed(reject)
    assert interval.rejected == rejected
    assert interval.applied >= len(good)
    for state in engine._books.states.values():
        check_consistent(state)
        assert not state.book.crossed()
    assert list(engine.snapshot("G").bids[::2]) == good[::-1]


def _field(material: Material) -> bytes:
    kind = material.below(4)
    if kind == 0:
        return material.chunk()
    if kind == 1:
        return b"[" + material.chunk()
    value = material.value(WORDS, 4)
    return packed(value) if kind == 2 else written(value)


CHUNK: Final = {"SMALL_BYTES": 24, "EVENT_BYTES_MOST": 96, "CHUNK_EVENTS": 3}
"""Sizes of pieces, so small that a short input has many."""
NUMBERS: Final = (
    b"1",
    b"-0",
    b"1.5e3",
    b"12345678901234567890",
    b"9" * 30,
    b"-1E-2",
    b"01",
    b"1.",
    b"NaN",
    b"Infinity",
    b"5.0",
    b"9007199254740991.4",
)
TEXTS: Final = (
    b'""', b'"\\u00e9"', b'"\xc3\xa9"', b'"\\ud800"', b'"],["', b'"\\""', b'"\\', b'"' + b"x" * 40 + b'"',
    b'"\xff"', b'"\xe2\x82\xac"',
)  # fmt: skip


def chunked_arrays(data: bytes) -> None:
    """An array that is checked and decoded in pieces is refused, or has the events that it has as a whole."""
    material = Material(data)
    kind = material.below(4)
    if kind == 0:
        raw = b"[" + material.rest()
    elif kind == 1:
        raw = material.rest()
    elif kind == 2:
        raw = packed([material.value(WORDS, 4) for _ in range(material.below(20))]) + material.take(
            material.below(2)
        )
    else:
        raw = _json_array(material)
    try:
        whole = read_events(raw)
    except UndecodableError:
        whole = None
    with patch.dict(vars(chunks), CHUNK):
        array = _opened(raw)
        pieces = [event for piece in array.pieces for event in piece]
    if array.refused is None:
        assert whole is not None
        assert repr(pieces) == repr(whole)
        assert array.events == len(whole)
    elif whole is not None:
        assert array.refused is Reason.TOO_BIG
        assert (
            any(len(part) > CHUNK["EVENT_BYTES_MOST"] - 40 for part in _encoded(whole, raw)) or b"  " in raw
        )


def _opened(raw: bytes) -> chunks.Array:
    checking = open_array(raw, DEFAULT)
    while True:
        try:
            next(checking)
        except StopIteration as ended:
            found: chunks.Array = ended.value
            return found


def _encoded(events: Sequence[Any], raw: bytes) -> list[bytes]:
    if raw.startswith(b"["):
        return [json.dumps(event, ensure_ascii=True).encode() for event in events]
    return [packed(event) for event in events]


def _json_array(material: Material) -> bytes:
    def event() -> bytes:
        words = [_json_word(material) for _ in range(material.below(6))]
        return b"[" + material.choose((b",", b", ", b" ,")).join(words) + b"]"

    events = [event() if material.chance(220) else _json_word(material) for _ in range(material.below(12))]
    between = material.choose((b",", b" , ", b",\n\t", b",," if material.chance(60) else b","))
    end = material.choose((b"]", b" ]", b"] ", b"]]", b"", b",]"))
    return b"[" + between.join(events) + end


def _json_word(material: Material) -> bytes:
    kind = material.below(4)
    if kind == 0:
        return material.choose(NUMBERS)
    if kind == 1:
        return material.choose(TEXTS)
    if kind == 2:
        return material.choose((b"null", b"true", b"[]", b"{}", b'{"a":[1]}', b"[[[[]]]]", b"nul", b"'a'"))
    return b"%d" % material.integer()


def modelled_events(data: bytes) -> None:
    """Arrays of events do in the engine what they do in the model, event by event."""
    material, check = Material(data), EngineCheck()
    symbols = list(check.models)
    while material.left:
        atomic, as_json = material.chance(60), material.chance(128)
        arrays = [
            (material.choose(symbols), [_event(material) for _ in range(material.below(6))])
            for _ in range(1 + material.below(3))
        ]
        encode = written if as_json else packed
        fields = [(symbol.encode(), encode(events)) for symbol, events in arrays]
        if atomic:
            fields.insert(material.below(len(fields) + 1), (b"_", encode({"atomic": True})))
        check.apply(fields, arrays, atomic=atomic)
        if material.chance(80):
            check.drain()
    for symbol in symbols:
        check.check_state(symbol)
    check.drain()


def _event(material: Material) -> Any:
    odd = material.byte()
    if odd < 4:
        return material.choose((None, True, 1, "add", 2.5, []))
    bid = material.below(2)
    event: list[Any] = [
        material.choose(OPS), (("ask", 1), ("bid", 0))[bid][material.below(2)],
        material.below(9) - (7 if bid else 1), material.below(6), material.choose((1, 2, 3, 4, "1", "é")),
    ]  # fmt: skip
    if odd < 20:
        event[material.below(5)] = (
            material.integer() if odd < 12 else material.choose(("", None, True, 1.0, []))
        )
    if odd > 245:
        event = event[: material.below(6)]
    return event


_LEVELS = b'[["add","bid",5,3],["update",1,7,4],["clear"]]'
_LONG: Final = b"\x00" + _LEVELS[1:-1] + b',"\xc3\xa9",1.5e3' * 9 + b"]"

TARGETS: Final = (
    Target(
        "input_bytes", raw_entries, "never raises, counts add up, other events apply",
        (b"\x01\x00\x01" + bytes([len(_LEVELS) - 1]) + _LEVELS[1:], b"\x01\x01\x02\x06\x01\x06\x02\x04" * 6),
    ),
    Target(
        "input_chunks", chunked_arrays, "in pieces the same events as a whole, or refused",
        (_LONG, b"\x02" + bytes(range(60)), b"\x03" + bytes(range(9))),
    ),
    Target(
        "input_events", modelled_events, "does what the model does",
        (bytes(range(120)), b"\xff\xff\x02\x00\x20\x01\x00\x00\x03\x02\x01" * 12),
    ),
)  # fmt: skip
