"""DBN files, written by Databento's own library, mean what their CSV form means."""

import gzip
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from depthcast.feed import dbn
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from tests.unit.depthcast.feed.databento_rows import AT_NS, BAD_TS_RECV, LAST, MAYBE_BAD_BOOK, SNAPSHOT
from tests.unit.depthcast.feed.replayed import final, recording

lib = pytest.importorskip("databento_dbn", reason="databento-dbn is not installed")

NANOS = 10**9
DAY_NS = 86_400 * NANOS
TODAY, TOMORROW = date(2023, 12, 21), date(2023, 12, 22)  # AT_NS is midnight of the first


def mapping(symbol: str, *intervals: tuple[date, date, str]) -> Any:
    each = [
        SimpleNamespace(start_date=start, end_date=end, symbol=number) for start, end, number in intervals
    ]
    return SimpleNamespace(raw_symbol=symbol, intervals=each)


def head(schema: Any = lib.Schema.MBO, mappings: Sequence[Any] | None = None, **more: Any) -> bytes:
    given: dict[str, Any] = {
        "dataset": "GLBX.MDP3", "start": AT_NS, "stype_in": lib.SType.RAW_SYMBOL,
        "stype_out": lib.SType.INSTRUMENT_ID, "schema": schema, "symbols": ["ESH4"],
        "mappings": [mapping("ESH4", (TODAY, TOMORROW, "5482"))] if mappings is None else mappings,
    }  # fmt: skip
    return bytes(lib.Metadata(**given | more).encode())


def mbo(
    action: str, side: str = "N", price: int = lib.UNDEF_PRICE, size: int = 0, order: int = 0,
    flags: int = LAST, *, at_ns: int = AT_NS, instrument: int = 5482,
) -> bytes:  # fmt: skip
    record = lib.MBOMsg(
        1, instrument, at_ns, order, price, size, lib.Action(action), lib.Side(side), at_ns, flags=flags
    )
    return bytes(record)


CLEARED = mbo("R", flags=SNAPSHOT | BAD_TS_RECV)
ORDERS = (
    CLEARED
    + mbo("A", "B", 4799_250_000_000, 7, 1, SNAPSHOT | BAD_TS_RECV)
    + mbo("A", "A", 4799_500_000_000, 3, 2, SNAPSHOT | BAD_TS_RECV | LAST)
    + mbo("T", "A", 4799_250_000_000, 2, flags=0, at_ns=AT_NS + 1000)
    + mbo("C", "B", 4799_250_000_000, 2, 1, at_ns=AT_NS + 1000)
    + mbo("M", "A", 4799_750_000_000, 4, 2, at_ns=AT_NS + 2000)
)
BOOK = {"ESH4": ([(479925, 5)], [(479975, 4)])}


