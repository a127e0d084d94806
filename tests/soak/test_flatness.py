"""Growth is seen through noise, and what only rises at the beginning is flat."""

import random
from math import isnan

import pytest

from tests.soak.flatness import LIMITS, growth

MEMORY = LIMITS[0]


@pytest.mark.parametrize(("per_hour", "flat"), [(0.0, True), (3.0, True), (12.0, False), (-5.0, True)])
def test_growth_is_seen_through_noise(per_hour: float, flat: bool) -> None:
    noise = random.Random(1)
    samples = [(float(at), 100 + per_hour * at / 3600 + noise.gauss(0, 0.5)) for at in range(3600)]
    found = growth(MEMORY, samples)
    assert found.flat is flat
    assert found.per_hour == pytest.approx(per_hour, abs=0.5)


def test_the_first_third_does_not_count() -> None:
    assert growth(MEMORY, [(float(at), min(at, 1000) / 10) for at in range(3600)]).flat


def test_a_peak_does_not_count() -> None:
    assert growth(
        MEMORY, [(float(at), 500.0 if at in range(3000, 3020) else 100.0) for at in range(3600)]
    ).flat


def test_too_few_samples_are_not_flat() -> None:
    found = growth(MEMORY, [(1.0, 1.0)])
    assert isnan(found.per_hour)
    assert not found.flat
