"""The harness of every benchmark: contenders in interleaved rounds, medians of ratios, results as JSON.

A benchmark is a module with a `BENCHMARK`, named in `benchmarks.registry`:

    from benchmarks.harness import Absent, Benchmark, Contender, Metric, Run, Target

    CPU = Metric("cpu_us", "CPU per event", "µs")

    def run(run: Run) -> None:
        try:
            peer = start_peer()
        except Absent as absent:
            run.absent("peer", absent)          # named in the table and in the JSON
        contenders = [
            Contender("depthcast", lambda: {"cpu_us": measure_ours()}),
            Contender("naive", lambda: {"cpu_us": measure_naive()}),
        ]
        run.compare(
            "1,000 levels",                     # name of the comparison: a heading of the table
            contenders,
            [CPU],                              # what is shown; the JSON has all that a round measures
            baseline="naive",                   # ratios to this one; None for a comparison without peers
            targets=[Target("cpu_us", "depthcast", "naive", most=0.5)],
        )
        run.note("One sentence that belongs under the table.")

    BENCHMARK = Benchmark("books", "Changing a book", run, rounds=7, quick_rounds=3)

`run.rounds` and `run.quick` say how much to do. Contenders prepare outside of their rounds and stay prepared,
so that a round is short and the rounds of all contenders can alternate: what disturbs the machine then
disturbs all of them. A ratio is taken within each round; its median over the rounds is reported, with the
least and the greatest. A benchmark may call `compare` several times. Absolute values are medians over the
rounds, too.

`Run.chart` asks for a picture of what was compared. Results go to `benchmarks/results/<name>.json`; tables
and pictures in docs/performance.md are made from these files by `benchmarks.report`.
"""

import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

Measurement = Mapping[str, float]
"""What one round of one contender measured, by metric name."""

SEED: Final = 1


class Absent(Exception):
    """A contender cannot take part: an optional program or library is missing. The text says which."""


@dataclass(frozen=True)
class Contender:
    """Somebody who is measured: `run_round` does one round, of about a second, and says what it cost."""

    name: str
    run_round: Callable[[], Measurement]


@dataclass(frozen=True)
class Metric:
    """A measure as it is shown: `digits` after the point; `compared`: with ratios to the baseline."""

    name: str
    title: str
    unit: str
    digits: int = 2
    compared: bool = True


@dataclass(frozen=True)
class Target:
    """A limit of `of`'s `metric`, divided by that of `to` (None: as it is): at most or at least."""

    metric: str
    of: str
    to: str | None = None
    most: float | None = None
    least: float | None = None


@dataclass
class Benchmark:
    """A named benchmark. `rounds` by default, `quick_rounds` with --quick."""

    name: str
    title: str
    run: Callable[["Run"], None]
    rounds: int = 7
    quick_rounds: int = 3


