"""The recorded files against their own oracles, with nothing but the parsers and the book."""

from collections import defaultdict
from pathlib import Path

import pytest

from depthcast.feed.entry import CLEAR, FeedEntry
from depthcast.feed.oracle import LEVELS_MOST
from depthcast.runtime.feed_file import open_feed
from depthcast.shared.book import Book


def apply(book: Book, entry: FeedEntry) -> None:
    for op, *level in entry.events:
        if op == CLEAR:
            book.clear()
        else:
            side, price, quantity = level
            book.sides[side].set_level(price, quantity)


@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("spot_btcusdt_20240808.gz", 3449),
        ("spot_ethusdt_20240808.gz", 3432),
        ("cm_ethusd_perp_20240808.gz", 22887),
        ("KRAKEN.ws.50.0", 4269),
    ],
)
def test_every_oracle_agrees_and_no_book_crosses(recorded_data: Path, name: str, compared: int) -> None:
    books: defaultdict[str, Book] = defaultdict(Book)
    agreed = crossed = 0
    for entry in open_feed(recorded_data / name, None, {}).entries():
        book = books[entry.symbol]
        apply(book, entry)
        crossed += book.crossed()
        if entry.oracle is not None:
            agreed += entry.oracle.agrees(book.bids.top(LEVELS_MOST), book.asks.top(LEVELS_MOST))
    assert (agreed, crossed) == (compared, 0)
