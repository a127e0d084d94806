"""Targets: recorded feeds. Each format's two passes over lines that are torn, edited or hostile."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from depthcast.feed.detect import FORMATS, detect
from depthcast.feed.entry import Format
from depthcast.shared.errors import FeedError
from tests.fuzz.material import Material
from tests.fuzz.target import Target

WORDS: Final = (
    "stream", "data", "s", "b", "a", "u", "U", "pu", "E", "bids", "asks", "lastUpdateId", "symbol", "events",
    "as", "bs", "c", "BTCUSDT", "btcusdt@depth", "btcusdt@bookTicker", "book-10", "XBT/USD", "1.50", "0.001",
    "tick_size", "at_ms",
)  # fmt: skip


def _level(material: Material) -> Any:
    if material.chance(8):
        return material.value(WORDS)
    price, volume = material.choose(("1.5", "2", "0.25")), material.choose(("3.1", "0", "7", "0.000"))
    return [price, volume, *material.items(lambda: material.choose(("1534614057.321597", "r")), 2)]


def _levels(material: Material) -> list[Any]:
    return [_level(material) for _ in range(material.below(4))]


def _edited(material: Material, message: Any) -> Any:
    if isinstance(message, dict) and material.chance(40):
        return message | {material.choose(WORDS): material.value(WORDS)}
    return message


def _binance(material: Material) -> bytes:
    last = material.below(6)
    kind = material.below(4)
    if kind == 0:
        message: dict[str, Any] = {"lastUpdateId": last, "bids": _levels(material), "asks": _levels(material)}
    else:
        data = _edited(material, {
            "e": "depthUpdate", "E": 5, "s": "BTCUSDT", "U": last, "u": last + material.below(2),
            "b": _levels(material), "a": _levels(material),
        })  # fmt: skip
        if kind == 1:
            data = {"u": last, "s": "BTCUSDT", "b": "1.5", "B": "2", "a": "2.5", "A": "1"}
        stream = "btcusdt@bookTicker" if kind == 1 else "btcusdt@depth@100ms"
        message = {"stream": stream, "data": _edited(material, data)}
    return b"1676419393391312100 " + _json(_edited(material, message))


def _kraken(material: Material) -> bytes:
    names = ("as", "bs") if material.chance(120) else ("a", "b")
    book = _edited(material, {name: _levels(material) for name in names[: 1 + material.below(2)]})
    if material.chance(90):
        book = book | {"c": material.choose(("974942666", "0", 5))}
    message = [0, book, "book-10", "XBT/USD"]
    if material.chance(20):
        message[material.below(4)] = material.value(WORDS)
    return b"1534614248.765567: " + _json(message)


def _plain(material: Material) -> bytes:
    events = [["update", "bid", material.integer(), material.below(4)] for _ in range(material.below(3))]
    line: Any = {"symbol": material.choose(("A", "B", "", "é")), "events": events, "at_ms": material.below(9)}
    if material.chance(60):
        line = {"symbol": "A", "tick_size": "0.01"}
    return _json(_edited(material, line))


def _json(value: Any) -> bytes:
    return json.dumps(value, default=repr).encode()


def _lines(material: Material, make: Callable[[Material], bytes]) -> list[bytes]:
    lines: list[bytes] = []
    while material.left and len(lines) < 12:
        kind = material.below(16)
        if kind == 0:
            lines.append(material.chunk())
            continue
        line = make(material)
        if kind == 1:
            line = line[: material.byte()]
        elif kind == 2:
            cut = material.byte()
            line = line[:cut] + material.chunk() + line[cut + 2 :]
        lines.append(line)
    return lines


def _format(recorded: Format, make: Callable[[Material], bytes]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        material = Material(data)
        raw, grown = material.byte() % 4 == 3, material.below(3)
        lines = material.rest().split(b"\n") if raw else _lines(material, make)
        try:
            # A file may still be recorded: the second pass finds lines that the first one did not.
            found = recorded.instruments("file", lines[: len(lines) - grown])
            for entry in recorded.entries("file", lines, found):
                assert entry.symbol in found
                assert 1 <= entry.line <= len(lines)
                assert all(isinstance(event, list | tuple) for event in entry.events)
                assert entry.ts is None or type(entry.ts) is int
        except FeedError:
            pass

    return read


def detected(data: bytes) -> None:
    lines = data.split(b"\n")
    with suppress(FeedError):
        assert detect("file", lines).name in FORMATS


_BINANCE: Final = (
    b'\x03\x001676419393391312100 {"lastUpdateId":1,"bids":[["1.5","2"]],'
    b'"asks":[["2.5","1"]],"symbol":"BTCUSDT"}'
    b"\n"
    b'1676419393391312101 {"stream":"btcusdt@depth","data":{"E":5,"s":"BTCUSDT","U":1,"u":2,'
    b'"b":[["1.5","0"]],"a":[]}}'
)
_KRAKEN: Final = (
    b'\x03\x001534614248.1: [0,{"as":[["2.5","1","1534614248.1"]],"bs":[["1.5","2","1534614248.1"]]},'
    b'"book-10","XBT/USD"]\n'
    b'1534614248.2: [0,{"a":[["2.5","0.00","1534614248.2"]],"c":"974942666"},"book-10","XBT/USD"]'
)
_PLAIN: Final = (
    b'\x03\x00{"symbol":"A","tick_size":"0.01"}\n'
    b'{"symbol":"A","events":[["update","bid",5,1]],"at_ms":1,"ts":2}'
)

TARGETS: Final = (
    Target(
        "feed_binance", _format(FORMATS["binance"], _binance), "FeedError, or entries of known symbols",
        (_BINANCE, b"\x00\x05\x01\x02" * 20),
    ),
    Target(
        "feed_kraken", _format(FORMATS["kraken"], _kraken), "FeedError, or entries of known symbols",
        (_KRAKEN, b"\x00\x05\x01\x02" * 20),
    ),
    Target(
        "feed_plain", _format(FORMATS["plain"], _plain), "FeedError, or entries of known symbols",
        (_PLAIN, b"\x00\x05\x01\x02" * 20),
    ),
    Target("feed_format", detected, "FeedError, or a known format", (_BINANCE[2:], _KRAKEN[2:], _PLAIN[2:])),
)  # fmt: skip
