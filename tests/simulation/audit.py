"""Audits every write when it is made, and the readers' books during the run.

The end of a run shows only mistakes that were not repaired by then. These checks must hold at every moment
(`docs/protocol.md`, sections 2.2 and 2.3).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from typing import Any, Final, NamedTuple

from depthcast.ingestor import checkpoint as checkpoints
from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.codec import decode_info, decode_marked_delta, decode_snapshot
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.order_counts import ORDERS
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.reader import PartitionReader
from tests.book_model import brute_digest
from tests.simulation.data import Data
from tests.simulation.journal import Entry, Journal, changed
from tests.simulation.producers import KEYS
from tests.simulation.streams import ZERO, Fields, Id, Stream

SCRIPTS: Final = (b"EVAL", b"EVALSHA")
FIRST_KEY: Final = 2
"""Index of the first key among the arguments of a script's command."""


State = tuple[int, int, int | None]
"""Seq, digest, and digest of the number of orders, None for a levels feed."""
NO_STATE: Final[State] = (0, 0, None)

Column = tuple[Sequence[int], Sequence[int]]
"""Prices, and a number for each."""


class Published(NamedTuple):
    """The state after an entry of `deltas`.

    `books`: each symbol's; `src`: the last input consumed; `listings`: what books stand for.
    """

    books: Mapping[str, State]
    src: Id
    listings: Mapping[str, Listing]


