"""A small market for tests of the gateway's pure parts: real reader, real codec, no Redis, no network.

`Market` writes entries as an ingestor would and remembers every published state; `FakeOutlet` is a connection whose
client reads when it is told to; `ModelClient` applies messages by the protocol's rules and checks each of them.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgpack
import orjson

from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.digest import digest_of
from depthcast.shared.instruments import Instrument
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry
from depthcast.shared.replica import Replica
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Delta, EntryInfo, Side, Snapshot, Symbol

Levels = dict[int, int]
START = Position(1_767_225_700_000, 0)


class Published:
    """One symbol's authoritative book: both sides, and every state by seq."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.sides: tuple[Levels, Levels] = ({}, {})
        self.states: dict[int, tuple[Levels, Levels]] = {seq: ({}, {})}
        self.unseen: set[int] = set()

    def move(self, bids: Levels, asks: Levels, step: int = 1) -> Delta:
        """The next state, with these quantities changed."""
        for side, changes in zip(self.sides, (bids, asks), strict=True):
            for price, quantity in changes.items():
                side.pop(price, None)
                if quantity:
                    side[price] = quantity
        prev_seq, self.seq = self.seq, self.seq + step
        self.states[self.seq] = (dict(self.sides[0]), dict(self.sides[1]))
        return Delta(prev_seq, self.seq, _flat(bids), _flat(asks), self.digest(), 1)

    def digest(self) -> int:
        return digest_of(self.sides[0].items(), self.sides[1].items())

    def snapshot(self) -> Snapshot:
        return Snapshot(self.seq, _flat(self.sides[0]), _flat(self.sides[1]), self.digest(), self.seq)

    def view(self, seq: int, depth: int) -> tuple[Levels, Levels]:
        """The best `depth` levels a side at the state `seq`, by plain sorting."""
        bids, asks = self.states[seq]
        return _best(bids, -1, depth), _best(asks, 1, depth)

    def changes_of_view(self, after: int, until: int, depth: int) -> int:
        """How many broadcasts after the state `after`, up to `until`, changed the view, as far as the gateway saw."""
        seqs = [seq for seq in self.states if after <= seq <= until and seq not in self.unseen]
        views = [self.view(seq, depth) for seq in seqs]
        return sum(one != two for one, two in pairwise(views))


class Market:
    """Symbols, their books, and the gateway core that follows them. Time is what the test says."""

    def __init__(self, *symbols: str, **settings: Any) -> None:
        self.alarms: list[int] = []
        self.now = 1000.0
        self.core = Core(GatewaySettings(**settings), lambda: int(self.now * 1e6), self.alarms.append)
        self.core.hub.divide(1)
        self.upstream = self.core.hub.upstreams[0]
        self.books = {symbol: Published(START.epoch) for symbol in symbols}
        self.position = START
        self.list_instruments()
        self.load()
        self.tick()

    def list_instruments(self) -> None:
        instruments = {symbol: Instrument(Symbol(symbol), "0.01", "0.001") for symbol in self.books}
        self.core.list_instruments(instruments)

    def load(self, *without: str) -> None:
        """Snapshots of what the reader misses; `without`: symbols that have none yet."""
        reader = self.upstream.reader
        wanted = list(self.books if reader.lost_reason is not None else reader.missing)
        for symbol in wanted:
            if symbol in reader.shown:
                self.books[symbol].unseen |= set(range(reader.shown[symbol].seq + 1, self.books[symbol].seq))
        found = {
            symbol: None if symbol in without else (self.position, self.books[symbol].snapshot())
            for symbol in wanted
        }
        updates = reader.load(self.position, found)
        self.apply(AppliedEntry(self.position, None, updates))

    def entry(self, deltas: Mapping[str, Delta]) -> AppliedEntry:
        """The next entry of the stream, as the reader takes it."""
        self.position = self.position.next()
        info = encode_info(EntryInfo(self.position.n, "0-0", 0, 0, 0))
        fields = [(b"_", info), *((name.encode(), encode_delta(delta)) for name, delta in deltas.items())]
        entry = self.upstream.reader.read(self.position, fields)
        assert entry is not None
        return entry

    def publish(
        self, symbol: str, bids: Levels | None = None, asks: Levels | None = None, *, tick: bool = True
    ) -> int:
        """One broadcast of one symbol; returns its seq."""
        delta = self.books[symbol].move(bids or {}, asks or {})
        self.apply(self.entry({symbol: delta}))
        if tick:
            self.tick()
        return delta.seq

    def heartbeat(self) -> None:
        self.apply(self.entry({}))
        self.tick()

    def apply(self, entry: AppliedEntry) -> None:
        self.core.apply(self.upstream, entry, self.now)

    def tick(self) -> None:
        self.core.tick(self.now)

    def grid(self) -> None:
        """The next time of every interval's grid that was asked for."""
        due, self.alarms[:] = list(self.alarms), []
        for interval_ms in due:
            self.core.flusher.flush_grid(interval_ms)

    def lose(self, symbol: str) -> None:
        """A broadcast of `symbol` never arrives: the next one is a gap."""
        self.books[symbol].move({}, {}, step=1)

    def connect(self, encoding: Encoding = Encoding.JSON, capacity: int | None = None) -> "ModelClient":
        return ModelClient(self, encoding, capacity)