@dataclass
class Run:
    """One run of a benchmark: what it is asked to do, and what it found so far.

    `before`: the Python of an earlier version, which some benchmarks measure beside this one. `busy`: which
    share of the machine was busy with other work before it.
    """

    rounds: int
    quick: bool
    before: str | None = None
    busy: float = 0.0
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    charts: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Tell whoever waits how it goes."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A sentence for under the table."""
        if text not in self.notes:
            self.notes.append(text)

    def fail(self, text: str) -> None:
        """What was measured is saved, but the run ends with an error."""
        self.failures.append(text)
        self.say(f"FAILED {text}")

    def absent(self, name: str, why: Exception) -> None:
        """A contender does not take part."""
        self.missing[name] = str(why)
        self.say(f"{name} is absent: {why}")

    def compare(
        self,
        name: str,
        contenders: Sequence[Contender],
        metrics: Sequence[Metric],
        *,
        baseline: str | None = None,
        targets: Sequence[Target] = (),
        rounds: int | None = None,
    ) -> dict[str, dict[str, list[float]]]:
        """Measure in interleaved rounds; returns contender → metric → value of each round.

        The order within a round changes from round to round, by a fixed seed. Targets that name an absent
        contender are left out.
        """
        samples: dict[str, dict[str, list[float]]] = {contender.name: {} for contender in contenders}
        shuffler = random.Random(SEED)
        count = rounds or self.rounds
        for number in range(count):
            order = shuffler.sample(list(contenders), len(contenders))
            for contender in order:
                for metric, value in contender.run_round().items():
                    samples[contender.name].setdefault(metric, []).append(value)
            self.say(f"{name}: round {number + 1} of {count}")
        self.record(name, samples, metrics, baseline=baseline, targets=targets)
        return samples

    def record(
        self,
        name: str,
        samples: dict[str, dict[str, list[float]]],
        metrics: Sequence[Metric],
        *,
        baseline: str | None = None,
        targets: Sequence[Target] = (),
    ) -> None:
        """Take measurements that were made otherwise than by `compare`, in paired rounds all the same."""
        if baseline not in samples:
            baseline = None
        checked = [
            check_target(target, samples)
            for target in targets
            if {target.of, target.to or target.of} <= set(samples)
        ]
        comparison = {
            "name": name,
            "baseline": baseline,
            "metrics": [asdict(metric) for metric in metrics],
            "samples": samples,
            "ratios": ratios(samples, [metric.name for metric in metrics if metric.compared], baseline),
            "targets": checked,
        }
        self.comparisons.append(comparison)
        for line in summary(comparison):
            self.say(line)

    def chart(
        self, name: str, title: str, unit: str, series: Mapping[str, Sequence[tuple[float | str, float]]]
    ) -> None:
        """Ask for the picture docs/performance-<name>.svg: points (x, y) by series; bars where x is text."""
        points = {label: [list(point) for point in line] for label, line in series.items()}
        self.charts.append({"name": name, "title": title, "unit": unit, "series": points})

    def chart_bars(
        self,
        name: str,
        title: str,
        unit: str,
        metric: str,
        comparisons: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    ) -> None:
        """A picture of medians: a group of bars for each comparison, what `compare` returned by title."""
        series: dict[str, list[tuple[str, float]]] = {}
        for group, samples in comparisons.items():
            for contender, metrics in samples.items():
                if values := metrics.get(metric):
                    series.setdefault(contender, []).append((group, statistics.median(values)))
        self.chart(name, title, unit, series)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def paired(
    samples: Mapping[str, Mapping[str, Sequence[float]]], metric: str, of: str, to: str | None
) -> list[float]:
    """Return the value of one contender, or its ratio to `to`, of each round that has it."""
    values = samples[of].get(metric, ())
    if to is None:
        return list(values)
    return [value / other for value, other in zip(values, samples[to].get(metric, ()), strict=False) if other]


def ratios(
    samples: Mapping[str, Mapping[str, Sequence[float]]], metrics: Sequence[str], baseline: str | None
) -> dict[str, dict[str, dict[str, float]]]:
    """Contender → metric → spread of its ratio to the baseline, the baseline itself left out."""
    if baseline is None:
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in samples:
        if name == baseline:
            continue
        by_metric = {metric: paired(samples, metric, name, baseline) for metric in metrics}
        found[name] = {metric: spread(values) for metric, values in by_metric.items() if values}
    return found


def check_target(target: Target, samples: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """The target with what was reached."""
    reached = spread(paired(samples, target.metric, target.of, target.to))
    met = (target.most is None or reached["median"] <= target.most) and (
        target.least is None or reached["median"] >= target.least
    )
    return {**asdict(target), "reached": reached, "met": met}


def summary(comparison: Mapping[str, Any]) -> list[str]:
    """A comparison in lines for a terminal."""
    lines = []
    for name, samples in comparison["samples"].items():
        parts = [
            f"{metric['title']} {statistics.median(values):.{metric['digits']}f} {metric['unit']}".rstrip()
            for metric in comparison["metrics"]
            if (values := samples.get(metric["name"]))
        ]
        of = comparison["ratios"].get(name, {})
        parts += [
            f"×{found['median']:.2f} [{found['least']:.2f}–{found['greatest']:.2f}]" for found in of.values()
        ]
        lines.append(f"{comparison['name']} | {name}: {', '.join(parts)}")
    lines += [
        f"{'met   ' if target['met'] else 'MISSED'} {target_text(target)}" for target in comparison["targets"]
    ]
    return lines


def target_text(target: Mapping[str, Any]) -> str:
    """A checked target in words."""
    against = f" ÷ {target['to']}" if target["to"] else ""
    bounds = [
        f"{sign} {target[side]:g}"
        for side, sign in (("least", "≥"), ("most", "≤"))
        if target[side] is not None
    ]
    reached = target["reached"]
    figures = f"{reached['median']:.3g} [{reached['least']:.3g}–{reached['greatest']:.3g}]"
    return f"{target['metric']} of {target['of']}{against} {' and '.join(bounds)}: {figures}"
