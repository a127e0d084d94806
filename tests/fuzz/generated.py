"""Runs one target on inputs that hypothesis makes, where there is no atheris for this Python.

`python -m tests.fuzz.generated TARGET RUNS`: any bytes, and seeds and corpus with some bytes
replaced. It prints `Done N runs` like the guided fuzzer.
"""

import logging
import sys
import warnings
from collections.abc import Sequence

import click
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import kept
from tests.fuzz.targets import TARGETS

INPUT_BYTES_MAX = 1024


def inputs(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for any bytes, or for one of `seeds` with some bytes replaced."""
    anything = st.binary(max_size=INPUT_BYTES_MAX)
    if not seeds:
        return anything
    changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8)
    return anything | st.builds(_changed, st.sampled_from(seeds), changes)


def _changed(seed: bytes, changes: list[tuple[int, int]]) -> bytes:
    data = bytearray(seed)
    for place, byte in changes:
        if data:
            data[place % len(data)] = byte
    return bytes(data)


def run(name: str, runs: int) -> int:
    """Run a target `runs` times; returns how often it ran. Raises what the target raises."""
    target = TARGETS[name]
    ran = 0

    @settings(
        max_examples=runs, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs([*target.seeds, *kept(name)]))
    def one(data: bytes) -> None:
        nonlocal ran
        ran += 1
        target.run(data)

    one()
    return ran


if __name__ == "__main__":
    logging.disable()
    warnings.simplefilter("ignore")
    click.echo(f"Done {run(sys.argv[1], int(sys.argv[2]))} runs")
