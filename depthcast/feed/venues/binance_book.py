"""One book of Binance: joins REST snapshots and depth messages, and proves that none is missing.

Rule: "How to manage a local order book correctly" (Binance, Spot and Derivatives documentation). A depth
message covers the update ids U to u; on futures it also names the previous message's u as pu. Quantities are
absolute, so a message that overlaps what is known is right as well.

Stricter than the rule, because a snapshot may come from a machine that lags behind the stream, or from
before the venue began its ids anew: a snapshot counts only once a message of the stream reaches it. If the
stream is quiet from its beginning, a second equal snapshot counts, `QUIET_US` after the first.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from depthcast.feed.venue import (
    BUFFERED_MOST,
    Alive,
    Doubt,
    DoubtReason,
    Output,
    Refresh,
    Skipped,
    Snapshot,
    Update,
    VenueLevel,
)
from depthcast.feed.venues.text_book import TextBook

QUIET_US: Final = 1_000_000
CHECKED_LEVELS: Final = 100
"""Levels of each side that are compared while nothing comes of a book."""
WAITS_MOST: Final = 3
"""So often no other snapshot is requested while one waits for the message that reaches it."""


class Depth(NamedTuple):
    """A depth message; `previous` is pu, None on spot."""

    first: int
    final: int
    previous: int | None
    bids: Sequence[VenueLevel]
    asks: Sequence[VenueLevel]
    ts: int | None

    def joins(self, last: int) -> bool:
        """Whether no message is missing between the state `last` and this message."""
        return self.first <= last + 1 if self.previous is None else self.previous <= last


class RestBook(NamedTuple):
    """A snapshot by REST; `final` is its lastUpdateId."""

    final: int
    bids: Sequence[VenueLevel]
    asks: Sequence[VenueLevel]
    ts: int | None


class BinanceBook:
    """The state of one book.

    - `attached`: the venue confirmed the subscription.
    - `limit`: levels that a snapshot holds at most; 0 while it was not asked for here, so that its depth is
      not known.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.limit = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew, as for a new connection."""
        self.attached = False
        self.live = False
        self._doubted = False
        self.book = TextBook()
        self._last = 0
        self._last_ts: int | None = None
        self._seen = self._heard = False
        self._buffer: list[Depth] = []
        self._pending: RestBook | None = None
        self._pending_at: int | None = None
        self._waits = 0
        self._differed = self._silent = False
        self._floor: tuple[Decimal | None, Decimal | None] = (None, None)
        self._refresh_at: tuple[Decimal | None, Decimal | None] = (None, None)
        self._refreshing = False

    def wants_snapshot(self) -> bool:
        """Whether a snapshot requested now could be proven soon; requests are dear."""
        if not self.attached and not self._seen:
            return False
        pending = self._pending
        too_old = pending is not None and bool(self._buffer) and not self._buffer[0].joins(pending.final)
        if pending is None or too_old or self._waits >= WAITS_MOST:
            self._waits = 0
            return True
        self._waits += 1
        return False

    def begin_check(self) -> None:
        """Watch from now on whether a message comes before the answer to a request for the best levels."""
        self._heard = False

    def check(self, snapshot: RestBook, *, counted: bool) -> list[Output]:
        """Compare the best levels of now with a book of which no message has come: which of both is quiet?

        `counted`: each change of the book has an update id, and each id a message, so a higher id is a
        difference, too. A difference may be on its way. If there is one the next time, and still no message
        has come, only a message proves the book again.
        """
        venues = TextBook()
        venues.replace(snapshot.bids, snapshot.asks)
        differs = _best(self.book) != _best(venues) or (counted and snapshot.final > self._last)
        if not self.live or self._heard or not differs:
            self._differed = False
            return [Alive(self.symbol)]
        differed, self._differed = self._differed, True
        if not differed:
            return []
        self._differed, self._silent = False, True
        return self._doubt(DoubtReason.GAP, "the venue's book changes, but no message of it comes", [])

    def malformed(self, detail: str) -> list[Output]:
        """Take a depth message that cannot be read."""
        self._note_message()
        return self._doubt(DoubtReason.MALFORMED, detail, [])

    def take_depth(self, depth: Depth) -> list[Output]:
        self._note_message()
        if not self.live:
            return self._wait(depth)
        if depth.final == self._last:
            return [Skipped("repeated")]
        if depth.final < self._last:
            detail = f"update ids fell from {self._last} to {depth.final}"
            return self._break(DoubtReason.RESET, detail, depth)
        if not depth.joins(self._last):
            detail = f"update ids go from {self._last} to {_begin(depth)}"
            return self._break(DoubtReason.GAP, detail, depth)
        return self._follow(depth)

    def _note_message(self) -> None:
        self._seen = self._heard = True
        self._differed = False

    def take_snapshot(self, snapshot: RestBook, now: int) -> list[Output]:
        if self.live:
            if self._is_partial(snapshot):
                return [Skipped("snapshot with fewer levels than the book")]
            self._pending = snapshot
            return self._begin(snapshot, []) if snapshot.final == self._last else []
        same = self._pending is not None and self._pending.final == snapshot.final
        if not same or self._pending_at is None:
            self._pending_at = now if self.attached else None
        self._pending = snapshot
        quiet = (
            not self._seen
            and not self._silent
            and self._pending_at is not None
            and now - self._pending_at >= QUIET_US
        )
        return self._begin(snapshot, []) if quiet else self._prove()

    def _is_partial(self, snapshot: RestBook) -> bool:
        """Whether a snapshot knows less than the proven book, as one of a stream of partial depth does."""
        fewer = len(snapshot.bids) < len(self.book.bids) and len(snapshot.asks) < len(self.book.asks)
        return fewer and snapshot.final >= self._last and not self._refreshing

    def _follow(self, depth: Depth) -> list[Output]:
        pending = self._pending
        if pending is not None and pending.final <= depth.final:
            self._pending = None
            if pending.final >= self._last and depth.joins(pending.final):
                return self._begin(pending, [depth])
            self._refreshing = False  # it was too old
        return self._apply(depth)

    def _wait(self, depth: Depth) -> list[Output]:
        """Buffer a message until a snapshot that it reaches is there."""
        if self._buffer and depth.final == self._last:
            return []
        late = self._is_late(depth)
        broken = bool(self._buffer) and (depth.final < self._last or not depth.joins(self._last))
        said = self._say_disorder(depth) if late or broken else []
        if late:
            return said
        if broken:
            self._buffer.clear()
            self._drop_unless_reached_by(depth)
        if len(self._buffer) >= BUFFERED_MOST:
            detail = f"no snapshot in {BUFFERED_MOST} depth messages"
            return self._doubt(DoubtReason.OVERFLOW, detail, [depth])
        self._buffer.append(depth)
        self._note(depth)
        return said + self._prove()

    def _say_disorder(self, depth: Depth) -> list[Output]:
        """Say once that messages were dropped before there was a snapshot."""
        if self._doubted:
            return []
        self._doubted = True
        detail = f"update ids go from {self._last} to {_begin(depth)} before a snapshot"
        return [Doubt(self.symbol, DoubtReason.GAP, detail)]

    def _break(self, reason: DoubtReason, detail: str, depth: Depth) -> list[Output]:
        """Doubt the book at a message that does not follow; it may continue a snapshot that came before."""
        self._drop_unless_reached_by(depth)
        late = self._is_late(depth)
        return self._doubt(reason, detail, [] if late else [depth]) + self._prove()

    def _is_late(self, depth: Depth) -> bool:
        """Whether a message is older than one that came before it, or cannot be told from such."""
        return self._last_ts is not None and (depth.ts is None or depth.ts < self._last_ts)

    def _drop_unless_reached_by(self, depth: Depth) -> None:
        """Forget a snapshot that may be from before the venue began its ids anew."""
        pending = self._pending
        if pending is not None and not (pending.final <= depth.final and depth.joins(pending.final)):
            self._pending = None

    def _note(self, depth: Depth) -> None:
        self._last = depth.final
        self._last_ts = depth.ts or self._last_ts

    def _prove(self) -> list[Output]:
        """Begin with the snapshot if the buffered messages reach it."""
        pending = self._pending
        if pending is None or not self._buffer or self._last < pending.final:
            return []
        if self._buffer[0].joins(pending.final):
            return self._begin(pending, self._buffer)
        if len(self._buffer) > 1:
            self._pending = None
        return []

    def _begin(self, snapshot: RestBook, depths: Sequence[Depth]) -> list[Output]:
        self._pending, self._pending_at, self._buffer, self._refreshing = None, None, [], False
        self.book.replace(snapshot.bids, snapshot.asks)
        if self.book.crossed:
            return self._doubt(DoubtReason.CROSSED, f"crossed in the snapshot {snapshot.final}", [])
        self.live = True
        self._doubted = False
        self._last = snapshot.final
        self._note_depth(snapshot)
        outputs: list[Output] = [
            Snapshot(self.symbol, snapshot.bids, snapshot.asks, snapshot.ts, snapshot.final)
        ]
        for index, depth in enumerate(depths):
            if depth.final > self._last:
                outputs += self._apply(depth)
                if not self.live:
                    self._buffer += depths[index + 1 :]
                    self._last = depths[-1].final
                    break
        return outputs

    def _apply(self, depth: Depth) -> list[Output]:
        self.book.apply(depth.bids, depth.asks)
        if self.book.crossed:
            return self._doubt(DoubtReason.CROSSED, f"crossed after the update id {depth.final}", [depth])
        self._note(depth)
        update = Update(self.symbol, depth.bids, depth.asks, depth.ts, depth.final)
        if self._beyond(self._floor):
            return self._doubt(DoubtReason.DEPTH, f"beyond the {self.limit} levels of the snapshot", [depth])
        if not self._refreshing and self._beyond(self._refresh_at):
            self._refreshing = True
            return [update, Refresh(self.symbol, "half the depth of the snapshot is used up")]
        return [update]

    def _doubt(self, reason: DoubtReason, detail: str, buffer: list[Depth]) -> list[Output]:
        self.live = False
        self._doubted = True
        self.book.clear()
        self._buffer = buffer
        if buffer:
            self._note(buffer[-1])
        return [Doubt(self.symbol, reason, detail)]

    def _note_depth(self, snapshot: RestBook) -> None:
        """Remember where the snapshot ends: levels beyond are not known until they change."""
        ends = []
        for side, levels in ((self.book.bids, snapshot.bids), (self.book.asks, snapshot.asks)):
            full = self.limit and len(levels) >= self.limit
            prices = [Decimal(price) for price, _ in levels] if full else []
            best = side.best_price
            worst = None if best is None or not prices else max(prices, key=lambda price: abs(price - best))
            ends.append((worst, None if worst is None or best is None else (best + worst) / 2))
        self._floor = (ends[0][0], ends[1][0])
        self._refresh_at = (ends[0][1], ends[1][1])

    def _beyond(self, limits: tuple[Decimal | None, Decimal | None]) -> bool:
        bid, ask = limits
        return (bid is not None and ((best := self.book.bids.best_price) is None or best < bid)) or (
            ask is not None and ((best := self.book.asks.best_price) is None or best > ask)
        )


def _best(book: TextBook) -> list[list[tuple[Decimal, Decimal]]]:
    """The best levels as numbers: the venue may write one of them in two ways."""
    sides = book.top(CHECKED_LEVELS)
    return [[(Decimal(price), Decimal(quantity)) for price, quantity in side] for side in sides]


def _begin(depth: Depth) -> int:
    return depth.first if depth.previous is None else depth.previous
