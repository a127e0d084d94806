"""BitMEX: the recording against its quotes."""

from decimal import Decimal
from pathlib import Path

from depthcast.feed.venue import Best, Doubt, Snapshot, Update
from depthcast.feed.venues.bitmex import VENUE
from tests.venues.applied import AppliedBooks, Level
from tests.venues.captures import incoming, names

Pair = tuple[Level | None, Level | None]


def test_every_recorded_quote_was_the_best_of_the_book_in_order(recorded_data: Path) -> None:
    """Quotes come in bursts after the changes they tell of; those before the partials are of before."""
    path = recorded_data / "BITMEX.ws.1.0"
    adapter = VENUE.adapter()
    adapter.subscribe(names(path, "symbol"))
    books = AppliedBooks()
    bests: dict[str, list[Pair]] = {}
    updates = agreed = compared = 0
    for raw in incoming(path):
        for output in books.take(adapter.take(raw, 0)):
            assert not isinstance(output, Doubt)
            updates += isinstance(output, Update)
            if isinstance(output, Snapshot | Update):
                bests.setdefault(output.symbol, []).append(books[output.symbol].best)
            elif isinstance(output, Best) and output.symbol in bests:
                compared += 1
                quote = _levels(output)
                past = bests[output.symbol]
                if quote in past:
                    agreed += 1
                    del past[: past.index(quote)]  # the quotes after it tell of this state or a later one
    assert updates == 1969
    assert (agreed, compared) == (426, 426)
    assert sum(book.proven for book in books.books.values()) == 10


def _levels(best: Best) -> Pair:
    bid, ask = best.bid, best.ask
    return (Decimal(bid[0]), Decimal(bid[1])), (Decimal(ask[0]), Decimal(ask[1]))
