"""Growth is seen through noise, and what only rises at the beginning is flat."""

import random
from collections.abc import Callable
from math import isnan

import pytest

from tests.soak.flatness import LIMITS, WORK, growth

Rows = list[dict[str, float]]

MEMORY = LIMITS[0]
LATENCY = LIMITS[2]


def rows(column: str, value: Callable[[int], float], work: Callable[[int], float] = lambda at: 2.0) -> Rows:
    return [{"seconds": float(at), column: value(at), WORK: work(at)} for at in range(3600)]


@pytest.mark.parametrize(("per_hour", "flat"), [(0.0, True), (3.0, True), (12.0, False), (-5.0, True)])
def test_growth_is_seen_through_noise(per_hour: float, flat: bool) -> None:
    noise = random.Random(1)
    found = growth(MEMORY, rows("rss_mb", lambda at: 100 + per_hour * at / 3600 + noise.gauss(0, 0.5)))
    assert found.flat is flat
    assert found.per_hour == pytest.approx(per_hour, abs=0.5)


def test_the_first_third_does_not_count() -> None:
    assert growth(MEMORY, rows("rss_mb", lambda at: min(at, 1000) / 10)).flat


def test_a_peak_does_not_count() -> None:
    assert growth(MEMORY, rows("rss_mb", lambda at: 500.0 if at in range(3000, 3020) else 100.0)).flat


def test_a_machine_that_becomes_slower_does_not_count_as_latency() -> None:
    def slower(at: int) -> float:
        return 1 + at / 3600

    found = growth(LATENCY, rows("p50_ms", lambda at: 20 * slower(at), lambda at: 3 * slower(at)))
    assert found.flat
    assert found.per_hour == pytest.approx(0, abs=0.1)
    assert not growth(LATENCY, rows("p50_ms", lambda at: 20 * slower(at))).flat


def test_too_few_samples_are_not_flat() -> None:
    found = growth(MEMORY, rows("rss_mb", lambda at: 1.0)[:1])
    assert isnan(found.per_hour)
    assert not found.flat
