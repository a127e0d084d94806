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
        *(
            # Each run takes all of them through the adapter: venues/test_binance.py.
            pytest.param(name, compared, marks=pytest.mark.deep)
            for name, compared in (
                ("spot_btcusdt_20240808.gz", 3449),
                ("spot_ethusdt_20240808.gz", 3432),
                ("cm_ethusd_perp_20240808.gz", 22887),
            )
        ),
        ("KRAKEN.ws.50.0", 4269),
        ("OKX.ws.1.0", 290),
        ("BITGET.ws.1.0", 443),
        ("BINANCE.ws.1.0", 159),
        ("DERIBIT.ws.1.0", 43),
        ("COINBASE.ws.28.0", 97),
        ("BITMEX.ws.1.0", 426),
    ],
)
def test_every_oracle_agrees_and_no_book_crosses(recorded_data: Path, name: str, compared: int) -> None:
    books: defaultdict[str, Book] = defaultdict(Book)
    agreed = crossed = 0
    feed = open_feed(recorded_data / name, None, {})
    for entry in feed.entries(verify=True):
        book = books[entry.symbol]
        apply(book, entry)
        crossed += book.crossed()
        if entry.oracle is not None:
            agreed += entry.oracle.agrees(book.bids.top(LEVELS_MOST), book.asks.top(LEVELS_MOST))
    assert (agreed, crossed) == (compared, 0)
    assert feed.account.problems() == []


@pytest.mark.parametrize(
    ("name", "snapshots", "proven"), [("BINANCE.ws.1.0", 4, 172), ("DERIBIT.ws.1.0", 10, 36)]
)
def test_every_change_follows_the_one_before(
    recorded_data: Path, name: str, snapshots: int, proven: int
) -> None:
    feed = open_feed(recorded_data / name, None, {})
    assert len(list(feed.entries())) == snapshots + proven
    assert (feed.account.reloads, feed.account.proven) == (snapshots, proven)
