"""A client that applies messages by the protocol's rules and checks them against the market's history."""

from collections.abc import Iterator
from typing import Any

import msgpack
import orjson

from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.protocol.frames import TEXT, frame
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.digest import digest_of
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.small_market import Levels, SmallMarket


class ModelClient:
    """Holds views by the protocol's rules; every message is checked against the market's history."""

    def __init__(
        self, market: SmallMarket, encoding: Encoding = Encoding.JSON, *, reads: bool = True
    ) -> None:
        self.market = market
        self.encoding = encoding
        self.writer = FakeWriter(market.core.settings.write_buffer_bytes, reads=reads)
        self.session: Session = market.core.open(self.writer, encoding, "name", market.now)
        self.writer.on_full = self.session.leave_fast_path
        self.writer.on_drained = self.session.serve
        self.messages: list[dict[str, Any]] = []
        self.views: dict[str, tuple[Levels, Levels]] = {}
        self.seqs: dict[str, int] = {}
        self.digests: dict[str, int] = {}
        self.depths: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.intervals: dict[str, int] = {}
        self.counted: set[str] = set()
        self.counts: dict[str, tuple[Levels, Levels]] = {}
        self.states: dict[str, str] = {}
        self.parts: dict[str, list[dict[str, Any]]] = {}
        self.merged_allowed = True
        self.credit: int | None = None

    def send(self, **message: Any) -> list[dict[str, Any]]:
        """Send a request; returns the messages that the client has received since the last call."""
        raw = orjson.dumps(message) if self.encoding is Encoding.JSON else msgpack.packb(message)
        if message.get("op") == "credit":
            self.credit = (self.credit or 0) + message["messages"]
        for _ in answer(self.session, raw):
            pass
        return self.read()

    def subscribe(self, *symbols: str, **fields: Any) -> list[dict[str, Any]]:
        return self.send(op="subscribe", symbols=list(symbols), **fields)

    def take_over(self, old: "ModelClient", symbol: str) -> dict[str, int]:
        """Hold the view of a client that lost its connection; returns what is offered to resume it."""
        self.views[symbol], self.seqs[symbol] = old.views[symbol], old.seqs[symbol]
        self.digests[symbol] = old.digests[symbol]
        offer = {"seq": self.seqs[symbol], "digest": self.digests[symbol]}
        if symbol in old.counts:
            bids, asks = old.counts[symbol]
            self.counts[symbol] = (dict(bids), dict(asks))
            offer["orders_digest"] = digest_of(bids.items(), asks.items())
        return offer

    def drain(self, count: int) -> None:
        """The client reads up to `count` waiting bytes."""
        self.writer.drain(count)
        self.read()

    def fill(self) -> None:
        """Put more than the mark into the writer's buffer, so that the client is full until it drains."""
        self.writer.reads = False
        self.writer.write(
            frame(TEXT, b'{"type":"filler","pad":"%s"}' % (b" " * (self.writer.mark_bytes + 1)))
        )

    def read(self) -> list[dict[str, Any]]:
        """Take the whole messages among the bytes received."""
        got = list(split_frames(self.writer.taken))
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
            for table in (
                self.depths, self.groups, self.views, self.seqs, self.digests, self.states, self.counts,
                self.parts,
            ):  # fmt: skip
                table.pop(symbol, None)
        elif kind == "status":
            assert message["state"] != self.states[symbol] or message["state"] == "stale"
            self.states[symbol] = message["state"]
            self._check_right(symbol)
        elif kind == "snapshot" and "part" in message:
            self._part(message, symbol)
        elif kind in ("snapshot", "delta"):
            self._data(message, symbol, kind)

    def _subscribed(self, message: dict[str, Any], symbol: str) -> None:
        self.depths[symbol] = message["depth"]
        self.groups[symbol] = message.get("group", 1)
        self.intervals[symbol] = message["interval_ms"]
        self.states[symbol] = "live"
        self.parts.pop(symbol, None)
        assert message.get("orders", True) is True
        (self.counted.add if "orders" in message else self.counted.discard)(symbol)
        if message["resumed"]:
            self.seqs[symbol] = message["seq"]
        else:
            for table in (self.views, self.seqs, self.digests, self.counts):
                table.pop(symbol, None)

    def _part(self, message: dict[str, Any], symbol: str) -> None:
        """Collect parts; the last one makes the snapshot. A first part begins anew."""
        most = self.market.core.settings.part_levels_max
        levels = [len(message[side]) for side in ("bids", "asks")]
        assert sum(levels) == most or (message["part"] == message["parts"] and 0 < sum(levels) < most)
        assert message["parts"] > 1
        if message["part"] == 1:
            self.parts[symbol] = []
        came = self.parts[symbol]
        assert message["part"] == len(came) + 1
        came.append(message)
        common, first = ({**part, "part": 0, "bids": [], "asks": []} for part in (message, came[0]))
        assert common == first
        if message["part"] < message["parts"]:
            self._spend_credit()
            return
        del self.parts[symbol]
        sides = {side: [row for part in came for row in part[side]] for side in ("bids", "asks")}
        assert sides["bids"] == sorted(sides["bids"], reverse=True)
        assert sides["asks"] == sorted(sides["asks"])
        self._data(message | sides, symbol, "snapshot")

    def _spend_credit(self) -> None:
        if self.credit is not None:
            self.credit -= 1
            assert self.credit >= 0, "nothing without credit"

    def _data(self, message: dict[str, Any], symbol: str, kind: str) -> None:
        assert symbol not in self.parts, "nothing comes between the parts of a snapshot"
        assert message["depth"] == self.depths[symbol], "nothing of an old depth, nothing unsubscribed"
        assert message.get("group", 1) == self.groups[symbol], "nothing of an old group"
        self._spend_credit()
        book, depth, seq = self.market.books[symbol], message["depth"], message["seq"]
        group = self.groups[symbol]
        assert seq > self.seqs.get(symbol, 0), "seq rises within a subscription"
        sides = (message["bids"], message["asks"])
        if symbol in self.counted:
            self._count(message, symbol)
            sides = ([row[:2] for row in message["bids"]], [row[:2] for row in message["asks"]])
        else:
            assert "orders_digest" not in message
        if kind == "snapshot":
            self.views[symbol] = (dict(sides[0]), dict(sides[1]))
        else:
            assert message["prev_seq"] == self.seqs[symbol]
            passed = self.seqs[symbol], seq, depth, group
            orders = symbol in self.counted
            assert message["merged"] == book.changes_of_view(*passed, orders=orders)
            assert self.merged_allowed or message["merged"] == 1, (
                "a client that keeps up gets every broadcast"
            )
            assert message.get("event_ts") == book.newest_time(*passed, orders=orders)
            self._check_because(message, self.intervals[symbol])
            for side, rows in zip(self.views[symbol], sides, strict=True):
                apply_rows(side, rows)
        self.seqs[symbol], self.digests[symbol] = seq, message["digest"]
        assert self.views[symbol] == book.view(seq, depth, group)
        assert message["digest"] == digest_of(self.views[symbol][0].items(), self.views[symbol][1].items())

    def _check_because(self, message: dict[str, Any], interval_ms: int) -> None:
        """Only a merged delta says why, and only what can be."""
        because, possible = message.get("because"), {None, "buffer"}
        if self.credit is not None:
            possible.add("credit")
        if interval_ms:
            possible.add("interval")
            possible.discard(None)
        assert because in possible if message["merged"] > 1 else "because" not in message

    def _count(self, message: dict[str, Any], symbol: str) -> None:
        """Take the number of orders at each level, which must be right."""
        if message["type"] == "snapshot":
            self.counts[symbol] = ({}, {})
        for side, rows in zip(self.counts[symbol], (message["bids"], message["asks"]), strict=True):
            for price, quantity, number in rows:
                assert (number > 0) == (quantity > 0)
                side[price] = number
                if not number:
                    del side[price]
        bids, asks = self.counts[symbol]
        assert (bids, asks) == self.market.books[symbol].count_view(message["seq"], message["depth"])
        assert message["orders_digest"] == digest_of(bids.items(), asks.items())

    def _check_right(self, symbol: str) -> None:
        """What is live is no view of a book that was in doubt, unless the view was right."""
        seq, depth, book = self.seqs.get(symbol), self.depths[symbol], self.market.books[symbol]
        group = self.groups[symbol]
        if self.states[symbol] != "live" or seq is None:
            return
        for begun, ended in self.market.wrong.get(symbol, ()):
            if begun <= seq and (ended is None or seq < ended):
                assert ended is not None, "it is in doubt"
                assert book.view(seq, depth, group) == book.view(ended, depth, group), "it was wrong"

    def check_current(self) -> None:
        """The client holds exactly the current views of everything it is subscribed to."""
        for symbol, depth in self.depths.items():
            book = self.market.books[symbol]
            assert self.views[symbol] == book.view(book.seq, depth, self.groups[symbol]), symbol
            if symbol in self.counted:
                assert self.counts[symbol] == book.count_view(book.seq, depth), symbol


def apply_rows(side: Levels, rows: list[list[int]]) -> None:
    """Apply the rows of a delta as a client does, and check them."""
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


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def connected(market: SmallMarket, encoding: Encoding = Encoding.JSON, *, reads: bool = True) -> ModelClient:
    """A client that has had its `welcome`."""
    client = ModelClient(market, encoding, reads=reads)
    client.take()
    return client
