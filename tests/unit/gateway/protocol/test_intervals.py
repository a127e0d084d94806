"""Intervals are rounded up to a few, so that no client makes grid times of its own."""

import pytest

from depthcast.gateway.protocol.intervals import INTERVALS_MS, rounded


@pytest.mark.parametrize(
    ("requested", "applies"),
    [(0, 0), (1, 10), (10, 10), (11, 20), (50, 50), (51, 100), (299, 300), (301, 500), (60_000, 60_000)],
)
def test_the_next_longer_one_applies(requested: int, applies: int) -> None:
    assert rounded(requested, 60_000) == applies


@pytest.mark.parametrize("requested", [70, 75, 100, 2**63])
def test_the_gateways_longest_is_the_longest(requested: int) -> None:
    assert rounded(requested, 75) == 75


def test_there_are_few_and_they_reach_as_far_as_the_setting() -> None:
    found = {rounded(requested, 3_600_000) for requested in range(0, 3_600_001, 7)}
    assert found == set(INTERVALS_MS)
    assert rounded(3_599_999, 3_600_000) == 3_600_000