class FakeOutlet:
    """A connection that takes `capacity` bytes by itself (None: any number) and keeps the rest until `drain`."""

    def __init__(self, mark: int, capacity: int | None) -> None:
        self.mark = mark
        self.capacity = capacity
        self.taken = bytearray()
        self.waiting = bytearray()
        self.on_full: Callable[[], None] = lambda: None
        self.writes = 0
        self.most_waiting = 0
        self._paused = False

    @property
    def paused(self) -> bool:
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        if paused:
            self.on_full()

    @property
    def clear(self) -> bool:
        return not self.waiting and not self.paused

    def direct(self) -> Callable[[bytes], int]:
        return self._send

    def _send(self, data: bytes) -> int:
        assert self.clear, "nothing may overtake what is waiting"
        if self.capacity is not None:
            raise BlockingIOError
        self.write(data)
        return len(data)

    def write(self, data: bytes) -> None:
        self.writes += 1
        if self.capacity is None:
            self.taken += data
            return
        if not self.waiting:
            self.on_full()
        self.waiting += data
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        if not self.paused and len(self.waiting) > self.mark:
            self.paused = True

    def buffered(self) -> int:
        return len(self.waiting)

    def drain(self, count: int) -> bool:
        """The client reads `count` bytes; whether that makes the connection writable again."""
        self.taken += self.waiting[:count]
        del self.waiting[:count]
        resumed = self.paused and len(self.waiting) <= self.mark // 2
        if resumed:
            self.paused = False
        return resumed


