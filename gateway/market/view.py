"""The view of a book at one depth: its best levels per side, and how a broadcast changes them.

The threshold method stores only the key of the worst level in the view, the edge, per side. After a broadcast
was applied to the book, the new edge is the key at index depth − 1. If the edge is unchanged, the view's rows
are the broadcast's rows at or better than it. If it moved towards the best price, the levels between new and
old edge have left the view. If it moved away, the levels between old and new edge have entered it. Rows at
prices the client never held are left out, so the incrementally updated digest is exact. No top N is stored or
compared.
"""

from array import array
from collections.abc import Sequence
from typing import Final, Protocol

from depthcast.gateway.protocol.messages import UNGROUPED, Message, Row, Rows, ViewDelta, snapshot_message
from depthcast.shared.book import Book, BookSide
from depthcast.shared.digest import SideWeights
from depthcast.shared.level_rows import ITEMS, LevelRows, numbers_for, rows_of
from depthcast.shared.replica import Changes

_MASK: Final = 0xFFFFFFFF
"""That of `depthcast.shared.digest`, here a C constant when compiled."""

_new_tuple = tuple.__new__
"""Makes a named tuple without the Python function call that its class would cost."""


class SideView:
    """One side of a view. `edge`: key of its worst level, None while the view has the whole side."""

    __slots__ = ("depth", "edge", "side")

    def __init__(self, side: BookSide, depth: int) -> None:
        self.side = side
        self.depth = depth
        self.edge = side.nth_key(depth - 1) if depth else None

    def __len__(self) -> int:
        return min(self.depth or len(self.side), len(self.side))

    def levels(self) -> list[tuple[int, int]]:
        """The levels in the view: (price, quantity), best first."""
        return self.side.top(self.depth)

    def advance(self, changes: Rows) -> Rows:
        """Update after `changes` of the side; returns the rows to send to clients."""
        if not changes or not self.depth:
            return changes
        old, new = self.edge, self.side.nth_key(self.depth - 1)
        if old == new:
            return changes if old is None else self._up_to(changes, old)
        self.edge = new
        if new is not None and (old is None or new < old):
            return self._tightened(changes, old, new)
        assert old is not None, "an edge can only loosen if there was one"
        return self._loosened(changes, old, new)

    def _up_to(self, changes: Rows, edge: int) -> Rows:
        if isinstance(changes, LevelRows):
            return self._rows_up_to(changes, edge)
        rows: list[Row] = []
        sign = self.side.sign
        for change in changes:
            price = change[0]
            if price * sign <= edge:
                rows.append(change)
        return rows

    def _rows_up_to(self, changes: LevelRows, edge: int) -> Rows:
        given, count, sign, items = changes.items, changes.size, self.side.sign, ITEMS
        kept = 0
        for at in range(count):
            kept += given[items * at] * sign <= edge
        if kept == count:
            return changes  # type: ignore[return-value]  # registered as a sequence
        numbers = numbers_for(kept)
        rows: array[int] = numbers.data.as_longlongs  # type: ignore[attr-defined]  # as Cython sees an array
        end = 0
        for row in range(count):
            at = items * row
            if given[at] * sign <= edge:
                rows[end], rows[end + 1], rows[end + 2] = given[at], given[at + 1], given[at + 2]
                end += items
        return rows_of(numbers)  # type: ignore[return-value]

    def _tightened(self, changes: Rows, old: int | None, new: int) -> list[Row]:
        sign = self.side.sign
        rows: list[Row] = []
        changed = set()
        for change in changes:
            price, _, held = change
            key = price * sign
            changed.add(price)
            if key <= new:
                rows.append(change)
            elif held and (old is None or key <= old):
                rows.append((price, 0, held))
        rows += [
            (price, 0, quantity) for price, quantity in self.side.between(new, old) if price not in changed
        ]
        return rows

    def _loosened(self, changes: Rows, old: int, new: int | None) -> list[Row]:
        rows = list(self._up_to(changes, old))
        rows += [(price, quantity, 0) for price, quantity in self.side.between(old, new)]
        return rows


