"""The plain format, JSON lines; `test_recording_cases` has what other programs get wrong."""

from pathlib import Path

import pytest

from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Feed
from depthcast.shared.types import Symbol
from tests.unit.depthcast.feed.replayed import recording

LINES = (
    '{"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001", "feed": "orders"}\n'
    "\n"
    '{"symbol": "BTC-USD", "events": [["add", "bid", 6500010, 5, "a"]], "at_ms": 40}\n'
    '{"symbol": "ETH-USD", "events": [[4]], "atomic": true, "ts": 1767225600000000}\n'
)


def test_entries_and_instruments(tmp_path: Path) -> None:
    feed = recording(tmp_path, LINES)
    found = feed.instruments()
    assert (found[Symbol("BTC-USD")].tick_size, found[Symbol("BTC-USD")].feed) == ("0.01", Feed.ORDERS)
    assert found[Symbol("ETH-USD")].tick_size == "1"
    first, second = feed.entries()
    assert first.events == [["add", "bid", 6500010, 5, "a"]]
    assert (first.at_us, first.ts, first.atomic, first.line) == (40_000, None, False, 3)
    assert (second.at_us, second.ts, second.atomic) == (None, 1767225600000000, True)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "expected an object with a symbol"),
        ('{"symbol": "", "events": []}', "expected an object with a symbol"),
        ('{"symbol": "X", "events": [1]}', "events must be a list of lists"),
        ('{"symbol": "X", "events": [], "atomic": 1}', "must be true or false"),
        ('{"symbol": "X", "events": [], "at_ms": true}', "must be an integer"),
        ('{"symbol": "X", "events": [], "at_ms": 1.5}', "must be an integer"),
        ('{"symbol": "X", "events": [], "at": 1}', "unknown key 'at'"),
        ('{"symbol": "X", "events": [], "tick_size": "1"}', "'tick_size' does not belong into a line with"),
        ('{"symbol": "X", "at_ms": 1}', "'at_ms' does not belong into a line without events"),
        ('{"symbol": "X", "tick_size": 0}', "tick_size"),
        ('{"symbol": "X", "numbers": "floats"}', "numbers is 'floats'"),
        ('{"symbol": "BTC-USD", "tick_size": "0.1"}', "another instrument line for BTC-USD"),
        ('{"symbol": "X"', "not valid JSON"),
        ('{"symbol": "X", "events": [], "events": []}', "the key 'events' comes twice"),
    ],
)
def test_what_is_wrong_names_its_line(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(FeedError, match=problem) as caught:
        list(recording(tmp_path, LINES + line).entries())
    assert caught.value.line == 5


def test_a_name_that_no_symbol_can_have_needs_another(tmp_path: Path) -> None:
    line = '{"symbol": "_x", "events": []}'
    with pytest.raises(FeedError, match="give it one with --symbol _x=NAME"):
        recording(tmp_path, line)
    assert list(recording(tmp_path, line, renames={"": "X"}).instruments()) == ["X"]


@pytest.mark.parametrize(
    "item", ["1.5", "[1]", '{"a": 1}', "true", "null", '"x"', "1e3"], ids=["fraction", *"ldbntx"]
)
def test_items_that_are_no_prices_are_left_to_the_ingestor(tmp_path: Path, item: str) -> None:
    feed = recording(tmp_path, f'{{"symbol": "X", "events": [["add", "bid", 1, 2, {item}]]}}')
    (entry,) = feed.entries()
    assert entry.events[0][4] in (1.5, [1], {"a": 1}, True, None, "x", 1000.0)
    assert type(entry.events[0][4]) in (float, list, dict, bool, type(None), str)


@pytest.mark.parametrize("number", ["123456789012345678901234567890", '"5"', "1e400"])
def test_numbers_that_no_book_can_have_are_rejected(tmp_path: Path, number: str) -> None:
    feed = recording(tmp_path, f'{{"symbol": "X", "events": [["update", "bid", {number}, 2]]}}')
    assert list(feed.entries()) == []
    assert feed.account.refused.count == 1


def test_an_empty_file_is_no_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"\n")
    with pytest.raises(FeedError, match="is of no known format"):
        recording(tmp_path, "\n")
