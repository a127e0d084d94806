"""The loop of every Python program that keeps a book: reads the load, then runs a round for each line.

Runs in the peers' environment too, so it imports nothing of Depthcast's packages.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time_ns
from typing import Final

import msgpack

BATCHES_PER_DRAIN: Final = 500
"""50,000 events between two broadcasts: a million events a second, 20 broadcasts a second."""


def serve(apply: Callable[[bytes], None], drain: Callable[[], None], load: str) -> None:
    """Open the book from the file `load` and print `ready`; then, for each line, print a round's cost.

    The cost is in ns of CPU an event.

    `apply` takes the batch of 100 events that came from Redis; `drain` is the end of a broadcast interval.
    """
    opening, rounds = msgpack.unpackb(Path(load).read_bytes())
    for batch in opening:
        apply(batch)
    drain()
    print("ready", flush=True)
    for batches, _ in zip(rounds, sys.stdin, strict=False):
        began = process_time_ns()
        for number, batch in enumerate(batches, 1):
            apply(batch)
            if number % BATCHES_PER_DRAIN == 0:
                drain()
        took = process_time_ns() - began
        print(took / sum(map(count, batches)), flush=True)


def count(batch: bytes) -> int:
    """Events in a batch."""
    return len(msgpack.unpackb(batch))
