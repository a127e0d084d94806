"""`make cluster-load`: several ingestors share the partitions of a Redis cluster of six servers, under load.

Every symbol of every partition changes at each broadcast. In the first third an ingestor is killed with
kill -9, in the second a node hands over to its replica. Prints how the partitions are shared, what was
reached, and what is late. At the end every book of a stream consumer must be that of the input; exit status 1
if one is not.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import click
import orjson

from depthcast.consumer.consumer import Consumer
from depthcast.producer.input_log import InputLog
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.ports import free_port
from depthcast.shared.errors import ClientError
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.redis import connect
from depthcast.shared.types import Symbol
from tests.chaos.cluster import PREFIX, Process
from tests.chaos.load import keys_at
from tests.chaos.nodes import NodeServers
from tests.waiting import eventually

PRICES: Final = 10
"""Levels of a side."""

STARTED_S: Final = 180.0
SETTLED_S: Final = 300.0
SHARE_EVERY_S: Final = 5.0
HOST: Final = "127.0.0.1"


class Feeder:
    """Writes to one partition: at each interval one entry with an event of every symbol."""

    def __init__(self, url: str, keys: DeploymentKeys, partitions: int, symbols: list[str]) -> None:
        self.url = url
        self.keys = keys
        self.partitions = partitions
        self.symbols = symbols
        self.books: dict[str, dict[int, int]] = {symbol: {} for symbol in symbols}
        self.rounds = 0
        self.late_s = 0.0

    async def run(self, until: float, interval_s: float) -> None:
        """Write until the loop's time `until`; what cannot be written in time comes late, not twice."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with connect(self.url) as client:
            log = InputLog(client, self.keys, self.partitions)
            while loop.time() < until:
                await log.append([(self.symbols[0], self._entry())])
                due += interval_s
                self.late_s = max(self.late_s, loop.time() - due)
                await asyncio.sleep(max(0.0, due - loop.time()))
            await log.forget()

    def _entry(self) -> list[str | bytes]:
        """An event for every symbol: the same price and quantity, which changes each time."""
        self.rounds += 1
        price, quantity = 1 + self.rounds % PRICES, 1 + self.rounds
        array = orjson.dumps([["update", "bid", price, quantity]])
        for book in self.books.values():
            book[price] = quantity
        return [word for symbol in self.symbols for word in (symbol, array)]


class Reader:
    """A stream consumer; counts the broadcasts and changes of symbols of each partition."""

    def __init__(self, url: str) -> None:
        self.consumer = Consumer(url, prefix=PREFIX)
        self.broadcasts: Counter[int] = Counter()
        self.changes = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        async with self.consumer as consumer:
            async for entry in consumer.entries():
                if entry.updates:
                    self.broadcasts[entry.partition] += 1
                    self.changes += len(entry.updates)

    def differing(self, feeders: list[Feeder]) -> int:
        """How many books are not those of the input."""
        count = 0
        for feeder in feeders:
            for symbol, book in feeder.books.items():
                try:
                    count += dict(self.consumer.book(symbol).bids.levels) != book
                except ClientError:
                    count += 1
        return count


class Load:
    """What runs: the servers, the ingestors, who writes and who reads."""

    def __init__(self, nodes: NodeServers, ingestors: list[Process], partitions: int, symbols: int) -> None:
        self.nodes = nodes
        self.ingestors = ingestors
        self.keys = keys_at(nodes.url, partitions)
        by_partition: dict[int, list[str]] = {number: [] for number in range(partitions)}
        for name in symbols_of(symbols):
            by_partition[partition_of(name, partitions)].append(name)
        self.feeders = [
            Feeder(nodes.url, self.keys, partitions, names) for names in by_partition.values() if names
        ]
        self.reader = Reader(nodes.url)

    def shares(self) -> str:
        """How many partitions each ingestor leads, as their logs say: each leadership that is the newest."""
        newest: dict[int, tuple[int, str]] = {}
        for ingestor in self.ingestors:
            for partition, epoch in ingestor.led() if ingestor.running else ():
                newest[partition] = max(newest.get(partition, (0, "")), (epoch, ingestor.label))
        counts = Counter(label for _, label in newest.values())
        return ", ".join(f"{each.label} {counts[each.label]}" for each in self.ingestors)


def symbols_of(count: int) -> list[str]:
    """Names of so many symbols."""
    return [f"S{number:05}" for number in range(count)]


