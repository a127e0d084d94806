"""Publishes 2,000 symbols 20 times a second, 10 levels each, and accounts for the CPU of publishing alone.

`python -m benchmarks.ingest.publishing REDIS_URL PREFIX`: says `ready`, then does a second of broadcasts for
each line that it is sent, and writes which share of a core draining, encoding and writing them took.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import uvloop

from depthcast.broadcaster.publication import Attachment, Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.output import broadcast_of
from depthcast.ingestor.runtime.environment import wall_us
from depthcast.shared.codec import encode_snapshot, pack
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.garbage_collection import collect_garbage_less_often
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.types import Symbol

SYMBOLS: Final = [Symbol(f"S{number:04}") for number in range(2_000)]
BROADCASTS: Final = 20
INTERVAL_S: Final = 1 / BROADCASTS
VARIANTS: Final = 7
LEVELS: Final = 5
"""Levels that change on each side."""

Entry = list[tuple[bytes, bytes]]
KeyOf = Callable[[str], str]


async def main(url: str, prefix: str) -> None:
    """Open the books, then serve."""
    client = connect(url)
    deployment = DeploymentKeys(prefix)
    keys = deployment.partition(0)
    engine, inputs = open_books(), [changes(Random(seed)) for seed in range(VARIANTS)]
    epoch = wall_us() // 1000
    await execute(client, "HSET", deployment.meta, "protocol", 1, "partitions", 1)
    for symbol in SYMBOLS:
        await execute(client, "HSET", deployment.instruments, symbol, to_json(Instrument(symbol)))
    publisher = Publisher(client, (0, keys), ZERO, rejects_max=1_000)
    births = [(str(symbol), delta) for symbol, delta in engine.begin_epoch(epoch)]
    info = broadcast_of(engine.drain(), wall_us()).info
    await publisher.seal(epoch, Broadcast(info, ()))
    engine.apply("0-0", inputs[0])
    opening = [Broadcast(info, births), broadcast_of(engine.drain(), wall_us())]
    await publisher.publish(opening, attach=lambda at: snapshots(engine, keys.snapshots, at))
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(await second(engine, publisher, inputs), flush=True)
    await client.aclose()


async def second(engine: Engine, publisher: Publisher, inputs: list[Entry]) -> float:
    """One second of broadcasts; the share of a core that publishing took."""
    used = 0.0
    due = time.monotonic()
    for number in range(BROADCASTS):
        engine.apply("0-0", inputs[(number + 1) % VARIANTS])
        due += INTERVAL_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        began = time.process_time()
        broadcast = broadcast_of(engine.drain(), wall_us())
        await publisher.publish([broadcast])
        used += time.process_time() - began
        assert len(broadcast.deltas) == len(SYMBOLS)
    return used


def open_books(symbols: Sequence[Symbol] = SYMBOLS) -> Engine:
    """An engine with all symbols."""
    engine = Engine(0, 1)
    for symbol in symbols:
        engine.register(Instrument(symbol))
    return engine


def changes(random: Random, symbols: Sequence[Symbol] = SYMBOLS) -> Entry:
    """An input entry that changes ten levels of each symbol."""
    entry = []
    for symbol in symbols:
        events = [
            [1, side, 100_000 + (at if side else -at), random.randint(1, 10_000)]
            for side in (0, 1)
            for at in range(1, LEVELS + 1)
        ]
        entry.append((symbol.encode(), pack(events)))
    return entry


def snapshots(
    engine: Engine, key_of: KeyOf, at: Position, symbols: Sequence[Symbol] = SYMBOLS
) -> list[Attachment]:
    """Every book as it is."""
    return [Attachment(key_of(symbol), encode_snapshot(engine.snapshot(symbol)), at) for symbol in symbols]


if __name__ == "__main__":
    collect_garbage_less_often()  # this and the loop as in an ingestor's process
    uvloop.run(main(*sys.argv[1:]))
