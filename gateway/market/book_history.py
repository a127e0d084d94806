"""What the books of a gateway were, some seconds back.

Clients that come from another gateway may want views that nobody here has looked at yet. So the changes of
every book are kept, packed into bytes. Nothing is computed from them until such a client offers to resume
(`depthcast.gateway.market.past`).
"""

from collections import deque
from typing import Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.orders_view import joined
from depthcast.gateway.market.step import PackedSteps, Step, ViewState
from depthcast.gateway.protocol.messages import ViewDelta
from depthcast.shared.replica import Changes, Replica

_NO_BOOK: Final = Replica()
CHANGE_BYTES: Final = 56
"""What is kept of a change beside its packed form, approximately."""


class BookHistory:
    """The newest changes of one book, oldest first; `base` is its state before the first of them.

    Its digests are those of the book and, where it is known, of the number of orders (`joined`). `replica`:
    the book; one that takes its place has a history of its own. `doubt`: what its producer said at `base`.
    """

    __slots__ = ("base", "changes", "doubt", "replica")

    def __init__(self, replica: Replica, number: int) -> None:
        self.replica = replica
        self.doubt = replica.doubt
        self.base = ViewState(number, replica.seq, digest_of(replica))
        self.changes = PackedSteps()

    def state_at(self, seq: int) -> tuple[ViewState, int]:
        """The newest known state up to `seq`, or the oldest; and how many changes lead to it."""
        count = self.changes.count_up_to_seq(seq)
        return (self.changes.state(count - 1) if count else self.base), count

    def since(self, count: int) -> list[Step]:
        """The changes behind the first `count`."""
        return self.changes.since(count)


def digest_of(replica: Replica) -> int:
    """The digests of a book and of its number of orders in one number."""
    return joined(replica.digest, replica.orders_digest or 0)


class BookHistories:
    """Bounds the histories of all books of a worker: by age, and by `bytes` together.

    The oldest change of all goes first. `_order`: whose changes came, oldest first; `_times`: when, by the
    clock of the ingestors (µs).
    """

    __slots__ = ("_bytes_max", "_counters", "_keep_us", "_order", "_times", "bytes")

    def __init__(self, keep_s: float, bytes_max: int, counters: GatewayCounters) -> None:
        self.bytes = 0
        self._keep_us = round(keep_s * 1_000_000)
        self._bytes_max = bytes_max
        self._counters = counters
        self._order: deque[BookHistory] = deque()
        self._times: deque[int] = deque()

    def append(
        self,
        history: BookHistory,
        number: int,
        prev_seq: int,
        ts: int,
        changes: Changes,
        event_ts: int | None = None,
    ) -> None:
        """Add what a broadcast has just changed in the history's book."""
        replica = history.replica
        counted = changes.counted
        bids, asks = (changes.bids, changes.asks) if counted is None else (counted.bids, counted.asks)
        if not self._keep_us or not (bids or asks):
            return
        delta = ViewDelta(prev_seq, replica.seq, ts, bids, asks, digest_of(replica), event_ts)
        self.bytes += history.changes.add(number, delta) + CHANGE_BYTES
        self._order.append(history)
        self._times.append(ts)
        times, kept_from = self._times, ts - self._keep_us
        while times and times[0] < kept_from:
            self._drop_oldest()
        while self.bytes > self._bytes_max and times:
            self._counters.limit_book_history += 1
            self._drop_oldest()

    def end(self, history: BookHistory) -> None:
        """Forget a history, because its book is shown no more."""
        self.bytes -= history.changes.size + CHANGE_BYTES * len(history.changes)
        history.changes, history.replica = PackedSteps(), _NO_BOOK  # it may still be among the oldest

    def _drop_oldest(self) -> None:
        self._times.popleft()
        history = self._order.popleft()
        changes = history.changes
        if changes:  # it may have been forgotten as a whole
            before = changes.size
            history.base, _ = changes.pop_oldest()
            self.bytes -= before - changes.size + CHANGE_BYTES
