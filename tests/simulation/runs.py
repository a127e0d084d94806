"""Runs one seed, or many seeds over several processes."""

import multiprocessing
from collections.abc import Generator
from functools import partial
from typing import Final
from unittest.mock import patch

from depthcast.ingestor.runtime import leadership
from tests.simulation.mutations import mutated
from tests.simulation.world import Report, World

CHUNKS_PER_CHILD: Final = 20
SEEDS_AT_ONCE: Final = 5


def simulate(
    seed: int,
    *,
    flush: bool = False,
    cluster: bool = False,
    mutation: str | None = None,
    verbose: bool = False,
) -> Report:
    """Run `seed`. `verbose`: its log has every command and reply.

    With every other seed a new leader moves its books one by one.
    """
    moved_max = leadership.MOVED_MAX if seed % 2 else 1
    with patch.object(leadership, "MOVED_MAX", moved_max), mutated(mutation):
        return World(seed, flush=flush, cluster=cluster, verbose=verbose).run()


def simulate_many(
    first: int, seeds: int, jobs: int, *, flush: bool, cluster: bool = False, mutation: str | None = None
) -> Generator[Report, None, None]:
    """Yield the reports of `seeds` in order, from `jobs` processes; close it to stop early."""
    run = partial(simulate, flush=flush, cluster=cluster, mutation=mutation)
    context = multiprocessing.get_context("spawn")
    # Use fresh processes from time to time: millions of small objects in cycles fragment memory.
    with context.Pool(jobs, maxtasksperchild=CHUNKS_PER_CHILD) as pool:
        yield from pool.imap(run, range(first, first + seeds), chunksize=SEEDS_AT_ONCE)
