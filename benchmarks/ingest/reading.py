"""Reads a stream as a gateway does, without clients, and accounts for its CPU and its memory.

`python -m benchmarks.ingest.reading REDIS_URL`: publishes the stream, says how large it is, and then answers
each line. `read S`: CPU per broadcast (µs) with S seconds of history. `kept S`: bytes that a history of S
seconds takes for each broadcast in it. Everything said is JSON, a line each.
"""

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from random import Random
from typing import Final

import uvloop

from benchmarks.ingest.publishing import changes, open_books, snapshots
from depthcast.broadcaster.publication import Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.gateway.delivery.core import Core
from depthcast.ingestor.output import broadcast_of
from depthcast.ingestor.runtime.environment import wall_us
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.garbage_collection import collect_garbage_less_often
from depthcast.shared.runtime.redis import connect
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Symbol

SYMBOLS: Final = [Symbol(f"S{number:04}") for number in range(200)]
ENTRIES: Final = 300
PER_SECOND: Final = 20
VARIANTS: Final = 7
KEYS: Final = DeploymentKeys("bench").partition(0)


async def publish(url: str) -> None:
    """Publish all entries at once; their times are those of 20 a second."""
    client = connect(url)
    inputs = [changes(Random(seed), SYMBOLS) for seed in range(VARIANTS)]
    engine = open_books(SYMBOLS)
    publisher = Publisher(client, (0, KEYS), ZERO, rejects_max=1_000)
    began = wall_us()
    epoch = began // 1000
    births = [(str(symbol), delta) for symbol, delta in engine.begin_epoch(epoch)]
    info = broadcast_of(engine.drain(), began).info
    await publisher.seal(epoch, Broadcast(info, ()))
    engine.apply("0-0", inputs[0])
    opening = [Broadcast(info, births), broadcast_of(engine.drain(), began)]
    await publisher.publish(opening, attach=lambda at: snapshots(engine, KEYS.snapshots, at, SYMBOLS))
    for number in range(1, ENTRIES + 1):
        engine.apply("0-0", inputs[number % VARIANTS])
        await publisher.publish([broadcast_of(engine.drain(), began + number * 1_000_000 // PER_SECOND)])
    await client.aclose()


async def read(url: str, history_s: float) -> tuple[float, Core]:
    """Read all entries into a gateway's core; returns the CPU seconds that took after the load."""
    core = Core(GatewaySettings(book_history_s=history_s), wall_us, lambda _: None)
    core.market.set_partitions(1)
    core.list_instruments({symbol: Instrument(symbol) for symbol in SYMBOLS})
    upstream = core.market.upstreams[0]
    client = connect(url)
    follower = Follower(client, KEYS, upstream.reader, lambda: upstream.symbols)
    began, loop = 0.0, asyncio.get_running_loop()
    async for entry in follower.entries():
        assert entry is not None, "a read found nothing"
        core.apply(upstream, entry, loop.time())
        core.tick(loop.time())
        if entry.info is None:
            gc.collect()
            began = time.process_time()
        elif core.counters.entries == ENTRIES:
            break
    used = time.process_time() - began
    await client.aclose()
    assert all(replica.seq for replica in upstream.reader.shown.values()), "a book was not read"
    return used, core


def kept_bytes(url: str, history_s: float) -> float:
    """What Python allocates more with a history, divided by the broadcasts of its time."""
    return (_allocated(url, history_s) - _allocated(url, 0)) / (history_s * PER_SECOND * len(SYMBOLS))


def _allocated(url: str, history_s: float) -> int:
    tracemalloc.start()
    _, core = uvloop.run(read(url, history_s))
    gc.collect()
    allocated = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del core
    return allocated


def main(url: str) -> None:
    """Publish, then answer."""
    uvloop.run(publish(url))
    print(json.dumps({"entries": ENTRIES, "symbols": len(SYMBOLS)}), flush=True)
    for line in sys.stdin:
        what, seconds = line.split()
        if what == "kept":
            answer = {"bytes": kept_bytes(url, float(seconds))}
        else:
            used, _ = uvloop.run(read(url, float(seconds)))
            answer = {"cpu_us": used / ENTRIES / len(SYMBOLS) * 1e6}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    collect_garbage_less_often()  # as in a gateway's process
    main(*sys.argv[1:])