class ModelClient:
    """A client that holds views by the protocol's rules; every message is checked against the market's history."""

    def __init__(self, market: Market, encoding: Encoding, capacity: int | None) -> None:
        self.market = market
        self.encoding = encoding
        self.outlet = FakeOutlet(market.core.settings.write_buffer_bytes, capacity)
        self.session: Session = market.core.open(self.outlet, encoding, "name", market.now)
        self.outlet.on_full = self.session.step_out
        self.messages: list[dict[str, Any]] = []
        self.views: dict[str, tuple[Levels, Levels]] = {}
        self.seqs: dict[str, int] = {}
        self.digests: dict[str, int] = {}
        self.depths: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self.merged_allowed = True
        self.credit: int | None = None

    def send(self, **message: Any) -> list[dict[str, Any]]:
        """Send a request; returns what the client has got by then, and had not before."""
        raw = orjson.dumps(message) if self.encoding is Encoding.JSON else msgpack.packb(message)
        if message.get("op") == "credit":
            self.credit = (self.credit or 0) + message["messages"]
        for _ in answer(self.session, raw):
            pass
        return self.read()

    def subscribe(self, *symbols: str, **fields: Any) -> list[dict[str, Any]]:
        return self.send(op="subscribe", symbols=list(symbols), **fields)

    def drain(self, count: int) -> None:
        if self.outlet.drain(count):
            self.session.serve()
        self.read()

    def read(self) -> list[dict[str, Any]]:
        """Take the whole messages among the bytes received."""
        got = list(split_frames(self.outlet.taken))
        new = [orjson.loads(data) if opcode == 1 else msgpack.unpackb(data) for opcode, data in got]
        self.messages += new
        for message in new:
            self._follow(message)
        return new

    def take(self) -> list[dict[str, Any]]:
        """Everything received since the last `take`."""
        self.read()
        taken, self.messages = self.messages, []
        return taken

    def _follow(self, message: dict[str, Any]) -> None:
        symbol, kind = message.get("symbol", ""), message["type"]
        if kind == "subscribed":
            self._subscribed(message, symbol)
        elif kind == "unsubscribed":
            for table in (self.depths, self.views, self.seqs, self.digests, self.states):
                table.pop(symbol, None)
        elif kind == "status":
            assert message["state"] != self.states[symbol] or message["state"] == "stale"
            self.states[symbol] = message["state"]
        elif kind in ("snapshot", "delta"):
            self._data(message, symbol, kind)

    def _subscribed(self, message: dict[str, Any], symbol: str) -> None:
        self.depths[symbol] = message["depth"]
        self.states[symbol] = "live"
        if message["resumed"]:
            self.seqs[symbol] = message["seq"]
        else:
            for table in (self.views, self.seqs, self.digests):
                table.pop(symbol, None)

    def _data(self, message: dict[str, Any], symbol: str, kind: str) -> None:
        assert message["depth"] == self.depths[symbol], "nothing of an old depth, nothing unsubscribed"
        if self.credit is not None:
            self.credit -= 1
            assert self.credit >= 0, "nothing without credit"
        book, depth, seq = self.market.books[symbol], message["depth"], message["seq"]
        assert seq > self.seqs.get(symbol, 0), "seq rises within a subscription"
        if kind == "snapshot":
            self.views[symbol] = (dict(message["bids"]), dict(message["asks"]))
        else:
            assert message["prev_seq"] == self.seqs[symbol]
            assert message["merged"] == book.changes_of_view(self.seqs[symbol], seq, depth)
            assert self.merged_allowed or message["merged"] == 1, (
                "a client that keeps up gets every broadcast"
            )
            for side, rows in zip(self.views[symbol], (message["bids"], message["asks"]), strict=True):
                apply_rows(side, rows)
        self.seqs[symbol], self.digests[symbol] = seq, message["digest"]
        assert self.views[symbol] == book.view(seq, depth)
        assert message["digest"] == digest_of(self.views[symbol][0].items(), self.views[symbol][1].items())

    def check_current(self) -> None:
        """The client holds exactly the current views of everything it is subscribed to."""
        for symbol, depth in self.depths.items():
            book = self.market.books[symbol]
            assert self.views[symbol] == book.view(book.seq, depth), symbol


def apply_rows(side: Levels, rows: list[list[int]]) -> None:
    """What a client does with the rows of a delta, and what it may expect of them."""
    for price, quantity in rows:
        if quantity:
            side[price] = quantity
        else:
            assert side.pop(price, None), "only what is held is taken away"


def split_frames(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take whole unmasked frames off the front of `data`: (opcode, payload)."""
    while len(data) >= 2:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return
        opcode, payload = data[0] & 0xF, bytes(data[start : start + size])
        del data[: start + size]
        yield opcode, payload


def random_changes(rng: random.Random, book: Published, most: int = 6) -> tuple[Levels, Levels]:
    """Some levels to change; now and then a side is emptied, or a run of levels appears at its best end."""
    changes: tuple[Levels, Levels] = ({}, {})
    for side in Side:
        held = book.sides[side]
        if held and rng.random() < 0.02:
            changes[side].update(dict.fromkeys(held, 0))
        for _ in range(rng.randint(0, most)):
            price = rng.randint(1, 40) * (1 if side == Side.ASK else -1)
            changes[side][price] = rng.choice((0, 0, 1, 2, 3, 2**53 - 1))
    return changes


def replica_of(book: Published) -> Replica:
    """A replica that stands where the book does."""
    return Replica(book.snapshot())


def _best(levels: Levels, sign: int, depth: int) -> Levels:
    prices = sorted(levels, key=lambda price: price * sign)
    return {price: levels[price] for price in (prices[:depth] if depth else prices)}


def _flat(levels: Levels) -> list[int]:
    return [number for level in levels.items() for number in level]


def lively_market(*symbols: str, **settings: Any) -> Market:
    made = Market(*(symbols or ("AAA", "BBB")), **settings)
    for symbol in made.books:
        made.publish(symbol, {-1: 5, -2: 6, -3: 7}, {1: 8, 2: 9})
    return made


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def connected(made: Market, **options: Any) -> ModelClient:
    client = made.connect(**options)
    client.take()
    return client
