"""Moves in steps: all orders of crashes, lost replies, a failover and a reader, within small bounds."""

import re
from typing import Final

import pytest

from tests.model.explore import Explorer
from tests.model.moves import Bounds, Complete, Numbers, Rules

QUICK: Final = Bounds(unknown=0, failovers=0)
LOST: Final = Bounds(unknown=0, varied=True)

MISTAKES: Final[dict[str, tuple[Rules, Bounds, str]]] = {
    "some moves count for all": (Rules(complete=Complete.ANY_MOVE), QUICK, "begin empty"),
    "a seal counts for moves": (Rules(complete=Complete.ANY_ENTRY), QUICK, "begin empty"),
    "steps in one epoch": (Rules(in_one_epoch=True), QUICK, "begin empty"),
    "numbers of the seal's epoch": (Rules(numbers=Numbers.SEAL), QUICK, "begin empty"),
    "numbers of each step's epoch": (Rules(numbers=Numbers.OWN), QUICK, "begin empty"),
    "numbers of an epoch to come": (Rules(waits=False), LOST, "which was lost"),
    "writes are not compared": (Rules(compares=False), Bounds(failovers=0), "a hole"),
}
"""Rules with one mistake each, and what it leads to."""


@pytest.mark.parametrize("bounds", [QUICK, pytest.param(Bounds(unknown=0), marks=pytest.mark.deep)])
def test_the_rules_hold(bounds: Bounds) -> None:
    found = Explorer(Rules(), bounds).run()
    assert not found.problem, "\n".join((found.problem, *found.path))
    assert found.states > 1_000


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    rules, bounds, problem = MISTAKES[mistake]
    found = Explorer(rules, bounds).run()
    assert re.search(problem, found.problem), found
