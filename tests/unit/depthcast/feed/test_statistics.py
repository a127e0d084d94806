"""The statistics of a market, and how close the synthetic one comes to the recordings by them."""

from pathlib import Path

import pytest

from benchmarks.synthetic_market import PAIRS, Pair, figures, generated, recorded, table
from depthcast.feed.statistics import LevelQuantities, measure, quantile, windows
from depthcast.shared.types import Side

BID, ASK = Side.BID, Side.ASK
OPENING: LevelQuantities = {(BID, 10_000): 5, (BID, 9_990): 5, (ASK, 10_001): 7}

RECORDED_SECONDS, SECONDS = 120.0, 40.0
"""Stretches that are long enough for these bounds."""


def test_windows_are_put_together_and_empty_ones_are_there() -> None:
    entries = [
        (1_000_000, [(1, 0, 5, 1), (1, 0, 6, 2)]),
        (1_099_999, [(1, 0, 5, 0)]),
        (1_200_000, [(1, 1, 9, 3)]),
    ]
    assert list(windows(entries)) == [{(BID, 5): 0, (BID, 6): 2}, {}, {(ASK, 9): 3}]


def test_changes_are_net_and_counted_by_kind_and_distance() -> None:
    changes: list[LevelQuantities] = [
        {(BID, 10_000): 5, (BID, 9_999): 1},
        {(BID, 10_000): 4, (BID, 9_990): 0},
        {(ASK, 10_001): 0, (ASK, 10_003): 2},
    ]
    found = measure(OPENING, changes)
    assert found.counts == [1, 2, 2]
    assert found.spreads == [1, 1, 3]
    assert (found.appeared, found.vanished) == (2 / 5, 2 / 5)
    assert found.tight == pytest.approx(2 / 3)
    per_second = {band.low_bp: round(band.changes * found.seconds) for band in found.bands if band.changes}
    assert per_second == {0.0: 2, 0.5: 1, 1.0: 1, 5.0: 1}


def test_profiles_and_moves() -> None:
    steady: list[LevelQuantities] = [{}] * 10
    found = measure(OPENING, [*steady, {(ASK, 10_001): 0, (ASK, 10_021): 7}, *steady[1:]])
    assert [(band.levels, band.volume) for band in found.bands[:1]] == [(1.0, 6.0)]
    assert found.moved == 1 / 20
    assert found.move_bp(1) == pytest.approx(9.99, abs=0.01)
    assert found.correlation(0) == pytest.approx(1)
    assert quantile(found.counts, 0.5) == 0


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        measure({(BID, 1): 1}, [])


@pytest.mark.parametrize(
    "pair",
    [pytest.param(pair, marks=[pytest.mark.deep] * (pair is not PAIRS[0]), id=pair.title) for pair in PAIRS],
)
def test_the_synthetic_market_is_like_the_recorded_one(pair: Pair, recorded_data: Path) -> None:
    real = recorded(pair, recorded_data, RECORDED_SECONDS)
    made = generated(pair.symbol, SECONDS, seed=5)
    one, other = real.statistics, made.statistics
    assert other.changes == pytest.approx(one.changes, rel=0.25)
    assert abs(other.tight - one.tight) < 0.02
    assert abs(other.moved - one.moved) < 0.05
    assert abs(other.appeared - one.appeared) < 0.06
    assert abs(other.correlation(1) - one.correlation(1)) < 0.25
    assert 0.5 < other.move_bp(1) / one.move_bp(1) < 2
    for share in (0.25, 0.5, 0.75, 0.9):
        assert 0.5 < quantile(other.counts, share) / quantile(one.counts, share) < 2
    for real_band, made_band in zip(one.bands, other.bands, strict=True):
        assert 0.45 < made_band.levels / real_band.levels < 2.2
        assert 0.4 < made_band.changes / real_band.changes < 2.5
    for real_band, made_band in zip(one.bands[3:], other.bands[3:], strict=True):
        assert 0.4 < made_band.volume * made.lot_value / real_band.volume / real.lot_value < 2.5
    assert figures(made).keys() == figures(real).keys()
    assert table([(real, made)] * len(PAIRS)).count("\n") == len(figures(real)) + 2
