"""A process that publishes as an ingestor does: `python -m tests.attack.publisher REDIS_PORT PREFIX SYMBOLS`.

20 broadcasts a second, each of the witness's symbol and some others. A line on standard input is answered
after the snapshots have been written anew, so that a gateway that starts then begins with the current books.
"""

import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

import redis

from benchmarks.fanout.market import MID, Market, now_us
from depthcast.broadcaster.numbering import first_seq
from depthcast.shared.digest import digest_of
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.replica import Replica
from depthcast.shared.types import Snapshot, Symbol
from tests.attack.measured_attacks import BIG_SYMBOL

BROADCAST_S: Final = 0.05
CHANGED: Final = 100
"""Symbols that a broadcast changes."""
BIG_LEVELS: Final = 19_000
STREAM_MAX: Final = 2_000


class Publisher:
    """Books, and the stream that they go to."""

    def __init__(self, port: int, prefix: str, symbols: int) -> None:
        self.redis = redis.Redis(port=port)
        self.keys = DeploymentKeys(prefix)
        self.market = Market(symbols, messages=False)
        self.changing = list(self.market.symbols)
        self.market.symbols.append(BIG_SYMBOL)
        self.market.replicas[BIG_SYMBOL] = _big_book(self.market.epoch)
        self.random = random.Random(1)

    def begin(self) -> None:
        """Write what an ingestor would have left."""
        self.redis.hset(self.keys.meta, mapping={"protocol": 1, "partitions": 1})
        for symbol in self.market.symbols:
            instrument = to_json(Instrument(Symbol(symbol), "0.01", "0.001"))
            self.redis.hset(self.keys.instruments, symbol, instrument)
        for number, (position, fields) in self.market.opening().items():
            self.redis.xadd(self.keys.partition(number).deltas, dict(fields), id=str(position))
        self.write_snapshots()

    def write_snapshots(self) -> None:
        """Write each book's snapshot as it is now."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for symbol, data in self.market.snapshots().items():
                key = self.keys.partition(0).snapshots(symbol)
                pipeline.delete(key)
                pipeline.xadd(key, {"s": data}, id=str(self.market.positions[0]))
            pipeline.execute()

    def broadcast(self) -> None:
        """One broadcast."""
        others = self.random.sample(self.changing[1:], min(CHANGED, len(self.changing)) - 1)
        for number, (position, fields) in self.market.tick([self.changing[0], *others]).entries.items():
            key = self.keys.partition(number).deltas
            self.redis.xadd(key, dict(fields), id=str(position), maxlen=STREAM_MAX)

    def run(self, wanted: Iterator[None]) -> None:
        """Broadcast for ever; write snapshots when `wanted` says so."""
        due = time.monotonic()
        for _ in wanted:
            self.broadcast()
            due = max(due + BROADCAST_S, time.monotonic() - BROADCAST_S)
            time.sleep(max(0.0, due - time.monotonic()))


def _big_book(epoch: int) -> Replica:
    bids = [(MID - 1 - place, 1 + place) for place in range(BIG_LEVELS)]
    asks = [(MID + 1 + place, 1 + place) for place in range(BIG_LEVELS)]
    flat_bids, flat_asks = ([number for level in side for number in level] for side in (bids, asks))
    return Replica(Snapshot(first_seq(epoch, 0), flat_bids, flat_asks, digest_of(bids, asks), now_us()))


def say(word: str) -> None:
    """Tell whoever started this process."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(port: int, prefix: str, symbols: int) -> None:
    publisher = Publisher(port, prefix, symbols)
    publisher.begin()
    asked = threading.Semaphore(0)

    def listen() -> None:
        for _ in sys.stdin:
            asked.release()

    def wanted() -> Iterator[None]:
        while True:
            while asked.acquire(blocking=False):
                publisher.write_snapshots()
                say("written")
            yield

    threading.Thread(target=listen, daemon=True).start()
    say("begun")
    publisher.run(wanted())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
