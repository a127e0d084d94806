"""Targets: what is read from Redis. Positions, deltas, snapshots, infos, checkpoints, and their readers."""

from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ResponseError

from depthcast.ingestor import checkpoint
from depthcast.ingestor.engine import Engine
from depthcast.shared.codec import (
    decode_delta,
    decode_info,
    decode_snapshot,
    encode_delta,
    encode_info,
    encode_snapshot,
)
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import CodecError, DepthcastError, PositionError, RecoveryError, RedisUnavailable
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.position import Position
from depthcast.shared.reader import PartitionReader
from depthcast.shared.runtime.error_replies import key_of, refusal
from depthcast.shared.runtime.redis import parse_entries, parse_streams
from depthcast.shared.server_health import CHECKS, problems_of
from depthcast.shared.types import MAX_INTEGER, Delta, EntryInfo, Snapshot, Symbol
from tests.fuzz.material import Material, packed
from tests.fuzz.target import Target

WORDS: Final = (
    "ts", "src", "applied", "rejected", "ignored", "event_ts", "prev", "successor", "lag_ms", "1-0",
    "1767225600000-3",
)  # fmt: skip
SYMBOLS: Final = ("A", "B")


def position(data: bytes) -> None:
    text = data.decode("ascii", "replace") if len(data) % 2 else data
    try:
        found = Position.parse(text)
    except PositionError:
        return
    assert 0 <= found.epoch < 2**64
    assert 0 <= found.n < 2**64
    assert Position.parse(str(found)) == found


def _levels(material: Material) -> Any:
    if material.chance(20):
        return material.value(WORDS)
    return [number for _ in range(material.below(5)) for number in (material.integer(), material.integer())]


def delta(data: bytes) -> None:
    material = Material(data)
    raw = material.packed(
        lambda: [
            material.value(WORDS) if material.chance(20) else make
            for make in (
                material.integer(), material.integer(), _levels(material), _levels(material),
                material.integer(), material.integer(), *material.items(material.integer, 2),
            )
        ]
    )  # fmt: skip
    try:
        found = decode_delta(raw)
    except CodecError:
        return
    assert 0 <= found.prev_seq < found.seq
    assert found.digest >= 0
    assert found.events >= 0
    _check_levels(found.bids, 0)
    _check_levels(found.asks, 0)
    assert decode_delta(encode_delta(found)) == found


def snapshot(data: bytes) -> None:
    material = Material(data)

    def make() -> Any:
        bids, asks = _levels(material), _levels(material)
        digest = material.integer()
        if material.chance(230):
            digest = _digest_or_none(bids, asks) or digest
        return [
            material.integer(),
            bids,
            asks,
            digest,
            material.integer(),
            *material.items(material.integer, 2),
        ]

    try:
        found = decode_snapshot(material.packed(make))
    except CodecError:
        return
    assert found.seq >= 0
    assert found.ts >= 0
    for side in (found.bids, found.asks):
        _check_levels(side, 1)
        assert len(set(side[::2])) == len(side) // 2
    assert _digest_or_none(found.bids, found.asks) == found.digest
    assert decode_snapshot(encode_snapshot(found)) == found


def info(data: bytes) -> None:
    material = Material(data)
    known = {"ts": 1, "src": "0-0", "applied": 0, "rejected": 0, "ignored": 0}

    def make() -> Any:
        changed = {material.choose(WORDS): material.value(WORDS) for _ in range(material.below(4))}
        return known | changed

    try:
        found = decode_info(material.packed(make))
    except CodecError:
        return
    assert isinstance(found.src, str)
    assert min(found.ts, found.applied, found.rejected, found.ignored) >= 0
    assert decode_info(encode_info(found)) == found


def stored_checkpoint(data: bytes) -> None:
    """A checkpoint is decoded and restored, or refused; restored orders are those that were written."""
    material = Material(data)

    def column() -> Any:
        if material.chance(10):
            return material.value(WORDS)
        return [(material.integer(), material.integer()) for _ in range(material.below(4))]

    def ids(orders: Any) -> Any:
        numbers = range(len(orders)) if isinstance(orders, list) else ()
        return [material.value(WORDS) if material.chance(30) else number * 2 for number in numbers]

    def make() -> Any:
        bids, asks = column(), column()
        ask_ids = [number + 1 if type(number) is int and number < 2**63 else number for number in ids(asks)]
        return [1, material.choose(WORDS), "1-0", ids(bids), bids, ask_ids, asks]

    try:
        found = checkpoint.decode(material.packed(make))
    except CodecError:
        return
    engine = Engine(0, 1)
    try:
        engine.restore(Instrument(Symbol("A"), feed=Feed.ORDERS), 5, (), (), 0, found.orders)
    except RecoveryError:
        return
    again = engine.drain(["A"]).orders[Symbol("A")]
    # In any order: where a table has an order depends on the process.
    for ids_of, orders_of in (("bid_ids", "bids"), ("ask_ids", "asks")):
        copies = [
            sorted(
                zip(getattr(orders, ids_of), map(tuple, getattr(orders, orders_of)), strict=True), key=repr
            )
            for orders in (again, found.orders)
        ]
        assert copies[0] == copies[1]
    levels = engine.snapshot("A")
    _check_levels(levels.bids, 1)
    _check_levels(levels.asks, 1)


