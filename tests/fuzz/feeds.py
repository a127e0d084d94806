"""Targets: recordings. Each format's two passes over lines that are torn, edited or hostile.

A recording either is refused, or its entries are of its symbols and whole.
"""

import json
import math
import struct
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any, Final

from depthcast.feed import parquet
from depthcast.feed.account import Account
from depthcast.feed.detect import FORMATS, detect
from depthcast.feed.entry import Format, Head, Source
from depthcast.shared.errors import FeedError
from tests.fuzz.material import Material
from tests.fuzz.target import Target
from tests.unit.depthcast.feed import itch_messages

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

        _replay(recorded, Source("file", "file", reading, reading, BytesIO, lambda _: {}), len(lines))

    return read


def _replay(recorded: Format, source: Source, last: int) -> None:
    """Make both passes over a recording; `last`: the number of its last line."""
    try:
        recording = recorded.read(source)
        working = {name: each.instrument for name, each in recording.recorded.items()}
        account = Account()
        for entry in recording.entries(working, account, verify=True):
            assert entry.symbol in working
            assert 1 <= entry.line <= last
            assert all(isinstance(event, list | tuple) for event in entry.events)
            assert entry.ts is None or type(entry.ts) is int
        account.lines()
        account.problems()
    except (FeedError, ValueError):
        pass


def _binary(make: Callable[[Material], list[bytes]], recorded: Format, data: bytes) -> None:
    """A file of records: whole, cut anywhere, or with other bytes in it."""
    material = Material(data)
    kind, size = material.byte() % 4, 1 + material.byte()
    records = [material.rest()] if kind == 3 else make(material)
    content = b"".join(records)
    if kind == 2:
        cut = material.byte()
        content = content[:cut] + material.chunk() + content[cut + material.below(9) :]
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    _replay(recorded, Source("file", "file", list, lambda: chunks, BytesIO, lambda _: {}), len(content))


def _itch(material: Material) -> list[bytes]:
    """Messages about a few orders of two stocks."""
    messages, at = [itch_messages.system(b"O", at=0), itch_messages.directory(b"A", 1, at=0)], 0
    while material.left and len(messages) < 24:
        at += material.below(3)
        order, locate, number = material.below(5), 1 + material.below(2), material.below(200)
        side, stock = (
            b"?" if material.chance(6) else material.choose((b"B", b"S")),
            material.choose((b"A", b"B")),
        )
        messages.append(material.choose((
            partial(itch_messages.add, order, side, number, number * 100, stock, locate),
            partial(itch_messages.executed, order, number, locate),
            partial(itch_messages.cancelled, order, number, locate),
            partial(itch_messages.deleted, order, locate),
            partial(itch_messages.replaced, order, material.below(5), number, number * 100, locate),
            partial(itch_messages.directory, stock, locate),
            partial(itch_messages.system, b"C" if material.chance(40) else b"Q"),
        ))(at=at))  # fmt: skip
    return messages


@cache
def _dbn_head() -> bytes:
    """The head of a DBN file; empty without the library, so that the file is refused."""
    try:
        lib = import_module("databento_dbn")
    except ImportError:
        return b""
    head = lib.Metadata(
        dataset="X", start=0, stype_in=lib.SType.RAW_SYMBOL, stype_out=lib.SType.INSTRUMENT_ID, schema=None
    )
    return bytes(head.encode())


