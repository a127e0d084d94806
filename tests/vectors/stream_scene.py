"""Composes what a reader of the streams reads: a real engine makes the entries, and says what is right.

A scene has no reader: its author says what is read when, and what a reader must load.
"""

import json
from collections.abc import Callable, Mapping
from itertools import chain, count
from typing import Any, Final, NamedTuple

import msgpack

from depthcast.broadcaster.publication import Broadcast, Fields, place
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.output import broadcast_of, marks_of
from depthcast.shared.codec import WRITTEN_FIELD, encode_delta, encode_snapshot, pack
from depthcast.shared.doubt import STALE
from depthcast.shared.input_times import to_marks
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.listing import to_table
from depthcast.shared.order_counts import ORDERS
from depthcast.shared.position import ZERO, Position
from depthcast.shared.types import Delta, EntryInfo, Symbol
from tests.vectors.lines import Levels, Line, book_line

EPOCH: Final = 1769904000000
NEXT_EPOCH: Final = 1769904060000
SYMBOL: Final = "BTC-USD"
INTERVAL_US: Final = 50_000
EVERYTHING: Final = "everything"


class Entry(NamedTuple):
    """An entry of `deltas`."""

    position: Position
    fields: Fields

    def changed(self, name: str, edit: Callable[[Any], Any]) -> "Entry":
        """The same with another value in a field; `edit` gets the decoded one, and None removes the field."""
        fields = []
        for key, raw in self.fields:
            if key != name.encode():
                fields.append((key, raw))
            elif (value := edit(msgpack.unpackb(raw))) is not None:
                fields.append((key, pack(value)))
        return Entry(self.position, fields)

    def line(self) -> Line:
        fields = {name.decode(): _shown(name, raw) for name, raw in self.fields}
        return {"entry": {"id": str(self.position), "fields": fields}}


class StoredSnapshot(NamedTuple):
    """An entry of `snapshots:<symbol>`."""

    position: Position
    raw: bytes

    def changed(self, edit: Callable[[Any], Any]) -> "StoredSnapshot":
        """The same with another value; `edit` gets the decoded one."""
        return StoredSnapshot(self.position, pack(edit(msgpack.unpackb(self.raw))))

    def line(self) -> Line:
        return {"id": str(self.position), "s": _shown(b"s", self.raw)}