INFO: Final = (
    "redis_version", "valkey_version", "maxmemory", "used_memory", "maxmemory_policy", "aof_enabled",
    "role", "aof_last_write_status", "master_link_status", "master_last_io_seconds_ago", "slave0", "lag",
    "state", "online",
    "slave", "allkeys-lru", "7.0.15", "6.2",
)  # fmt: skip
REPLIES: Final = (
    "WRONGTYPE k holds x", "READONLY", "Command # 1 (XREAD a b) of pipeline caused error: ('BUSY x',)",
    "NOPERM", "", "ERR unknown command", "XREAD", "XINFO", "EVALSHA", "STREAMS", "1", "k", "é", "\n",
)  # fmt: skip


def server_replies(data: bytes) -> None:
    """Whatever a server answers is a result or RedisUnavailable; its checks say something about anything."""
    material = Material(data)
    reply = material.value(WORDS, 4)
    with suppress(RedisUnavailable):
        parse_streams(reply)
    with suppress(RedisUnavailable):
        for at, fields in parse_entries(reply):
            assert Position.parse(str(at)) == at
            assert fields
    info_reply = {material.choose(INFO): material.value(INFO) for _ in range(material.below(6))}
    problems = problems_of(info_reply, material.integer() / 1000)
    assert problems.keys() == set(CHECKS)
    assert all(isinstance(problem, str) and len(problem) < 1000 for problem in problems.values())
    text = "".join(material.choose(REPLIES) + " " for _ in range(material.below(4))) + material.text()
    assert isinstance(refusal(ResponseError(text), material.choose((None, "k"))), DepthcastError)
    words: tuple[str | bytes | float, ...] = (*REPLIES, b"k", 5)
    command = [material.choose(words) for _ in range(1 + material.below(4))]
    if command[0] != "XREAD" or "STREAMS" in command:
        key_of(command)


class _Story:
    """A partition's authoritative books, and a reader of the stream that the fuzzer damages on its way."""

    def __init__(self) -> None:
        self.position = Position(5, 0)
        self.seqs = dict.fromkeys(SYMBOLS, 100)
        self.books: dict[str, tuple[dict[int, int], dict[int, int]]] = {name: ({}, {}) for name in SYMBOLS}
        self.states: dict[tuple[str, int], tuple[dict[int, int], dict[int, int]]] = {}
        self.entries: list[tuple[Position, list[tuple[bytes, bytes]]]] = []
        self.reader = PartitionReader(lambda symbol: symbol in SYMBOLS)
        self.shown = dict.fromkeys(SYMBOLS, 0)
        for symbol in SYMBOLS:
            self._remember(symbol)

    def _remember(self, symbol: str) -> None:
        bids, asks = self.books[symbol]
        self.states[symbol, self.seqs[symbol]] = (dict(bids), dict(asks))

    def publish(self, material: Material) -> None:
        fields = [(b"_", encode_info(EntryInfo(1, "0-0", 0, 0, 0)))]
        for symbol in SYMBOLS:
            if not material.chance(160):
                continue
            flats: list[list[int]] = [[], []]
            for _ in range(material.below(3)):
                side, price, quantity = material.below(2), material.below(8), material.below(4)
                if price in flats[side][::2]:
                    continue
                flats[side] += [price, quantity]
                self.books[symbol][side].pop(price, None)
                if quantity:
                    self.books[symbol][side][price] = quantity
            prev, self.seqs[symbol] = self.seqs[symbol], self.seqs[symbol] + 1 + material.below(3)
            self._remember(symbol)
            made = Delta(prev, self.seqs[symbol], flats[0], flats[1], self._digest(symbol), 1)
            fields.append((symbol.encode(), encode_delta(made)))
        self.position = self.position.next()
        self.entries.append((self.position, fields))

    def _digest(self, symbol: str) -> int:
        bids, asks = self.books[symbol]
        return digest_of(bids.items(), asks.items())

    def load(self) -> None:
        reader = self.reader
        wanted = SYMBOLS if reader.lost_reason is not None else tuple(reader.missing)
        found = {}
        for symbol in wanted:
            bids, asks = (
                [number for level in side.items() for number in level] for side in self.books[symbol]
            )
            made = Snapshot(self.seqs[symbol], bids, asks, self._digest(symbol), 1)
            found[symbol] = (self.position, made)
        reader.load(self.position, found)
        self.entries.clear()

    def damaged(self, material: Material) -> tuple[Position, list[tuple[bytes, bytes]]]:
        """Return the next entry: as it is, or with a field replaced, its levels changed, or junk added."""
        at, fields = self.entries.pop(0)
        kind = material.below(8)
        place = material.below(len(fields))
        name, raw = fields[place]
        if kind == 1:
            fields = [*fields[:place], (name, material.chunk()), *fields[place + 1 :]]
        elif kind == 2 and name != b"_":
            read = decode_delta(raw)
            wrong = read._replace(bids=[*read.bids, material.below(8), material.integer() % 2**20])
            fields = [*fields[:place], (name, encode_delta(wrong)), *fields[place + 1 :]]
        elif kind == 3:
            fields = [*fields, (material.chunk(), material.chunk())]
        elif kind == 4:
            at = Position(at.epoch, at.n + material.below(3))
        elif kind == 5:
            fields = fields[1:]
        return at, fields

    def check(self) -> None:
        """A book that counts as current is one that was published, at its seq; nothing shown goes back."""
        for symbol, replica in self.reader.shown.items():
            assert replica.seq >= self.shown[symbol]
            self.shown[symbol] = replica.seq
            bids, asks = self.states[symbol, replica.seq]
            assert (replica.book.bids.levels, replica.book.asks.levels) == (bids, asks)
            assert replica.digest == digest_of(bids.items(), asks.items())


