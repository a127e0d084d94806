"""What the readers of all formats share: what they read, the entries they yield, and how they read lines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Any, Final, NamedTuple, Protocol

from depthcast.feed import exact_json
from depthcast.feed.account import Account
from depthcast.feed.oracle import Oracle
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

Event = Sequence[Any]
"""`[op, side, price, quantity, order_id]` of the input log, trailing items omitted."""

Instruments = Mapping[Symbol, Instrument]

ADD: Final = 0
UPDATE: Final = 1
DELETE: Final = 2
REDUCE: Final = 3
CLEAR: Final = 4

LINES_LOOKED_AT: Final = 50


class FeedEntry(NamedTuple):
    """One entry for the input log.

    - `ts`: time at the source in µs since 1970, None if unknown.
    - `at_us`: time of recording in µs from any fixed origin, for pacing; None if unknown.
    - `oracle`: what an independent source says about the book after this entry.
    - `line`: number of its line in the file; `beside`: name of that file, if it is one beside the file.
    - `stale`: reason why the book is in doubt from now on; `live`: with these events it is right again.
    - `sure`: the source has proven the book that these events make, so a book that rejects one is wrong.
    - `listing`: the one whose sizes the events are in, so that no other one takes them; None if unknown.
    """

    symbol: Symbol
    events: Sequence[Event]
    ts: int | None
    at_us: int | None
    atomic: bool
    oracle: Oracle | None
    line: int
    beside: str = ""
    stale: str = ""
    live: bool = False
    sure: bool = False
    listing: int | None = None

    @property
    def place(self) -> str:
        """Where it came from, such as `line 7`."""
        return f"{self.beside + ', ' if self.beside else ''}line {self.line}"


class Recorded(NamedTuple):
    """A symbol of a recording.

    - `instrument`: sizes as the recording has them, or the coarsest power of ten that its numbers need.
    - `tick_needed`, `lot_needed`: the coarsest sizes that its numbers are multiples of; 0 = any.
    - `sized`: False if its numbers are ticks and lots of sizes that the recording does not name.
    """

    instrument: Instrument
    tick_needed: Decimal = Decimal(0)
    lot_needed: Decimal = Decimal(0)
    sized: bool = True


class Source(NamedTuple):
    """A recording to be read; every call starts at its beginning. Reading raises `FeedError`.

    - `path`: for errors; `name`: the file's own name.
    - `lines`: its lines; `chunks`: its bytes in pieces of any size. Both are decompressed.
    - `file`: its bytes as they are.
    - `beside`: the files beside it whose names match a pattern, by name.
    """

    path: str
    name: str
    lines: Callable[[], Iterable[bytes]]
    chunks: Callable[[], Iterable[bytes]]
    file: Callable[[], IO[bytes]]
    beside: Callable[[str], Mapping[str, Callable[[], Iterable[bytes]]]]


class Head(NamedTuple):
    """What a format is detected by: a file's name, first bytes, and first lines that are not blank.

    Bytes and lines are decompressed; a file that is no text has no lines.
    """

    name: str
    start: bytes
    lines: Sequence[bytes]

    @property
    def first(self) -> bytes:
        return self.lines[0] if self.lines else b""


class Recording(Protocol):
    """A recording whose symbols are known."""

    @property
    def recorded(self) -> Mapping[str, Recorded]:
        """Its symbols, by the names in the file."""
        ...

    def entries(
        self, working: Mapping[str, Instrument], account: Account, *, verify: bool = False
    ) -> Iterator[FeedEntry]:
        """Yield all entries, in ticks and lots of `working`; raises `FeedError`.

        `verify`: with oracles; then entries may be yielded later than their lines are read.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """A recorded format.

    - `title`: what it is; `example`: one line of it; `how`: what `depthcast feed formats` says about it.
    - `oracle`: name of the format's oracle in reports; empty without one.
    - `matches`: whether a file's head is of this format, without guessing.
    - `read`: first pass over a recording; raises `FeedError`.
    """

    name: str
    title: str
    example: str
    how: str = ""
    oracle: str = ""
    matches: Callable[[Head], bool]
    read: Callable[[Source], Recording]


class LineReader:
    """One pass over a file's lines; its errors name the path and the current line.

    A file that is no text has no lines: `line` is the number of the record there.
    """

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
        """Parse JSON, with numbers that have a fraction as text; raises `FeedError`.

        A key that comes twice is refused: what it said first would be lost.
        """
        try:
            return exact_json.loads_unique(raw)
        except ValueError as error:
            raise self.error(f"not valid JSON ({error}); is the file cut off or edited?") from None
