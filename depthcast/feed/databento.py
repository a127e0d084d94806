"""Recordings of Databento: the schemas MBO (an orders feed) and MBP-10 (the best ten levels).

They come as CSV (here), as DBN (`depthcast.feed.dbn`) and as Parquet (`depthcast.feed.parquet`), and mean the
same in each.

- Records of one instrument up to the flag F_LAST are one event of the venue, and one atomic entry.
- MBO: Add, Cancel (by the quantity of the record), Modify (an unknown order is added), cleaR. Trade and Fill
  change no book: the Cancel that follows does.
- MBO: a session, and a snapshot (F_SNAPSHOT), begins with cleaR. A book that does not begin so is in doubt.
- MBO: what cannot follow from the records before puts the book in doubt until it is cleared: a cancel of an
  unknown order or of more than it has, an order that is added again, a record that is there twice or is
  older than the one before it. F_TOB and F_MBP, records of no single order, do so too.
- MBP-10: a record has the whole best levels after it. What left them is removed, so the book is the best ten.
- F_MAYBE_BAD_BOOK puts the book in doubt until it is cleared; for MBP-10, until a record is without it.
  F_BAD_TS_RECV, which all records of a snapshot have, costs their time of receipt alone.
- A symbol is one book for each publisher. Another instrument under the same name puts it in doubt.
- Prices are decimals, or integers in units of 10⁻⁹; times are ns since 1970 or ISO dates.

Source: Databento, "Market by order", "Market by price", "Common fields, enums and types", "Order tracking",
"We're making improvements to MBO publishing", and `flags.rs` of its library dbn.
"""

from functools import partial
from typing import Final

from depthcast.feed.databento_mbo import mbo_items
from depthcast.feed.databento_mbp import mbp_items
from depthcast.feed.entry import Format
from depthcast.feed.table_form import TableForm
from depthcast.shared.instruments import Feed

_MBO: Final = ("ts_event", "action", "side", "price", "size", "order_id", "flags", "instrument_id")
_MBP: Final = (
    "ts_event",
    "action",
    "flags",
    "instrument_id",
    "bid_px_00",
    "ask_px_00",
    "bid_sz_00",
    "ask_sz_00",
)


def _decimals(name: str) -> bool:
    return name == "price" or "_px_" in name


def _others(name: str) -> bool:
    return name in ("ts_recv", "publisher_id", "sequence", "symbol") or "_px_" in name or "_sz_" in name


_form = partial(TableForm, others=_others, decimals=_decimals, times_ns={"ts_event": 1, "ts_recv": 1})

MBO_FORM: Final = _form(name="databento-mbo", required=_MBO, items=mbo_items, feed=lambda _: Feed.ORDERS)

MBP_FORM: Final = _form(name="databento-mbp-10", required=_MBP, items=mbp_items)

MBO: Final = Format(
    name="databento-mbo",
    title="Databento MBO, CSV",
    example="1703116800000000000,1703116799999999000,160,1,5482,A,B,4799.250000000,1,0,6413364814613,128,"
    "1000,12345,ESH4",
    how="CSV with a header, and with a symbol column: as downloaded with map_symbols.",
    matches=MBO_FORM.heads,
    read=MBO_FORM.read_csv,
)

MBP: Final = Format(
    name="databento-mbp-10",
    title="Databento MBP-10, CSV",
    example="1703116800000000000,1703116799999999000,10,1,5482,A,B,0,4799.250000000,1,130,1000,12345,"
    "4799.250000000,4799.500000000,21,14,11,9,…,ESH4",
    how="As for MBO; the book is the best ten levels.",
    matches=MBP_FORM.heads,
    read=MBP_FORM.read_csv,
)
