"""Merges the changes of one symbol's book over a broadcast interval.

Code that changes the book records each level's quantity before its first change (`pending`); the quantity at
the end of the interval is in the book itself. So a level that changes a thousand times is one net change, one
that changes back is none, and the digest moves once per level and interval, not once per event.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from depthcast.broadcaster.pending import PendingTable, new_pending
from depthcast.shared.book import Book, BookSide
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.digest import MASK, SideWeights
from depthcast.shared.level_table import copy_of
from depthcast.shared.order_counts import ORDERS
from depthcast.shared.types import Delta, Snapshot

SLICE_LEVELS: Final = 50_000
"""Levels that are worked off without a pause; they take some 10 ms to 50 ms."""

FETCHED: Final = 64
"""Of so many levels, the slots are asked for at first: the memory brings them side by side."""

COMPILED: Final = is_compiled_at(__file__)

Pending = tuple[MutableMapping[int, int], MutableMapping[int, int]]
"""Per side: price → quantity before the first change since the last drain; 0 = no such level."""


class SideCopy:
    """A copy of one side and of its pending changes, taken at one moment.

    `pending_orders`: price → number of orders before the pending changes; None if orders are not counted.
    """

    __slots__ = ("_levels", "_orders", "_pending", "_ranks", "_sign")

    def __init__(
        self, side: BookSide, pending: Mapping[int, int], pending_orders: Mapping[int, int] | None = None
    ) -> None:
        self._sign = -side.sign
        self._ranks = side.ascending()
        self._levels = copy_of(side.levels)
        self._pending = dict(pending)
        self._orders: MutableMapping[int, int] | None = None
        if side.orders is not None and pending_orders is not None:
            self._orders = copy_of(side.orders)
            self._orders.update(pending_orders)

    def __len__(self) -> int:
        return len(self._ranks) + len(self._pending)

    def published(self) -> list[int]:
        """The side without its pending changes, flat and best first. Call it once: it consumes the copy."""
        return list(chain.from_iterable(self.slices()))

    def slices(self) -> Iterator[list[int]]:
        """The same in slices; what is made of one takes some 10 ms."""
        ranks, levels, sign = self._ranks, self._levels, self._sign
        if self._pending:
            ranks.extend(price * sign for price in self._pending if price not in levels)
            ranks.sort()  # one long ascending run and a short tail: nearly linear
            levels.update(self._pending)
        for end in range(len(ranks), 0, -SLICE_LEVELS):
            some = ranks[max(end - SLICE_LEVELS, 0) : end]
            prices = (rank * sign for rank in reversed(some))
            yield list(chain.from_iterable((price, levels[price]) for price in prices if levels[price]))

    def counts(self, flat: list[int]) -> list[int]:
        """The number of orders at each of these published levels; empty if orders are not counted."""
        orders = self._orders
        return [] if orders is None else [orders[price] for price in flat[::2]]


class Copies(NamedTuple):
    """What a snapshot is made of; `orders_digest`: of the number of orders, None if they are not counted."""

    seq: int
    digest: int
    bids: SideCopy
    asks: SideCopy
    orders_digest: int | None = None

    def snapshot(self, bids: list[int], asks: list[int], counts: tuple[list[int], list[int]]) -> Snapshot:
        """The snapshot with these levels, and the number of orders at each; the caller sets `ts`."""
        marks: dict[str, object] | None = None
        if self.orders_digest is not None:
            marks = {ORDERS: [*counts, self.orders_digest]}
        return Snapshot(self.seq, bids, asks, self.digest, 0, marks)


class Merger:
    """The published state of one symbol, which is its current book without the pending changes.

    Code that changes the book calls `pending[side].setdefault(price, old_quantity)`; the two mappings are
    never replaced. `events`: input events applied since the last drain. `seq`, `digest`: of the last drained
    state; `seq` 0: never published.
    """

    __slots__ = ("_settled", "_weights", "book", "digest", "events", "pending", "seq")

    def __init__(self, book: Book, seq: int = 0, digest: int = 0) -> None:
        self.book = book
        self.seq = seq
        self.digest = digest
        self.events = 0
        self.pending: Pending = (new_pending(), new_pending())
        self._weights = (SideWeights(0), SideWeights(1))
        self._settled: dict[int, list[int]] = {}

    def idle(self) -> bool:
        """Whether nothing was recorded since the last drain, so that the book equals the published one."""
        return not (self.events or self.pending[0] or self.pending[1])

    def drain(self, seq_min: int) -> Delta | None:
        """Publish the pending changes as the next state, with a seq of at least `seq_min`.

        If there is no net change, returns None and the seq stays.
        """
        bids, asks, events = self._take_net_changes(0), self._take_net_changes(1), self.events
        self.events = 0
        if not (bids or asks):
            return None
        prev_seq = self.seq
        self.seq = max(prev_seq + 1, seq_min)
        # Makes a `Delta` at a third of the cost; this runs for each symbol in each interval.
        return tuple.__new__(Delta, (prev_seq, self.seq, bids, asks, self.digest, events))

    def settle(self) -> Iterator[None]:
        """Do most of the work of the next `drain`, with a pause after each slice of a large book.

        From the first slice until that drain, nothing may be recorded and nothing be copied.
        """
        for side in (0, 1):
            pending = self.pending[side]
            if len(pending) <= SLICE_LEVELS:
                continue
            changes, settled = iter(pending.items()), self._settled.setdefault(side, [])
            while part := dict(islice(changes, SLICE_LEVELS)):
                settled += self._net_changes(side, part)
                yield
            pending.clear()

    def absorb(self) -> None:
        """Count the pending changes as published under the current seq; updates only the digest."""
        self._take_net_changes(0)
        self._take_net_changes(1)
        self.events = 0

    def advance(self, seq: int) -> Delta:
        """Advance to `seq` by an empty delta; pending changes stay pending."""
        prev_seq, self.seq = self.seq, seq
        return Delta(prev_seq, seq, [], [], self.digest, 0)

    def copies(self) -> Copies:
        """Copy what `snapshot_of` needs, so that sorting can happen later."""
        book, (bids, asks) = self.book, self.pending
        return Copies(self.seq, self.digest, SideCopy(book.bids, bids), SideCopy(book.asks, asks))

    def _take_net_changes(self, side: int) -> list[int]:
        """Clear the side's pending changes and update the digest; returns the net changes, flat."""
        pending = self.pending[side]
        if not pending:
            return self._settled.pop(side, []) if self._settled else []
        net = self._net_changes(side, pending)
        pending.clear()
        return net

    def _net_changes(self, side: int, pending: Mapping[int, int]) -> list[int]:
        """Update the digest for some pending changes; returns the net changes, flat.

        A level that is back at its quantity of the last drain has no net change.
        """
        if COMPILED and isinstance(pending, PendingTable):
            return self._table_changes(side, pending)
        net: list[int] = []
        levels = self.book.sides[side].levels
        weights = self._weights[side]
        moved = 0
        for price, old in pending.items():
            held = levels.get(price, 0)
            ticks, new = price, held  # C numbers if compiled; price and held stay objects
            if new == old:
                continue
            net.append(price)
            net.append(held)
            moved += weights.of(ticks) * (new - old)
        self.digest = (self.digest + moved) & MASK
        return net

    def _table_changes(self, side: int, pending: PendingTable) -> list[int]:
        """The same from a table. Used only if compiled."""
        net: list[int] = []
        levels: Any = self.book.sides[side].levels
        weights = self._weights[side]
        moved = fetched = 0
        end = pending.end()
        for index in range(end):
            if index >= fetched:
                fetched = min(index + FETCHED, end)
                for ahead in range(index, fetched):
                    levels.fetch(pending.number_at(ahead))
            old = pending.value_at(index)
            if old < 0:  # `GONE`
                continue
            price = pending.number_at(index)
            new = levels.held(price)
            if new == old:
                continue
            net.append(price)
            net.append(new)
            moved += weights.of(price) * (new - old)
        self.digest = (self.digest + moved) & MASK
        return net


def snapshot_of(copies: Copies) -> Snapshot:
    """Make a snapshot of the published state from `Merger.copies`; the caller sets `ts`."""
    bids, asks = copies.bids.published(), copies.asks.published()
    return copies.snapshot(bids, asks, (copies.bids.counts(bids), copies.asks.counts(asks)))
