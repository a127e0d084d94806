"""Parquet of other programs: the same columns and the same meaning as in CSV, with every value exact."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.feed.parquet import double, single
from depthcast.runtime.feed_file import RecordedFeed, open_feed
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from tests.unit.depthcast.feed.databento_rows import AT_NS, UNDEFINED
from tests.unit.depthcast.feed.replayed import final

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def opened(tmp_path: Path, columns: dict[str, Any]) -> RecordedFeed:
    path = tmp_path / "book.parquet"
    pq.write_table(pa.table(columns), path)
    return open_feed(path, None, {})


def levels(prices: Any, quantities: Any, **more: Any) -> dict[str, Any]:
    """Two levels of plain CSV."""
    return {"symbol": ["A-1", "A-1"], "side": ["bid", "ask"], "price": prices, "quantity": quantities} | more


BOOK = {"A-1": ([(650001, 5)], [(650002, 7)])}


@pytest.mark.parametrize(
    "prices",
    [
        ["65000.1", "65000.2"],
        [65000.1, 65000.2],
        pa.array([Decimal("65000.10"), Decimal("65000.20")], pa.decimal128(18, 2)),
        pa.array([Decimal("65000.10"), Decimal("65000.20")], pa.decimal256(40, 9)),
        pa.array(["65000.1", "65000.2"]).dictionary_encode(),
        pa.array(["65000.1", "65000.2"], pa.large_string()),
    ],
)
@pytest.mark.parametrize("quantities", [[0.5, 0.7], ["0.5", "0.7"]])
def test_values_of_any_type_are_exact(tmp_path: Path, prices: Any, quantities: Any) -> None:
    feed = opened(tmp_path, levels(prices, quantities))
    assert final(feed) == BOOK
    assert feed.recording.recorded["A-1"].instrument.tick_size == "0.1"


def test_floats_of_32_bits_and_whole_numbers(tmp_path: Path) -> None:
    feed = opened(tmp_path, levels(pa.array([1.1, 1.25], pa.float32()), pa.array([3, 4], pa.uint8())))
    assert final(feed) == {"A-1": ([(110, 3)], [(125, 4)])}


@pytest.mark.parametrize(
    ("prices", "problem"),
    [
        ([65000.1, 0.1 + 0.2], "line 2: price: 0.30000000000000004 is no exact decimal; write the column as"),
        ([65000.1, float("inf")], "line 2: price: inf is no number"),
        (pa.array([1.0, 65000.12], pa.float32()), "line 2: price: .* of 32 bits is no exact decimal"),
        (pa.array([1.0, 2.0], pa.float16()), "cannot read the column price of type halffloat"),
        (pa.array([b"1", b"2"]), "cannot read the column price of type binary"),
        (pa.array([1, 2], pa.timestamp("us")), r"cannot read the column price of type timestamp\[us\]"),
        (pa.array([[1], [2]]), "cannot read the column price of type list"),
        (["1", "1x"], "line 2: price: '1x' is not a decimal"),
    ],
)
def test_what_is_not_exact_is_refused_with_its_row(tmp_path: Path, prices: Any, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        opened(tmp_path, levels(prices, [1, 2]))


@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 12))
def test_every_decimal_of_15_digits_survives_a_float(units: int, places: int) -> None:
    written = Decimal(units).scaleb(-places)
    assert Decimal(double(float(written))) == written


@given(st.integers(-(10**6) + 1, 10**6 - 1), st.integers(0, 6))
def test_every_decimal_of_6_digits_survives_a_float_of_32_bits(units: int, places: int) -> None:
    written = Decimal(units).scaleb(-places)
    stored = pa.array([float(written)], pa.float32()).to_pylist()[0]
    assert Decimal(single(stored)) == written


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_exact_or_refused(value: float) -> None:
    try:
        text = double(value)
    except ValueError:
        return
    assert float(text) == value
    assert len(Decimal(text).normalize().as_tuple().digits) <= 15


def test_times_have_the_unit_of_their_column(tmp_path: Path) -> None:
    times = [dt.datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)] * 2
    ns = 1704164645678901000
    for unit, factor in (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)):
        column = pa.array([ns // factor] * 2, pa.timestamp(unit, tz="America/New_York"))
        feed = opened(tmp_path, levels(["1", "2"], [1, 1], ts=column, at_ms=[None, 4]))
        assert [entry.ts for entry in feed.entries()] == [ns // factor * factor // 1000] * 2
        assert [entry.at_us for entry in feed.entries()] == [None, 4000]
    feed = opened(tmp_path, levels(["1", "2"], [1, 1], ts=times))
    assert [entry.ts for entry in feed.entries()] == [ns // 1000] * 2


def test_orders_with_columns_as_pandas_writes_them(tmp_path: Path) -> None:
    """Integers with a missing value are floats there, and the index has a column."""
    columns = levels(["1", "2"], [5.0, 3.0], order_id=[7.0, float("nan")], __index_level_0__=[0, 1])
    feed = opened(tmp_path, columns)
    assert feed.recording.recorded["A-1"].instrument.feed is Feed.ORDERS
    assert [entry.events[0][4] for entry in feed.entries()] == ["7", None]


def test_tardis(tmp_path: Path) -> None:
    times = pa.array([1000, 1000, 2000], pa.timestamp("us", tz="UTC"))
    columns = {
        "exchange": ["e"] * 3, "symbol": ["X"] * 3, "timestamp": times, "local_timestamp": times,
        "is_snapshot": [True, True, False], "side": ["bid", "ask", "bid"], "price": [1.5, 2.5, 1.5],
        "amount": [3.0, 4.0, 0.0], "unread": [[1], [2], [3]],
    }  # fmt: skip
    feed = opened(tmp_path, columns)
    assert final(feed) == {"X": ([], [(25, 4)])}
    assert [(entry.ts, entry.at_us, entry.line) for entry in feed.entries()] == [
        (1000, 1000, 1),
        (2000, 2000, 3),
    ]


def databento(prices: Any) -> dict[str, Any]:
    times = pa.array([AT_NS, AT_NS + 1000, AT_NS + 2000], pa.timestamp("ns", tz="UTC"))
    return {
        "ts_recv": times, "ts_event": times, "rtype": pa.array([160] * 3, pa.uint8()),
        "publisher_id": pa.array([1] * 3, pa.uint16()), "instrument_id": pa.array([5482] * 3, pa.uint32()),
        "action": ["R", "A", "A"], "side": ["N", "B", "A"], "price": prices,
        "size": pa.array([0, 2, 3], pa.uint32()), "order_id": pa.array([0, 2**64 - 1, 8], pa.uint64()),
        "flags": pa.array([8, 128, 128], pa.uint8()), "sequence": pa.array([0, 1, 2], pa.uint32()),
        "symbol": ["ES"] * 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    "prices",
    [
        [float("nan"), 4799.0, 4799.25],
        pa.array([None, Decimal(4799), Decimal("4799.25")], pa.decimal128(18, 9)),
        pa.array([int(UNDEFINED), 4799 * 10**9, 4799_250_000_000], pa.int64()),
    ],
)
def test_databento_prices_as_its_library_writes_them(tmp_path: Path, prices: Any) -> None:
    """Without a decimal point a price is in units of 10⁻⁹; a float of 4799.0 is none of those."""
    feed = opened(tmp_path, databento(prices))
    assert final(feed) == {"ES": ([(479900, 2)], [(479925, 3)])}
    assert [entry.at_us for entry in feed.entries()] == [AT_NS // 1000 + 1, AT_NS // 1000 + 2]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (levels(["1", "2"], [1, 2], color=["r", "g"]), "which is none that is known; known are csv: symbol"),
        ({"prev_seq": [1], "digest": [2], "bid_prices": [3]}, "give the folder of the recording"),
        (levels(["1", "2"], [1, 2], order_id=[1.5, 2.0]), "line 1: order_id: 1.5 must be a whole number"),
        (levels(["1", "2"], [1, 2], entry=[2.0**53 + 2, 2.0]), "must be a whole number up to 2"),
        (levels(["1", None], [1, 2], op=["update", "set"]), "line 2: op is 'set'"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        opened(tmp_path, columns)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, levels(["1", "2"], [1, 2]))
    path = tmp_path / "book.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FeedError, match="cannot be read"):
        open_feed(path, None, {})
    table = pa.Table.from_arrays([pa.array(["A"]), pa.array(["B"])], names=["symbol", "symbol"])
    pq.write_table(table, path)
    with pytest.raises(FeedError, match="two columns of one name"):
        open_feed(path, None, {})