def reader(data: bytes) -> None:
    """Whatever is lost, repeated, torn or added on the way, the reader shows published books only."""
    material, story = Material(data), _Story()
    story.load()
    while material.left:
        kind = material.below(8)
        if kind < 3:
            story.publish(material)
        elif kind < 6 and story.entries:
            story.reader.read(*story.damaged(material))
        elif kind == 6 and story.entries:
            story.entries.pop(0)
        else:
            story.reader.check_tail(story.position)
            if story.reader.lost_reason is not None or story.reader.missing:
                story.load()
        story.check()


def _digest_or_none(bids: Any, asks: Any) -> int | None:
    for flat in (bids, asks):
        if not isinstance(flat, list) or len(flat) % 2 or {*map(type, flat)} - {int}:
            return None
    sides = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in (bids, asks)]
    return digest_of(*sides)


def _check_levels(flat: Any, least: int) -> None:
    assert len(flat) % 2 == 0
    for price, quantity in zip(flat[::2], flat[1::2], strict=True):
        assert type(price) is int
        assert type(quantity) is int
        assert -MAX_INTEGER <= price <= MAX_INTEGER
        assert least <= quantity <= MAX_INTEGER


_DELTA = encode_delta(Delta(1, 2, [5, 3], [6, 4], 7, 1))
_CHECKPOINT = packed([1, "5-1", "1-0", [1, "x"], [[5, 3], [4, 2]], [], []])

TARGETS: Final = (
    Target(
        "position", position, "PositionError, or text that reads as itself",
        (b"1767225600000-3 ", b"0-0"),
    ),
    Target("delta", delta, "CodecError, or numbers in range that read as themselves", (b"\x01" + _DELTA,)),
    Target(
        "snapshot", snapshot, "CodecError, or a book with its digest",
        (b"\x01" + encode_snapshot(Snapshot(5, [5, 3], [6, 4], digest_of([(5, 3)], [(6, 4)]), 1)),),
    ),
    Target(
        "info", info, "CodecError, or counts that read as themselves",
        (b"\x01" + encode_info(EntryInfo(1, "5-1", 1, 2, 3, 4, "6-1", "next")),),
    ),
    Target(
        "checkpoint", stored_checkpoint, "CodecError or RecoveryError, or the orders that were written",
        (b"\x01" + _CHECKPOINT, b"\x00\x02\x00\x81\x82\x83\x84"),
    ),
    Target(
        "server_replies", server_replies, "a result or RedisUnavailable, and a text for each check",
        (b"\x06\xff\x06\xff\x05\x031-1\xff\x06\xff\x05", b"\x00\x05\x02\x03\x01\x00\x03\x02" * 4),
    ),
    Target(
        "reader", reader, "shows published books only, and never goes back",
        (bytes(range(60)), b"\x00\x01\x03" * 30),
    ),
)  # fmt: skip
