"""Files: format detection, gzip, renaming, registered sizes."""

import gzip
import sys
from pathlib import Path

import pytest

from depthcast.feed.detect import FORMATS, detect
from depthcast.feed.entry import Head
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.feed_file import open_feed, read_head
from depthcast.shared.errors import FeedError, InstrumentsError
from depthcast.shared.instruments import Feed, parse_toml
from depthcast.shared.types import Symbol

PLAIN = b'{"symbol": "BTC-USD", "events": [["add", "bid", 1, 5]]}\n'
KRAKEN = (
    b'1618678133.6: [1, {"as": [["3.5", "1.25", "1618678133.6"]], "bs": [["3", "1", "1618678133.6"]]}, '
    b'"book-10", "XBT/USD"]\n'
)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([b'1723161253937085768 {"stream":"x@depth"}'], "binance"),
        ([PLAIN.strip()], "plain"),
        ([KRAKEN.strip()], "kraken-v1"),
        ([b"wss://ws.kraken.com <-> 1618678132.38"], "kraken-v1"),
        ([b"wss://ws.kraken.com/v2 <-> 1618678132.38"], "kraken"),
        ([b"wss://ws.okx.com:8443/ws/v5/public <-> 1652459224.5", b'1: {"arg":{"instType":"SP"}}'], "okx"),
    ],
)
def test_detect(lines: list[bytes], name: str) -> None:
    assert detect("f", head(lines)).name == name


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_of_a_format_is_of_it(name: str) -> None:
    """Tables are told by their headers, and files that are no text by their first bytes."""
    if name in STARTS:
        assert detect("f", Head("f", STARTS[name], [])).name == name
        return
    example = FORMATS[name].example
    if name in HEADERS:
        example = HEADERS[name]
    assert detect("f", head([example.encode()])).name == name


STARTS = {
    "databento-dbn": b"DBN\3\x60\1\0\0GLBX",
    "itch-5.0": b"\0\x0cS\0\0\0\0\0\0\0\0\0\0O",
    "parquet": b"PAR1\x15\4\x15",
}
HEADERS = {
    "csv": "symbol,side,price,quantity",
    "tardis-csv": "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
    "databento-mbo": "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,price,size,channel_id,"
    "order_id,flags,ts_in_delta,sequence,symbol",
    "databento-mbp-10": "ts_recv,ts_event,action,flags,instrument_id,bid_px_00,ask_px_00,bid_sz_00,ask_sz_00",
}


@pytest.mark.parametrize("lines", [[], [b"hello"], [b"wss://ws.example.com <-> 1618678132"]])
def test_an_unknown_format_says_what_is_known(lines: list[bytes]) -> None:
    with pytest.raises(FeedError, match=r"known are plain, csv, binance, .*lobster"):
        detect("f", head(lines))


def test_what_fits_two_formats_is_not_guessed() -> None:
    lines = [b'{"jsonrpc":"2.0","id":1}', b'{"table":"orderBookL2_25","action":"insert","data":[]}']
    with pytest.raises(FeedError, match="fits several formats, deribit and bitmex: name the right one"):
        detect("f", head(lines))


def head(lines: list[bytes]) -> Head:
    return Head("f", b"", lines)


def test_a_file_that_is_no_text_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"DBN\0" + b"\n" * 99)
    assert read_head(path) == Head("feed", b"DBN\0" + b"\n" * 60, [])


def test_zstd_is_told_by_content(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd", reason="backports.zstd is not installed")
    path = tmp_path / "feed"
    path.write_bytes(zstd.compress(PLAIN))
    assert [entry.symbol for entry in open_feed(path, None, {}).entries()] == ["BTC-USD"]


def test_zstd_without_its_module_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "feed"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(FeedError, match=r"pip install 'depthcast\[dbn\]'"):
        open_feed(path, None, {})


@pytest.mark.parametrize("packed", [False, True])
def test_gzip_is_told_by_content(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "feed"
    path.write_bytes(gzip.compress(PLAIN) if packed else PLAIN)
    feed = open_feed(path, None, {"": "MINE"})
    assert [entry.symbol for entry in feed.entries()] == ["MINE"]
    assert list(feed.instruments()) == ["MINE"]


def test_renaming_and_working_in_registered_sizes(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(KRAKEN)
    feed = open_feed(path, None, {"XBT/USD": "B"})
    (instrument,) = feed.instruments().values()
    assert (instrument.symbol, instrument.tick_size, instrument.lot_size) == ("B", "0.1", "0.01")
    finer = {Symbol("B"): instrument._replace(lot_size="0.001")}
    (entry,) = feed.entries(finer)
    assert entry.events == [(4,), (1, 0, 30, 1000), (1, 1, 35, 1250)]
    (entry,) = feed.entries(feed.instruments())
    assert entry.events == [(4,), (1, 0, 30, 100), (1, 1, 35, 125)]
    assert parse_toml(to_toml(feed.instruments().values())) == feed.instruments()


def test_another_kind_of_feed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(PLAIN)
    feed = open_feed(path, None, {})
    (instrument,) = feed.instruments().values()
    with pytest.raises(
        InstrumentsError, match="is registered with feed orders, the recording is a levels feed"
    ):
        feed.check({instrument.symbol: instrument._replace(feed=Feed.ORDERS)})


def test_two_symbols_never_get_one_name(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(PLAIN + PLAIN.replace(b"BTC", b"ETH"))
    with pytest.raises(FeedError, match="two symbols that would get one name"):
        open_feed(path, None, {"BTC-USD": "ETH-USD"})


def test_answers_to_requests_are_read_from_the_files_beside(tmp_path: Path) -> None:
    stream = '1633998512.5: {"stream":"xusdt@depth","data":{"e":"depthUpdate","E":1,"s":"XUSDT",'
    (tmp_path / "B.ws.1.0").write_text(
        "wss://stream.binance.com:9443/stream <-> 1633998511.1\n"
        + stream + '"U":5,"u":6,"b":[["1","2"]],"a":[]}}\n'
        + stream.replace("12.5", "13.5") + '"U":7,"u":8,"b":[],"a":[["2","1"]]}}\n'
    )  # fmt: skip
    with pytest.raises(FeedError, match="has no snapshot of XUSDT"):
        open_feed(tmp_path / "B.ws.1.0", None, {})
    (tmp_path / "B.http.0.0").write_text(
        "https://api.binance.com/api/v3/depth?symbol=XUSDT&limit=1000 -> 1633998512.9: "
        '{"lastUpdateId":6,"bids":[["1","2"]],"asks":[]}\n'
    )
    feed = open_feed(tmp_path / "B.ws.1.0", None, {})
    assert [entry.events for entry in feed.entries()] == [[(4,), (1, 0, 1, 2)], [(1, 1, 2, 1)]]


@pytest.mark.parametrize(
    ("content", "renames", "problem"),
    [
        (None, {}, "cannot be read: No such file"),
        (gzip.compress(PLAIN * 1000)[:-9], {}, "cannot be read"),
        (PLAIN, {"X": "Y"}, "has no symbol 'X'; it has BTC-USD"),
        (PLAIN + PLAIN.replace(b"BTC", b"ETH"), {"": "Y"}, "has 2 symbols"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, content: bytes | None, renames: dict[str, str], problem: str
) -> None:
    path = tmp_path / "feed"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FeedError, match=problem):
        open_feed(path, None, renames)
