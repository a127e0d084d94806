"""Rows of Databento's CSV for tests. Times are ms after a fixed one, and go on by one a row."""

from itertools import count

AT_NS = 1703116800000000000
UNDEFINED = "9223372036854775807"
LAST, SNAPSHOT, BAD_TS_RECV, MAYBE_BAD_BOOK = 128, 32, 8, 4

MBO = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,price,size,channel_id,order_id,flags,"
    "ts_in_delta,sequence,symbol\n"
)
MBP = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,ts_in_delta,sequence,"
    "bid_px_00,ask_px_00,bid_sz_00,ask_sz_00,bid_ct_00,ask_ct_00,bid_px_01,ask_px_01,bid_sz_01,ask_sz_01,"
    "bid_ct_01,ask_ct_01,symbol\n"
)

_numbers = count(1)


def mbo(
    action: str,
    side: str = "N",
    price: str = UNDEFINED,
    size: int = 0,
    order: int = 0,
    flags: int = LAST,
    *,
    at: int | None = None,
    instrument: int = 5482,
    publisher: int = 1,
    symbol: str = "ES",
) -> str:
    """Return a row; `at`: ms after the fixed time."""
    number = next(_numbers) if at is None else at
    record = f"{action},{side},{price},{size},0,{order},{flags}"
    times = f"{AT_NS + number * 1_000_000},{AT_NS + number * 1_000_000 - 1000}"
    return f"{times},160,{publisher},{instrument},{record},1,{number},{symbol}\n"


CLEARED = mbo("R", flags=SNAPSHOT | BAD_TS_RECV, at=0)
"""The record that begins a snapshot."""


def mbp(
    bid: str,
    bid_size: int,
    second: str,
    second_size: int,
    flags: int = LAST | 2,
    *,
    at: int | None = None,
    instrument: int = 5482,
) -> str:
    """Return a row with two bids and one ask."""
    time = AT_NS + (next(_numbers) if at is None else at) * 1_000_000
    return (
        f"{time},{time - 1000},10,1,{instrument},A,B,0,4799.25,1,{flags},1000,1,"
        f"{bid},4799.5,{bid_size},14,1,9,{second},,{second_size},0,1,0,ESH4\n"
    )
