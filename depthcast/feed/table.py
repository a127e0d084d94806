"""Plain CSV, for any data: a header, then one level or order event a row, in decimals.

    symbol,side,price,quantity,ts,entry
    BTC-USD,bid,65000.10,0.5,1767225600000000,1
    BTC-USD,ask,65000.20,0.7,1767225600000000,1

- `symbol`, `side` (bid or ask), `price` and `quantity` must be there. On a levels feed quantity is the
  level's new volume, and 0 removes it.
- `op`: add, update, delete, reduce or clear; update without it. `order_id`: makes the file an orders feed.
- `ts`: time at the source in µs since 1970. `at_ms`: when to send the row, in ms from any fixed origin.
- `entry`: rows of one symbol that follow each other with the same value are one atomic entry; without this
  column each row is an entry.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from depthcast.feed.csv_lines import Row, integer, number, refused
from depthcast.feed.entry import Format, LineReader
from depthcast.feed.messages import Item, OrderEvent, Orders
from depthcast.feed.table_form import Rows, TableForm
from depthcast.shared.instruments import Feed

_COLUMNS: Final = ("symbol", "side", "price", "quantity")
_OPTIONAL: Final = ("op", "order_id", "ts", "at_ms", "entry")
_OPS: Final = {"add": 0, "update": 1, "delete": 2, "reduce": 3, "clear": 4}
_SIDES: Final = {"bid": 0, "ask": 1, "": None}


def _feed(names: Sequence[str]) -> Feed:
    return Feed.ORDERS if "order_id" in names else Feed.LEVELS


def _items(reader: LineReader, rows: Rows) -> Iterator[Item]:
    def entry(numbered: tuple[int, Row]) -> tuple[str, str]:
        line, row = numbered
        return row["symbol"], f"entry {row['entry']}" if "entry" in row else f"line {line}"

    numbered = ((reader.line, row) for row in rows)
    for (symbol, _), group in groupby(numbered, entry):
        events: list[OrderEvent] = []
        first, last = 0, {}
        for line, row in group:
            events.append(_event(reader, row))
            first, last = first or line, row
        at_ms = integer(reader, last, "at_ms") if last.get("at_ms") else None
        ts = integer(reader, last, "ts") if last.get("ts") else None
        yield Item(Orders(symbol, events, ts), None if at_ms is None else at_ms * 1000, first)


def _event(reader: LineReader, row: Row) -> OrderEvent:
    op, side = row.get("op") or "update", row["side"].lower()
    if op not in _OPS:
        raise refused(reader, "op", op, _OPS)
    if side not in _SIDES:
        raise refused(reader, "side", row["side"], ("bid", "ask"))
    price, quantity = (
        number(reader, name, row[name]) if row[name] else None for name in ("price", "quantity")
    )
    order = row.get("order_id") or None
    return _OPS[op], _SIDES[side], price, quantity, order


FORM: Final = TableForm(
    name="csv",
    required=_COLUMNS,
    optional=_OPTIONAL,
    decimals=lambda name: name in ("price", "quantity"),
    times_ns={"ts": 1_000, "at_ms": 1_000_000},
    items=_items,
    feed=_feed,
)

FORMAT: Final = Format(
    name="csv",
    title="plain CSV with a header, in decimals",
    example="BTC-USD,bid,65000.10,0.5",
    how="The header is symbol,side,price,quantity, and if needed op,order_id,ts,at_ms,entry.",
    matches=FORM.heads,
    read=FORM.read_csv,
)
