"""Recordings of `depthcast record`: their schema, and reading and checking them.

A recording is a folder of Parquet files, `symbol=<symbol>/hour=<hour>/<first seq>-<last seq>.parquet`, each
with the rows of one symbol in order. A row is a delta, exactly as it stood in the stream, or a snapshot: the
whole book. A file begins with a snapshot of the state before its first delta, so each can be read without the
others. A snapshot whose seq is not that of the row before is the end of a gap: a new listing begins with a
delta without `prev_seq`, unless that is missing.

pyarrow is loaded when it is needed, because it is an extra.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Any, Final, NamedTuple

from depthcast.shared.book import Book
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.doubt import is_reason
from depthcast.shared.errors import FeedError
from depthcast.shared.position import Position
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.types import Delta, Snapshot, is_symbol

DELTA: Final = "delta"
SNAPSHOT: Final = "snapshot"

SUFFIX: Final = ".parquet"
UNFINISHED: Final = ".unfinished"

READ_ROWS: Final = 10_000
"""Rows decoded at once."""

ADDED: Final = ("doubt", "withdrawn")
"""Columns that files of `depthcast record` before version 2 of the recording lack."""

WITHDRAWN: Final = "withdrawn"
"""Why the book of a listing that has ended is stale."""

REMEDY: Final = "pip install 'depthcast[record]'"

_NAME: Final = re.compile(r"(\d{16})-(\d{16})\.parquet\Z")


class RecordedRow(NamedTuple):
    """One row. Times are in µs since 1970.

    - `kind`: `DELTA` or `SNAPSHOT`.
    - `epoch`, `n`: position of the entry in `deltas`; of a snapshot, of the last entry that it includes.
    - `prev_seq`, `seq`, `digest`, `events`: as in the delta; `prev_seq` and `events` of a snapshot are 0.
    - `bids`, `asks`: levels, flat: `[price, quantity, …]`.
    - `ts`: when the interval closed. `event_ts`: newest source time in it; None if there was none.
    - `written`: when the entry was written, by the server's clock; None if it does not say.
    - `listing`, `tick_size`, `lot_size`: what the book stands for; `listing` is None if that is not known.
    - `doubt`: why the book was in doubt after the row, empty if it was not; None if that was not recorded.
    - `withdrawn`: whether the listing has ended; None if that was not recorded.
    """

    kind: str
    epoch: int
    n: int
    prev_seq: int
    seq: int
    bids: Sequence[int]
    asks: Sequence[int]
    digest: int
    events: int
    ts: int
    event_ts: int | None
    written: int | None
    listing: int | None
    tick_size: str
    lot_size: str
    doubt: str | None = None
    withdrawn: bool | None = None

    @property
    def stale(self) -> str:
        """Why the book was stale after the row; empty if it was not, or if that was not recorded."""
        return self.doubt or (WITHDRAWN if self.withdrawn else "")

    @property
    def position(self) -> Position:
        """The row's position in `deltas`."""
        return Position(self.epoch, self.n)