def test_orders(tmp_path: Path) -> None:
    feed = recording(tmp_path, head() + ORDERS, "a.dbn")
    assert feed.format is dbn.FORMAT
    assert final(feed) == BOOK
    assert feed.recording.recorded["ESH4"].instrument.feed is Feed.ORDERS
    assert [(len(entry.events), entry.live, entry.at_us, entry.line) for entry in feed.entries()] == [
        (3, True, None, 1),
        (1, False, AT_NS // 1000 + 1, 4),
        (1, False, AT_NS // 1000 + 2, 6),
    ]
    assert feed.account.problems() == []
    assert feed.account.skipped == {"records of action T": 1}


def test_compressed(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd", reason="backports.zstd is not installed")
    content = head() + ORDERS
    for packed in (zstd.compress(content), gzip.compress(content)):
        assert final(recording(tmp_path, packed, "a.dbn.zst")) == BOOK
    with pytest.raises(FeedError, match="cannot be read"):
        recording(tmp_path, zstd.compress(content)[:-5], "a.dbn.zst")


def test_best_levels(tmp_path: Path) -> None:
    def record(bid: int, size: int, *, flags: int = LAST, at_ns: int = AT_NS) -> bytes:
        levels = [lib.BidAskPair(bid * NANOS, 9 * NANOS, size, 4), lib.BidAskPair(NANOS, bid_sz=6)]
        levels += [lib.BidAskPair()] * 8
        action, side = lib.Action.ADD, lib.Side.BID
        given = {"publisher_id": 1, "instrument_id": 5482, "ts_event": at_ns, "price": NANOS, "size": 1}
        given |= {"action": action, "side": side, "depth": 0, "ts_recv": at_ns, "flags": flags}
        return bytes(lib.MBP10Msg(**given, levels=levels))

    content = head(lib.Schema.MBP_10) + record(7, 2) + record(8, 1, at_ns=AT_NS + 1000)
    feed = recording(tmp_path, content)
    assert feed.recording.recorded["ESH4"].instrument.feed is Feed.LEVELS
    assert final(feed) == {"ESH4": ([(8, 1), (1, 6)], [(9, 4)])}
    feed = recording(tmp_path, content + record(7, 1, flags=LAST | MAYBE_BAD_BOOK, at_ns=AT_NS + 2000))
    final(feed)
    assert feed.account.problems() == ["1 gap", "no later snapshot of ESH4"]
    with pytest.raises(FeedError, match="line 3: has records of both mbo and mbp-10"):
        recording(tmp_path, content + mbo("R"))


def test_symbols_by_the_day_of_the_record(tmp_path: Path) -> None:
    mappings = [
        mapping("OLD", (TODAY, TOMORROW, "7")),
        mapping("NEW", (TOMORROW, date(2023, 12, 23), "7")),
        mapping("NONE", (TODAY, TOMORROW, "")),
    ]
    records = b"".join(
        mbo("R", flags=0, at_ns=at, instrument=number)
        + mbo("A", "B", NANOS, 1, order, at_ns=at, instrument=number)
        for order, at, number in ((1, AT_NS, 7), (2, AT_NS + DAY_NS - 1, 8), (3, AT_NS + DAY_NS, 7))
    )
    feed = recording(tmp_path, head(mappings=mappings) + records)
    assert sorted(final(feed)) == ["8", "NEW", "OLD"]


def test_symbols_of_files_that_were_asked_for_by_number(tmp_path: Path) -> None:
    more = {"stype_in": lib.SType.INSTRUMENT_ID, "stype_out": lib.SType.RAW_SYMBOL}
    feed = recording(tmp_path, head(mappings=[mapping("5482", (TODAY, TOMORROW, "ESH4"))], **more) + ORDERS)
    assert final(feed) == BOOK


def test_symbols_of_a_live_capture(tmp_path: Path) -> None:
    said = lib.SymbolMappingMsg(
        publisher_id=0, instrument_id=5482, ts_event=AT_NS, stype_in=lib.SType.CONTINUOUS,
        stype_in_symbol="ES.c.0", stype_out=lib.SType.RAW_SYMBOL, stype_out_symbol="ESH4",
        start_ts=AT_NS, end_ts=AT_NS + DAY_NS,
    )  # fmt: skip
    feed = recording(tmp_path, head(None, [], stype_in=None) + bytes(said) + ORDERS)
    assert final(feed) == BOOK
    assert feed.account.skipped["records of type symbol-mapping"] == 1


def test_another_contract_under_the_same_name_puts_the_book_in_doubt(tmp_path: Path) -> None:
    mappings = [mapping("ES.c.0", (TODAY, TOMORROW, "1"), (TOMORROW, date(2023, 12, 23), "2"))]
    first = mbo("R", flags=0, instrument=1) + mbo("A", "B", NANOS, 5, 1, instrument=1)
    rolled = mbo("A", "B", 2 * NANOS, 5, 2, at_ns=AT_NS + DAY_NS, instrument=2)
    feed = recording(tmp_path, head(mappings=mappings) + first + rolled)
    assert final(feed) == {"ES.c.0": ([(1, 5)], [])}
    assert feed.account.problems() == ["no later snapshot of ES.c.0"]
    cleared = mbo("R", flags=0, at_ns=AT_NS + DAY_NS, instrument=2)
    feed = recording(tmp_path, head(mappings=mappings) + first + cleared + rolled)
    assert final(feed) == {"ES.c.0": ([(2, 5)], [])}
    assert feed.account.problems() == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (head() + ORDERS[:-20], "line 5: is cut off: 36 bytes after this record are no whole one"),
        (head()[:40], "is cut off"),
        (head() + b"\x00" * 56, "the DBN after this record cannot be read"),
        (head(lib.Schema.TRADES) + ORDERS, "has the schema trades, which makes no book; get mbo or mbp-10"),
        (head(), "has no records of the schemas mbo and mbp-10"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        recording(tmp_path, content)


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    with pytest.raises(FeedError, match=r"pip install 'depthcast\[dbn\]'"):
        recording(tmp_path, head() + ORDERS)
