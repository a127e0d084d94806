"""A few seeds of the simulation; it is repeatable, and notices mistakes in the program."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import AsyncMock, patch

import pytest

from depthcast.ingestor.runtime.leader import PartitionLeader
from depthcast.shared.replica_choice import AWAY, BEHIND, HISTORY, MOVING, REASONS
from tests.simulation import __main__ as program
from tests.simulation.calm import EVERY
from tests.simulation.mutations import IN_A_CLUSTER, MISTAKES, mutated
from tests.simulation.runs import simulate
from tests.simulation.world import Report

ROOT = Path(__file__).parents[2]
GROUP = 5
GROUPS = [0, 5, *(pytest.param(first, marks=pytest.mark.deep) for first in range(10, 110, 5))]
TRACE_OF_A_SEED = "from tests.simulation.runs import simulate; print(simulate({seed}).trace)"

FIRST_SEEDS = [*zip(sorted(IN_A_CLUSTER), (4, 14, 9), strict=True)]
"""Mistakes in a cluster, and the first seed that notices each."""

NOTICED_SOON = (
    "rejects-before-comparison",
    "seal-then-crash",
    "seq-without-epoch",
    "book-outlives-its-listing",
    "no-continuity-at-all",
    "conflation-drops-deletions",
)
"""Mistakes that one of the first seeds notices."""


@pytest.mark.slow
@pytest.mark.parametrize("first", GROUPS)
def test_some_seeds(first: int) -> None:
    for seed in range(first, first + GROUP):
        report = simulate(seed)
        assert not report.problems, f"seed {seed}: {report.problems[:5]}"
        assert report.counts["broadcasts"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", [GROUPS[0], *GROUPS[2:]])
def test_some_seeds_in_a_cluster(first: int) -> None:
    """Slots move, which nodes say by MOVED, ASK and TRYAGAIN, and nodes are replaced for good."""
    faults: Counter[str] = Counter()
    for seed in range(first, first + GROUP):
        report = simulate(seed, cluster=True)
        assert not report.problems, f"seed {seed}: {report.problems[:5]}"
        faults += report.faults
    assert faults["move a slot"]
    assert faults["redirected reads"]


@pytest.mark.slow
def test_readers_leave_replicas_in_a_cluster_and_return() -> None:
    """Replicas lag, move, are promoted or cut off with their nodes; books are exact in the end."""
    counts: Counter[str] = Counter()
    for seed in (1, 5, 14):
        report = simulate(seed, cluster=True)
        assert not report.problems, f"seed {seed}: {report.problems[:5]}"
        counts += report.counts
    left = {reason for reason in REASONS if counts[f"replica left: {reason}"]}
    assert left >= {AWAY, BEHIND, HISTORY, MOVING}
    assert counts["replica taken"] > sum(counts[f"replica left: {reason}"] for reason in left)


@pytest.mark.slow
@pytest.mark.parametrize(("mutation", "seed"), FIRST_SEEDS)
def test_what_replicas_must_not_be_read_for_is_noticed(mutation: str, seed: int) -> None:
    """A half moved slot, a lost link, a replaced master: each alone, for seconds, and all else is well."""
    assert seed % EVERY == EVERY - 1
    report = simulate(seed, cluster=True)
    assert not report.problems, report.problems[:5]
    assert sum(report.faults.values()) - report.faults["redirected reads"] == 1
    assert simulate(seed, cluster=True, mutation=mutation).problems


@pytest.mark.slow
def test_a_leader_that_goes_on_at_another_node_is_noticed() -> None:
    assert any(
        simulate(seed, cluster=True, mutation="another-server-not-noticed").problems for seed in range(10)
    )


@pytest.mark.slow
def test_readers_of_a_master_that_was_replaced_get_books_again() -> None:
    """Its epoch was the later one, and is lost; nobody may wait for the next leadership by chance.

    Another order of steps in the program is another run of a seed, so there are two.
    """
    with patch.object(PartitionLeader, "_is_behind_us", AsyncMock(return_value=False)):
        runs = {seed: simulate(seed, cluster=True) for seed in (209, 296)}
    noticed = [seed for seed, run in runs.items() if any("no book" in problem for problem in run.problems)]
    assert noticed
    for seed in noticed:
        report = simulate(seed, cluster=True)
        assert not report.problems
        assert report.counts["added_elsewhere"]


@pytest.mark.slow
def test_books_in_memory_that_include_lost_input_are_not_published_again() -> None:
    """A node was replaced and lost input, and `deltas` is deleted before its leader has led again."""
    seed = 271
    with patch.object(PartitionLeader, "_fits_input", AsyncMock(return_value=True)):
        assert any("the last entry says" in problem for problem in simulate(seed, cluster=True).problems)
    assert not simulate(seed, cluster=True).problems


@pytest.mark.slow
def test_a_seed_is_always_the_same_run() -> None:
    """Also in another process, in which sets of strings have another order."""
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
    """The text that a mistake replaces still exists in the program."""
    with mutated(mutation):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("mutation", NOTICED_SOON)
def test_a_mistake_is_noticed(mutation: str) -> None:
    seeds = (7, *range(25)) if mutation == "seal-then-crash" else range(25)  # 7 is the first that notices it
    assert any(simulate(seed, mutation=mutation).problems for seed in seeds)


def test_a_seed_that_fails_anyway_notices_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed 1 fails whatever the program does, seed 2 by the mistake."""

    def report(seed: int, mutation: str | None = None, **_options: bool) -> Report:
        problems = ["wrong"] if seed == 1 or (seed == 2 and mutation) else []
        return Report(seed, problems, Counter(), Counter(), "", 0.0, [])

    def reports(
        first: int, seeds: int, _jobs: int, *, flush: bool, cluster: bool, mutation: str
    ) -> Iterator[Report]:
        assert not cluster
        return (report(seed, mutation, flush=flush) for seed in range(first, first + seeds))

    monkeypatch.setattr(program, "simulate", report)
    monkeypatch.setattr(program, "simulate_many", reports)
    assert program._try("a-mistake", 0, 5, 1, flush=False) == 2
    assert "seed 1 fails without the mistake, too" in capsys.readouterr().out
    assert program._try("a-mistake", 3, 5, 1, flush=False) is None
