"""Files: format detection, gzip, renaming, registered sizes."""

import gzip
from pathlib import Path

import pytest

from depthcast.feed.detect import detect
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.feed_file import open_feed
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import parse_toml
from depthcast.shared.types import Symbol

PLAIN = b'{"symbol": "BTC-USD", "events": [["add", "bid", 1, 5]]}\n'
KRAKEN = b'1618678133.6: [1, {"as": [["3.5", "1.25", "1618678133.6"]], "bs": []}, "book-10", "XBT/USD"]\n'


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([b'1723161253937085768 {"stream":"x"}'], "binance"),
        ([b"\n", PLAIN], "plain"),
        ([KRAKEN], "kraken"),
        ([b"wss://ws.kraken.com <-> 1618678132.38"], "kraken"),
    ],
)
def test_detect(lines: list[bytes], name: str) -> None:
    assert detect("f", lines).name == name


@pytest.mark.parametrize("lines", [[], [b"hello"], [b"wss://ws.okx.com <-> 1"]])
def test_an_unknown_format_says_what_is_known(lines: list[bytes]) -> None:
    with pytest.raises(FeedError, match="known are binance, kraken, plain"):
        detect("f", lines)


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
    feed = open_feed(path, None, {"XBT-USD": "B"})
    (instrument,) = feed.instruments().values()
    assert (instrument.symbol, instrument.tick_size, instrument.lot_size) == ("B", "0.1", "0.01")
    finer = {Symbol("B"): instrument._replace(lot_size="0.001")}
    with pytest.raises(FeedError, match="register a coarser size"):
        list(feed.entries(finer))
    (entry,) = feed.entries(feed.instruments())
    assert entry.events == [(4,), (1, 1, 35, 125)]
    assert parse_toml(to_toml(feed.instruments().values())) == feed.instruments()


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
