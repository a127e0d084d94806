"""The JavaScript client in the random conversations that the Python client has (`tests/vectors/storm.py`)."""

from collections.abc import Iterable

import pytest

from tests.browser.node_peer import NodePeer
from tests.npm import node
from tests.vectors.storm import ClientStorm

GROUPS = (1, 7)


def play(seeds: Iterable[int], steps: int) -> None:
    with NodePeer(node()) as peer:
        for seed in seeds:
            ClientStorm(seed, peer, GROUPS).run(steps)


def test_what_is_live_is_right_and_all_ends_well() -> None:
    play(range(10), steps=120)
    # Subscriptions that nobody was shown went on at the gateway; one that had ended was shown as live.
    play((31, 108, 190, 396, 677, 3380, 5841, 6163), steps=300)


@pytest.mark.deep
@pytest.mark.parametrize("first", range(1000, 3000, 250))
def test_many_more(first: int) -> None:
    play(range(first, first + 250), steps=200)
