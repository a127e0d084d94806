"""One run by its seed, and many of them over several processes."""

import multiprocessing
from collections.abc import Generator
from functools import partial
from typing import Final

from tests.simulation.mutations import mutated
from tests.simulation.world import Report, World

CHUNKS_PER_CHILD: Final = 20
SEEDS_AT_ONCE: Final = 5


def simulate(seed: int, *, flush: bool = False, mutation: str | None = None, verbose: bool = False) -> Report:
    """The run that `seed` means. `verbose`: its log has every command and reply."""
    with mutated(mutation):
        return World(seed, flush=flush, verbose=verbose).run()


def simulate_many(
    first: int, seeds: int, jobs: int, *, flush: bool, mutation: str | None = None
) -> Generator[Report, None, None]:
    """The reports of `seeds` runs in order, worked out by `jobs` processes; close it to stop early."""
    run = partial(simulate, flush=flush, mutation=mutation)
    context = multiprocessing.get_context("spawn")
    # Fresh processes now and then: millions of small objects in cycles leave memory in pieces.
    with context.Pool(jobs, maxtasksperchild=CHUNKS_PER_CHILD) as pool:
        yield from pool.imap(run, range(first, first + seeds), chunksize=SEEDS_AT_ONCE)
