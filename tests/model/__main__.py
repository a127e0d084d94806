"""`python -m tests.model`: explores the rules of moves, and those with a mistake each.

With larger bounds than the tests: some minutes.
"""

import sys
import time

import click

from tests.model.explore import Explorer
from tests.model.moves import Bounds, Rules
from tests.model.test_moves import MISTAKES

LARGER = (Bounds(), Bounds(unknown=0, varied=True), Bounds(seals=3, unknown=0, failovers=0))


def main() -> None:
    """Print what holds and what does not, with the shortest way there."""
    unexpected = 0
    cases = [(f"the rules, {bounds}", Rules(), bounds, True) for bounds in LARGER]
    cases += [(name, rules, bounds, False) for name, (rules, bounds, _) in MISTAKES.items()]
    for name, rules, bounds, holds in cases:
        began = time.monotonic()
        found = Explorer(rules, bounds).run()
        unexpected += holds == bool(found.problem)
        click.echo(
            f"{name}: {found.problem or 'holds'} ({found.states:,} states, {time.monotonic() - began:.0f} s)"
        )
        for action in found.path:
            click.echo(f"    {action}")
    sys.exit(unexpected)


if __name__ == "__main__":
    main()
