"""What records of Databento have in common: flags, prices, times, and the names of books.

Source: Databento, "Common fields, enums and types", and `flags.rs` of its library dbn.
"""

from decimal import Decimal
from typing import Final

from depthcast.feed.csv_lines import Row, number, time_us
from depthcast.feed.entry import LineReader
from depthcast.feed.venue import Doubt, DoubtReason

LAST: Final = 128
TOP_OF_BOOK: Final = 64
BY_PRICE: Final = 16
BAD_TS_RECV: Final = 8
MAYBE_BAD_BOOK: Final = 4

UNDEFINED: Final = ("", "9223372036854775807")
"""Prices that are none."""


class Names:
    """Names of books: a publisher's own, if a symbol has several publishers in the file."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, str]] = {}
        self._instruments: dict[tuple[str, str], str] = {}

    def of(self, row: Row) -> tuple[str, str]:
        """Return the book of a record, and the other one that its instrument was until now, if any."""
        instrument, publisher = row["instrument_id"], row.get("publisher_id", "")
        symbol = row.get("symbol") or instrument
        names = self._of.setdefault(symbol, {publisher: symbol})
        if publisher not in names:
            names[publisher] = f"{symbol}.{publisher}"
        name = names[publisher]
        before = self._instruments.get((publisher, instrument), name)
        self._instruments[publisher, instrument] = name
        return name, "" if before == name else before


def renamed(before: str, name: str, instrument: str) -> Doubt:
    """Return the doubt of a book whose instrument is another book from here."""
    return Doubt(before, DoubtReason.RESET, f"its instrument {instrument} is {name} from here")


def price_of(reader: LineReader, name: str, text: str) -> str:
    """Return a price as a decimal: without a decimal point it is in units of 10⁻⁹."""
    if text in UNDEFINED:
        raise reader.error(f"{name} is undefined in a record that needs one")
    if "." in number(reader, name, text):
        return text
    return f"{Decimal(text).scaleb(-9):f}"


def received(reader: LineReader, row: Row, flags: int) -> int | None:
    """Return the time of receipt in µs; None if the record says that it is wrong."""
    if flags & BAD_TS_RECV:
        return None
    return time_us(reader, row.get("ts_recv") or row["ts_event"])
