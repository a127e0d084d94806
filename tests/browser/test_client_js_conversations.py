"""The JavaScript client in the random conversations that the Python client has (`tests/vectors/storm.py`)."""

import pytest

from tests.browser.node_peer import NodePeer
from tests.npm import node
from tests.vectors.storm import ClientStorm

GROUPS = (1, 7)


def play(seeds: range, steps: int) -> None:
    with NodePeer(node()) as peer:
        for seed in seeds:
            peer.begin()
            ClientStorm(seed, peer, GROUPS).run(steps)


def test_what_is_live_is_right_and_all_ends_well() -> None:
    play(range(10), steps=120)


@pytest.mark.deep
def test_many_more() -> None:
    play(range(1000, 3000), steps=200)
