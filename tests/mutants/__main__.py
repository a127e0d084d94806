"""`python -m tests.mutants`: whether the tests notice small mistakes in the pure modules.

python -m tests.mutants                                            every package
python -m tests.mutants --package ingestor --sample 250 --seed 1   one of them
python -m tests.mutants --file shared/reader.py --sample 0         all mutants of one file
"""

import os
import sys
import time
from collections.abc import Sequence

import click

from tests.mutants.mutations import mutants_of, sample
from tests.mutants.packages import PACKAGES, Package
from tests.mutants.reasons import read_reasons
from tests.mutants.report import HEAD, Report
from tests.mutants.trials import Trials, Unsound


@click.command(
    help="Put small mistakes into the pure modules, and see whether the packages' tests notice them."
)
@click.option(
    "--package", "names", multiple=True, type=click.Choice(list(PACKAGES)), help="only this one; repeatable"
)
@click.option("--file", "files", multiple=True, help="only mutants of this file; repeatable")
@click.option(
    "--sample", "count", default=250, show_default=True, help="mutants of each package; 0 is all of them"
)
@click.option("--seed", default=1, show_default=True, help="which of them")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="processes at once")
def main(names: Sequence[str], files: Sequence[str], count: int, seed: int, jobs: int) -> None:
    """Run the command; see the module."""
    chosen = names or [file.partition("/")[0] for file in files] or list(PACKAGES)
    packages = [package for name, package in PACKAGES.items() if name in chosen]
    if missing := {*files} - {str(path) for package in packages for path in package.modules()}:
        raise click.BadParameter(f"no pure module: {', '.join(sorted(missing))}")
    reports = [_try(package, files, count, seed, jobs) for package in packages]
    click.echo("\n".join(["", HEAD, *(report.row() for report in reports)]))
    sys.exit(0 if all(report.good for report in reports) else 1)


def _try(package: Package, files: Sequence[str], count: int, seed: int, jobs: int) -> Report:
    """Try a sample of the package's mutants, and say which were not noticed."""
    began = time.monotonic()
    mutants = mutants_of(package)
    asked = [mutant for mutant in mutants if not files or mutant.identity.file in files]
    sampled = sample(asked, count or len(asked), seed)
    trials = Trials(package, jobs)
    try:
        reached = trials.measure()
    except Unsound as failed:
        click.echo(f"the tests of {package.folder} fail without any mutant\n{failed}")
        sys.exit(1)
    click.echo(f"{package.folder}: {len(sampled)} of {len(mutants)} mutants, {len(reached.seconds)} tests")
    tried = trials.verdicts(sampled, reached)
    with click.progressbar(tried, length=len(sampled), file=sys.stderr) as shown:
        report = Report(package.folder, mutants, dict(shown), read_reasons())
    for line in report.lines():
        click.echo(line)
    click.echo(f"{package.folder}: {time.monotonic() - began:.0f} s")
    return report


if __name__ == "__main__":
    main()
