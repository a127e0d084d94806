"""Replays recordings of `depthcast record`: a folder instead of a file."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from depthcast.feed.account import Account
from depthcast.feed.entry import FeedEntry, Format, Instruments, Recorded, Source
from depthcast.feed.oracle import LEVELS_MOST, TopLevels
from depthcast.feed.recording import (
    SNAPSHOT,
    RecordedRow,
    RowChecker,
    Step,
    events_of,
    events_of_book,
    files_of,
    read_sizes,
    steps,
)
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

GAP: Final = "gap"
"""Why a book is in doubt after the row that a gap begins with, until the row that ends it."""

GAP_OF_RECORDER: Final = "gap of the recorder"


class BooksRecording:
    """A recording of every change of every book. `recorded`: symbols with the finest sizes that they had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorded: dict[str, Recorded] = {}
        for symbol, files in files_of(folder).items():
            ticks, lots = (
                _finest(folder, symbol, each)
                for each in zip(*(pair for file in files for pair in read_sizes(file.path)), strict=True)
            )
            instrument = Instrument(Symbol(symbol), ticks, lots)
            self.recorded[symbol] = Recorded(instrument, Decimal(ticks), Decimal(lots))

    def entries(
        self, working: Instruments | Mapping[str, Instrument], account: Account, *, verify: bool = False
    ) -> Iterator[FeedEntry]:
        """Yield an entry for each state; every one is atomic, and the digest of every row is recomputed.

        Each says whether its book is in doubt: as it was when it was recorded, and from where deltas are
        missing to the next whole book.
        """
        stale = dict.fromkeys(self.recorded, "")
        checkers = {symbol: RowChecker(symbol) for symbol in self.recorded}
        for number, step in enumerate(steps(self.folder), 1):
            found, symbol, row = checkers[step.symbol], Symbol(step.symbol), step.row
            if step.gap:
                stale[symbol] = GAP
                text = f"{symbol}: after seq {row.seq} ({row.position})"
                account.doubt(symbol, GAP_OF_RECORDER, text, _time(row))
                yield FeedEntry(symbol, (), None, _time(row), True, None, number, stale=GAP)
                continue
            problems = len(found.found.problems)
            found.take(row)
            if len(found.found.problems) > problems:
                raise FeedError(self.folder, 0, f"{step.symbol}: {found.found.problems[-1]}")
            if step.whole:
                account.certain(symbol, _time(row))
            account.reloads += row.kind == SNAPSHOT
            account.proven += 1
            ends = bool(stale[symbol]) and not row.stale
            stale[symbol] = row.stale
            yield _entry(step, found, working[symbol], number, ends=ends, verify=verify)
        doubts, unrecorded = (
            sum(getattr(each.found, what) for each in checkers.values()) for what in ("doubts", "unrecorded")
        )
        if doubts:
            account.notes.append(f"books came into doubt {doubts} times when they were recorded")
        if unrecorded:
            account.notes.append(f"no doubt recorded in {unrecorded} rows: they are older than that column")


def _entry(
    step: Step, checker: RowChecker, working: Instrument, number: int, *, ends: bool, verify: bool
) -> FeedEntry:
    """The entry of a row. `ends`: the book was in doubt before it, and is not after it."""
    row = step.row
    tick = _factor(step.symbol, "tick_size", row.tick_size, working.tick_size)
    lot = _factor(step.symbol, "lot_size", row.lot_size, working.lot_size)
    # What an ingestor has rejected meanwhile is missing until a whole book replaces all of it.
    events = events_of_book(checker.replica.book) if ends else events_of(step)
    if (tick, lot) != (1, 1):
        events = [event if len(event) == 1 else _scaled(event, tick, lot) for event in events]
    book = checker.replica.book
    oracle = (
        TopLevels(
            [(price * tick, quantity * lot) for price, quantity in book.bids.top(LEVELS_MOST)],
            [(price * tick, quantity * lot) for price, quantity in book.asks.top(LEVELS_MOST)],
        )
        if verify
        else None
    )
    right = row.doubt is not None and not row.stale
    return FeedEntry(
        Symbol(step.symbol), events, row.event_ts, _time(row), True, oracle, number,
        stale=row.stale, live=ends or (right and step.whole), sure=right,
    )  # fmt: skip


def _scaled(event: list[int], tick: int, lot: int) -> list[int]:
    op, side, price, quantity = event
    return [op, side, price * tick, quantity * lot]


def _time(row: RecordedRow) -> int | None:
    return row.written or row.ts or None


def _factor(symbol: str, what: str, recorded: str, working: str) -> int:
    factor = Decimal(recorded) / Decimal(working)
    if factor != int(factor):
        raise FeedError(symbol, 0, f"was recorded with {what} {recorded}, which {working} does not divide")
    return int(factor)


def _finest(folder: Path, symbol: str, sizes: tuple[str, ...]) -> str:
    """The smallest of the sizes that a symbol had; raises `FeedError` unless it divides all."""
    least = min(sizes, key=Decimal)
    for size in sizes:
        if Decimal(size) % Decimal(least):
            raise FeedError(folder, 0, f"{symbol} had the sizes {size} and {least}: no common unit")
    return least


def _read(source: Source) -> BooksRecording:
    return BooksRecording(Path(source.path))


FORMAT: Final = Format(
    name="depthcast",
    title="a folder of depthcast record: every change of every book, in Parquet",
    example="symbol=BTC-USD/hour=2026-02-01T00/0005485363200000-0005485363200042.parquet",
    how="Give the folder. Every state is made again, with its digest; needs depthcast[record].",
    oracle="recorded books",
    matches=lambda _: False,  # a folder has no first lines: `open_feed` knows it
    read=_read,
)
