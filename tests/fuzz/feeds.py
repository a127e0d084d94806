"""Targets: recordings. Each format's two passes over lines that are torn, edited or hostile.

A recording either is refused, or its entries are of its symbols and whole.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any, Final

from depthcast.feed.account import Account
from depthcast.feed.detect import FORMATS, detect
from depthcast.feed.entry import Format, Head, Source
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


def _tables(material: Material, columns: tuple[str, ...]) -> bytes:
    words = (
        "A", "bid", "ask", "B", "R", "C", "T", "true", "false", "1", "0", "128", "4", "1.5", "2.25", "", "x",
        "9223372036854775807", "4.8E-7", "1703116800000000000", "2024-08-08T23:54:15.1Z",
    )  # fmt: skip
    return ",".join(material.choose(words) for _ in columns).encode()


def _lobster(material: Material) -> bytes:
    kind, order, side = material.below(9), material.below(4), material.choose(("1", "-1", "0"))
    size, price = material.below(20), 580000 + 100 * material.below(99)
    return f"34200.{material.below(99)},{kind},{order},{size},{price},{side}".encode()


def _tardis(material: Material) -> bytes:
    levels = [{"price": material.choose((1.5, 2, 4.8e-7)), "amount": material.below(3)}] * material.below(3)
    line: Any = {
        "type": material.choose(("book_change", "book_change", "disconnect", "trade")), "symbol": "A",
        "exchange": "e", "isSnapshot": material.chance(90), "bids": levels, "asks": levels,
        "timestamp": "2019-10-23T11:29:53.469Z", "localTimestamp": "2019-10-23T11:29:53.469Z",
    }  # fmt: skip
    return _json(_edited(material, line))


def _venue(material: Material, example: str) -> bytes:
    """A message as a venue sends it, with some of its values replaced."""
    message = json.loads(example[example.index("{") :])
    return _json(_replaced(material, message))


def _replaced(material: Material, value: Any) -> Any:
    if material.chance(12):
        return material.value(WORDS)
    if isinstance(value, dict):
        return {name: _replaced(material, each) for name, each in value.items() if not material.chance(6)}
    if isinstance(value, list):
        return [_replaced(material, each) for each in value] * (1 + material.below(2))
    if isinstance(value, int) and not isinstance(value, bool):
        return value + material.below(3)
    return value


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


def _format(
    recorded: Format, make: Callable[[Material], bytes], header: bytes = b""
) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        material = Material(data)
        raw, grown = material.byte() % 4 == 3, material.below(3)
        lines = material.rest().split(b"\n") if raw else _lines(material, make)
        lines = [header, *lines] if header and not raw else lines
        seen = [lines[: len(lines) - grown], lines]

        def reading() -> list[bytes]:
            # A file may still be recorded: the second pass finds lines that the first one did not.
            return seen.pop(0) if len(seen) > 1 else seen[0]

        source = Source("file", "file", reading, BytesIO, lambda _: {})
        try:
            recording = recorded.read(source)
            working = {name: each.instrument for name, each in recording.recorded.items()}
            account = Account()
            for entry in recording.entries(working, account, verify=True):
                assert entry.symbol in working
                assert 1 <= entry.line <= len(lines)
                assert all(isinstance(event, list | tuple) for event in entry.events)
                assert entry.ts is None or type(entry.ts) is int
            account.lines()
            account.problems()
        except (FeedError, ValueError):
            pass

    return read


def detected(data: bytes) -> None:
    lines = data.split(b"\n")
    with suppress(FeedError):
        assert detect("file", Head("file", data[:64], lines)).name in FORMATS


_BINANCE: Final = (
    b'\x03\x001676419393391312100 {"lastUpdateId":1,"bids":[["1.5","2"]],'
    b'"asks":[["2.5","1"]],"symbol":"BTCUSDT"}'
    b"\n"
    b'1676419393391312101 {"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":5,"s":"BTCUSDT","U":1,'
    b'"u":2,"b":[["1.5","0"]],"a":[]}}'
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
_TARDIS: Final = (
    "symbol", "timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount",
)  # fmt: skip
_MBO: Final = ("ts_event", "action", "side", "price", "size", "order_id", "flags", "instrument_id")
_MBP: Final = (
    "ts_event", "action", "flags", "instrument_id", "bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00",
)  # fmt: skip
_CSV: Final = ("symbol", "side", "price", "quantity", "op", "order_id")

_MADE: Final[dict[str, tuple[Callable[[Material], bytes], bytes]]] = {
    "plain": (_plain, b""),
    "binance": (_binance, b""),
    "kraken-v1": (_kraken, b""),
    "lobster": (_lobster, b""),
    "tardis-json": (_tardis, b""),
}
_MAKERS: Final = _MADE | {
    name: (partial(_tables, columns=columns), ",".join(columns).encode())
    for name, columns in (
        ("tardis-csv", _TARDIS), ("databento-mbo", _MBO), ("databento-mbp-10", _MBP), ("csv", _CSV),
    )
}  # fmt: skip
_SEEDS: Final = {"binance": _BINANCE, "kraken-v1": _KRAKEN, "plain": _PLAIN}


def _target(recorded: Format) -> Target:
    make, header = _MAKERS.get(recorded.name, (partial(_venue, example=recorded.example), b""))
    seed = _SEEDS.get(recorded.name, b"\x03\x00" + (header or recorded.example.encode()))
    return Target(
        f"feed_{recorded.name.replace('-', '_')}", _format(recorded, make, header),
        "refused, or entries of known symbols", (seed, b"\x00\x05\x01\x02" * 20),
    )  # fmt: skip


TARGETS: Final = (
    *map(_target, FORMATS.values()),
    Target("feed_format", detected, "FeedError, or a known format", (_BINANCE[2:], _KRAKEN[2:], _PLAIN[2:])),
)