class PartitionAudit:
    """Audits one partition.

    - `strict`: symbols that are never withdrawn.
    - `generation`: counts the server processes so far.
    - `deleted`: input entries that somebody else deleted.
    - `sizes`: tick and lot size of each state, by symbol and seq, in all histories.
    - `everywhere`: the entries of all histories.
    """

    def __init__(
        self,
        keys: PartitionKeys,
        instruments: Mapping[str, Instrument],
        strict: frozenset[str],
        journal: Journal,
        store: Data,
        generation: Callable[[], object],
        problem: Callable[[str], None],
        deleted: AbstractSet[Id] = frozenset(),
    ) -> None:
        self.journal = journal
        self.generation = generation
        self.seals: dict[int, object] = {}
        self.store = store
        self.problem = problem
        self.deltas, self.events = keys.deltas.encode(), keys.events.encode()
        self.deleted = deleted
        self.snapshots = {keys.snapshots(symbol).encode(): symbol for symbol in instruments}
        self.checkpoints = {keys.checkpoint(symbol).encode(): symbol for symbol in instruments}
        self.strict = strict
        self.orders = {symbol for symbol in strict if instruments[symbol].feed is Feed.ORDERS}
        self.published: dict[Id, Published] = {}
        self.sizes: dict[tuple[str, int], tuple[str, ...]] = {}
        self.everywhere: set[Id] = set()

    def fork(self, journal: Journal, store: Data) -> "PartitionAudit":
        """The same for a history that begins as this one is now."""
        made = copy(self)
        made.journal, made.store = journal, store
        made.published, made.seals = dict(self.published), dict(self.seals)
        return made

    # --- writes -----------------------------------------------------------------------------------------

    def appended(self, key: bytes, stream_id: Id, fields: Fields) -> None:
        """A stream entry was added, and the journal has it."""
        if key == self.deltas:
            self._delta(stream_id, fields)
        elif key in self.snapshots:
            self._snapshot(self.snapshots[key], stream_id, fields[1])

    def _delta(self, stream_id: Id, fields: Fields) -> None:
        timeline = self.journal.streams[self.deltas]
        before = self.published.get(timeline[-2][0]) if len(timeline) > 1 else None
        books = dict(before.books) if before else {}
        listings = dict(before.listings) if before else {}
        for name, raw in changed(fields):
            (delta, marks), symbol = decode_marked_delta(raw), name.decode()
            books[symbol] = delta.seq, delta.digest, marks[ORDERS][2] if ORDERS in marks else None
            listing = of_table(symbol, marks)
            if listing is not None:
                listings[symbol] = listing
            self.sizes[symbol, delta.seq] = listings[symbol].instrument.terms[:2]
        src = Position.parse(decode_info(fields[1]).src)
        self.published[stream_id] = Published(books, src, listings)
        self.everywhere.add(stream_id)
        generation = self.seals.setdefault(stream_id[0], self.generation())
        if generation != self.generation():
            self.problem(f"the entry {stream_id} continues an epoch that began at another server process")
        input_log = self.store.stream(self.events)
        if src > (input_log.last_id if input_log else ZERO):
            self.problem(f"the entry {stream_id} consumed input up to {src}, which does not exist")

    def last_changes(self) -> set[Id]:
        """The last entry so far that changed each symbol."""
        found = {}
        for stream_id, fields in self.journal.streams.get(self.deltas, []):
            found.update({name: stream_id for name, _ in changed(fields)})
        return set(found.values())

    def _snapshot(self, symbol: str, stream_id: Id, raw: bytes) -> None:
        snapshot = decode_snapshot(raw)
        flat_bids, flat_asks, marks = snapshot.bids, snapshot.asks, snapshot.marks or {}
        digest = _digest((flat_bids[::2], flat_bids[1::2]), (flat_asks[::2], flat_asks[1::2]))
        orders_digest = None
        if ORDERS in marks:
            bids, asks, said = marks[ORDERS]
            orders_digest = _digest((flat_bids[::2], bids), (flat_asks[::2], asks))
            if orders_digest != said:
                self.problem(f"the snapshot of {symbol} at {stream_id} says a wrong digest of its orders")
        found = snapshot.seq, digest, orders_digest
        self._compare(f"the snapshot of {symbol} at {stream_id}", symbol, stream_id, found)
        published = self.published.get(stream_id)
        if published is not None and published.listings.get(symbol) != of_table(symbol, snapshot.marks):
            self.problem(f"the snapshot of {symbol} at {stream_id} is of listing {snapshot.marks}")

    def _compare(self, what: str, symbol: str, position: Id, found: State) -> None:
        """Recovery state must equal the published state at a position of the current stream."""
        if not _holds(self.journal.streams.get(self.deltas, []), position):
            self.problem(f"{what}: the stream has no such entry")
            return
        wanted = self.published[position].books.get(symbol)
        if found != wanted:
            self.problem(f"{what} has seq and digests {found}, but {wanted} was published")

    def before(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command is about to be executed."""
        if name == b"SET" and arguments[0] in self.checkpoints:
            self._checkpoint(arguments[0], arguments[1])
        elif name in SCRIPTS and arguments[FIRST_KEY : FIRST_KEY + 1] == (self.deltas,):
            claimed = Position.parse(arguments[FIRST_KEY + int(arguments[1])])
            if claimed not in self.everywhere and claimed != ZERO:
                self.problem(f"a leader takes {claimed} for written, which never was")

    def _checkpoint(self, key: bytes, raw: bytes) -> None:
        symbol, checkpoint = self.checkpoints[key], checkpoints.decode(raw)
        position, src = checkpoint.position, checkpoint.src
        what = f"the checkpoint of {symbol} at {position}"
        held = self._held(key, bytes)
        if held is not None and checkpoints.decode(held).position > checkpoint.position:
            self.problem(f"{what} replaces a newer one")
        published = self.published.get(position)
        if published is None:
            self.problem(f"{what}: there never was such an entry")
            return
        if published.src != src:
            self.problem(f"{what} stands at the input {src}, but {published.src} was published")
        seq = published.books.get(symbol, NO_STATE)[0]
        levels, counts = _levels(checkpoint.orders), _counts(checkpoint.orders)
        found = seq, brute_digest(levels), brute_digest(counts)
        self._compare(what, symbol, position, found)

    def after(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command was executed."""
        if name == b"XTRIM" and arguments[0] == self.deltas:
            self._deltas_kept()
        elif name == b"XTRIM" and arguments[0] == self.events:
            self._events_kept()

    def _deltas_kept(self) -> None:
        """The last entry must remain, and all entries after each symbol's newest snapshot."""
        timeline, stream = self.journal.streams.get(self.deltas, []), self._held(self.deltas, Stream)
        if not timeline or stream is None:
            return
        if stream.ids[-1:] != [timeline[-1][0]]:
            self.problem(f"the last entry {timeline[-1][0]} was trimmed")
            return
        for key, symbol in self.snapshots.items():
            snapshots = self._held(key, Stream)
            if symbol in self.strict and snapshots is not None and snapshots.ids:
                self._reaches_back(timeline, stream.ids[0], snapshots.ids[-1], f"the snapshot of {symbol}")

    def _events_kept(self) -> None:
        """Everything after each checkpoint's `src` must remain, and the entry that was published last."""
        stream, deltas = self._held(self.events, Stream), self.journal.streams.get(self.deltas, [])
        log = self.journal.streams.get(self.events, [])
        timeline = [entry for entry in log if entry[0] not in self.deleted]
        if stream is None or not deltas:
            return
        first = stream.ids[0] if stream.ids else (*stream.last_id[:1], stream.last_id[1] + 1)
        src = self.published[deltas[-1][0]].src
        if _holds(timeline, src) and first > src:
            self.problem(f"the input entry {src}, published last, was trimmed")
        for key, symbol in self.checkpoints.items():
            held = self._held(key, bytes)
            if symbol in self.orders and held is not None:
                found = checkpoints.decode(held).src
                self._reaches_back(timeline, first, found, f"the checkpoint of {symbol}")

    def _held(self, key: bytes, kind: type) -> Any:
        """The value at a key; None also if somebody put another type there."""
        value = self.store.values.get(key)
        return value if isinstance(value, kind) else None

    def _reaches_back(self, timeline: list[Entry], first: Id, position: Id, what: str) -> None:
        after = bisect_right(timeline, position, key=lambda entry: entry[0])
        if after < len(timeline) and first > timeline[after][0]:
            self.problem(f"{what} is at {position}, but all before {first} was trimmed")

    # --- readers ----------------------------------------------------------------------------------------

    def check_reader(self, name: str, reader: PartitionReader) -> None:
        """A book that a reader takes for current must equal the published state at the reader's position."""
        position = reader.position
        published = self.published.get(position) if position is not None else None
        if published is None:
            return
        for symbol, replica in reader.shown.items():
            seq, digest, orders_digest = published.books.get(symbol, NO_STATE)
            if not reader.is_current(symbol):
                continue
            if replica.seq < seq or (replica.seq == seq and replica.digest != digest):
                self.problem(
                    f"{name}: {symbol} is current at seq {replica.seq}, digest {replica.digest}, after "
                    f"{position}, where seq {seq}, digest {digest} was published"
                )
            if replica.seq == seq and replica.listing != published.listings.get(symbol):
                self.problem(f"{name}: {symbol} at seq {seq} is taken for {replica.listing}")
            if replica.seq == seq and replica.orders_digest != orders_digest:
                self.problem(
                    f"{name}: {symbol} at seq {seq} has {replica.orders_digest}, not {orders_digest}"
                )


class Audit:
    """All partitions; the store calls `before` and `after` each command, and `appended` for each entry."""

    def __init__(
        self,
        partitions: int,
        instruments: Mapping[str, Instrument],
        late: set[str],
        journal: Journal,
        store: Data,
        generation: Callable[[], object],
        problem: Callable[[str], None],
        deleted: Mapping[int, AbstractSet[Id]],
    ) -> None:
        self.parts = [
            PartitionAudit(
                KEYS.partition(number),
                own := {s: i for s, i in instruments.items() if partition_of(s, partitions) == number},
                frozenset(own.keys() - late),
                journal,
                store,
                generation,
                problem,
                deleted[number],
            )
            for number in range(partitions)
        ]

    def fork(self, journal: Journal, store: Data) -> "Audit":
        """The same for a history that begins as this one is now."""
        made = copy(self)
        made.parts = [part.fork(journal, store) for part in self.parts]
        return made

    def sizes(self, symbol: str, seq: int) -> tuple[str, ...] | None:
        """Tick and lot size of a published state; None if there is none."""
        return next((part.sizes[symbol, seq] for part in self.parts if (symbol, seq) in part.sizes), None)

    def appended(self, key: bytes, stream_id: Id, fields: Fields) -> None:
        """A stream entry was added, and the journal has it."""
        for part in self.parts:
            part.appended(key, stream_id, fields)

    def before(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command is about to be executed."""
        for part in self.parts:
            part.before(name, arguments)

    def after(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command was executed."""
        for part in self.parts:
            part.after(name, arguments)


def _holds(timeline: list[Entry], position: Id) -> bool:
    place = bisect_left(timeline, position, key=lambda entry: entry[0])
    return place < len(timeline) and timeline[place][0] == position


def _levels(orders: OrdersCopy) -> dict[str, dict[int, int]]:
    """The sum of orders per side and price."""
    levels: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
    for side, column in (("bid", orders.bids), ("ask", orders.asks)):
        for price, quantity in column:
            levels[side][price] = levels[side].get(price, 0) + quantity
    return levels


def _counts(orders: OrdersCopy) -> dict[str, dict[int, int]]:
    """The number of orders per side and price."""
    ones = [[(price, 1) for price, _ in column] for column in (orders.bids, orders.asks)]
    return _levels(orders._replace(bids=ones[0], asks=ones[1]))


def _digest(bids: Column, asks: Column) -> int:
    """The digest of numbers by price, by the formula."""
    return brute_digest({"bid": dict(zip(*bids, strict=True)), "ask": dict(zip(*asks, strict=True))})
