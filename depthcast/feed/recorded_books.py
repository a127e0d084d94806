"""Replays recordings of `depthcast record`: a folder instead of a file."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from depthcast.feed.account import Account, Findings
from depthcast.feed.entry import FeedEntry, Format, Instruments, Recorded, Source
from depthcast.feed.oracle import LEVELS_MOST, TopLevels
from depthcast.feed.recording import (
    SNAPSHOT,
    RecordedRow,
    RowChecker,
    Step,
    events_of,
    files_of,
    read_sizes,
    steps,
)
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol


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
        """Yield an entry for each state; every one is atomic, and the digest of every row is recomputed."""
        checkers = {symbol: RowChecker(symbol) for symbol in self.recorded}
        for number, step in enumerate(steps(self.folder), 1):
            found = checkers[step.symbol]
            problems, gaps = len(found.found.problems), len(found.found.gaps)
            found.take(step.row)
            if len(found.found.problems) > problems:
                raise FeedError(self.folder, 0, f"{step.symbol}: {found.found.problems[-1]}")
            if len(found.found.gaps) > gaps:
                gap = found.found.gaps[-1]
                text = f"{step.symbol}: from seq {gap.after_seq} ({gap.after}) to seq {gap.to_seq} ({gap.to})"
                account.gaps.setdefault("gap of the recorder", Findings()).note(text)
            account.reloads += step.row.kind == SNAPSHOT
            account.proven += 1
            symbol = Symbol(step.symbol)
            yield _entry(step, found, working[symbol], number, verify=verify)


def _entry(step: Step, checker: RowChecker, working: Instrument, number: int, *, verify: bool) -> FeedEntry:
    row = step.row
    tick = _factor(step.symbol, "tick_size", row.tick_size, working.tick_size)
    lot = _factor(step.symbol, "lot_size", row.lot_size, working.lot_size)
    events = events_of(step)
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
    symbol = Symbol(step.symbol)
    return FeedEntry(symbol, events, row.event_ts, _time(row), True, oracle, number)


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
