"""Deribit: the recording, by its chain and against its tickers."""

from decimal import Decimal
from pathlib import Path

from depthcast.feed.venue import Best, Doubt, Snapshot, Update
from depthcast.feed.venues.deribit import VENUE
from tests.venues.applied import AppliedBooks, Level
from tests.venues.captures import incoming, names

Pair = tuple[Level | None, Level | None]


def test_the_recorded_books_are_chained_and_have_the_best_of_every_ticker(recorded_data: Path) -> None:
    """A ticker tells of the last change that is not after it; it may come before that change."""
    path = recorded_data / "DERIBIT.ws.1.0"
    adapter = VENUE.adapter()
    adapter.subscribe(names(path, "instrument_name"))
    books = AppliedBooks()
    states: dict[str, list[tuple[int, Pair]]] = {}
    tickers: list[Best] = []
    chained = 0
    for raw in incoming(path):
        for output in books.take(adapter.take(raw, 0)):
            assert not isinstance(output, Doubt)
            chained += isinstance(output, Update)
            if isinstance(output, Snapshot | Update):
                assert output.ts is not None
                states.setdefault(output.symbol, []).append((output.ts, books[output.symbol].best))
            elif isinstance(output, Best):
                tickers.append(output)
    assert chained == 36
    agreed = compared = 0
    for ticker in tickers:
        known = [best for time, best in states[ticker.symbol] if ticker.ts is not None and time <= ticker.ts]
        compared += bool(known)
        agreed += known[-1:] == [_levels(ticker)]
    assert (agreed, compared) == (len(tickers), len(tickers)) == (76, 76)


def _levels(best: Best) -> Pair:
    bid, ask = best.bid, best.ask
    return (Decimal(bid[0]), Decimal(bid[1])), (Decimal(ask[0]), Decimal(ask[1]))
