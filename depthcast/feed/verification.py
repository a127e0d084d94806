"""Compares a replay with its oracles, at the stream consumer and at the WebSocket client.

An input entry counts as consumed when the `src` of its partition reaches the entry's ID at the stream
consumer. The symbol's seq at that time says at which state the WebSocket client must be compared. An entry
without a net change has no seq; it is compared at the state before it. Sent, consumed and received items may
be reported in any order.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from depthcast.feed.entry import FeedEntry
from depthcast.shared.position import Position
from depthcast.updates import Levels

FAILURES_SHOWN: Final = 5


class ObservedBook(NamedTuple):
    """A reader's book: its seq, the digest of the whole book, and its best levels."""

    seq: int
    digest: int
    bids: Levels
    asks: Levels


NO_BOOK: Final = ObservedBook(0, 0, (), ())
"""Stands for a symbol of which no reader has a book yet."""


@dataclass
class Tally:
    """Comparisons at one reader; `disagreeing` describes the first few that failed."""

    place: str
    compared: int = 0
    agreed: int = 0
    disagreeing: list[str] = field(default_factory=list)

    def compare(self, entry: FeedEntry, view: ObservedBook, *, same: bool = True) -> None:
        """Compare a book with the entry's oracle, if it has one; `same` False always counts as a failure."""
        if entry.oracle is not None:
            self.compared += 1
            if same and entry.oracle.agrees(view.bids, view.asks):
                self.agreed += 1
                return
        elif same:
            return
        self._note(entry, view)

    def _note(self, entry: FeedEntry, view: ObservedBook) -> None:
        if len(self.disagreeing) < FAILURES_SHOWN:
            seen = f"best bid {view.bids[:1]}, best ask {view.asks[:1]} at seq {view.seq}"
            expected = f"expected {entry.oracle}" if entry.oracle else "the two places differ"
            self.disagreeing.append(f"{self.place}, line {entry.line}, {entry.symbol}: {seen}; {expected}")


class _Comparison(NamedTuple):
    """A comparison to make when the client's book reaches `seq`; seq 0: at its first book."""

    seq: int
    consumed: ObservedBook
    entry: FeedEntry


class Verification:
    """Compares a state once both readers have reached it; keeps only states that one has yet to reach."""

    def __init__(self) -> None:
        self.consumer = Tally("stream consumer")
        self.client = Tally("WebSocket client")
        self.in_flight = 0
        self.events_in_flight = 0
        self.merged = 0
        self.shared = 0
        """Input entries that disagreed because they shared a broadcast with a later one."""
        self._sent: dict[int, deque[tuple[Position, FeedEntry]]] = defaultdict(deque)
        self._consumed: dict[str, ObservedBook] = {}
        self._changed: set[str] = set()
        self._pending: dict[str, deque[_Comparison]] = defaultdict(deque)
        self._received: dict[str, deque[ObservedBook]] = defaultdict(deque)

    @property
    def agreed(self) -> bool:
        """Whether all comparisons so far agreed and no broadcasts were merged."""
        return not (self.consumer.disagreeing or self.client.disagreeing or self.merged)

    def loaded(self, symbol: str, view: ObservedBook) -> None:
        """Record a book that the stream consumer loaded from a snapshot."""
        if symbol in self._consumed:
            self._changed.add(symbol)
        self._consumed[symbol] = view

    def sent(self, partition: int, position: Position, entry: FeedEntry) -> None:
        """Record an entry added to the input log; call this before `consumer_read` for its ID."""
        self._sent[partition].append((position, entry))
        self.in_flight += 1
        self.events_in_flight += len(entry.events)

    def consumer_read(self, partition: int, src: Position, views: Mapping[str, ObservedBook]) -> None:
        """Record an entry of `deltas` that the consumer read: its `src`, and the books that it changed."""
        waiting, done = self._sent[partition], []
        while waiting and waiting[0][0] <= src:
            done.append(waiting.popleft()[1])
        for entry in done[:-1]:
            agreed = self.consumer.agreed
            self._compare_at_consumer(entry)
            self.shared += entry.oracle is not None and self.consumer.agreed == agreed
        self._consumed.update(views)
        self._changed.update(views)
        for entry in done[-1:]:
            self._compare_at_consumer(entry)

    def client_received(self, symbol: str, view: ObservedBook, merged: int) -> None:
        """Record a snapshot or delta that the client received."""
        self.merged += max(merged - 1, 0)
        self._received[symbol].append(view)
        self._compare_at_client(symbol)

    def _compare_at_consumer(self, entry: FeedEntry) -> None:
        view = self._consumed.get(entry.symbol, NO_BOOK)
        self.consumer.compare(entry, view)
        seq = view.seq if entry.symbol in self._changed else 0
        self._pending[entry.symbol].append(_Comparison(seq, view, entry))
        self._compare_at_client(entry.symbol)

    def _compare_at_client(self, symbol: str) -> None:
        due, views = self._pending[symbol], self._received[symbol]
        while due and views and views[-1].seq >= due[0].seq:
            seq, consumed, entry = due.popleft()
            while views[0].seq < seq:
                views.popleft()
            view = views[0]
            same = view.digest == consumed.digest and view.seq == (seq or view.seq)
            self.client.compare(entry, view, same=same)
            self.in_flight -= 1
            self.events_in_flight -= len(entry.events)
