"""What the books of a gateway were, some seconds back.

Clients that come from another gateway may want views that nobody here has looked at yet. So the changes of
every book are kept, packed into bytes. Nothing is computed from them until such a client offers to resume
(`depthcast.gateway.market.past`).

Every broadcast pays for this, and hardly a client needs it: so a change is packed by one call and added to a
piece of its book's history; pieces are dropped as a whole, and looked into only when a client resumes.
"""

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import islice, pairwise
from struct import Struct
from typing import Final

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.orders_view import joined
from depthcast.gateway.market.step import Step, ViewState
from depthcast.gateway.protocol.messages import Rows, ViewDelta
from depthcast.shared.level_rows import packed_rows, unpacked_rows
from depthcast.shared.replica import Changes, Replica

_HEAD: Final = Struct("<qqqQqI")
"""Of a packed change: broadcast, seq, ts, digest, event_ts, number of bids; then rows."""
_NO_TIME: Final = -1
"""Stands for no `event_ts`."""

_NO_BOOK: Final = Replica()
PIECES: Final = 8
"""The time for which changes are kept, divided by the time of one piece."""

PIECE_BYTES_MAX: Final = 4_096
"""Bytes from which on another piece begins; less where the bytes of all books together are few."""

PIECES_AT_BOUND: Final = 32
"""Pieces of the greatest size that the bytes of all books together have room for, at least."""

PIECE_BYTES: Final = 448
"""What a piece takes beside its packed changes, approximately."""

END_BYTES: Final = 4
"""What a piece takes for each change beside its packed form."""

DROPPED_AT_ONCE_MAX: Final = 4
"""Pieces too old that one change drops: all books may begin theirs at the same time."""


class Piece:
    """Consecutive changes of one book, oldest first; `base` is its state before the first of them.

    `packed`: the changes one behind the other; `ends`: where each ends. `until`: changes from this time on
    (µs) go to another piece. `history`: None once that is forgotten.
    """

    __slots__ = ("base", "ends", "history", "packed", "until")

    def __init__(self, history: "BookHistory", until: int) -> None:
        self.history: BookHistory | None = history
        self.base = history.newest
        self.until = until
        self.packed = bytearray()
        self.ends = array("I")

    @property
    def size(self) -> int:
        """Bytes that it takes, approximately."""
        return len(self.packed) + END_BYTES * len(self.ends) + PIECE_BYTES

    def steps(self) -> Iterator[Step]:
        """The changes."""
        packed, prev_seq = memoryview(self.packed), self.base[1]
        for start, end in pairwise((0, *self.ends)):
            number, seq, ts, digest, source_time, bids = _HEAD.unpack_from(packed, start)
            event_ts = None if source_time == _NO_TIME else source_time
            levels = unpacked_rows(packed[start + _HEAD.size : end], bids)
            yield Step(number, ViewDelta(prev_seq, seq, ts, *levels, digest, event_ts))
            prev_seq = seq


class BookHistory:
    """The newest changes of one book, in pieces, oldest first; `newest` is its state after the last of them.

    Its digests are those of the book and, where it is known, of the number of orders (`joined`). `replica`:
    the book; one that takes its place has a history of its own. `doubt`: what its producer said before the
    first change.
    """

    __slots__ = ("doubt", "newest", "pieces", "replica")

    def __init__(self, replica: Replica, number: int) -> None:
        self.replica = replica
        self.doubt = replica.doubt
        self.newest: tuple[int, int, int] = (number, replica.seq, digest_of(replica))
        self.pieces: deque[Piece] = deque()

    def state_at(self, seq: int) -> ViewState:
        """The newest known state up to `seq`, or the oldest."""
        pieces = self.pieces
        if not pieces or seq >= self.newest[1]:
            return ViewState(*self.newest)
        index = max(bisect_right(pieces, seq, key=lambda piece: piece.base[1]) - 1, 0)
        state = ViewState(*pieces[index].base)
        for step in pieces[index].steps():
            if step.delta.seq > seq:
                break
            state = step.state()
        return state

    def since(self, state: ViewState) -> list[Step]:
        """The changes after a known state."""
        broadcast = state.broadcast
        first = bisect_right(self.pieces, broadcast, key=lambda piece: piece.base[0]) - 1
        pieces = islice(self.pieces, max(first, 0), None)
        return [step for piece in pieces for step in piece.steps() if step.broadcast > broadcast]