@asynccontextmanager
async def running(ingestors: int, partitions: int, symbols: int, interval_ms: int) -> AsyncIterator[Load]:
    """Six servers and the ingestors; all partitions are led when the block begins."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-load-")))
        nodes = await stack.enter_async_context(NodeServers(untrimmed=False))
        table = folder / "instruments.toml"
        made = [Instrument(Symbol(name), "0.01", "0.001") for name in symbols_of(symbols)]
        table.write_text(to_toml(made), encoding="utf-8")
        processes = []
        for number in range(ingestors):
            options = {
                "prefix": PREFIX, "partitions": partitions, "redis_url": nodes.url, "instruments": table,
                "interval_ms": interval_ms, "admin_host": HOST, "admin_port": free_port(),
            }  # fmt: skip
            processes.append(Process("ingestor", f"ingestor-{number}", folder, options))
        load = Load(nodes, processes, partitions, symbols)
        for process in processes:
            process.start()
            stack.push_async_callback(_end, process)

        def led() -> bool:
            found = {partition for process in processes for partition, _ in process.led()}
            return len(found) == partitions

        await eventually(led, STARTED_S, "every partition is led")
        yield load


async def _end(process: Process) -> None:
    if process.running:
        await process.kill()


async def play(load: Load, seconds: float, per_s: float) -> bool:
    """Run the load with its faults, say what was reached; returns whether all books are right at the end."""
    loop, reader = asyncio.get_running_loop(), load.reader
    reading = asyncio.create_task(reader.run())
    symbols = sum(len(feeder.symbols) for feeder in load.feeders)
    try:
        await eventually(lambda: bool(reader.consumer.position), STARTED_S, "the reader has begun")
        began, until = time.monotonic(), loop.time() + seconds
        feeding = [asyncio.create_task(feeder.run(until, 1 / per_s)) for feeder in load.feeders]
        watching = asyncio.create_task(_say_shares(load, began))
        await asyncio.sleep(seconds / 3)
        victim = load.ingestors[0]
        _say(began, f"kill -9 of {victim.label}")
        await victim.kill()
        victim.start()
        await asyncio.sleep(seconds / 3)
        _say(began, "failover of a node")
        await load.nodes.fail_over(load.keys.partition(0).deltas)
        await asyncio.gather(*feeding)
        fed_s = time.monotonic() - began
        reached = reader.changes / fed_s
        watching.cancel()
        rounds = sum(feeder.rounds for feeder in load.feeders)
        events = sum(feeder.rounds * len(feeder.symbols) for feeder in load.feeders)
        wanted = symbols * per_s
        click.echo(f"input: {events / fed_s:,.0f} events/s of {wanted:,.0f} wanted, in {rounds} entries; "
                   f"the latest {max(feeder.late_s for feeder in load.feeders):.1f} s late")  # fmt: skip
        broadcasts = sum(reader.broadcasts.values()) / fed_s / len(load.feeders)
        click.echo(f"output: {reached:,.0f} changes/s read, {broadcasts:.1f} broadcasts/s of a partition")
        drained = time.monotonic()
        try:
            await eventually(lambda: not reader.differing(load.feeders), SETTLED_S, "every book is right")
        except AssertionError:
            click.echo(
                f"WRONG: {reader.differing(load.feeders)} of {symbols} books are not those of the input"
            )
            return False
        click.echo(
            f"all {symbols} books are those of the input, {time.monotonic() - drained:.1f} s after its end"
        )
        share = events / fed_s / wanted
        click.echo(f"this machine ({os.cpu_count()} cores) did {share:.0%} of the load in time"
                   + ("" if share > 0.9 else "; a smaller one: --scale"))  # fmt: skip
        return True
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _say_shares(load: Load, began: float) -> None:
    while True:
        _say(began, f"partitions led: {load.shares()}")
        await asyncio.sleep(SHARE_EVERY_S)


def _say(began: float, text: str) -> None:
    click.echo(f"{time.monotonic() - began:6.1f} s  {text}")


@click.command(help=__doc__)
@click.option("--ingestors", default=4, show_default=True)
@click.option("--partitions", default=16, show_default=True)
@click.option("--symbols", default=5000, show_default=True, help="in all partitions together")
@click.option("--per-second", default=10.0, show_default=True, help="broadcasts of each partition")
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="share of the symbols")
def main(
    ingestors: int, partitions: int, symbols: int, per_second: float, seconds: float, scale: float
) -> None:
    """Run the command; see the module."""
    count = max(partitions, round(symbols * scale))
    click.echo(
        f"{ingestors} ingestors, {partitions} partitions, {count} symbols, {per_second:g} broadcasts/s, "
        f"{seconds:g} s, six servers, {os.cpu_count()} cores"
    )

    async def played() -> bool:
        async with running(ingestors, partitions, count, round(1000 / per_second)) as load:
            return await play(load, seconds, per_second)

    sys.exit(0 if asyncio.run(played()) else 1)


if __name__ == "__main__":
    main()
