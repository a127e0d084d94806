"""Compares the simulation with the held-out load: `python -m benchmarks.capacity.check [FILE]`.

Exit status 1 if a number of the simulated machine is further than 20 % from the measured one. FILE is the
result of `depthcast bench capacity`, by default benchmarks/results/capacity.json.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.capacity.derive import Rounds, Sample
from benchmarks.capacity.points import HELD_OUT, POINTS, SIZES, Point
from benchmarks.capacity.rig import HEARTBEAT_MS, INTERVAL_MS, PROCESSES, symbols_of
from depthcast.capacity.costs import Latency, UnitCosts
from depthcast.capacity.simulation import Outcome, Reading, Scenario, simulate

TOLERANCE: Final = 0.2
SEEDS: Final = (1, 2, 3)
SECONDS: Final = 4.0
RESULT: Final = Path(__file__).parents[1] / "results" / "capacity.json"
CHECKED: Final = {
    "ingestor": "CPU of the ingestor, cores",
    "redis": "CPU of Redis, cores",
    "gateway": "CPU of the gateway, cores",
    "standby": "CPU of the standby, cores",
    "p50": "broadcast to client, median, ms",
}


class Comparison(NamedTuple):
    """One number, measured and simulated."""

    name: str
    measured: float
    simulated: float

    @property
    def error(self) -> float:
        return self.simulated / self.measured - 1

    @property
    def good(self) -> bool:
        return abs(self.error) <= TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.name}: simulated {self.simulated:.3g}, measured {self.measured:.3g} ({self.error:+.0%})"
        )


def least(rounds: Sequence[Sample], process: str | None = None) -> Sample:
    """The round in which a tick cost that process least: the one in which it was disturbed least.

    Its costs are of such rounds, too. None: all processes together.
    """
    names = PROCESSES if process is None else (process,)
    return min(rounds, key=lambda one: sum(one[f"cpu_{name}"] for name in names) / one["ticks"])


def scenario_of(point: Point, sample: Sample) -> Scenario:
    """The simulated machine under the load of a point, as it was in that round.

    Ticks come as often as they did then, and snapshots of books, which come in bursts some seconds apart.
    """
    size = next(size for size in SIZES if size.name == point.size)
    return Scenario(
        symbols=size.symbols,
        book_levels=size.levels,
        changed=point.changed,
        events=point.events,
        levels=point.levels,
        input_entries=point.entries,
        ticks_per_s=sample["ticks"] / sample["second"],
        made=len({symbol for kind in point.readers for symbol in symbols_of(kind, point.changed)}),
        readings=[Reading(kind.clients, kind.channels, kind.lists) for kind in point.readers],
        idle=point.idle,
        heartbeat_s=HEARTBEAT_MS / 1000,
        interval_s=INTERVAL_MS / 1000,
        snapshots_per_s=sample["snapshot_level"] / (2 * size.levels) / sample["second"],
        more_readers=point.more_readers,
    )


def simulated(point: Point, costs: UnitCosts, rounds: Sequence[Sample]) -> dict[str, float]:
    """Cores by process and the median latency in ms: the median over some seeds.

    Each process under the load of the round that is measured for it.
    """
    samples = {name: least(rounds, None if name == "p50" else name) for name in CHECKED}
    outcomes = {
        id(sample): [simulate(scenario_of(point, sample), costs, SECONDS, seed) for seed in SEEDS]
        for sample in samples.values()
    }
    found = {
        name: statistics.median(outcome.cores[name] for outcome in outcomes[id(sample)])
        for name, sample in samples.items()
        if name != "p50"
    }
    return {**found, "p50": statistics.median(map(_p50_ms, outcomes[id(samples["p50"])]))}


def _p50_ms(outcome: Outcome) -> float:
    return outcome.quantile_us(0.5) / 1000


def measured(rounds: Sequence[Sample]) -> dict[str, float]:
    """The same of a measured point; what else runs on the machine adds to each, so the least counts."""
    samples = {name: least(rounds, name) for name in CHECKED if name != "p50"}
    found = {name: one[f"cpu_{name}"] / 1e6 / one["second"] for name, one in samples.items()}
    return {**found, "p50": min(one["p50_us"] for one in rounds) / 1000}


def calibrated(costs: UnitCosts, rounds: Rounds) -> UnitCosts:
    """The costs with the delay of a hand-over by which simulated medians of latency agree best.

    Only points that are not held out count. A message is handed over three times: from the ingestor to
    Redis, to the gateway, to the client.
    """
    hops = []
    for point in POINTS:
        if point.readers and not point.held_out and point.name in rounds:
            found = rounds[point.name]
            missing = measured(found)["p50"] - simulated(point, costs, found)["p50"]
            hops.append(missing * 1000 / 3)
    return replace(costs, latency=Latency(max(0.0, statistics.median(hops)) if hops else 0.0))


def compare(costs: UnitCosts, rounds: Sequence[Sample], point: Point = HELD_OUT) -> list[Comparison]:
    """Measured and simulated numbers of a point."""
    one, other = measured(rounds), simulated(point, costs, rounds)
    return [Comparison(title, one[name], other[name]) for name, title in CHECKED.items()]


def failures(comparisons: Iterable[Comparison]) -> list[str]:
    """What is further away than allowed, in words."""
    return [str(one) for one in comparisons if not one.good]


def main(path: Path = RESULT) -> int:
    """Compare again, from a result file."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["data"]
    comparisons = compare(UnitCosts.from_json(data["costs"]), data["rounds"][HELD_OUT.name])
    for one in comparisons:
        print("agrees " if one.good else "DIFFERS", one)
    return 1 if failures(comparisons) else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