def digest_of(replica: Replica) -> int:
    """The digests of a book and of its number of orders in one number."""
    return joined(replica.digest, replica.orders_digest or 0)


class BookHistories:
    """Bounds the histories of all books of a worker: by age, and by `bytes` together.

    The oldest piece of all goes first. What is younger than `keep_s`, by the clock of the ingestors, stays
    unless `bytes` would exceed the bound; what is older by less than one piece may stay.
    """

    __slots__ = ("_bytes_max", "_counters", "_keep_us", "_order", "_piece_bytes_max", "_piece_us", "bytes")

    def __init__(self, keep_s: float, bytes_max: int, counters: GatewayCounters) -> None:
        self.bytes = 0
        self._keep_us = round(keep_s * 1_000_000)
        self._piece_us = max(self._keep_us // PIECES, 1)
        self._bytes_max = bytes_max
        self._piece_bytes_max = min(bytes_max // PIECES_AT_BOUND, PIECE_BYTES_MAX)
        self._counters = counters
        self._order: deque[Piece] = deque()

    def append(
        self, history: BookHistory, number: int, ts: int, changes: Changes, event_ts: int | None = None
    ) -> None:
        """Add what a broadcast has just changed in the history's book."""
        bids: Rows
        asks: Rows
        bids, asks, counted = changes
        if counted is not None:
            bids, asks = counted
        if not (self._keep_us and (bids or asks)):
            return
        replica = history.replica
        seq, digest = replica.seq, replica.digest
        if replica.orders_digest:
            digest = joined(digest, replica.orders_digest)
        pieces = history.pieces
        piece = pieces[-1] if pieces else None
        if piece is None or ts >= piece.until or len(piece.packed) >= self._piece_bytes_max:
            piece = self._begin_piece(history, ts)
        source_time = _NO_TIME if event_ts is None else event_ts
        head = _HEAD.pack(number, seq, ts, digest, source_time, len(bids))
        change = head + packed_rows(bids, asks)
        packed = piece.packed
        packed += change
        piece.ends.append(len(packed))
        history.newest = (number, seq, digest)
        self.bytes += len(change) + END_BYTES
        oldest = self._order[0]
        if self.bytes > self._bytes_max or oldest.until + self._keep_us <= ts:
            self._drop(ts)

    def end(self, history: BookHistory) -> None:
        """Forget a history, because its book is shown no more."""
        for piece in history.pieces:
            self.bytes -= piece.size
            piece.history, piece.packed, piece.ends = None, bytearray(), array("I")  # it is still in `_order`
        history.pieces, history.replica = deque(), _NO_BOOK

    def _begin_piece(self, history: BookHistory, ts: int) -> Piece:
        piece = Piece(history, ts + self._piece_us)
        history.pieces.append(piece)
        self._order.append(piece)
        self.bytes += PIECE_BYTES
        return piece

    def _drop(self, ts: int) -> None:
        """Drop some of the pieces that are too old, and as many as there are too many bytes."""
        order = self._order
        for _ in range(DROPPED_AT_ONCE_MAX):
            if order and order[0].until + self._keep_us <= ts:
                self._drop_oldest()
        while self.bytes > self._bytes_max and order:
            self._counters.limit_book_history += 1
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        piece = self._order.popleft()
        if piece.history is not None:  # it may have been forgotten as a whole
            piece.history.pieces.popleft()
            self.bytes -= piece.size
