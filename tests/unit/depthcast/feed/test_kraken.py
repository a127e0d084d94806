"""Recordings of Kraken: maps, truncation, checksums, and what is wrong with a file."""

import json
from typing import Any

import pytest

from depthcast.feed.entry import FeedEntry
from depthcast.feed.kraken import entries, instruments
from depthcast.feed.oracle import KrakenChecksum
from depthcast.shared.errors import FeedError

TIME = "1618678132.481570"


def line(*maps: dict[str, Any], depth: int = 1000, pair: str = "XBT/USD") -> bytes:
    return f"1618678133.6265118: {json.dumps([1360, *maps, f'book-{depth}', pair])}\n".encode()


def level(price: str, volume: str, *more: str) -> list[str]:
    return [price, volume, TIME, *more]


SNAPSHOT = {"as": [level("0.05005", "0.00000500")], "bs": [level("0.05000", "1.00000500")]}


def run(*lines: bytes) -> list[FeedEntry]:
    return list(entries("f", lines, instruments("f", lines)))


def test_snapshot_and_update() -> None:
    update = (
        {"a": [level("0.05010", "0.00000300", "r")]},
        {"b": [level("0.05000", "0.00000000")], "c": "974947235"},
    )
    first, second = run(
        b"wss://ws.kraken.com <- 1: {}\n",
        b'1618678133.29: {"event":"heartbeat"}\n',
        line(SNAPSHOT),
        line(*update),
    )
    assert first.symbol == "XBT-USD"
    assert first.events == [(4,), (1, 1, 5005, 5), (1, 0, 5000, 1000005)]
    assert first.ts == 1618678132481570
    assert first.at_us == 1618678133626511
    assert second.events == [(1, 1, 5010, 3), (1, 0, 5000, 0)]
    assert second.oracle == KrakenChecksum(974947235, 1, 100)


def test_the_venues_own_example_of_a_checksum() -> None:
    # The book of the venue's guide "Book checksum": ten levels of 0.05005 … 0.05050 and 0.05000 … 0.04955.
    asks = [
        (5005, 500),
        (5010, 500),
        (5015, 500),
        (5020, 500),
        (5025, 500),
        (5030, 500),
        (5035, 500),
        (5040, 500),
        (5045, 500),
        (5050, 500),
    ]
    bids = [
        (5000, 500),
        (4995, 500),
        (4990, 500),
        (4980, 500),
        (4975, 500),
        (4970, 500),
        (4965, 500),
        (4960, 500),
        (4955, 500),
        (4950, 500),
    ]
    assert KrakenChecksum(974947235, 1, 1).agrees(bids, asks)
    assert not KrakenChecksum(974947235, 1, 1).agrees(bids[1:], asks)


def test_what_falls_out_of_the_subscribed_depth_is_deleted() -> None:
    entry = run(
        line({"as": [level("2.0", "1"), level("3.0", "1")], "bs": [level("1.0", "1")]}, depth=2),
        line({"a": [level("1.5", "4")], "c": "0"}, depth=2),
    )[1]
    assert entry.events == [(1, 1, 15, 4), (1, 1, 30, 0)]


def test_a_level_beyond_the_depth_comes_and_goes_in_one_entry() -> None:
    entry = run(
        line({"as": [level("2", "1")], "bs": []}, depth=1), line({"a": [level("3", "4")], "c": "0"}, depth=1)
    )[1]
    assert entry.events == [(1, 1, 3, 4), (1, 1, 3, 0)]


def test_updates_before_the_first_snapshot_are_passed_over() -> None:
    assert len(run(line({"a": [level("3", "4")], "c": "0"}), line(SNAPSHOT))) == 1


@pytest.mark.parametrize(
    ("lines", "number", "problem"),
    [
        ([line(SNAPSHOT), b"hello\n"], 2, "expected `<unix seconds>"),
        ([b"1618678133.6: [1,\n"], 1, "not valid JSON"),
        ([b'1618678133.6: [1, {"a": []}, "trade", "XBT/USD"]\n'], 1, "not a message of the book channel"),
        ([line({"a": [level("x", "1")]})], 1, "'x' is not a decimal"),
        ([line({"a": [["1"]]})], 1, "malformed book message"),
        ([line(SNAPSHOT, pair="no spaces")], 1, "is not a valid Depthcast symbol"),
        ([b'1618678133.6: {"event":"heartbeat"}\n'], 0, "has no book message"),
    ],
)
def test_what_is_wrong_names_its_line(lines: list[bytes], number: int, problem: str) -> None:
    with pytest.raises(FeedError, match=problem) as caught:
        run(*lines)
    assert caught.value.line == number