def library() -> Any:
    """Return pyarrow with its module `parquet`; raises `FeedError` where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise FeedError("a recording", 0, f"needs pyarrow: {REMEDY}") from error
    return pyarrow


def schema() -> Any:
    """The schema of all files."""
    arrow = library()
    numbers, text = arrow.int64(), arrow.dictionary(arrow.int32(), arrow.string())
    levels = [
        arrow.field(f"{side}_{what}", arrow.list_(numbers), nullable=False)
        for side in ("bid", "ask")
        for what in ("prices", "quantities")
    ]
    return arrow.schema(
        [
            arrow.field("kind", text, nullable=False),
            *(arrow.field(name, numbers, nullable=False) for name in ("epoch", "n", "prev_seq", "seq")),
            *levels,
            *(arrow.field(name, numbers, nullable=False) for name in ("digest", "events", "ts")),
            *(arrow.field(name, numbers) for name in ("event_ts", "written", "listing")),
            arrow.field("tick_size", text, nullable=False),
            arrow.field("lot_size", text, nullable=False),
            arrow.field("doubt", text),
            arrow.field("withdrawn", arrow.bool_()),
        ]
    )


def to_table(rows: Sequence[RecordedRow]) -> Any:
    """Return rows as a table of `schema`."""
    names = list(schema().names)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        values = row._asdict()
        for side in ("bid", "ask"):
            flat = values.pop(f"{side}s")
            values[f"{side}_prices"], values[f"{side}_quantities"] = list(flat[::2]), list(flat[1::2])
        for name, value in values.items():
            columns[name].append(value)
    return library().table(columns, schema=schema())


def read_rows(path: Path) -> Iterator[RecordedRow]:
    """Yield the rows of a file; raises `FeedError`. Columns of `ADDED` that it lacks are None."""
    arrow = library()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            held, ours = file.schema_arrow.names, schema().names
            if held not in (ours, ours[: -len(ADDED)]):
                raise FeedError(path, 0, f"has the columns {', '.join(held)}, not ours")
            for batch in file.iter_batches(READ_ROWS):
                yield from _rows({name: [None] * len(batch) for name in ADDED} | batch.to_pydict())
    except (OSError, arrow.ArrowException) as error:
        raise FeedError(path, 0, f"cannot be read: {error}") from error


def read_sizes(path: Path) -> set[tuple[str, str]]:
    """Return each pair of tick and lot size in a file; raises `FeedError`."""
    arrow = library()
    try:
        table = arrow.parquet.read_table(path, columns=["tick_size", "lot_size"], partitioning=None)
    except (OSError, KeyError, arrow.ArrowException) as error:
        raise FeedError(path, 0, f"cannot be read: {error}") from error
    return set(zip(table["tick_size"].to_pylist(), table["lot_size"].to_pylist(), strict=True))


def _rows(columns: Mapping[str, list[Any]]) -> Iterator[RecordedRow]:
    sides = [
        [_flat(*pair) for pair in zip(columns[f"{side}_prices"], columns[f"{side}_quantities"], strict=True)]
        for side in ("bid", "ask")
    ]
    columns = {**columns, "bids": sides[0], "asks": sides[1]}
    for values in zip(*(columns[name] for name in RecordedRow._fields), strict=True):
        yield RecordedRow(*values)


def _flat(prices: Sequence[int], quantities: Sequence[int]) -> list[int]:
    return [number for pair in zip(prices, quantities, strict=True) for number in pair]


class RecordedFile(NamedTuple):
    """One file of a recording."""

    first_seq: int
    last_seq: int
    path: Path


def files_of(folder: Path) -> dict[str, list[RecordedFile]]:
    """Return the files of each symbol in the order of their seqs; raises `FeedError` if there are none."""
    found: dict[str, list[RecordedFile]] = {}
    for home in sorted(folder.glob("symbol=*")):
        symbol = home.name.removeprefix("symbol=")
        if not is_symbol(symbol):
            continue
        for path in home.glob(f"hour=*/*{SUFFIX}"):
            if (name := _NAME.match(path.name)) is not None:
                found.setdefault(symbol, []).append(RecordedFile(int(name[1]), int(name[2]), path))
    if not found:
        raise FeedError(folder, 0, "is no recording of depthcast record: it has no symbol=…/hour=…/*.parquet")
    return {symbol: sorted(files) for symbol, files in found.items()}


def file_name(first_seq: int, last_seq: int) -> str:
    """The name of a file with rows from the state `first_seq` to the state `last_seq`."""
    return f"{first_seq:016d}-{last_seq:016d}{SUFFIX}"


def rows_of(files: Iterable[RecordedFile]) -> Iterator[RecordedRow]:
    """Yield the rows of a symbol's files in order."""
    for file in files:
        yield from read_rows(file.path)


class Gap(NamedTuple):
    """Deltas that are missing between two states of a symbol."""

    symbol: str
    after_seq: int
    to_seq: int
    after: Position
    to: Position


