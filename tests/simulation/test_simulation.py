"""Some seeds of the simulation; it is repeatable, and notices mistakes in the program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MISTAKES, mutated
from tests.simulation.runs import simulate

ROOT = Path(__file__).parents[2]
SEEDS = 20
GROUP = 5
TRACE_OF_A_SEED = "from tests.simulation.runs import simulate; print(simulate({seed}).trace)"

NOTICED_SOON = (
    "rejects-before-comparison",
    "unknown-outcome-taken-as-written",
    "seal-then-crash",
    "conflation-drops-deletions",
    "resume-without-digest",
)
"""Mistakes that one of the first seeds notices."""


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_some_seeds(first: int) -> None:
    for seed in range(first, first + GROUP):
        report = simulate(seed)
        assert not report.problems, f"seed {seed}: {report.problems[:5]}"
        assert report.counts["broadcasts"] > 0


def test_a_seed_is_always_the_same_run() -> None:
    """Also in another process, where sets of text have another order."""
    seed = 9
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", TRACE_OF_A_SEED.format(seed=seed)]
    elsewhere = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    traces = {simulate(seed).trace, simulate(seed).trace, elsewhere.stdout.strip()}
    assert len(traces) == 1
    assert simulate(seed + 1).trace not in traces


@pytest.mark.parametrize("mutation", MISTAKES)
def test_a_mistake_fits_the_program(mutation: str) -> None:
    """The text that it replaces is still there."""
    with mutated(mutation):
        pass


@pytest.mark.parametrize("mutation", NOTICED_SOON)
def test_a_mistake_is_noticed(mutation: str) -> None:
    assert any(simulate(seed, mutation=mutation).problems for seed in range(25))
