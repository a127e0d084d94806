"""Recordings written for a test, and the books that their entries make."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from depthcast.feed.entry import ADD, CLEAR, REDUCE, UPDATE, FeedEntry
from depthcast.runtime.feed_file import RecordedFeed, open_feed
from depthcast.shared.book import Book

Levels = list[tuple[int, int]]


def recording(
    folder: Path, content: str | bytes, name: str = "feed", renames: Mapping[str, str] | None = None
) -> RecordedFeed:
    """Write a recording and open it."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_feed(path, None, renames or {})


class Replayed:
    """The books of a levels or an orders feed, kept as simply as possible."""

    def __init__(self) -> None:
        self.books: defaultdict[str, Book] = defaultdict(Book)
        self._orders: dict[tuple[str, object], tuple[int, int, int]] = {}

    def apply(self, entry: FeedEntry) -> Book:
        book = self.books[entry.symbol]
        for event in entry.events:
            if event[0] in (CLEAR, "clear"):
                book.clear()
                self._orders = {key: each for key, each in self._orders.items() if key[0] != entry.symbol}
            elif len(event) > 4 and event[4] is not None:
                self._order(book, entry.symbol, event[:5])
            else:
                named: dict[Any, int] = {"bid": 0, "ask": 1, 0: 0, 1: 1}
                side = named[event[1]]
                book.sides[side].set_level(event[2], event[3])
        return book

    def _order(self, book: Book, symbol: str, event: Sequence[Any]) -> None:
        op, side, price, lots, name = event
        before = self._orders.pop((symbol, name), None)
        assert (before is None) == (op == ADD), f"{op} of {name}"
        after = None
        if before is not None:
            _change(book, before[0], before[1], -before[2])
        if op == REDUCE and before is not None:
            after = (before[0], before[1], before[2] - lots)
        elif op in (ADD, UPDATE):
            after = (side, price, lots)
        if after and after[2]:
            assert after[2] > 0
            self._orders[symbol, name] = after
            _change(book, *after)


def _change(book: Book, side: int, price: int, lots: int) -> None:
    held = dict(book.sides[side].top(10**6)).get(price, 0)
    book.sides[side].set_level(price, held + lots)


def final(feed: RecordedFeed, entries: Iterable[FeedEntry] | None = None) -> dict[str, tuple[Levels, Levels]]:
    """Return the books after all entries, best level first."""
    replayed = Replayed()
    for entry in feed.entries() if entries is None else entries:
        replayed.apply(entry)
    return {symbol: ([*book.bids.top(100)], [*book.asks.top(100)]) for symbol, book in replayed.books.items()}
