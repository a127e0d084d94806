"""Reads CSV with a header, line by line, so that every error names its line."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from depthcast.feed.decimals import plain
from depthcast.feed.entry import LineReader
from depthcast.feed.venue import VenueLevel
from depthcast.shared.errors import FeedError

Row = dict[str, str]

_NO_TIME: Final = ("", "18446744073709551615")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def header(line: bytes) -> list[str]:
    """Return the names in a header line."""
    return [name.strip() for name in line.decode("utf-8", "replace").strip().split(",")]


def rows(reader: LineReader, lines: Iterable[bytes], required: Iterable[str] = ()) -> Iterator[Row]:
    """Yield each row by the names of the header; raises `FeedError`."""
    names: list[str] | None = None
    for line in reader.lines(lines):
        values = split(reader, line)
        if names is None:
            names = values
            if missing := [name for name in required if name not in names]:
                raise reader.error(f"has no column {missing[0]!r}; it has {', '.join(names)}")
            if len(set(names)) != len(names):
                raise reader.error("has two columns of one name")
            continue
        if len(values) != len(names):
            raise reader.error(
                f"has {len(values)} values for {len(names)} columns; is the file cut off or edited?"
            )
        yield dict(zip(names, values, strict=True))


def split(reader: LineReader, line: bytes) -> list[str]:
    """Return the values of one line."""
    try:
        found = list(csv.reader([line.decode("utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise reader.error(f"not valid CSV: {error}") from None
    return [value.strip() for value in found[0]] if found else []


def integer(reader: LineReader, row: Row, name: str) -> int:
    """Return the integer in a column; raises `FeedError`."""
    text = row[name]
    if not text.lstrip("-").isascii() or not text.lstrip("-").isdecimal() or len(text) > 20:
        raise reader.error(f"{name} is {text!r}; it must be an integer")
    return int(text)


def truth(reader: LineReader, row: Row, name: str) -> bool:
    """Return the boolean in a column; raises `FeedError`."""
    text = row[name].lower()
    if text not in ("true", "false"):
        raise reader.error(f"{name} is {row[name]!r}; it must be true or false")
    return text == "true"


def time_us(reader: LineReader, text: str) -> int | None:
    """Return a time in µs since 1970: from an integer in ns, or from an ISO date; None for no time."""
    if text in _NO_TIME:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 20:
        return int(text) // 1000
    return iso_us(reader, text)


def iso_us(reader: LineReader, text: str) -> int:
    """Return an ISO date in UTC in µs since 1970, cut after the µs; raises `FeedError`."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    try:
        date = datetime.fromisoformat(whole)
    except ValueError:
        date = None
    if date is None or date.tzinfo is not None or not (fraction or "0").isdecimal():
        raise reader.error(f"{text!r} is no time, such as 2024-08-08T23:54:15.123456Z")
    return (date.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND + int(fraction[:6].ljust(6, "0"))


_MICROSECOND: Final = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC) - _EPOCH


class Levels:
    """Levels of one message, each price once: of a price that comes twice, the last counts."""

    def __init__(self) -> None:
        self.sides: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def set(self, side: int, price: str, quantity: str) -> None:
        """Take one level."""
        self.sides[side][price] = quantity

    def of(self, side: int, *, present: bool = False) -> Sequence[VenueLevel]:
        """Return one side; `present`: without levels of quantity 0, as a snapshot has them."""
        levels = self.sides[side].items()
        return [level for level in levels if not present or level[1].strip("0.")]


def number(reader: LineReader, name: str, text: str) -> str:
    """Return decimal text, checked; raises `FeedError`."""
    try:
        plain(text)
    except ValueError as error:
        raise reader.error(f"{name}: {error}") from None
    return text


def refused(reader: LineReader, name: str, text: str, known: Iterable[str]) -> FeedError:
    """Make the error for a value that is none of the known ones."""
    return reader.error(f"{name} is {text!r}; it must be one of {', '.join(known)}")
