"""A master that the network cuts off from its cluster goes on for a while, and comes back as a replica.

Its replica was promoted meanwhile, so there are two masters of the same slots, with two leaders and input for
both. When it finds out, all that it took since is lost. Nothing else may be, and no book may be wrong.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from depthcast.broadcaster.runtime.server_identity import ServerIdentity
from depthcast.consumer.consumer import Consumer
from depthcast.ingestor.runtime import state_keeper
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.producer.input_log import InputLog
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.runtime.server_binary import ServerBinary
from depthcast.shared.codec import decode_info
from depthcast.shared.errors import Fenced, RedisUnavailable
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import RawEntry, connect, execute, parse_entries
from tests.chaos.oracle import Oracle
from tests.clusters import Cluster
from tests.ingestor_runs import FEEDS, Run, check_history
from tests.integration.replica_scene import ask, follow, look_often
from tests.integration.test_cluster import OF, PARTITIONS, Scene, binary, scene
from tests.random_events import encode, random_array
from tests.waiting import eventually

__all__ = ["binary"]

UNNOTICED_MS: Final = 60_000
"""The master that is cut off goes on until it hears of the others again."""


class Input:
    """Entries that came to one of the two masters: what was sent, and what it said where they are."""

    def __init__(self, made: Scene, url: str, seed: int) -> None:
        self.made = made
        self.url = url
        self.rng = Random(seed)
        self.entries: list[dict[Position, RawEntry]] = [{} for _ in range(PARTITIONS)]
        self.stopping = asyncio.Event()

    async def send(self) -> None:
        """Append until it is to stop; what is still under way then is sent to the end."""
        async with connect(self.url) as client:
            log = InputLog(client, self.made.keys, PARTITIONS)
            while not self.stopping.is_set():
                symbol = self.rng.choice(list(FEEDS))
                array = encode(random_array(self.rng), self.rng.random() < 0.5)
                for partition, position in await log.append([(symbol, [symbol, array])]):
                    self.entries[partition][position] = position, [(symbol.encode(), array)]
                await asyncio.sleep(self.rng.expovariate(200))
            await log.forget()

    async def more(self, partition: int, count: int = 20) -> None:
        """Wait until so many further entries of a partition were acknowledged."""
        wanted = len(self.entries[partition]) + count
        await eventually(lambda: len(self.entries[partition]) >= wanted, message="more input")


async def _stream(cluster: Cluster, server: EmbeddedServer, key: str) -> list[RawEntry]:
    return parse_entries(await cluster.ask(server, "XRANGE", key, "-", "+"))


async def _is_sound(cluster: Cluster, server: EmbeddedServer, made: Scene, partition: int) -> bool:
    """Whether what this server has is what its own input makes, all of it; fails if it is wrong."""
    keys = made.keys.partition(partition)
    history = await _stream(cluster, server, keys.deltas)
    entries = await _stream(cluster, server, keys.events)
    info = decode_info(dict(history[-1][1])[b"_"])
    upto = [entry for entry in entries if entry[0] <= Position.parse(info.src)]
    own = {symbol: kind for symbol, kind in FEEDS.items() if OF[symbol] == partition}
    oracle, books = Oracle.of(own, upto), check_history(history).replicas
    assert (info.applied, info.rejected, info.ignored) == oracle.counts
    for symbol in own:
        held = books[symbol].book
        assert {"bid": held.bids.levels, "ask": held.asks.levels} == oracle.levels(symbol)
    return upto == entries


async def _agree(cluster: Cluster, made: Scene, inputs: list[Input], readers: list[Consumer]) -> int:
    """Everybody has the books of the input that is left, which was sent; returns how much was lost."""
    lost = 0
    for partition in range(PARTITIONS):
        await made.consumed(partition)
        keys = made.keys.partition(partition)
        master = await cluster.master_of(keys.events)
        assert await _is_sound(cluster, master, made, partition)
        left = await _stream(cluster, master, keys.events)
        for entry in left:
            assert any(each.entries[partition].get(entry[0]) == entry for each in inputs), "it was sent"
        lost += sum(len(each.entries[partition]) for each in inputs) - len(left)
        books = check_history(await _stream(cluster, master, keys.deltas)).replicas
        for symbol in (symbol for symbol in FEEDS if OF[symbol] == partition):
            wanted = books[symbol].digest, books[symbol].seq
            await eventually(partial(made.shows, symbol, wanted), message=f"{symbol} at the readers")
            for reader in readers:
                held = partial(lambda r, s: (r.digest(s), r.seq(s)), reader, symbol)
                await eventually(partial(lambda h, w: h() == w, held, wanted), message=f"{symbol} elsewhere")
    assert made.regressed == 0
    return lost


@pytest.mark.slow
async def test_two_masters_for_a_while_and_one_history_in_the_end(
    tmp_path: Path, prefix: str, binary: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    monkeypatch.setattr(state_keeper, "TRIM_EVERY_S", 3600)  # what was lost is seen by what is left
    partition = OF["LEV"]
    async with (
        Cluster(binary, partible=True) as cluster,
        scene(cluster, prefix, tmp_path) as made,
        AsyncExitStack() as stack,
    ):
        keys = made.keys.partition(partition)
        old = await cluster.master_of(keys.events)
        here = Input(made, cluster.url, 1)
        sending = [asyncio.create_task(here.send())]
        await here.more(partition)
        new = await cluster.part(old, UNNOTICED_MS)
        # Whoever knows the others only goes to the master that counts; whoever is connected stays.
        others = ",".join(f"{HOST}:{each.port}" for each in cluster.servers if each is not old)
        elsewhere = f"redis+cluster://{others}"
        run = Run(await stack.enter_async_context(connect(elsewhere)), prefix, elsewhere, tmp_path)
        there = Input(made, elsewhere, 2)
        sending.append(asyncio.create_task(there.send()))
        long: dict[str, Any] = {"snapshot_interval_ms": 60_000, "retention_s": 600.0}
        settings = run.settings(partitions=PARTITIONS, lease_ms=1000, **long)
        second = asyncio.create_task(_ingest(run, settings, stack))
        reader = await stack.enter_async_context(Consumer(elsewhere, prefix=prefix))
        reading = asyncio.create_task(reader.follow())
        stack.callback(reading.cancel)
        before = len(await _stream(cluster, old, keys.events)), len(await _stream(cluster, new, keys.events))
        await asyncio.gather(here.more(partition), there.more(partition))

        async def both_lead() -> bool:
            found = [(await _stream(cluster, each, keys.deltas))[-1][0] for each in (old, new)]
            return found[0].epoch != found[1].epoch

        await eventually(both_lead, timeout_s=30, message="two leaders, each at one master")
        await asyncio.gather(here.more(partition), there.more(partition))
        await eventually(partial(_ends_in_time, reader, "LEV"), message="a book of the master that counts")
        after = len(await _stream(cluster, old, keys.events)), len(await _stream(cluster, new, keys.events))
        assert after[0] > before[0]
        assert after[1] > before[1]
        for server in (old, new):
            await _is_sound(cluster, server, made, partition)
        await cluster.rejoin(old)
        await asyncio.gather(here.more(partition), there.more(partition))
        for each in (here, there):
            each.stopping.set()
        await asyncio.gather(*sending)
        await second
        assert await _agree(cluster, made, [here, there], [reader]) > 0, "what the old master took is lost"
        # The same process is promoted again: whoever led there must not go on as if nothing had happened.
        again = Input(made, cluster.url, 3)
        sending = [asyncio.create_task(again.send())]
        await again.more(partition)
        assert await cluster.fail_over(keys.events) is old
        await again.more(partition)
        again.stopping.set()
        await asyncio.gather(*sending)
        await _agree(cluster, made, [here, there, again], [reader])


async def _ends_in_time(reader: Consumer, symbol: str) -> bool:
    return reader.state(symbol).value == "live"


async def _ingest(run: Run, settings: Any, stack: AsyncExitStack) -> None:
    """A second ingestor, until the end of the test."""
    stop = asyncio.Event()
    task = asyncio.create_task(IngestorService(settings).run(stop))

    async def end() -> None:
        stop.set()
        with suppress(RedisUnavailable):
            await task

    stack.push_async_callback(end)


async def test_a_server_that_was_a_replica_meanwhile_is_another_one(fresh_server: EmbeddedServer) -> None:
    """Its process is the same, and what it wrote before may be gone."""
    identity = ServerIdentity(0, lambda: "name")
    async with EmbeddedServer() as other, connect(fresh_server.url, on_connect=identity.check) as client:
        await execute(client, "PING")
        await client.connection_pool.disconnect()
        await execute(client, "PING")
        await follow(fresh_server, other.port)
        await ask(fresh_server, "REPLICAOF", "NO", "ONE")
        await client.connection_pool.disconnect()
        with pytest.raises(Fenced):
            await execute(client, "PING")