@dataclass
class CheckedSymbol:
    """What a check found in a symbol's rows.

    `problems`: rows that cannot be right. `unrecorded`: rows without a record of doubt; `doubts`: how often
    the book came into doubt.
    """

    symbol: str
    rows: int = 0
    deltas: int = 0
    listings: int = 0
    unrecorded: int = 0
    doubts: int = 0
    gaps: list[Gap] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class RowChecker:
    """Follows the rows of one symbol, recomputes every digest, and checks what rows say of doubt.

    `replica`: the book after the last row.
    """

    def __init__(self, symbol: str) -> None:
        self.found = CheckedSymbol(symbol)
        self.replica = Replica()
        self._last: RecordedRow | None = None

    def take(self, row: RecordedRow) -> None:
        """Check the next row."""
        found = self.found
        found.rows += 1
        if self._last is None or row.listing != self._last.listing:
            found.listings += 1
        self._doubt(row)
        if row.kind == SNAPSHOT:
            self._snapshot(row)
        elif row.kind == DELTA:
            found.deltas += 1
            self._delta(row)
        else:
            found.problems.append(f"{row.position}: a row of the kind {row.kind!r}")
        self._last = row

    def _doubt(self, row: RecordedRow) -> None:
        """Check the doubt of a row against itself and the row before."""
        last, found = self._last, self.found
        if row.doubt is None:
            found.unrecorded += 1
            if last is not None and last.doubt is not None:
                found.problems.append(f"{row.position}: has no doubt recorded, but the row before has")
            return
        before = "" if last is None else last.doubt
        found.doubts += bool(row.doubt) and not before
        if row.doubt and not is_reason(row.doubt):
            found.problems.append(f"{row.position}: {row.doubt!r} is no reason for doubt")
        if row.withdrawn and (row.bids or row.asks):
            found.problems.append(f"{row.position}: a withdrawn book has levels")
        if row.kind == DELTA and not row.prev_seq and row.doubt:
            found.problems.append(f"{row.position}: a listing begins in doubt ({row.doubt})")
        if last is None or before is None or (row.doubt, row.withdrawn) != (before, last.withdrawn):
            if last is not None and before is not None and row.kind == SNAPSHOT and row.seq == last.seq:
                found.problems.append(
                    f"{row.position}: doubt {before!r} is {row.doubt!r} in snapshot {row.seq}"
                )
            return
        # Only a change of levels, doubt or listing is published; moves of a new leader skip numbers.
        if row.kind == DELTA and row.seq == row.prev_seq + 1 and not row.bids and not row.asks:
            found.problems.append(f"{row.position}: delta {row.prev_seq} to {row.seq} changes nothing")

    def _snapshot(self, row: RecordedRow) -> None:
        if digest_of_flat(row.bids, row.asks) != row.digest:
            self.found.problems.append(f"{row.position}: the digest of snapshot {row.seq} is wrong")
        last = self._last
        if last is not None and row.seq == self.replica.seq:
            if row.digest != self.replica.digest:
                self.found.problems.append(f"{row.position}: snapshot {row.seq} is not what deltas made")
        elif last is not None and row.seq < self.replica.seq:
            self.found.problems.append(f"{row.position}: seq goes back from {self.replica.seq} to {row.seq}")
        elif last is not None:
            gap = Gap(self.found.symbol, self.replica.seq, row.seq, last.position, row.position)
            self.found.gaps.append(gap)
        self.replica = Replica(Snapshot(row.seq, row.bids, row.asks, row.digest, row.ts))

    def _delta(self, row: RecordedRow) -> None:
        if not row.prev_seq and row.seq > self.replica.seq:
            self.replica = Replica()
        delta = Delta(row.prev_seq, row.seq, row.bids, row.asks, row.digest, row.events)
        outcome, _ = self.replica.apply(delta)
        if outcome is ApplyResult.APPLIED:
            return
        self.found.problems.append(
            f"{row.position}: {outcome.value} at seq {self.replica.seq}, delta {row.prev_seq} to {row.seq}"
        )


def check(folder: Path) -> Iterator[CheckedSymbol]:
    """Check a recording symbol by symbol: continuity, and every digest. Raises `FeedError`."""
    for symbol, files in files_of(folder).items():
        checker = RowChecker(symbol)
        for row in rows_of(files):
            checker.take(row)
        yield checker.found


class Step(NamedTuple):
    """What a replay of a recording does next: a change of a symbol's book, or the whole book (`whole`).

    `gap`: neither, but deltas after this row are missing.
    """

    row: RecordedRow
    symbol: str
    whole: bool
    gap: bool = False


def steps(folder: Path) -> Iterator[Step]:
    """Yield the steps of all symbols in the order of their positions, without repeated snapshots."""
    each = [_steps(symbol, files) for symbol, files in files_of(folder).items()]
    yield from merge(*each, key=lambda step: step.row.position)


def _steps(symbol: str, files: Sequence[RecordedFile]) -> Iterator[Step]:
    last: RecordedRow | None = None
    for row in rows_of(files):
        if last is None or row.seq > last.seq:
            if last is not None and row.kind == SNAPSHOT:
                yield Step(last, symbol, whole=False, gap=True)
            last = row
            yield Step(row, symbol, whole=row.kind == SNAPSHOT or not row.prev_seq)


def events_of(step: Step) -> list[list[int]]:
    """Return the events of the input log that make the book of a step, to be applied as one atomic array."""
    if step.gap:
        return []
    events = _updates(step.row.bids, step.row.asks)
    return [[4], *events] if step.whole else events


def events_of_book(book: Book) -> list[list[int]]:
    """Return the events that make a book out of any other, to be applied as one atomic array."""
    return [[4], *_updates(book.bids.flat(), book.asks.flat())]


def _updates(bids: Sequence[int], asks: Sequence[int]) -> list[list[int]]:
    return [
        [1, side, flat[at], flat[at + 1]]
        for side, flat in ((0, bids), (1, asks))
        for at in range(0, len(flat), 2)
    ]
