"""`make attack`: every attack on a real gateway, beside a client that behaves; exit status 1 if one hurts."""

import logging
import os
import sys
from typing import Final

import click

from tests.attack.catalog import Attack, chosen
from tests.attack.stage import Run, Stage, perform
from tests.attack.verdict import HEAD, problems, row

TRIES: Final = 3
"""Where only a silence is wrong, it must be wrong so often: the machine may have been busy elsewhere."""


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only attacks like this, such as 'inflate-*'.")
@click.option("--measured", is_flag=True, help="Only those that were measured first, without the sweeps.")
@click.option("--seconds", default=4.0, show_default=True, help="How long each attack lasts.")
@click.option("--calm", default=2.0, show_default=True, help="Seconds to measure without it, before.")
@click.option("--after", default=3.0, show_default=True, help="Seconds to measure at least after it.")
@click.option("--settle", default=60.0, show_default=True, help="Seconds more until all is as it was.")
@click.option("--symbols", default=5000, show_default=True)
@click.option("--list", "listing", is_flag=True, help="Only say which attacks there are.")
def main(
    only: tuple[str, ...],
    measured: bool,
    seconds: float,
    calm: float,
    after: float,
    settle: float,
    symbols: int,
    listing: bool,
) -> None:
    """Attack one gateway worker in every way, and check that nobody else notices."""
    logging.basicConfig(level=logging.CRITICAL)
    attacks = chosen(only, measured_only=measured)
    if not attacks:
        raise click.UsageError("no attack has such a name; see --list")
    if listing:
        for attack in attacks:
            click.echo(f"{attack.name:<34}{attack.what}")
        return
    click.echo(
        f"{len(attacks)} attacks of {seconds:g} s on one worker with {symbols:,} symbols, 20 broadcasts a "
        f"second, {os.cpu_count()} cores\n\n{HEAD}"
    )
    bad = []

    def measure(attack: Attack) -> Run:
        return perform(stage, attack, seconds=seconds, calm_s=calm, after_s=after, settle_s=settle)

    with Stage(symbols) as stage:
        for attack in attacks:
            run = measure(attack)
            for _ in range(TRIES - 1):
                if not only_silent(run):
                    break
                run = measure(attack)
            click.echo(row(run))
            if problems(run):
                bad.append(attack.name)
    click.echo(f"\n{len(attacks) - len(bad)} of {len(attacks)} attacks harm nobody")
    if bad:
        click.echo(f"these do: {', '.join(bad)}")
    sys.exit(1 if bad else 0)


def only_silent(run: Run) -> bool:
    """Whether something is wrong, and it is silences alone."""
    found = problems(run)
    return bool(found) and all(problem.startswith("silence") for problem in found)


if __name__ == "__main__":
    main()
