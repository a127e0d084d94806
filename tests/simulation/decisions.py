"""What leaders decide and the stream does not say in full: the input they read, and where listings began.

An entry of `deltas` names the last input it includes, but not which entries before it had been deleted
unread. Of several listings that begin within an interval, it has the last one only.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from depthcast.ingestor.engine import Engine
from depthcast.ingestor.listed_books import ListedBooks
from depthcast.shared.codec import decode_info, decode_marks
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.position import Position
from depthcast.shared.types import Symbol
from tests.simulation.journal import changed
from tests.simulation.streams import Fields, Id


class Begun(NamedTuple):
    """A listing that began or ended; `after`: the last input entry before that."""

    after: Id
    listing: Listing


class Decisions:
    """By key of `deltas` and ID of the entry that published it.

    - `read`: the input entries that the entry includes and the one before does not.
    - `begun`: by symbol, the listings that began or ended since the entry before.
    """

    def __init__(self) -> None:
        self.read: dict[tuple[bytes, Id], list[Id]] = {}
        self.begun: dict[tuple[bytes, Id], dict[str, list[Begun]]] = {}
        self._sources: defaultdict[Engine, list[Id]] = defaultdict(list)
        self._begun: defaultdict[ListedBooks, list[tuple[str, Begun]]] = defaultdict(list)
        self._leaders: dict[tuple[int, int], Engine] = {}

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record what every engine does during the block."""
        end_entry: Callable[..., None] = Engine._end_entry
        enter_epoch, begin_listing = Engine.enter_epoch, ListedBooks._begin

        def ends(engine: Engine, source: str, *arguments: Any) -> None:
            self._sources[engine].append(Position.parse(source))
            end_entry(engine, source, *arguments)

        def leads(engine: Engine, epoch: int) -> list[Symbol]:
            self._leaders[engine._partition, epoch] = engine
            return enter_epoch(engine, epoch)

        def begins(books: ListedBooks, symbol: Symbol, listing: Listing, src: str) -> None:
            self._begun[books].append((symbol, Begun(Position.parse(src), listing)))
            begin_listing(books, symbol, listing, src)

        with (
            patch.object(Engine, "_end_entry", ends),
            patch.object(Engine, "enter_epoch", leads),
            patch.object(ListedBooks, "_begin", begins),
        ):
            yield

    def appended(self, key: bytes, partition: int, stream_id: Id, fields: Fields) -> None:
        """An entry was added to the `deltas` of a partition: what its leader decided is public."""
        engine = self._leaders.get((partition, stream_id[0])) if stream_id[1] else None
        if engine is None:
            return
        src, sources = Position.parse(decode_info(fields[1]).src), self._sources[engine]
        self.read[key, stream_id] = [source for source in sources if source <= src]
        self._sources[engine] = [source for source in sources if source > src]
        begun = self.begun[key, stream_id] = {}
        for name, raw in changed(fields):
            symbol = name.decode()
            listing = of_table(symbol, decode_marks(raw))
            if listing is not None:
                begun[symbol] = self._take(engine._books, symbol, listing)

    def _take(self, books: ListedBooks, symbol: str, upto: Listing) -> list[Begun]:
        """Remove and return what began of a symbol, the last being `upto`; nothing if that did not begin."""
        waiting = self._begun[books]
        ends = [
            place for place, (name, begun) in enumerate(waiting) if (name, begun.listing) == (symbol, upto)
        ]
        if not ends:
            return []
        past = waiting[: ends[-1] + 1]
        self._begun[books] = [(n, b) for n, b in past if n != symbol] + waiting[ends[-1] + 1 :]
        return [begun for name, begun in past if name == symbol]
