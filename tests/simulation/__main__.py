"""`python -m tests.simulation`: runs many seeds, or repeats one.

python -m tests.simulation --seeds 1000            seeds 0 to 999
python -m tests.simulation --first 118 --seeds 1   seed 118 again, exactly
python -m tests.simulation --mutation NAME         until a seed catches this mistake
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import click

from tests.simulation.mutations import IN_A_CLUSTER, MISTAKES, MUTATIONS
from tests.simulation.runs import simulate, simulate_many
from tests.simulation.world import Report

SAID_EVERY_S = 30.0
ALL = "all"
PROBLEMS_SHOWN = 5
PROBLEM_CHARACTERS = 400


@click.command(
    help="Run the whole system under a seeded scheduler, with faults, and compare with naive models."
)
@click.option("--seeds", default=1000, show_default=True, help="how many seeds")
@click.option("--first", default=0, show_default=True, help="the first of them")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="processes at once")
@click.option("--flush", is_flag=True, help="among the faults: everything in Redis is deleted")
@click.option("--cluster", is_flag=True, help="in a cluster, whose slots move and whose nodes are replaced")
@click.option("--trace", is_flag=True, help="print every command and reply; one seed only")
@click.option(
    "--mutation",
    type=click.Choice([*MUTATIONS, ALL]),
    help="run with this mistake in the program, until a seed notices it",
)
def main(
    seeds: int, first: int, jobs: int, flush: bool, cluster: bool, trace: bool, mutation: str | None
) -> None:
    """Run the command; see the module."""
    if mutation is not None:
        names = list(MISTAKES) if mutation == ALL else [mutation]
        rows = [(name, _try(name, first, seeds, jobs, flush=flush)) for name in names]
        _say_table(rows)
        sys.exit(0 if all(seed is not None for _, seed in rows) else 1)
    began = time.monotonic()
    reports: Iterator[Report]
    if seeds == 1:
        reports = iter([simulate(first, flush=flush, cluster=cluster, verbose=trace)])
    else:
        reports = simulate_many(first, seeds, min(jobs, seeds), flush=flush, cluster=cluster)
    sys.exit(1 if _follow(reports, seeds, first, began) else 0)


def _say_table(rows: list[tuple[str, int | None]]) -> None:
    """The table of `docs/testing.md`."""
    click.echo("| mistake | first seed to notice |")
    click.echo("| --- | --- |")
    for name, seed in rows:
        click.echo(f"| `{name}`: {MISTAKES.get(name, name)} | {'none' if seed is None else seed} |")


def _try(mutation: str, first: int, seeds: int, jobs: int, *, flush: bool) -> int | None:
    """Return the first seed that notices the mistake, None if none does; prints how it noticed.

    A seed that also fails without the mistake does not count.
    """
    began = time.monotonic()
    cluster = mutation in IN_A_CLUSTER
    made = simulate_many(first, seeds, jobs, flush=flush, cluster=cluster, mutation=mutation)
    with closing(made) as reports:
        for done, report in enumerate(reports, 1):
            if report.problems and simulate(report.seed, flush=flush, cluster=cluster).problems:
                click.echo(f"{mutation}: seed {report.seed} fails without the mistake, too")
            elif report.problems:
                took_s = time.monotonic() - began
                click.echo(f"{mutation}: noticed by seed {report.seed}, after {done} runs, {took_s:.1f} s")
                click.echo(f"  {report.problems[0][:PROBLEM_CHARACTERS]}")
                return report.seed
    click.echo(f"{mutation}: not noticed by {seeds} seeds, {time.monotonic() - began:.1f} s")
    return None


def _follow(reports: Iterator[Report], seeds: int, first: int, began: float) -> list[int]:
    """Print as results come; returns the seeds that failed."""
    faults: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    said, virtual_s = began, 0.0
    for done, report in enumerate(reports, 1):
        faults += report.faults
        counts += report.counts
        virtual_s += report.virtual_s
        if report.problems:
            failed.append(report.seed)
            _say_problems(report)
        if time.monotonic() - said > SAID_EVERY_S:
            said = time.monotonic()
            click.echo(f"{done} of {seeds} seeds, {len(failed)} failed, {said - began:.0f} s")
    _say_totals(seeds, first, failed, (faults, counts, virtual_s), time.monotonic() - began)
    return failed


def _say_problems(report: Report) -> None:
    for line in report.log:
        click.echo(line)
    click.echo(f"seed {report.seed} failed; again with: make sim FIRST={report.seed} SEEDS=1")
    for problem in report.problems[:PROBLEMS_SHOWN]:
        click.echo(f"  {problem[:PROBLEM_CHARACTERS]}")


def _say_totals(
    seeds: int, first: int, failed: list[int], sums: tuple[Counter[str], Counter[str], float], took_s: float
) -> None:
    faults, counts, virtual_s = sums
    click.echo(
        f"seeds {first} to {first + seeds - 1}: {seeds - len(failed)} green, {len(failed)} failed; "
        f"{virtual_s:.0f} s of virtual time in {took_s:.0f} s"
    )
    click.echo("  " + ", ".join(f"{counts[name]} {name}" for name in sorted(counts)))
    click.echo("faults injected:")
    for name, count in sorted(faults.items()):
        click.echo(f"  {count:8} {name}")
    if failed:
        click.echo(f"failed: {' '.join(map(str, failed))}")


if __name__ == "__main__":
    main()