class StreamScene:
    """One partition and its leader. Entries are made by what happens, and read only by `reads`."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = symbols or (SYMBOL,)
        self.engine = Engine(0, 1)
        self.position = ZERO
        self.lines: list[Line] = []
        self.seqs: dict[str, int] = {}
        self._states: dict[tuple[str, int], tuple[Levels, Levels]] = {}
        self._counts: dict[tuple[str, int], tuple[Levels, Levels]] = {}
        self._last = EntryInfo(0, "0-0", 0, 0, 0)
        self._inputs = count(1)

    # --- what the leader writes

    def leads(self, epoch: int = EPOCH) -> list[Entry]:
        """A leader seals the epoch and moves every symbol into it."""
        seal = self._last._replace(ts=epoch * 1000, event_ts=None, prev=None, inputs=None)
        entries = self._append(Position(epoch, 0), Broadcast(seal, ()))
        moves = self.engine.begin_epoch(epoch)
        if moves:
            listings = {symbol: self.engine.listing(symbol) for symbol, _ in moves}
            marks = marks_of(listings, {}, counts=self.engine.orders_unchanged(listings))
            moved = Broadcast(seal._replace(ts=epoch * 1000 + INTERVAL_US), moves, marks)
            entries += self._append(self.position.next(), moved)
        return entries

    def registers(self, symbol: str = SYMBOL, feed: Feed = Feed.LEVELS) -> list[Entry]:
        """The symbol's first listing is born."""
        self.engine.register(Instrument(Symbol(symbol), "0.01", "0.001", feed))
        return self._publish()

    def withdraws(self, symbol: str = SYMBOL) -> list[Entry]:
        self.engine.withdraw(symbol)
        return self._publish()

    def consumes(
        self, events: Mapping[str, list[list[Any]]], options: Mapping[str, Any] | None = None
    ) -> list[Entry]:
        """An input entry is published; `events` by symbol."""
        fields = [(name.encode(), json.dumps(array).encode()) for name, array in events.items()]
        if options is not None:
            fields.append((b"_", json.dumps(options).encode()))
        self.engine.apply(f"{EPOCH + next(self._inputs)}-0", fields)
        return self._publish()

    def heartbeat(self) -> list[Entry]:
        return self._publish()

    def snapshot(self, symbol: str = SYMBOL) -> StoredSnapshot:
        """The snapshot of now."""
        marks = to_table(self.engine.listing(symbol)) | to_marks(*self.engine.times(symbol))
        if reason := self.engine.doubt(symbol):
            marks[STALE] = reason
        plain = self.engine.snapshot(symbol)
        snapshot = plain._replace(ts=self._ts(self.position), marks={**marks, **(plain.marks or {})})
        return StoredSnapshot(self.position, encode_snapshot(snapshot))

    def phantom(self, symbol: str, price: int, quantity: int) -> Entry:
        """The next entry, with one more bid; a failover loses it, and the leader knows nothing of it."""
        bids, asks = self._states[symbol, self.seqs[symbol]]
        seq = self.seqs[symbol]
        self._states[symbol, seq + 1] = after = ({**bids, price: quantity}, asks)
        digest = book_line(seq + 1, *after)["digest"]
        delta = Delta(seq, seq + 1, [price, quantity], [], digest, 1)
        position = self.position.next()
        info = self._last._replace(ts=self._ts(position))
        (placed,) = place(self.position, position, [Broadcast(info, ())])
        fields = [*placed[1], (symbol.encode(), encode_delta(delta)), self._written(position)]
        return Entry(position, fields)

    # --- what the reader reads, and must hold

    def loads(
        self,
        snapshots: Mapping[str, StoredSnapshot | None],
        tail: Position | None = None,
        of: str | list[str] = EVERYTHING,
    ) -> None:
        """The reader must load: everything, or some symbols. `tail`: end of the stream, by default of now."""
        found = {symbol: kept and kept.line() for symbol, kept in snapshots.items()}
        end = self.position if tail is None else tail
        self.lines.append({"load": {"of": of, "tail": str(end), "snapshots": found}})

    def reads(self, *entries: Entry) -> None:
        self.lines.extend(entry.line() for entry in entries)

    def looks_at_tail(self, tail: Position) -> None:
        """Nothing came for a while, so the reader looks where the stream ends."""
        self.lines.append({"tail": str(tail)})

    def live(self, symbol: str = SYMBOL, **about: Any) -> None:
        self._holds("live", symbol, **about)

    def stale(self, symbol: str = SYMBOL, **about: Any) -> None:
        self._holds("stale", symbol, **about)

    def nothing(self, symbol: str = SYMBOL) -> None:
        self.lines.append({"holds": {symbol: None}})

    def _holds(
        self,
        state: str,
        symbol: str,
        *,
        seq: int | None = None,
        listing: int = 1,
        sizes: tuple[str, str] = ("0.01", "0.001"),
        reason: str | None = None,
        counted: bool = True,
        **times: int | None,
    ) -> None:
        """`counted`: whether the reader knows the number of orders, if the leader does.

        `times`: `event_ts` and `input_ts`, where the conversation is about them.
        """
        seq = self.seqs[symbol] if seq is None else seq
        counts = self._counts.get((symbol, seq)) if counted else None
        book = book_line(seq, *self._states[symbol, seq], counts)
        said = {"listing": listing, "tick_size": sizes[0], "lot_size": sizes[1], "reason": reason}
        self.lines.append({"holds": {symbol: {"state": state, **book, **said, **times}}})

    # --- parts

    def _publish(self) -> list[Entry]:
        entries = []
        while True:
            interval = self.engine.drain()
            broadcast = broadcast_of(interval, self._ts(self.position.next()))
            entries += self._append(self.position.next(), broadcast)
            if not self.engine.dirty():
                return entries

    def _append(self, first: Position, broadcast: Broadcast) -> list[Entry]:
        entries = []
        for position, fields in place(self.position, first, [broadcast]):
            self.position = position
            entries.append(Entry(position, [*fields, self._written(position)]))
        self._last = broadcast.info
        for symbol, delta in broadcast.deltas:
            self.seqs[symbol] = delta.seq
            bids, asks = self._states.get((symbol, delta.prev_seq), ({}, {}))
            self._states[symbol, delta.seq] = _after(bids, delta.bids), _after(asks, delta.asks)
            if (counts := broadcast.marks.get(symbol, {}).get(ORDERS)) is not None:
                bids, asks = self._counts.get((symbol, delta.prev_seq), ({}, {}))
                of_bids = _after(bids, _flat(delta.bids, counts[0]))
                of_asks = _after(asks, _flat(delta.asks, counts[1]))
                self._counts[symbol, delta.seq] = of_bids, of_asks
        return entries

    @staticmethod
    def _ts(position: Position) -> int:
        return position.epoch * 1000 + position.n * INTERVAL_US

    def _written(self, position: Position) -> tuple[bytes, bytes]:
        return WRITTEN_FIELD, b"%d" % (self._ts(position) + 300)


def _after(levels: Levels, flat: Any) -> Levels:
    changed = {**levels, **dict(zip(flat[::2], flat[1::2], strict=True))}
    return {price: quantity for price, quantity in changed.items() if quantity}


def _flat(levels: Any, numbers: Any) -> list[int]:
    """The prices of flat levels, each with its number."""
    return list(chain.from_iterable(zip(levels[::2], numbers, strict=True)))


def _shown(name: bytes, raw: bytes) -> Line:
    """A value as bytes in hexadecimal, and decoded where that is possible."""
    shown: Line = {"hex": raw.hex()}
    if name == WRITTEN_FIELD:
        return {**shown, "value": raw.decode()}
    try:
        return {**shown, "value": msgpack.unpackb(raw)}
    except ValueError:
        return shown
