"""Recordings of Binance: sizes, update ids, oracles, and what is wrong with a file."""

import json
from typing import Any

import pytest

from depthcast.feed.binance import entries, instruments
from depthcast.feed.entry import FeedEntry
from depthcast.feed.oracle import BestPrices
from depthcast.shared.errors import FeedError

NS = 1723161253937085768


def line(message: dict[str, Any], at_ns: int = NS) -> bytes:
    return f"{at_ns} {json.dumps(message)}\n".encode()


def depth(first: int, final: int, bids: Any = (), asks: Any = (), **more: Any) -> bytes:
    data = {
        "e": "depthUpdate",
        "E": 1723161255208,
        "s": "BTCUSDT",
        "U": first,
        "u": final,
        "b": bids,
        "a": asks,
    }
    return line({"stream": "btcusdt@depth@100ms", "data": data | more})


def ticker(update: int, bid: str, size: str, ask: str, ask_size: str) -> bytes:
    data = {"u": update, "s": "BTCUSDT", "b": bid, "B": size, "a": ask, "A": ask_size}
    return line({"stream": "btcusdt@bookTicker", "data": data})


def snapshot(last: int) -> bytes:
    return line(
        {"lastUpdateId": last, "bids": [["100.10000000", "1.5000"]], "asks": [["100.20000000", "2.0000"]]}
    )


def run(*lines: bytes) -> list[FeedEntry]:
    return list(entries("f", lines, instruments("f", lines)))


def test_snapshot_then_updates_with_their_oracle() -> None:
    found = run(
        depth(1, 4, [["100.1", "9"]]),
        line({"stream": "btcusdt@trade", "data": {"p": "1"}}),
        depth(5, 8, [["100.15", "0.25"]], [["100.2", "0"]]),
        ticker(8, "100.15", "0.25", "100.3", "1"),
        ticker(9, "100.16", "1", "100.3", "1"),
        snapshot(6),
        depth(9, 9, [], [["100.3", "1"]]),
    )
    first, second, third = found
    # Sizes are the coarsest that all numbers fit: 0.01 and 0.01 (100.15 and 0.25).
    assert first.events == [(4,), (1, 0, 10010, 150), (1, 1, 10020, 200)]
    assert first.oracle is None
    assert first.atomic
    assert second.events == [(1, 0, 10015, 25), (1, 1, 10020, 0)]
    assert second.oracle == BestPrices((10015, 25), (10030, 100))
    assert (second.line, second.ts) == (3, 1723161255208000)
    assert third.at_us == NS // 1000
    assert third.oracle == BestPrices((10016, 100), (10030, 100))


def test_instruments() -> None:
    (instrument,) = instruments("f", [snapshot(1), depth(2, 3, [["1.234", "10"]])]).values()
    assert (instrument.symbol, instrument.tick_size, instrument.lot_size) == ("BTCUSDT", "0.001", "0.1")


def test_futures_chain_by_pu() -> None:
    assert len(run(snapshot(5), depth(4, 7, pu=3), depth(20, 30, pu=7))) == 3


@pytest.mark.parametrize(
    ("lines", "number", "problem"),
    [
        ([snapshot(5), depth(6, 7), depth(9, 9)], 3, "update ids go from 7 to 9"),
        ([snapshot(5), depth(6, 7, pu=5), depth(8, 9, pu=6)], 3, "update ids go from 7 to 8"),
        ([snapshot(5), depth(8, 9)], 2, "update ids go from 5 to 8"),
        ([depth(8, 9), snapshot(5)], 1, "update ids go from 5 to 8"),
        ([depth(1, 2), b"hello\n"], 2, "expected `<nanoseconds>"),
        ([b"1723161253937085768 {oops}\n"], 1, "not valid JSON"),
        ([depth(1, 2, [["x", "1"]])], 1, "'x' is not a decimal"),
        ([depth(1, 2, [["1", 1]])], 1, "malformed depth message"),
        ([line({"stream": "x@depth", "data": {"s": "X", "a": []}})], 1, "lacks 'b'"),
        ([snapshot(5)], 0, "has no depth message"),
        ([depth(1, 2)], 0, "has no snapshot of BTCUSDT"),
    ],
)
def test_what_is_wrong_names_its_line(lines: list[bytes], number: int, problem: str) -> None:
    with pytest.raises(FeedError, match=problem) as caught:
        run(*lines)
    assert caught.value.path == "f"
    assert caught.value.line == number


def test_a_snapshot_without_a_name_needs_a_file_of_one_symbol() -> None:
    lines = [depth(1, 2), depth(1, 2, s="ETHUSDT"), snapshot(1)]
    with pytest.raises(FeedError, match="split the file"):
        run(*lines)


def test_an_older_second_snapshot_is_passed_over_and_a_newer_one_reloads() -> None:
    found = run(snapshot(5), depth(6, 8), snapshot(7), depth(9, 9), snapshot(9), depth(10, 10))
    assert [entry.events[:1] == [(4,)] for entry in found] == [True, False, False, True, False]
