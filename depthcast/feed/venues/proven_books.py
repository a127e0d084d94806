"""The books of one connection: each is proven from its snapshot until the first doubt.

For adapters whose venue sends the snapshot by the same connection. Rules of continuity are the adapter's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from depthcast.feed.exact_json import loads
from depthcast.feed.venue import (
    Alive,
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

T = TypeVar("T")
Object = dict[str, Any]
"""A JSON object."""


class ProvenBooks:
    """Says each doubt once: after it nothing is said about that book before its next snapshot."""

    def __init__(self) -> None:
        self._books: dict[str, TextBook | None] = {}
        self._doubted: set[str] = set()
        self._former: set[str] = set()

    def __contains__(self, symbol: object) -> bool:
        """Whether the symbol is subscribed."""
        return isinstance(symbol, str) and symbol in self._books

    def __iter__(self) -> Iterator[str]:
        return iter(self._books)

    def proven(self, symbol: str) -> TextBook | None:
        """Return the book, or None before its snapshot and after a doubt."""
        return self._books.get(symbol)

    def concerns(self, symbol: str) -> bool:
        """Tell a book from one that was unsubscribed, whose last messages may still come.

        Raises `ValueError` for any other symbol: the message may be meant for a book under its right name.
        """
        if symbol not in self._books and symbol not in self._former:
            raise ValueError(f"{symbol[:64]!r} was not subscribed")
        return symbol in self._books

    def expect(self, symbols: Iterable[str]) -> None:
        """Wait for the snapshots of these symbols, whose subscription is asked for now."""
        for symbol in symbols:
            self._books[symbol] = None
            self._doubted.discard(symbol)

    def forget(self, symbols: Iterable[str]) -> None:
        """End the subscriptions of these symbols."""
        for symbol in symbols:
            self._books.pop(symbol, None)
            self._doubted.discard(symbol)
            self._former.add(symbol)

    def replace(self, snapshot: Snapshot) -> Output:
        """Begin the book anew. A price that occurs twice, and a crossed book, are a doubt."""
        bids, asks = _occupied(snapshot.bids), _occupied(snapshot.asks)
        if len(last_of_each(bids)) < len(bids) or len(last_of_each(asks)) < len(asks):
            return self._doubt(snapshot.symbol, DoubtReason.MALFORMED, "the snapshot has a price twice")
        book = TextBook()
        book.replace(bids, asks)
        if book.crossed:
            return self._doubt(snapshot.symbol, DoubtReason.CROSSED, "the snapshot is crossed or locked")
        self._books[snapshot.symbol] = book
        self._doubted.discard(snapshot.symbol)
        return snapshot._replace(bids=bids, asks=asks)

    def apply(self, book: TextBook, update: Update) -> Output:
        """Change a proven book; where a price occurs twice, the last quantity counts."""
        book.apply(update.bids, update.asks)
        if book.crossed:
            return self._doubt(update.symbol, DoubtReason.CROSSED, "the book is crossed or locked")
        return update._replace(bids=last_of_each(update.bids), asks=last_of_each(update.asks))

    def doubt(self, symbol: str, reason: DoubtReason, detail: str) -> list[Output]:
        """Forget the book. Returns nothing if the doubt is known already, or the symbol is not subscribed."""
        if symbol not in self._books or symbol in self._doubted:
            return []
        return [self._doubt(symbol, reason, detail)]

    def doubt_all(self, reason: DoubtReason, detail: str) -> list[Output]:
        """Forget all books: it cannot be told which one a message concerned."""
        return [doubt for symbol in self._books for doubt in self.doubt(symbol, reason, detail)]

    def lost(self) -> list[Doubt]:
        """Forget all books, with one doubt for each: the connection is gone."""
        self._former.clear()
        return [
            self._doubt(symbol, DoubtReason.DISCONNECTED, "the connection ended") for symbol in self._books
        ]

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        """Return the best levels of a proven book, best first: bids, asks."""
        book = self.proven(symbol)
        return book.top(count) if book is not None else None

    def _doubt(self, symbol: str, reason: DoubtReason, detail: str) -> Doubt:
        self._books[symbol] = None
        self._doubted.add(symbol)
        return Doubt(symbol, reason, detail)


class StreamAdapter:
    """What adapters have in common whose venue sends the snapshot by the same connection.

    `ALIVE`, `SKIPPED`: kinds of messages that say that the venue is alive, and that concern no book.
    """

    ALIVE: ClassVar[frozenset[str]] = frozenset()
    SKIPPED: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._books = ProvenBooks()

    def take(self, raw: str | bytes, now: int) -> Iterable[Output]:  # noqa: ARG002 - of the interface
        try:
            return self._read(table(loads(raw), "the message"))
        except ValueError as error:
            return self._books.doubt_all(DoubtReason.MALFORMED, str(error))

    def connect_path(self, symbols: Sequence[str]) -> str:  # noqa: ARG002 - of the interface
        return ""

    def ping(self, now: int) -> str | bytes | None:  # noqa: ARG002 - of the interface
        return None

    def take_snapshot(self, symbol: str, raw: bytes, now: int) -> Iterable[Output]:  # noqa: ARG002
        return []

    def snapshot_request(self, symbol: str) -> Request | None:  # noqa: ARG002 - of the interface
        return None

    def lost(self) -> Iterable[Doubt]:
        return self._books.lost()

    def top(self, symbol: str, count: int) -> tuple[Sequence[VenueLevel], Sequence[VenueLevel]] | None:
        return self._books.top(symbol, count)

    def _read(self, message: Object) -> Iterable[Output]:
        """Take a JSON object. Raises `ValueError` if it is not as documented and may concern any book."""
        raise NotImplementedError

    def _other_message(self, kind: str) -> list[Output]:
        """Take a message by its kind alone. Raises `ValueError` for an unknown one: it may concern a book."""
        if kind in self.ALIVE:
            return [Alive()]
        if kind in self.SKIPPED:
            return [Skipped(kind)]
        raise ValueError(f"an unknown kind of message, {kind[:64]!r}")

    def _about(
        self, symbol: str, read: Callable[[str, Object], Iterable[Output]], message: Object
    ) -> Iterable[Output]:
        """Take a message about one symbol; `read` raises `ValueError` if it is not as documented."""
        if not self._books.concerns(symbol):
            return [Skipped("no longer subscribed")]
        try:
            return read(symbol, message)
        except ValueError as error:
            return self._books.doubt(symbol, DoubtReason.MALFORMED, str(error))


def iso_time(value: object) -> int:
    """Return a time such as "2026-01-31T12:00:00.123456789Z" in µs since 1970; raises `ValueError`."""
    moment = datetime.fromisoformat(text(value, "a time"))
    if moment.tzinfo is None:
        raise ValueError(f"the time {value!r} has no time zone")
    seconds = int(moment.replace(microsecond=0).timestamp())
    return integer(seconds * 1_000_000 + moment.microsecond, "a time")


def integer(value: object, name: str) -> int:
    """Return a JSON integer that is not negative; raises `ValueError`."""
    number = _typed(value, int, name)
    if not 0 <= number < 2**63:
        raise ValueError(f"{name} is {str(number)[:64]}")
    return number


def text(value: object, name: str) -> str:
    """Return a JSON string that is not empty; raises `ValueError`."""
    if not value:
        raise ValueError(f"{name} is {value!r}")
    return _typed(value, str, name)


def word(value: object) -> str:
    """Return a JSON string; empty text for anything else."""
    return value if isinstance(value, str) else ""


def table(value: object, name: str) -> Object:
    """Return a JSON object; raises `ValueError`."""
    return _typed(value, dict, name)


def items(value: object, name: str) -> list[Any]:
    """Return a JSON array; raises `ValueError`."""
    return _typed(value, list, name)


def _typed(value: object, kind: type[T], name: str) -> T:
    if type(value) is not kind:  # a bool is no integer
        raise ValueError(f"{name} is {str(value)[:64]!r}")
    return value


def _occupied(levels: Sequence[VenueLevel]) -> list[VenueLevel]:
    return [level for level in levels if Decimal(level[1])]
