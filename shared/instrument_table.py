"""Instruments by symbol in little memory: a deployment may list a hundred thousand, with few terms."""

from collections.abc import Iterator, Mapping
from typing import Final

from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

_NOBODY: Final = Symbol("")


class InstrumentTable(Mapping[str, Instrument]):
    """A mapping symbol → instrument. An instrument is made anew each time it is asked for.

    Kept are the symbols, and once each what instruments are beside their symbol. Compares equal to a table
    with the same instruments.
    """

    __slots__ = ("_alike", "_nameless")

    def __init__(self, instruments: Mapping[str, Instrument] | None = None) -> None:
        self._alike: dict[Instrument, Instrument] = {}
        self._nameless: dict[str, Instrument] = {}
        for symbol, instrument in (instruments or {}).items():
            self.put(symbol, instrument)

    def put(self, symbol: str, instrument: Instrument) -> None:
        """List `symbol` with everything that `instrument` says, but its symbol."""
        nameless = instrument._replace(symbol=_NOBODY)
        self._nameless[symbol] = self._alike.setdefault(nameless, nameless)

    def put_like(self, symbol: str, listed: str) -> None:
        """List `symbol` with everything that is said of one that is listed already."""
        self._nameless[symbol] = self._nameless[listed]

    def __getitem__(self, symbol: str) -> Instrument:
        return self._nameless[symbol]._replace(symbol=Symbol(symbol))

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._nameless

    def __iter__(self) -> Iterator[str]:
        return iter(self._nameless)

    def __len__(self) -> int:
        return len(self._nameless)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, InstrumentTable):
            return self._nameless == other._nameless
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and all(self.get(symbol) == each for symbol, each in other.items())

    __hash__ = None  # type: ignore[assignment] # as that of a dict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"
