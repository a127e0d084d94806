"""What the units of a deployment cost on this machine, and whether a simulation of them is right."""

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.capacity.check import TOLERANCE, calibrated, compare, failures
from benchmarks.capacity.derive import Rounds, Sample, derive
from benchmarks.capacity.points import HELD_OUT, POINTS, SIZES
from benchmarks.capacity.rig import Rig, rig
from benchmarks.harness import Benchmark, Metric, Run
from depthcast.capacity.costs import VERSION, UnitCosts

SECONDS: Final = 1.6
QUICK_SECONDS: Final = 1.0
GROUPS: Final = {
    "ingestor": "ingestor, CPU",
    "standby": "standby, CPU",
    "redis": "Redis, CPU",
    "gateway": "gateway worker, CPU",
    "bytes": "messages",
    "memory": "memory",
}
UNITS: Final = {"bytes": "B", "memory": "B"}


def run(run: Run) -> None:
    """Every load in every round; each round goes into the regressions."""
    seconds = QUICK_SECONDS if run.quick else SECONDS
    rounds: dict[str, list[Sample]] = {point.name: [] for point in POINTS}
    memory: dict[str, Sample] = {}
    more: dict[str, float] = {}
    for size in SIZES:
        with rig(size) as running:
            memory[size.name] = running.memory()
            if size is SIZES[0]:
                more = running.client_memory()
            for number in range(run.rounds):
                _one_round(run, running, rounds, seconds, f"{size.name}: round {number + 1} of {run.rounds}")
            more["snapshot_level"] = running.snapshot_level_bytes()
    derived = derive(rounds, memory, more)
    costs = calibrated(derived.costs, rounds)
    _record(run, costs, rounds, derived.errors)
    run.data |= {"idle": memory, "more": more}


def _one_round(run: Run, running: Rig, rounds: dict[str, list[Sample]], seconds: float, said: str) -> None:
    points = [point for point in POINTS if point.size == running.size.name]
    for point in points:
        rounds[point.name].append(running.measure(point, seconds))
    if points:
        run.say(said)


def _record(run: Run, costs: UnitCosts, rounds: Rounds, errors: dict[str, float]) -> None:
    stored = costs.to_json()
    for group, title in GROUPS.items():
        unit = UNITS.get(group, "µs")
        digits = 0 if group == "memory" else 3
        shown = {name: {"cost": [cost]} for name, cost in stored[group].items()}
        run.record(title, shown, [Metric("cost", "each", unit, digits, compared=False)])
    comparisons = compare(costs, rounds[HELD_OUT.name])
    table = {one.name: {"measured": [one.measured], "simulated": [one.simulated]} for one in comparisons}
    metrics = [Metric(name, name, "", 3, compared=False) for name in ("measured", "simulated")]
    run.record("held-out load", table, metrics)
    run.data = {
        "version": VERSION,
        "costs": stored,
        "rounds": rounds,
        "spread": {name: _spread(found) for name, found in rounds.items()},
        "regression_errors": errors,
        "check": [[one.name, one.measured, one.simulated] for one in comparisons],
    }
    for problem in failures(comparisons):
        run.fail(f"the simulation is further than {TOLERANCE:.0%} from the measurement; {problem}")


def _spread(found: Sequence[Sample]) -> dict[str, Any]:
    """Greatest CPU of a round ÷ the least, by process: how calm the machine was."""
    names = [name for name in found[0] if name.startswith("cpu_")]
    return {name: max(one[name] for one in found) / min(one[name] for one in found) for name in names}


BENCHMARK = Benchmark("capacity", "Unit costs for a capacity plan", run, rounds=3, quick_rounds=1)
