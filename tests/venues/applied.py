"""The books that an adapter's outputs make, kept apart from the adapter's own."""

from collections.abc import Iterable
from decimal import Decimal

from depthcast.feed.venue import Doubt, Output, Snapshot, Update, VenueLevel

Side = dict[Decimal, Decimal]
Level = tuple[Decimal, Decimal]


class AppliedBook:
    """One symbol's book; `proven` from a snapshot until the next doubt."""

    def __init__(self) -> None:
        self.bids: Side = {}
        self.asks: Side = {}
        self.proven = False
        self.ts: int | None = None
        self.sequence: int | None = None

    @property
    def best(self) -> tuple[Level | None, Level | None]:
        bid, ask = max(self.bids, default=None), min(self.asks, default=None)
        return (
            None if bid is None else (bid, self.bids[bid]),
            None if ask is None else (ask, self.asks[ask]),
        )

    def take(self, output: Snapshot | Update) -> None:
        if isinstance(output, Snapshot):
            self.bids, self.asks = {}, {}
            self.proven = True
        for side, levels in ((self.bids, output.bids), (self.asks, output.asks)):
            _apply(side, levels, whole=isinstance(output, Snapshot))
        self.ts, self.sequence = output.ts, output.sequence


class AppliedBooks:
    """The books of every symbol; asserts what the interface of adapters promises."""

    def __init__(self) -> None:
        self.books: dict[str, AppliedBook] = {}

    def __getitem__(self, symbol: str) -> AppliedBook:
        return self.books.setdefault(symbol, AppliedBook())

    def take(self, outputs: Iterable[Output]) -> list[Output]:
        """Apply the outputs and return them."""
        taken = list(outputs)
        for output in taken:
            if isinstance(output, Doubt):
                self[output.symbol].proven = False
            elif isinstance(output, Snapshot | Update):
                book = self[output.symbol]
                assert book.proven or isinstance(output, Snapshot), "an update of a book in doubt"
                book.take(output)
        return taken


def _apply(side: Side, levels: Iterable[VenueLevel], *, whole: bool) -> None:
    named = set()
    for price, quantity in ((Decimal(price), Decimal(quantity)) for price, quantity in levels):
        assert price not in named, "a price is named twice"
        named.add(price)
        if quantity:
            side[price] = quantity
        else:
            assert not whole, "a snapshot has a level of nothing"
            side.pop(price, None)
