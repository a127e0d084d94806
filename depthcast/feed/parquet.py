"""Tables of other programs in Parquet: the columns of plain CSV, of tardis.dev or of Databento.

Values are read exactly, or the file is refused with the row and the column:

- Whole numbers, decimals and text are what they are.
- A binary float with at most 15 significant digits (6 of 32 bits) is the one decimal with so many digits that
  it can have been made from. One that needs more digits is not exact, and refused.
- NaN and null are no value. Timestamps become the unit that the column has in CSV, and are UTC.

pyarrow is loaded when it is needed, because it is an extra.
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

from depthcast.feed import databento, table, tardis
from depthcast.feed.csv_lines import Row
from depthcast.feed.entry import Format, Head, LineReader, Source
from depthcast.feed.messages import Item, MessageRecording
from depthcast.feed.recording import READ_ROWS, library
from depthcast.feed.table_form import TableForm
from depthcast.shared.errors import FeedError

FORMS: Final = (table.FORM, tardis.FORM, databento.MBO_FORM, databento.MBP_FORM)
"""Tables that are read."""

MAGIC: Final = b"PAR1"

DOUBLE_DIGITS: Final = 15
SINGLE_DIGITS: Final = 6
"""Decimals with so many significant digits survive in a binary float of 64 or 32 bits."""

_UNITS_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_INDEX: Final = "__index_level_0__"
"""Column in which pandas writes the numbers of its rows."""

_OURS: Final = ("prev_seq", "digest", "bid_prices")

Convert = Callable[[Any], str]
"""Makes text of a value as CSV has it; raises `ValueError`."""


def double(value: float) -> str:
    """Return the decimal that a float of 64 bits was made from; raises `ValueError` unless it is exact."""
    if math.isinf(value):
        raise ValueError(f"{value} is no number")
    number = Decimal(repr(value)).normalize()
    if len(number.as_tuple().digits) > DOUBLE_DIGITS:
        raise ValueError(f"{value!r} is no exact decimal; write the column as decimal128 or text")
    return _with_point(number)


def single(value: float) -> str:
    """Return the decimal that a float of 32 bits was made from; raises `ValueError` unless it is exact."""
    if math.isinf(value):
        raise ValueError(f"{value} is no number")
    text = f"{value:.{SINGLE_DIGITS}g}"
    if struct.unpack("f", struct.pack("f", float(text)))[0] != value:
        raise ValueError(f"{value!r} of 32 bits is no exact decimal; write the column as decimal128 or text")
    return _with_point(Decimal(text))


def _with_point(number: Decimal) -> str:
    """Return a decimal with a decimal point: Databento's prices without one are in units of 10⁻⁹."""
    text = f"{number:f}"
    return text if "." in text else f"{text}.0"


def _whole(value: Any) -> str:
    """Return a float or a decimal in a column of whole numbers."""
    if math.isinf(value) or value != int(value) or abs(value) > 2**53:
        raise ValueError(f"{value} must be a whole number up to 2^53")
    return str(int(value))


def _read(source: Source) -> MessageRecording:
    with _opened(source) as file:
        schema = file.schema_arrow
        form = _form(source, schema.names)
        converters = _converters(source, schema, form)

    def items() -> Iterator[Item]:
        reader = LineReader(source.path)
        return form.items(reader, _rows(reader, source, converters))

    return MessageRecording(source, items, form.feed(schema.names), form.hint)


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    arrow = library()
    try:
        with source.file() as file, arrow.parquet.ParquetFile(file) as table_file:
            yield table_file
    except (OSError, arrow.ArrowException) as error:
        raise FeedError(source.path, 0, f"cannot be read: {error}") from error


def _form(source: Source, names: Sequence[str]) -> TableForm:
    if len(set(names)) != len(names):
        raise FeedError(source.path, 0, "has two columns of one name")
    if set(_OURS) <= set(names):
        raise FeedError(source.path, 0, "is one file of depthcast record; give the folder of the recording")
    columns = [name for name in names if name != _INDEX]
    found = [form for form in FORMS if form.fits(columns)]
    if len(found) != 1:
        problem = "could be " + " or ".join(form.name for form in found) if found else "is none that is known"
        known = "; ".join(f"{form.name}: {', '.join(form.required)}" for form in FORMS)
        raise FeedError(
            source.path, 0, f"has the columns {', '.join(columns)[:400]}, which {problem}; known are {known}"
        )
    return found[0]


def _converters(source: Source, schema: Any, form: TableForm) -> dict[str, Convert]:
    converters = {}
    for column in schema:
        if not form.reads(column.name):
            continue
        convert = _converter(column, form)
        if convert is None:
            problem = f"cannot read the column {column.name} of type {column.type}"
            raise FeedError(source.path, 0, f"{problem}; write it as text")
        converters[column.name] = convert
    return converters


def _converter(column: Any, form: TableForm) -> Convert | None:
    """Return what makes text of a column's values; None for a type that is not read there."""
    types, of_type = library().types, column.type
    if types.is_dictionary(of_type):
        of_type = of_type.value_type
    if types.is_timestamp(of_type):
        return _time(form.times_ns.get(column.name), _UNITS_NS[of_type.unit])
    decimals = form.decimals(column.name)
    readers: tuple[tuple[Callable[[Any], bool], Convert], ...] = (
        (types.is_boolean, lambda value: "true" if value else "false"),
        (types.is_integer, str),
        (types.is_string, _stripped),
        (types.is_large_string, _stripped),
        (types.is_decimal, _with_point if decimals else _whole),
        (types.is_float64, double if decimals else _whole),
        (types.is_float32, single if decimals else _whole),
        (types.is_null, _stripped),
    )
    return next((convert for is_of_type, convert in readers if is_of_type(of_type)), None)


def _stripped(value: Any) -> str:
    return str(value).strip()


def _time(to_ns: int | None, from_ns: int) -> Convert | None:
    """Return what converts times between units, given in ns; None for a column that is no time."""
    return None if to_ns is None else lambda value: str(value * from_ns // to_ns)


def _rows(reader: LineReader, source: Source, converters: dict[str, Convert]) -> Iterator[Row]:
    """Yield each row as text by its columns; `reader` counts them. Raises `FeedError`."""
    names = [*converters]
    with _opened(source) as file:
        for batch in file.iter_batches(READ_ROWS, columns=names):
            columns = [_values(batch.column(name)) for name in names]
            for values in zip(*columns, strict=True):
                reader.line += 1
                yield _row(reader, converters, values)


def _values(column: Any) -> list[Any]:
    """Return a column's values; timestamps as numbers of their unit, as a date has no ns."""
    arrow = library()
    if arrow.types.is_timestamp(column.type):
        column = column.cast(arrow.int64())
    values: list[Any] = column.to_pylist()
    return values


def _row(reader: LineReader, converters: dict[str, Convert], values: Sequence[Any]) -> Row:
    row = {}
    for (name, convert), value in zip(converters.items(), values, strict=True):
        nothing = value is None or (isinstance(value, float) and math.isnan(value))
        try:
            row[name] = "" if nothing else convert(value)
        except ValueError as error:
            raise reader.error(f"{name}: {error}") from None
    return row


def _matches(head: Head) -> bool:
    return head.start.startswith(MAGIC)


FORMAT: Final = Format(
    name="parquet",
    title="Parquet with the columns of plain CSV, of tardis.dev or of Databento",
    example="book.parquet",
    how="Prices as decimal128, text or whole numbers, or as floats that are exact; needs depthcast[record].",
    matches=_matches,
    read=_read,
)
