"""What the columns of a table mean, whether its rows are in a CSV file or in Parquet."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from depthcast.feed.csv_lines import Row, header, rows
from depthcast.feed.entry import Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording
from depthcast.shared.instruments import Feed

Rows = Iterable[Row]


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """A table of some program.

    - `required`, `optional`: its columns; without `optional`, there may be any others.
    - `others`: which of those are read if they are there.
    - `decimals`: whether a column has decimals, not whole numbers.
    - `times_ns`: columns that are times, with the number of ns in their unit.
    - `items`: what the rows mean. `feed`: of tables with these columns. `hint`: as in `MessageRecording`.
    """

    name: str
    required: Sequence[str]
    optional: Sequence[str] | None = None
    others: Callable[[str], bool] = field(default=lambda _: False)
    decimals: Callable[[str], bool]
    times_ns: Mapping[str, int]
    items: Callable[[LineReader, Rows], Iterator[Item]]
    feed: Callable[[Sequence[str]], Feed] = field(default=lambda _: Feed.LEVELS)
    hint: str = ""

    def fits(self, names: Sequence[str]) -> bool:
        """Return whether a table with these columns is of this form."""
        return set(self.required) <= set(names) and not self.unknown(names)

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return the columns that tables of this form do not have."""
        return [] if self.optional is None else sorted(set(names) - {*self.required, *self.optional})

    def reads(self, name: str) -> bool:
        """Return whether a column is read if it is there."""
        return name in self.required or name in (self.optional or ()) or self.others(name)

    def heads(self, head: Head) -> bool:
        """Return whether a CSV file begins with the header of such a table."""
        return self.fits(header(head.first))

    def read_csv(self, source: Source) -> MessageRecording:
        """Read a CSV file; raises `FeedError`."""
        reader = LineReader(source.path)
        names = header(next(reader.lines(source.lines()), b""))
        if unknown := self.unknown(names):
            known = ", ".join((*self.required, *(self.optional or ())))
            raise reader.error(f"unknown column {unknown[0]!r}; known are {known}")

        def items() -> Iterator[Item]:
            reader = LineReader(source.path)
            return self.items(reader, rows(reader, source.lines(), self.required))

        return MessageRecording(source, items, self.feed(names), self.hint)
