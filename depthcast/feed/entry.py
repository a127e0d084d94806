"""What every format's parser yields, and what it is told of the lines it reads."""

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

UPDATE: Final = 1
CLEAR: Final = 4


class FeedEntry(NamedTuple):
    """One entry for the input log.

    `ts`: at the source, `at_us`: when it was recorded, for pacing; both in µs since 1970, None = unknown. `oracle`:
    what an independent source says the book is after this entry. `line`: where it stands in the file.
    """

    symbol: Symbol
    events: Sequence[Event]
    ts: int | None
    at_us: int | None
    atomic: bool
    oracle: Oracle | None
    line: int


class Cursor:
    """One pass over a file's lines: knows where it is, so that every complaint names path and line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 0

    def walk(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines without their ends, blank ones left out."""
        for number, line in enumerate(lines, 1):
            self.line = number
            if stripped := line.strip():
                yield stripped

    def error(self, problem: str) -> FeedError:
        """A `FeedError` at the current line."""
        return FeedError(self.path, self.line, problem)

    def json(self, raw: bytes) -> Any:
        """Parse JSON; raises `FeedError`."""
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise self.error(f"not valid JSON ({error}); is the file cut off or edited?") from None


class Format(NamedTuple):
    """A recorded format. Both functions take the file's name for complaints, and its lines; both raise `FeedError`.

    `instruments` is the first pass, `entries` the second, with the instruments to work in: those of the first pass,
    or the same symbols with finer sizes. `oracle`: what its figures are called, empty when it has none.
    """

    name: str
    oracle: str
    instruments: Callable[[str, Iterable[bytes]], dict[Symbol, Instrument]]
    entries: Callable[[str, Iterable[bytes], Instruments], Iterator[FeedEntry]]


def places(instrument: Instrument) -> tuple[int, int]:
    """Decimals of the instrument's prices and quantities; raises `ValueError` when a size is no power of ten."""
    return places_of(instrument.tick_size), places_of(instrument.lot_size)