class ViewSource(Protocol):
    """What a view shows the best levels of: a replica, or its grouped book."""

    @property
    def book(self) -> Book: ...

    @property
    def seq(self) -> int: ...

    @property
    def digest(self) -> int: ...

    @property
    def weights(self) -> tuple[SideWeights, SideWeights]: ...

    @property
    def event_ts(self) -> int | None: ...


class View:
    """The best `depth` levels per side of `replica`, 0 = all; they are buckets of `group_ticks`.

    `seq` and `ts` are of the last broadcast that changed the view; a new view starts with its replica's
    `seq`. `event_ts` is of the last one that had a source time, None if none had. `digest` covers the levels
    that the client holds.
    """

    __slots__ = ("asks", "bids", "depth", "digest", "event_ts", "group_ticks", "replica", "seq", "ts")

    SIDE = SideView

    def __init__(self, replica: ViewSource, depth: int, ts: int, group_ticks: int = UNGROUPED) -> None:
        self.replica = replica
        self.depth = depth
        self.group_ticks = group_ticks
        self.seq = replica.seq
        self.ts = ts
        self.event_ts = replica.event_ts
        self.bids = self.SIDE(replica.book.bids, depth)
        self.asks = self.SIDE(replica.book.asks, depth)
        self.digest = self._first_digest()

    def __len__(self) -> int:
        return len(self.bids) + len(self.asks)

    def _first_digest(self) -> int:
        return self._whole_digest() if self.depth else self.replica.digest

    def _whole_digest(self) -> int:
        """The digest of all levels of the view; its weights are not kept by price."""
        bid_weights, ask_weights = self.replica.weights
        bids = bid_weights.moved_by([(price, quantity, 0) for price, quantity in self.bids.levels()])
        asks = ask_weights.moved_by([(price, quantity, 0) for price, quantity in self.asks.levels()])
        return (bids + asks) & _MASK

    def advance(self, changes: Changes, seq: int, ts: int, event_ts: int | None = None) -> ViewDelta | None:
        """Update after a broadcast was applied to the book; returns the view's changes, None without any.

        `event_ts`: the newest source time in the broadcast (µs), None if it has none.
        """
        bids, asks = self.bids.advance(changes[0]), self.asks.advance(changes[1])
        if not bids and not asks:
            return None
        prev_seq, self.seq, self.ts = self.seq, seq, ts
        if event_ts is not None:
            self.event_ts = event_ts
        if self.depth:
            bid_weights, ask_weights = self.replica.weights
            bids_moved, asks_moved = bid_weights.moved_64(bids), ask_weights.moved_64(asks)
            self.digest = (self.digest + bids_moved + asks_moved) & _MASK
        else:
            self.digest = self.replica.digest
        return _new_tuple(ViewDelta, (prev_seq, seq, ts, bids, asks, self.digest, event_ts))

    def snapshot_message(self, symbol: str) -> Message:
        """The `snapshot` message of `symbol` with this view."""
        levels = (self.bids.levels(), self.asks.levels())
        return snapshot_message(
            symbol,
            self.depth,
            self.seq,
            self.ts,
            levels,
            self.digest,
            self.event_ts,
            group_ticks=self.group_ticks,
        )

    def same_rows(self, other: "View") -> bool:
        """Whether both views hold the same levels."""
        return self.bids.levels() == other.bids.levels() and self.asks.levels() == other.asks.levels()


def merge(deltas: Sequence[ViewDelta]) -> ViewDelta:
    """Merge consecutive view deltas: the last write of a level wins; unchanged levels are left out."""
    first, last = deltas[0], deltas[-1]
    bids = _merge_rows([delta.bids for delta in deltas])
    asks = _merge_rows([delta.asks for delta in deltas])
    event_ts = max((delta.event_ts for delta in deltas if delta.event_ts is not None), default=None)
    return ViewDelta(first.prev_seq, last.seq, last.ts, bids, asks, last.digest, event_ts)


def _merge_rows(runs: Sequence[Rows]) -> list[Row]:
    held = {price: old for rows in reversed(runs) for price, _, old in rows}
    final = {price: new for rows in runs for price, new, _ in rows}
    return [(price, new, held[price]) for price, new in final.items() if new != held[price]]
