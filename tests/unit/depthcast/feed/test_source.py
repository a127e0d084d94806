"""Entries of the hash of sources are as the contract shows them."""

import json
import re
from pathlib import Path

import pytest

from depthcast.feed.feeding import Feeding
from depthcast.feed.scale import Scale
from depthcast.feed.source import is_running, read_source, source_of, venue_sizes
from depthcast.feed.symbol_feed import SymbolFeed
from depthcast.feed.venue import Doubt, DoubtReason, Snapshot
from depthcast.feed.venues.registry import VENUES
from depthcast.shared.feed_source import GONE_US
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

ROOT = Path(__file__).parents[4]


def test_an_entry_is_as_the_contract_shows_it() -> None:
    contract = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    match = re.search(r"```json source\n(.*?)```", contract, re.DOTALL)
    assert match is not None
    shown = json.loads(match[1])
    feed = SymbolFeed(Symbol("BTC-USD"), Scale("0.1"), Scale("0.1"), 0.0)
    snapshot = Snapshot("BTC/USD", [("1", "1")], [], 1769904000199000)
    for _ in range(2):
        feed.take(1, snapshot, 1.0)
        feed.take(1, Doubt("BTC/USD", DoubtReason.GAP, ""), 2.0)
    feed.take(1, snapshot, 3.0)
    feeding = Feeding("BTC/USD", Instrument(Symbol("BTC-USD"), "0.1", "0.1"))
    profile = VENUES["kraken"].profile
    since, feeder = 1769904000000000, "host-4711-a1b2c3"
    made = source_of(profile, feeding, feed, feeding.instrument, feeder=feeder, since=since)
    assert {**made, "at": 1769904000300000} == shown
    assert venue_sizes(shown, feeding, "kraken") == feeding.instrument
    assert read_source(json.dumps(shown).encode()) == shown


def test_a_feeder_runs_while_its_entry_is_fresh() -> None:
    entry = {"state": "doubt", "at": 50}
    assert is_running(entry, 49 + GONE_US)
    assert not is_running(entry, 50 + GONE_US)


@pytest.mark.parametrize(
    "entry", [{}, {"at": "5"}, {"at": 5, "state": "ended"}, {"at": 5, "state": "refused"}]
)
def test_other_entries_are_of_no_running_feeder(entry: dict[str, object]) -> None:
    assert not is_running(entry, 6)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"venue": "okx", "venue_symbol": "BTC/USD", "venue_sizes": {"tick_size": "1", "lot_size": "1"}},
        {"venue": "kraken", "venue_symbol": "ETH/USD", "venue_sizes": {"tick_size": "1", "lot_size": "1"}},
        {"venue": "kraken", "venue_symbol": "BTC/USD"},
        {"venue": "kraken", "venue_symbol": "BTC/USD", "venue_sizes": {"tick_size": "1"}},
        {"venue": "kraken", "venue_symbol": "BTC/USD", "venue_sizes": {"tick_size": 1, "lot_size": "x"}},
    ],
)
def test_sizes_of_another_symbol_or_of_no_feeder_are_unknown(entry: dict[str, object]) -> None:
    feeding = Feeding("BTC/USD", Instrument(Symbol("BTC-USD"), "0.1", "0.1"))
    assert venue_sizes(entry, feeding, "kraken") is None


@pytest.mark.parametrize("raw", [None, b"", b"{", b"[]", b"5", b"[" * 100_000])
def test_what_no_feeder_wrote_is_no_entry(raw: bytes | None) -> None:
    assert read_source(raw) == {}
