"""Seeds of random tests: a few for each run, and more for the deep tests."""

from typing import Any

import pytest


def seeds(first: int, each_run: int, deep: int, *before: object) -> list[Any]:
    """Parameters: `before` and a seed, `deep` times from `first` on; those beyond `each_run` are deep."""
    return [
        pytest.param(*before, seed, marks=[pytest.mark.deep] * (seed >= first + each_run))
        for seed in range(first, first + deep)
    ]