def _dbn(material: Material) -> list[bytes]:
    """Records by the published layout, with any action, side and flags."""
    records, at = [_dbn_head()], 0
    by_price = material.chance(80)
    while material.left and len(records) < 16:
        at += material.below(3)
        action = material.choose(b"TFN?") if material.chance(30) else material.choose(b"ACMRA")
        side = material.choose(b"N?") if material.chance(12) else material.choose(b"BA")
        price, size = material.choose((10**9, 2 * 10**9, 5, -1)), material.below(9)
        price = 2**63 - 1 if material.chance(6) else price
        flags, order = material.choose((128, 0, 132, 136, 192)), material.below(4)
        common = (material.below(2), 1 + material.below(2), at * 1000)
        if by_price:
            best, step = material.below(9), material.below(24) > 0
            levels = [((best - at * step) * 10**9, (10 + at) * 10**9, 1, 1, 1, 1) for at in range(10)]
            packed = b"".join(struct.pack("<qqIIII", *level) for level in levels)
            body = struct.pack("<qIBBBBQiI", price, size, action, side, flags, 0, at * 1000, 0, at) + packed
        else:
            body = struct.pack("<QqIBBBBQiI", order, price, size, flags, 0, action, side, at * 1000, 0, at)
        records.append(struct.pack("<BBHIQ", (16 + len(body)) // 4, 10 if by_price else 160, *common) + body)
    return records


def _parquet(recorded: Format, data: bytes) -> None:
    """A table whose columns have any type; a file that is damaged is the library's to refuse."""
    material = Material(data)
    if material.byte() % 8 == 7 or not _has_pyarrow():
        content = parquet.MAGIC + material.rest()
    else:
        content = _parquet_table(material)
    _replay(recorded, Source("file", "file", list, list, lambda: BytesIO(content), lambda _: {}), 99)


_FITS: Final = {
    "symbol": (1,), "side": (2,), "action": (3,), "op": (0,), "order_id": (4, 5), "flags": (5,),
    "size": (5, 4), "price": (6, 7, 9, 0), "quantity": (6, 5), "amount": (6, 9), "is_snapshot": (12,),
    "timestamp": (10,),
    "local_timestamp": (10, 4), "ts_event": (10,), "instrument_id": (5,), "bid_px_": (6, 4),
    "ask_px_": (6, 4), "bid_sz_": (5,), "ask_sz_": (5,),
}  # fmt: skip
"""Which kinds of columns fit a name, among those that `_parquet_table` makes."""


def _has_pyarrow() -> bool:
    return find_spec("pyarrow") is not None


def _parquet_table(material: Material) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, rows = material.choose((_CSV, _TARDIS, _MBO, _MBP)), 1 + material.below(4)
    words = ("add", "update", "delete", "reduce", "clear", "", "1.5", "2", "0", "A", "x")
    times = (0, 10**18, 10**18 + 1000)
    strange = (0.1 + 0.2, math.nan, math.inf, 1e300, -0.0)
    kinds: tuple[tuple[Any, Callable[[], Any]], ...] = (
        (pa.string(), lambda: material.choose(words)),
        (pa.string(), lambda: material.choose(("A", "B"))),
        (pa.string(), lambda: material.choose(("bid", "ask") if names[0] == "symbol" else ("B", "A"))),
        (pa.string(), lambda: material.choose(("A", "C", "M", "R"))),
        (pa.int64(), lambda: material.choose((1, 0, 128, -1, 2**63 - 1))),
        (pa.uint8(), lambda: material.choose((1, 128, 132, 0))),
        (pa.float64(), lambda: material.choose(strange if material.chance(9) else (1.5, 2.0))),
        (pa.float32(), lambda: material.choose((1.5, 0.25, 3.4e38, 1.5, 0.25))),
        (pa.float16(), lambda: 1.5),
        (pa.decimal128(20, 4), lambda: Decimal(material.choose(("1.5", "0", "-2.25", "1234567890123456")))),
        (pa.timestamp("ns"), lambda: material.choose((-1,) if material.chance(4) else times)),
        (pa.timestamp("s", tz="UTC"), lambda: material.choose((0, 1703116800, 2**50))),
        (pa.bool_(), lambda: material.chance(128)),
        (pa.binary(), lambda: b"x"),
        (pa.null(), lambda: None),
    )  # fmt: skip
    columns = []
    for name in names:
        fits = _FITS.get(name.rstrip("0123456789"), range(len(kinds)))
        of_type, make = material.choose(kinds) if material.chance(12) else kinds[material.choose(fits)]
        values = [None if material.chance(4) else make() for _ in range(rows)]
        columns.append(pa.array(values, of_type))
    if material.chance(30):
        names, columns = names[1:], columns[1:]
    written = BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, names=list(names)), written)
    return written.getvalue()


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

FILES: Final[dict[str, tuple[Callable[[Format, bytes], None], tuple[bytes, ...]]]] = {
    "databento-dbn": (partial(_binary, _dbn), (b"\x00\xff\xff", bytes(range(1, 120)))),
    "itch-5.0": (partial(_binary, _itch), (b"\x00\xff", bytes(range(1, 120)))),
    "parquet": (_parquet, (b"\x00\x00\x01" + b"\xff\x00\x00" * 30, bytes(range(1, 120)))),
}
"""Formats that are no text, with what feeds them one input, and seeds."""

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


_PROMISE: Final = "refused, or entries of known symbols"


def _name(recorded: Format) -> str:
    return f"feed_{recorded.name.replace('-', '_').replace('.', '_')}"


def _target(recorded: Format) -> Target:
    if recorded.name in FILES:
        read, seeds = FILES[recorded.name]
        return Target(_name(recorded), partial(read, recorded), _PROMISE, seeds)
    make, header = _MAKERS.get(recorded.name, (partial(_venue, example=recorded.example), b""))
    seed = _SEEDS.get(recorded.name, b"\x03\x00" + (header or recorded.example.encode()))
    return Target(
        _name(recorded), _format(recorded, make, header), _PROMISE, (seed, b"\x00\x05\x01\x02" * 20),
    )  # fmt: skip


TARGETS: Final = (
    *map(_target, FORMATS.values()),
    Target("feed_format", detected, "FeedError, or a known format", (_BINANCE[2:], _KRAKEN[2:], _PLAIN[2:])),
)
