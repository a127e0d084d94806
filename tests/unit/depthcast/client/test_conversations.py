"""The Python client in conversations with a gateway shows nothing wrong as right and never gets stuck."""

from typing import Final

import pytest

from tests.vectors.peers import PythonPeer
from tests.vectors.storm import ClientStorm

GROUPS = (1, 7)


SEEDS: Final = (*range(15), 56, 76, 88, 102, 224, 802, 859, 1409, 1454, 10247)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_live_is_right_and_all_ends_well(seed: int) -> None:
    ClientStorm(seed, PythonPeer(), GROUPS).run(steps=300)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(1000, 3000))
def test_many_more(seed: int) -> None:
    ClientStorm(seed, PythonPeer(), GROUPS).run(steps=300)
