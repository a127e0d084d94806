"""`python -m tests.venues`: every fake venue with all its faults, for a minute each."""

import asyncio
import sys
from collections.abc import Sequence

import click

from tests.venues.live_run import open_place, recovery_table, run_faults
from tests.venues.models import models
from tests.venues.pairs import venues


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--mean-s", type=click.FloatRange(min=0.05), default=1.0, show_default=True)
def main(names: tuple[str, ...], seconds: float, seed: int, mean_s: float) -> None:
    """Run the venues NAMES, or all that have a model. Status 1 if a book was wrong."""
    sys.exit(1 if asyncio.run(_run(names or sorted(models()), seconds, seed, mean_s)) else 0)


async def _run(names: Sequence[str], seconds: float, seed: int, mean_s: float) -> bool:
    """Return whether a book was wrong."""
    makers, known = models(), venues()
    reports = []
    async with open_place() as place:
        for name in names:
            report = await run_faults(
                place, name, known[name], makers[name], seed=seed, seconds=seconds, mean_s=mean_s
            )
            for line in report.lines():
                click.echo(line)
            reports.append(report)
    for line in recovery_table(reports):
        click.echo(line)
    return any(report.wrong for report in reports)


if __name__ == "__main__":
    main()
