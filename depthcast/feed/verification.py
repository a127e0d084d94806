"""Comparing a replay with its oracles: at the stream consumer, and at the WebSocket client.

An input entry has an ID; the stream consumer sees it consumed when its partition's `src` reaches that ID, and the symbol's
seq there says which state the WebSocket client must be compared at. An entry without net change has no seq of its own: the
last state stands. Pure: told what was sent and seen, in any interleaving of the three.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from depthcast.feed.entry import FeedEntry
from depthcast.feed.oracle import Levels
from depthcast.shared.position import Position

FAILURES_SHOWN: Final = 5


class ObservedBook(NamedTuple):
    """A whole book as seen somewhere: its seq and digest, and the best levels."""

    seq: int
    digest: int
    bids: Levels
    asks: Levels


NOTHING: Final = ObservedBook(0, 0, (), ())
"""What is seen of a symbol that was never seen."""


@dataclass
class Tally:
    """Comparisons with oracles at one place; `disagreeing` has the first few that failed, in words."""

    place: str
    compared: int = 0
    agreed: int = 0
    disagreeing: list[str] = field(default_factory=list)

    def compare(self, entry: FeedEntry, view: ObservedBook, *, same: bool = True) -> None:
        """Count a comparison, if the entry has an oracle; `same` False fails it, whatever the view shows."""
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


class _Due(NamedTuple):
    """What the client's view at `seq` is to be compared with; seq 0: with the first one."""

    seq: int
    consumed: ObservedBook
    entry: FeedEntry


class Verification:
    """Compares as soon as it can, and keeps only what is still waiting for the other side."""

    def __init__(self) -> None:
        self.consumer = Tally("stream consumer")
        self.client = Tally("WebSocket client")
        self.in_flight = 0
        self.events_in_flight = 0
        self.merged = 0
        self.joined = 0
        """Input entries that shared their broadcast with a later one and no longer agreed."""
        self._sent: dict[int, deque[tuple[Position, FeedEntry]]] = defaultdict(deque)
        self._consumed: dict[str, ObservedBook] = {}
        self._changed: set[str] = set()
        self._due: dict[str, deque[_Due]] = defaultdict(deque)
        self._viewed: dict[str, deque[ObservedBook]] = defaultdict(deque)

    @property
    def right(self) -> bool:
        """Whether everything compared so far agreed, and nothing was merged."""
        return not (self.consumer.disagreeing or self.client.disagreeing or self.merged)

    def begin(self, symbol: str, view: ObservedBook) -> None:
        """What the stream consumer loaded from snapshots, before anything is sent or after a loss."""
        if symbol in self._consumed:
            self._changed.add(symbol)
        self._consumed[symbol] = view

    def sent(self, partition: int, position: Position, entry: FeedEntry) -> None:
        """An entry was added to the input log. Must be told before its `src` is."""
        self._sent[partition].append((position, entry))
        self.in_flight += 1
        self.events_in_flight += len(entry.events)

    def consumed(self, partition: int, src: Position, views: Mapping[str, ObservedBook]) -> None:
        """The consumer read an entry of `deltas`: `src` in it, and the books that changed with it."""
        waiting, done = self._sent[partition], []
        while waiting and waiting[0][0] <= src:
            done.append(waiting.popleft()[1])
        for entry in done[:-1]:
            agreed = self.consumer.agreed
            self._settle(entry)
            self.joined += entry.oracle is not None and self.consumer.agreed == agreed
        self._consumed.update(views)
        self._changed.update(views)
        for entry in done[-1:]:
            self._settle(entry)

    def viewed(self, symbol: str, view: ObservedBook, merged: int) -> None:
        """The client took a message."""
        self.merged += max(merged - 1, 0)
        self._viewed[symbol].append(view)
        self._match(symbol)

    def _settle(self, entry: FeedEntry) -> None:
        view = self._consumed.get(entry.symbol, NOTHING)
        self.consumer.compare(entry, view)
        seq = view.seq if entry.symbol in self._changed else 0
        self._due[entry.symbol].append(_Due(seq, view, entry))
        self._match(entry.symbol)

    def _match(self, symbol: str) -> None:
        due, views = self._due[symbol], self._viewed[symbol]
        while due and views and views[-1].seq >= due[0].seq:
            seq, consumed, entry = due.popleft()
            while views[0].seq < seq:
                views.popleft()
            view = views[0]
            same = view.digest == consumed.digest and view.seq == (seq or view.seq)
            self.client.compare(entry, view, same=same)
            self.in_flight -= 1
            self.events_in_flight -= len(entry.events)
