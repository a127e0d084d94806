"""The engine equals a naive model: both feeds, crossing policies and encodings, good input and bad."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine_check import EngineCheck
from tests.seeds import seeds


@settings(max_examples=60)
@given(rng=st.randoms(use_true_random=False), steps=st.integers(1, 15))
def test_short_runs_equal_the_model(rng: Random, steps: int) -> None:
    check = EngineCheck()
    for _ in range(steps):
        check.step(rng)
    check.drain()


@pytest.mark.parametrize("seed", seeds(0, 1, 5))
def test_long_runs_equal_the_model(seed: int) -> None:
    rng = Random(seed)
    check = EngineCheck()
    for _ in range(4_000):
        check.step(rng)
    check.drain()
    # The run covered most cases.
    assert check.sent > 20_000
    assert min(check.applied, check.rejected, check.ignored, check.evicted) > 400
    assert check.only_counts_changed > 10
