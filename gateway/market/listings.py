"""The listings of all symbols in the catalog, most of which nobody ever asks for."""

from collections.abc import Callable, Iterator, Mapping

from depthcast.gateway.market.listing import Listing
from depthcast.shared.freshness import Freshness
from depthcast.shared.instrument_table import InstrumentTable
from depthcast.shared.instruments import Instrument


class Listings(Mapping[str, Listing]):
    """A mapping symbol → listing. A listing is made when it is first asked for, and then stays.

    `freshness`: that of the partition of a symbol. `made`: the listings that were asked for. Whoever has a
    channel may look there, which is quicker; the listing of a channel that is not there has ended.
    """

    __slots__ = ("_freshness", "_instruments", "made")

    def __init__(self, freshness: Callable[[str], Freshness]) -> None:
        self._freshness = freshness
        self._instruments: Mapping[str, Instrument] = InstrumentTable()
        self.made: dict[str, Listing] = {}

    def replace(self, instruments: Mapping[str, Instrument]) -> None:
        """List these symbols, and no others; a listing that was made stays until `pop`."""
        self._instruments = instruments

    def pop(self, symbol: str) -> Listing | None:
        """Forget the listing of a symbol that is not listed any more; returns it if it was made."""
        return self.made.pop(symbol, None)

    def peek(self, symbol: str) -> Listing:
        """The listing of a symbol; one that nobody has asked for is not kept. Raises `KeyError`."""
        made = self.made.get(symbol)
        return Listing(self._instruments[symbol], self._freshness(symbol)) if made is None else made

    def __getitem__(self, symbol: str) -> Listing:
        made = self.made.get(symbol)
        if made is None:
            made = self.made[symbol] = self.peek(symbol)
        return made

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._instruments

    def __iter__(self) -> Iterator[str]:
        return iter(self._instruments)

    def __len__(self) -> int:
        return len(self._instruments)
