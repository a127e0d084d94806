"""Draws books as text of an exact size, for `depthcast watch` in a terminal.

Whatever may be old is grey, without colours, under a red line that says since when.
"""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

from rich.text import Text

from depthcast.cli.ladder import Row, bar, best_line, decimal, mid, rows
from depthcast.cli.shown import Shown, age
from depthcast.shared.types import Side
from depthcast.updates import State

PANEL_WIDTH_MIN: Final = 26
GAP: Final = 1
BAR_CELLS: Final = 40
LADDER_HEIGHT_MIN: Final = 4
"""In fewer lines there is room for the best prices only."""

ALARM: Final = "bold #ffffff on #b00000"
WAITING: Final = "#000000 on #ffd700"
OLD: Final = "dim"
QUIET: Final = "dim"
COLOURS: Final = {Side.BID: "green", Side.ASK: "red"}


def page(books: Sequence[Shown], width: int, height: int) -> Text:
    """Return `books` side by side: `height` lines of `width` characters."""
    if not books:
        return Text("\n").join([fit(Text(" waiting for books", WAITING), width)])
    each = max((width + GAP) // len(books) - GAP, 1)
    panels = [panel(book, each, height) for book in books]
    lines = [Text(" " * GAP).join(parts) for parts in zip(*panels, strict=True)]
    return Text("\n").join(fit(line, width) for line in lines)


def panels_that_fit(width: int) -> int:
    """Return how many books fit side by side, at least one."""
    return max((width + GAP) // (PANEL_WIDTH_MIN + GAP), 1)


def panel(book: Shown, width: int, height: int) -> list[Text]:
    """Return one book as `height` lines of `width` characters: its state, asks, the middle, bids."""
    head = banner(book, width)
    if book.state not in (State.LIVE, State.STALE):
        lines = [head]
    elif height < LADDER_HEIGHT_MIN:
        best = best_line(book.bids, book.asks, book.tick_size, book.lot_size)
        lines = [head, Text(f" {best}", _ink(book, ""))]
    else:
        levels = (height - 2) // 2
        asks, bids = _ladder(book, levels, width)
        lines = [head, *repeat(Text(), levels - len(asks)), *asks, middle(book), *bids]
    return [fit(line, width) for line in chain(lines, repeat(Text(), height))][:height]


def banner(book: Shown, width: int) -> Text:
    """Return the line above a book: its state, the age of its last update, and why it is not live.

    Of a live book, only what fits in `width` characters follows the state.
    """
    if book.state is None:
        return Text(f" {book.symbol} waiting for its book", WAITING)
    if book.state is State.REMOVED:
        return Text(f" {book.symbol} ENDED: {book.reason}", ALARM)
    if book.state is State.STALE:
        old = "" if book.age_s is None else f" {age(book.age_s)} old"
        why = "" if book.reason is None else f": {book.reason}"
        return Text(f" {book.symbol} STALE{old}{why}", ALARM)
    line = Text.assemble((f" {book.symbol}", "bold"), (" live", "green"))
    ago = "" if book.age_s is None else f"  {age(book.age_s)} ago"
    lag = "" if book.lag_ms is None else f"  lag {book.lag_ms:.1f} ms"
    for part in (ago, lag, f"  seq {book.seq}"):
        if len(line) + len(part) <= width:
            line.append(part, QUIET)
    return line


def middle(book: Shown) -> Text:
    """Return the line between asks and bids: spread and mid, or since when the book is old."""
    if book.state is State.STALE:
        since = "unknown" if book.age_s is None else f"{age(book.age_s)} ago"
        return Text(f" last update {since}", "bold yellow")
    if not book.bids and not book.asks:
        return Text(" the book is empty", "bold")
    if not book.bids or not book.asks:
        return Text(" no bids" if book.asks else " no asks", "bold")
    bid, ask = book.bids[0][0], book.asks[0][0]
    spread = decimal(ask - bid, book.tick_size)
    return Text(f" spread {spread}  mid {mid(bid, ask, book.tick_size)}", "bold")


def connection_line(*, address: str, connected: bool, silent: bool, silence_s: float, counts: str) -> Text:
    """Return the line above all books; red if the connection is lost or may hang."""
    if not connected:
        return Text(f" NO CONNECTION to {address} for {age(silence_s)}: connecting again", ALARM)
    if silent:
        return Text(f" NOTHING HEARD from {address} for {age(silence_s)}: books may be old", ALARM)
    return Text(f" {address}  {counts}", QUIET)


def keys_line(first: int, shown: int, total: int) -> Text:
    """Return the line below all books; `first` is the index of the first of the `shown` books."""
    keys = " q quit   ? help"
    if total > shown or shown > 1:
        keys += "   ← → other books   Enter one or all"
    if total > shown:
        keys += f"   {first + 1}–{first + shown} of {total}"
    return Text(keys, QUIET)


def fit(line: Text, width: int) -> Text:
    """Return the line in exactly `width` characters; an ellipsis shows that it was cut."""
    fitted = line.copy()
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted


def _ladder(book: Shown, levels: int, width: int) -> tuple[list[Text], list[Text]]:
    """The lines of the best `levels` asks and bids, in ladder order."""
    shown = rows(book.bids[:levels], book.asks[:levels], book.tick_size, book.lot_size)
    prices = max((len(row.price) for row in shown), default=0)
    quantities = max((len(row.quantity) for row in shown), default=0)
    cells = min(max(width - prices - quantities - 6, 0), BAR_CELLS)

    def line(row: Row) -> Text:
        colour = _ink(book, COLOURS[row.side])
        return Text.assemble(
            (f" {row.price:>{prices}}", colour),
            (f"  {row.quantity:>{quantities}}", _ink(book, "")),
            (f"  {bar(row.share, cells)}", colour),
        )

    asks = [line(row) for row in shown if row.side is Side.ASK]
    return asks, [line(row) for row in shown if row.side is Side.BID]


def _ink(book: Shown, colour: str) -> str:
    return colour if book.state is State.LIVE else OLD
