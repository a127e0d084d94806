"""What the parsers of all formats share: the entries they yield, and how they read lines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from depthcast.feed.decimals import places_of
from depthcast.feed.oracle import Oracle
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

Event = Sequence[Any]
"""`[op, side, price, quantity, order_id]` of the input log, trailing items omitted."""

Instruments = Mapping[Symbol, Instrument]

MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What code raises on a venue's message that is not as documented; parsers name its line instead."""

UPDATE: Final = 1
CLEAR: Final = 4


class FeedEntry(NamedTuple):
    """One entry for the input log.

    - `ts`: time at the source in µs since 1970, None if unknown.
    - `at_us`: time of recording in µs from any fixed origin, for pacing; None if unknown.
    - `oracle`: what an independent source says about the book after this entry.
    - `line`: number of its line in the file.
    """

    symbol: Symbol
    events: Sequence[Event]
    ts: int | None
    at_us: int | None
    atomic: bool
    oracle: Oracle | None
    line: int


class LineReader:
    """One pass over a file's lines; its errors name the path and the current line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 0

    def lines(self, raw: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines that are not blank, without their ends."""
        for number, line in enumerate(raw, 1):
            self.line = number
            if stripped := line.strip():
                yield stripped

    def error(self, problem: str) -> FeedError:
        """Make a `FeedError` for the current line."""
        return FeedError(self.path, self.line, problem)

    def unknown(self, symbol: object) -> FeedError:
        """Make a `FeedError` for a symbol that the first pass did not find, because the file has grown."""
        return self.error(f"has {symbol!r}, which was not there before; is it still being recorded?")

    def json(self, raw: bytes) -> Any:
        """Parse JSON; raises `FeedError`."""
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise self.error(f"not valid JSON ({error}); is the file cut off or edited?") from None


class Format(NamedTuple):
    """A recorded format. Both functions take a file's name for errors, and its lines; they raise `FeedError`.

    - `instruments`: first pass, which finds the symbols and their sizes.
    - `entries`: second pass, in the sizes of the given instruments: those found, or finer ones.
    - `oracle`: name of the format's oracle in reports; empty without one.
    """

    name: str
    oracle: str
    instruments: Callable[[str, Iterable[bytes]], dict[Symbol, Instrument]]
    entries: Callable[[str, Iterable[bytes], Instruments], Iterator[FeedEntry]]


def places(instrument: Instrument) -> tuple[int, int]:
    """Return the decimals of prices and quantities; raises `ValueError` unless both are powers of ten."""
    return places_of(instrument.tick_size), places_of(instrument.lot_size)
