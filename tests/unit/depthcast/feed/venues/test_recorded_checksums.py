"""The recordings of venues with a checksum, through their adapters: every checksum agrees."""

from collections import Counter
from pathlib import Path

import pytest

from depthcast.feed.venue import Alive, Skipped, Snapshot, Update, Venue
from depthcast.feed.venues import bitget, kraken_v1, okx
from depthcast.feed.venues.text_book import TextBook


@pytest.mark.parametrize(
    ("name", "venue", "checked", "unchecked"),
    [
        ("KRAKEN.ws.50.0", kraken_v1.VENUE, 4269, 10),
        ("OKX.ws.1.0", okx.VENUE, 290, 0),
        ("BITGET.ws.1.0", bitget.VENUE, 443, 0),
    ],
)
def test_every_checksum_agrees_and_the_outputs_make_the_adapters_books(
    recorded_data: Path, name: str, venue: Venue, checked: int, unchecked: int
) -> None:
    adapter = venue.adapter()
    books: dict[str, TextBook] = {}
    counts: Counter[bool] = Counter()
    for line in (recorded_data / name).read_text().splitlines():
        if not line or line.startswith("wss://"):
            continue
        at, _, raw = line.partition(": ")
        for output in adapter.take(raw, round(float(at) * 1e6)):
            if isinstance(output, Snapshot | Update):
                book = books.setdefault(output.symbol, TextBook())
                (book.replace if isinstance(output, Snapshot) else book.apply)(output.bids, output.asks)
                counts[output.checked] += 1
                assert output.ts is not None
                assert book.top(25) == adapter.top(output.symbol, 25)
            else:
                assert isinstance(output, Alive | Skipped), output
    assert (counts[True], counts[False]) == (checked, unchecked)
    for symbol, book in books.items():
        assert book.top(5_000) == adapter.top(symbol, 5_000)
