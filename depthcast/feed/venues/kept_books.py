"""The books that an adapter keeps for one connection, and which of them are proven right.

Adapters read messages and check numbers; here is what they have in common afterwards: apply a whole message,
drop what is beyond the subscribed depth, check the venue's checksum, and say `Doubt` once.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final

from depthcast.feed.venue import (
    Doubt,
    DoubtReason,
    Output,
    Request,
    Skipped,
    Snapshot,
    Update,
    VenueLevel,
)
from depthcast.feed.venues.text_book import TextBook, last_of_each

Checksum = Callable[[TextBook], bool]
"""Returns whether the venue's checksum agrees with a book."""

_DETAIL_MOST: Final = 200


class State(Enum):
    """What is known about a book."""

    WAITING = "waiting"
    """Subscribed; its snapshot has not come."""
    PROVEN = "proven"
    DOUBTED = "doubted"
    """`Doubt` was said; nothing more is said before the next snapshot or subscription."""


class KeptBook:
    """One symbol's book.

    - `sequence`: the venue's number of this state; None if it has none.
    - `checked`: the venue sent a checksum with the snapshot, so it must send one with each update.
    - `newest`: the latest time of a message that was taken on this connection; None if messages have none.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.levels = TextBook()
        self.state = State.WAITING
        self.sequence: int | None = None
        self.checked = False
        self.newest: int | None = None

    def doubt(self, reason: DoubtReason, detail: str) -> list[Output]:
        """Forget the levels; returns the one `Doubt`, or nothing if it was said already."""
        said = self.state is State.DOUBTED
        self.state = State.DOUBTED
        self.levels.clear()
        self.sequence = None
        return [] if said else [Doubt(self.symbol, reason, detail[:_DETAIL_MOST])]

    def replace(
        self,
        bids: Sequence[VenueLevel],
        asks: Sequence[VenueLevel],
        *,
        ts: int | None = None,
        sequence: int | None = None,
        checksum: Checksum | None = None,
        depth: int | None = None,
        ordered: bool = True,
    ) -> list[Output]:
        """Take a snapshot; returns it, or the doubt about it.

        - `depth`: levels beyond it are dropped.
        - `ordered`: a snapshot from before the last message is not taken.
        """
        if ordered and self._is_old(ts):
            if self.state is State.PROVEN:
                return self.doubt(DoubtReason.RESET, "a snapshot from before the last message")
            return [Skipped("snapshot from before the last message")]
        levels = self.levels
        levels.replace(bids, asks)
        if len(levels.bids) != len(bids) or len(levels.asks) != len(asks):
            return self.doubt(DoubtReason.MALFORMED, "a snapshot has a price twice, or a quantity of 0")
        if depth is not None:
            levels.truncate(depth)
        if (wrong := self._wrong(checksum)) is not None:
            return wrong
        self.state, self.sequence, self.checked = State.PROVEN, sequence, checksum is not None
        self._note(ts)
        return [Snapshot(self.symbol, list(levels.bids), list(levels.asks), ts, sequence, self.checked)]

    def change(
        self,
        bids: Sequence[VenueLevel],
        asks: Sequence[VenueLevel],
        *,
        ts: int | None = None,
        sequence: int | None = None,
        checksum: Checksum | None = None,
        depth: int | None = None,
        ordered: bool = True,
    ) -> list[Output]:
        """Take an update of a proven book; returns it with the levels that fell, or the doubt about it.

        `ordered`: an update from before the last message is a doubt.
        """
        if ordered and self._is_old(ts):
            return self.doubt(DoubtReason.GAP, "an update from before the last message")
        self.levels.apply(bids, asks)
        fallen: tuple[list[VenueLevel], list[VenueLevel]] = ([], [])
        if depth is not None:
            fallen = self.levels.truncate(depth)
        if (wrong := self._wrong(checksum)) is not None:
            return wrong
        self.sequence = sequence
        self._note(ts)
        net_bids, net_asks = last_of_each([*bids, *fallen[0]]), last_of_each([*asks, *fallen[1]])
        return [Update(self.symbol, net_bids, net_asks, ts, sequence, checksum is not None)]

    def _is_old(self, ts: int | None) -> bool:
        return ts is not None and self.newest is not None and ts < self.newest

    def _note(self, ts: int | None) -> None:
        if ts is not None and not self._is_old(ts):
            self.newest = ts

    def _wrong(self, checksum: Checksum | None) -> list[Output] | None:
        """Return what is said of a wrong book, which may be nothing; None for a right one."""
        if checksum is not None and not checksum(self.levels):
            return self.doubt(DoubtReason.CHECKSUM, "the venue's checksum is another one")
        if self.levels.crossed:
            bids, asks = self.levels.top(1)
            return self.doubt(DoubtReason.CROSSED, f"best bid {bids[0][0]}, best ask {asks[0][0]}")
        return None


class KeptBooks:
    """The books of one connection.

    Without any subscription, as for a recording, every symbol is taken that has messages.
    """

    def __init__(self) -> None:
        self._books: dict[str, KeptBook] = {}
        self._subscribed: set[str] = set()
        self._ended: set[str] = set()

    def subscribe(self, symbols: Iterable[str]) -> None:
        """Wait for a snapshot of each symbol."""
        for symbol in symbols:
            self._subscribed.add(symbol)
            self._ended.discard(symbol)
            book = self._books.setdefault(symbol, KeptBook(symbol))
            if book.state is State.DOUBTED:
                book.state = State.WAITING

    def unsubscribe(self, symbols: Iterable[str]) -> None:
        """Take nothing more of these symbols, although some may be on its way."""
        for symbol in symbols:
            self._subscribed.discard(symbol)
            self._ended.add(symbol)
            if symbol in self._books:
                self._books[symbol].doubt(DoubtReason.DISCONNECTED, "")

    @property
    def subscribed(self) -> frozenset[str]:
        """The symbols that are subscribed."""
        return frozenset(self._subscribed)

    def get(self, symbol: str) -> KeptBook | None:
        """Return a symbol's book; None for one that is not subscribed."""
        if symbol in self._ended or (self._subscribed and symbol not in self._subscribed):
            return None
        return self._books.setdefault(symbol, KeptBook(symbol))

    def named(self, symbol: str) -> KeptBook | None:
        """Return the book that a message names; None for one whose subscription ended.

        Raises `ValueError` for any other symbol: the message may be meant for a book under its right name.
        """
        book = self.get(symbol)
        if book is None and symbol not in self._ended:
            raise ValueError(f"{symbol[:64]!r} was not subscribed")
        return book

    def proven(self, symbol: str) -> KeptBook | None:
        """Return a symbol's book if it is proven right."""
        book = self._books.get(symbol)
        return book if book is not None and book.state is State.PROVEN else None

    def doubt_all(self, reason: DoubtReason, detail: str) -> list[Output]:
        """Doubt every book."""
        books = [book for symbol, book in self._books.items() if symbol not in self._ended]
        return [doubt for book in books for doubt in book.doubt(reason, detail)]

    def malformed(self, symbol: object, detail: str) -> list[Output]:
        """Doubt the book that a message concerns, or every one if it names none of them."""
        book = self._books.get(symbol) if isinstance(symbol, str) else None
        if book is not None:
            return book.doubt(DoubtReason.MALFORMED, detail) or [Skipped("malformed message")]
        return self.doubt_all(DoubtReason.MALFORMED, detail) or [Skipped("malformed message")]

    def lost(self) -> list[Doubt]:
        """Forget everything but the subscribed symbols; one doubt for each book."""
        known = [symbol for symbol in self._books if symbol not in self._ended]
        self._books = {symbol: KeptBook(symbol) for symbol in self._subscribed}
        self._ended.clear()
        return [Doubt(symbol, DoubtReason.DISCONNECTED, "the connection ended") for symbol in known]

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        """Return the best levels of a proven book, best first."""
        book = self.proven(symbol)
        return None if book is None else book.levels.top(count)


class SubscribingAdapter:
    """What all adapters share whose snapshots come after a subscription."""

    def __init__(self) -> None:
        self.books = KeptBooks()

    def connect_path(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - the same address for every symbol
        return ""

    def take_snapshot(self, symbol: str, raw: bytes, now: int) -> list[Output]:  # noqa: ARG002 - never asked for
        return []

    def snapshot_request(self, symbol: str) -> Request | None:  # noqa: ARG002 - a subscription brings it
        return None

    def check_request(self, symbol: str) -> Request | None:  # noqa: ARG002 - a new connection brings a snapshot
        return None

    def take_check(self, symbol: str, raw: bytes) -> list[Output]:  # noqa: ARG002 - never asked for
        return []

    def lost(self) -> list[Doubt]:
        return self.books.lost()

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        return self.books.top(symbol, count)
