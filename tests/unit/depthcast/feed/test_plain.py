"""The plain format."""

import pytest

from depthcast.feed.plain import entries, instruments
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from depthcast.shared.types import Symbol

LINES = (
    b'{"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001", "feed": "orders"}\n',
    b"\n",
    b'{"symbol": "BTC-USD", "events": [["add", "bid", 6500010, 5, "a"]], "at_ms": 40}\n',
    b'{"symbol": "ETH-USD", "events": [[4]], "atomic": true, "ts": 1767225600000000}\n',
)


def test_entries_and_instruments() -> None:
    found = instruments("f", LINES)
    assert (found[Symbol("BTC-USD")].tick_size, found[Symbol("BTC-USD")].feed) == ("0.01", Feed.ORDERS)
    assert found[Symbol("ETH-USD")].tick_size == "1"
    first, second = entries("f", LINES, found)
    assert first.events == [["add", "bid", 6500010, 5, "a"]]
    assert (first.at_us, first.ts, first.atomic, first.line) == (40_000, None, False, 3)
    assert (second.at_us, second.ts, second.atomic) == (None, 1767225600000000, True)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"[1]", "expected an object with a symbol"),
        (b'{"symbol": "_x", "events": []}', "expected an object with a symbol"),
        (b'{"symbol": "X", "events": [1]}', "events must be a list of lists"),
        (b'{"symbol": "X", "events": [], "atomic": 1}', "must be true or false"),
        (b'{"symbol": "X", "events": [], "ts": 1.5}', "must be an integer"),
        (b'{"symbol": "X", "events": [], "at_ms": true}', "must be an integer"),
        (b'{"symbol": "X", "events": [], "at": 1}', "unknown key 'at'"),
        (b'{"symbol": "X", "tick_size": 0.01}', "tick_size"),
        (b'{"symbol": "X"', "not valid JSON"),
    ],
)
def test_what_is_wrong_names_its_line(line: bytes, problem: str) -> None:
    lines = [LINES[0], line]
    with pytest.raises(FeedError, match=problem) as caught:
        list(entries("f", lines, instruments("f", lines)))
    assert caught.value.line == 2


def test_an_empty_file_is_no_feed() -> None:
    with pytest.raises(FeedError, match="is empty"):
        instruments("f", [b"\n"])
