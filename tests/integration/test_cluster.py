"""A deployment in a real cluster: spread over its masters, through migrations and failovers under load."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from click.testing import CliRunner

from depthcast.cli.main import main
from depthcast.consumer.consumer import Consumer
from depthcast.ingestor.runtime.feeder_watch import UNCHANGED_S, FeederWatch
from depthcast.producer.input_log import InputLog
from depthcast.producer.producer import Producer
from depthcast.runtime.embedded import find_server
from depthcast.runtime.ports import HOST
from depthcast.runtime.server_binary import ServerBinary
from depthcast.runtime.venue_sources import Sources
from depthcast.shared.codec import decode_info
from depthcast.shared.errors import RedisRefused, RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.reject_record import RejectRecord
from depthcast.shared.runtime.catalog import Deployed, read_deployed
from depthcast.shared.runtime.error_replies import counts
from depthcast.shared.runtime.redis import RawEntry, connect, execute, newest_entry, parse_entries
from tests.chaos.oracle import Oracle
from tests.clusters import Cluster
from tests.consumer_state import held_by
from tests.environment import without_settings
from tests.ingestor_runs import FEEDS, Run, check_history
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.integration.replica_scene import look_often
from tests.random_events import encode, random_array
from tests.waiting import eventually

PARTITIONS: Final = 4
Fields = list[tuple[bytes, bytes]]
OF: Final = {symbol: partition_of(symbol, PARTITIONS) for symbol in FEEDS}


@pytest.fixture
def binary() -> ServerBinary:
    """The server that all tests run on; `.ci/run` runs these on each one."""
    return find_server()


class Scene:
    """An ingestor, a gateway, a consumer and input without a pause, in one cluster."""

    def __init__(
        self, cluster: Cluster, deployed: Deployed, gateway: RunningGateway, consumer: Consumer
    ) -> None:
        self.cluster = cluster
        self.keys = deployed.keys
        self.market = gateway.process.core.market
        self.market_reader = gateway.process.market_reader
        self.consumer = consumer
        self.client = connect(cluster.url)
        self.sent: list[dict[Position, Fields]] = [{} for _ in range(PARTITIONS)]
        self.lost = 0
        self.seqs: dict[str, int] = {}
        self.regressed = 0

    async def send(self, stop: asyncio.Event, rng: Random) -> None:
        """Append entries of several partitions at once until `stop` is set."""
        async with connect(self.cluster.url) as client:
            log = InputLog(client, self.keys, PARTITIONS)
            while not stop.is_set():
                names = [rng.choice(list(FEEDS)) for _ in range(rng.randint(1, 4))]
                arrays = [encode(random_array(rng), rng.random() < 0.5) for _ in names]
                pairs = list(zip(names, arrays, strict=True))
                places = await log.append([(name, [name, array]) for name, array in pairs])
                for (partition, position), (name, array) in zip(places, pairs, strict=True):
                    assert position not in self.sent[partition]
                    self.sent[partition][position] = [(name.encode(), array)]
                await asyncio.sleep(rng.expovariate(200))
            await log.forget()

    async def read(self) -> None:
        """Read for ever, and count what goes back."""
        async for update in self.consumer:
            self.regressed += update.seq < self.seqs.get(update.symbol, 0)
            self.seqs[update.symbol] = update.seq

    async def consumed(self, partition: int) -> Any:
        """What the newest entry says once all input of a partition was consumed."""
        keys = self.keys.partition(partition)

        async def there() -> Any:
            with suppress(RedisUnavailable):
                last = parse_entries(
                    await execute(self.client, "XREVRANGE", keys.events, "+", "-", "COUNT", 1)
                )
                newest = await newest_entry(self.client, keys.deltas)
                if newest is not None:
                    info = decode_info(dict(newest[1])[b"_"])
                    return info if not last or Position.parse(info.src) >= last[0][0] else None
            return None

        return await eventually(there, message=f"input of partition {partition} is consumed")

    async def check(self, *, lossless: bool) -> None:
        """Counts and books are those of the input that is in Redis, everywhere; nothing came twice."""
        for partition in range(PARTITIONS):
            info = await self.consumed(partition)
            keys = self.keys.partition(partition)
            sent, entries = self.sent[partition], await self.stream(keys.events)
            kept = dict(entries)
            assert kept.keys() <= sent.keys(), "nothing came twice"
            lost = (
                {position for position in sent if position >= entries[0][0]} - kept.keys() if kept else set()
            )
            assert not lossless or not lost
            self.lost += len(lost)
            for position in lost:
                del sent[position]
            own = {symbol: kind for symbol, kind in FEEDS.items() if OF[symbol] == partition}
            oracle = Oracle.of(own, sorted(sent.items()))
            assert (info.applied, info.rejected, info.ignored) == oracle.counts
            history = check_history(
                parse_entries(await execute(self.client, "XRANGE", keys.deltas, "-", "+"))
            )
            for symbol in own:
                replica = history.replicas[symbol]
                book = replica.book
                assert {"bid": book.bids.levels, "ask": book.asks.levels} == oracle.levels(symbol)
                wanted = oracle.digest(symbol), replica.seq
                await eventually(partial(self.shows, symbol, wanted), message=f"{symbol} at the readers")
        assert self.regressed == 0

    async def stream(self, key: str) -> list[RawEntry]:
        """All entries of a stream."""
        return parse_entries(await execute(self.client, "XRANGE", key, "-", "+"))

    def shows(self, symbol: str, wanted: tuple[int, int]) -> bool:
        """Whether the consumer and the gateway have this digest and seq, and call the book live."""
        listing = self.market.listings[symbol]
        replica = listing.replica
        return (
            held_by(self.consumer, symbol) == wanted
            and replica is not None
            and (replica.digest, replica.seq) == wanted
            and not listing.stale
        )


@asynccontextmanager
async def scene(
    cluster: Cluster, prefix: str, folder: Path, read_from: str = "primary"
) -> AsyncIterator[Scene]:
    """Everything runs, and all books are live."""
    async with connect(cluster.url) as client:
        run = Run(client, prefix, cluster.url, folder)
        settled: dict[str, Any] = {"stale_ms": 1000, "follow": "all", "read_from": read_from}
        with running_gateway(cluster.url, prefix, **settled) as gateway:
            long: dict[str, Any] = {"snapshot_interval_ms": 60_000, "retention_s": 600.0}
            settings = run.settings(partitions=PARTITIONS, lease_ms=1000, **long)
            async with (
                run.service(settings),
                Consumer(cluster.url, prefix=prefix, read_from=read_from) as consumer,
            ):
                deployed = await read_deployed(client, DeploymentKeys.at(cluster.url, prefix), None)
                assert deployed is not None
                made = Scene(cluster, deployed, gateway, consumer)
                reading = asyncio.create_task(made.read())
                try:
                    await eventually(lambda: set(made.market.listings) == set(FEEDS) and made.market.was_live)
                    yield made
                    assert not reading.done()
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                    await made.client.aclose()


async def under_load(made: Scene, seed: int, fault: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Do `fault` while input comes, and go on with input until every partition has some after it."""
    stop = asyncio.Event()
    sending = asyncio.create_task(made.send(stop, Random(seed)))
    try:
        await _more(made)
        await fault()
        await _more(made)
    finally:
        stop.set()
        await sending


async def _more(made: Scene) -> None:
    before = [len(sent) for sent in made.sent]
    wanted = [before[number] + 20 for number in set(OF.values())]

    def grown() -> bool:
        counts = [len(made.sent[number]) for number in set(OF.values())]
        return all(count >= least for count, least in zip(counts, wanted, strict=True))

    await eventually(grown, message="more input")


async def _epochs(made: Scene) -> list[int]:
    found = []
    for number in range(PARTITIONS):
        newest = await newest_entry(made.client, made.keys.partition(number).deltas)
        assert newest is not None
        found.append(newest[0].epoch)
    return found


@pytest.mark.slow
async def test_slots_move_and_nodes_fail_over_under_load(
    tmp_path: Path, prefix: str, binary: ServerBinary
) -> None:
    async with Cluster(binary) as cluster, scene(cluster, prefix, tmp_path) as made:
        places = {
            number: (await cluster.master_of(made.keys.partition(number).tag)).port for number in range(4)
        }
        assert len(set(places.values())) == 3, "partitions are spread over all masters"
        moved = made.keys.partition(OF["LEV"]).events

        async def migrate() -> None:
            masters = [await cluster.master_of(made.keys.partition(n).tag) for n in range(PARTITIONS)]
            source = await cluster.master_of(moved)
            await cluster.migrate(moved, next(each for each in masters if each is not source))

        before = await _epochs(made)
        await under_load(made, 1, migrate)
        await made.check(lossless=True)
        assert (await _epochs(made))[OF["LEV"]] > before[OF["LEV"]], "its leader began again"
        await under_load(made, 2, lambda: cluster.fail_over(moved))
        await made.check(lossless=True)

        async def kill() -> None:
            dead = await cluster.master_of(moved)
            dead.kill()
            await eventually(partial(_elsewhere, cluster, moved), timeout_s=30, message="a promoted replica")

        await under_load(made, 3, kill)
        await made.check(lossless=False)


@pytest.mark.slow
async def test_a_slot_that_is_half_moved_is_read_and_not_written(
    tmp_path: Path, prefix: str, binary: ServerBinary
) -> None:
    """After each key that has moved, a reader that comes has the right book; writes wait for the last one."""
    async with Cluster(binary) as cluster, scene(cluster, prefix, tmp_path) as made:
        await under_load(made, 5, nothing)
        await made.check(lossless=True)
        number = OF["LEV"]
        keys, before = made.keys.partition(number), await _epochs(made)
        wanted = {symbol: made.consumer.digest(symbol) for symbol in FEEDS}
        move = await cluster.begin_move(keys.deltas, (await cluster.others(keys.deltas))[0])
        followed, read_there = counts["ASK"], 0
        moved: list[bytes] = []
        while names := await move.left(1):
            await move.keys(names)
            moved += names
            read_there += keys.deltas.encode() in moved
            async with Consumer(cluster.url, prefix=prefix) as reader:
                for symbol, digest in wanted.items():
                    await reader.wait_for(symbol)
                    assert reader.digest(symbol) == digest
        assert read_there
        assert counts["ASK"] > followed
        # All keys have moved, and the slot has not: nobody writes at the server that will own it.
        there = await made.stream(keys.events)
        stop = asyncio.Event()
        sending = asyncio.create_task(made.send(stop, Random(6)))
        with pytest.raises(RedisRefused) as refused:
            await execute(made.client, "XADD", keys.events, "*", "LEV", "[]")
        assert refused.value.code == "ASK"
        await eventually(lambda: counts["ASK"] > followed + 20, message="the producer waits")
        assert await made.stream(keys.events) == there
        assert (await made.stream(keys.deltas))[-1][0].epoch == before[number]
        await move.end()
        await _more(made)
        stop.set()
        await sending
        await made.check(lossless=True)
        after = await _epochs(made)
        assert after[number] > before[number], "its leader began again"
        assert [epoch for epoch in after if epoch not in before] == [after[number]], "the others did not"


async def nothing() -> None:
    pass


@pytest.mark.slow
async def test_replicas_are_read_while_slots_move_and_nodes_fail_over(
    tmp_path: Path, prefix: str, binary: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    async with Cluster(binary) as cluster, scene(cluster, prefix, tmp_path, "replica") as made:
        moved = made.keys.partition(OF["LEV"]).events

        async def at_replicas() -> bool:
            for number, place in made.consumer.places.items():
                master = await cluster.master_of(made.keys.partition(number).tag)
                followers = {f"{HOST}:{each.port}" for each in cluster.servers if each is not master}
                if place.server not in followers:
                    return False
            return True

        await eventually(at_replicas, message="replicas are read")
        await under_load(made, 4, lambda: cluster.fail_over(moved))
        await made.check(lossless=True)
        await eventually(at_replicas, message="replicas are read after a failover")

        async def kill() -> None:
            dead = await cluster.master_of(moved)
            dead.kill()
            await eventually(partial(_elsewhere, cluster, moved), timeout_s=30, message="a promoted replica")

        await under_load(made, 5, kill)
        await made.check(lossless=False)
        assert made.consumer.places[OF["LEV"]].server == "primary", "it has no replica any more"


@pytest.mark.slow
async def test_producers_commands_and_the_watch_of_feeds_work_in_a_cluster(
    tmp_path: Path, prefix: str, binary: ServerBinary
) -> None:
    async with Cluster(binary, append_only=True) as cluster, scene(cluster, prefix, tmp_path) as made:
        rejected: list[str] = []

        def note(record: RejectRecord) -> None:
            rejected.append(record.symbol)

        async with Producer(cluster.url, prefix=prefix, on_reject=note) as producer:
            for symbol in ("LEV", "EVI", "LEV"):
                await producer.send(symbol, [("add", "bid", 100, 5)] if symbol == "LEV" else [("clear",)])
            await producer.send("LEV", [("reduce", "ask", 7, 1)])
            await producer.send("ORE", [("delete", "bid", 0, 0, 99)])
            await producer.consumed()
            await eventually(lambda: sorted(rejected) == ["LEV", "ORE"], message="rejects of two partitions")
        await eventually(lambda: made.consumer.book("LEV").bids.levels == {100: 10})
        for symbol, number in OF.items():
            said = await _command("partition", symbol, "--key", url=cluster.url, prefix=prefix)
            assert said == f"{made.keys.partition(number).events}\n"
        said = await _command("status", "--json", url=cluster.url, prefix=prefix)
        status = json.loads(said)
        assert [each["leader"] is not None for each in status["partitions"]] == [True] * PARTITIONS
        assert status["unreadable"] == {}
        assert "LEV" in await _command("instruments", "list", url=cluster.url, prefix=prefix)
        assert "ORE" in await _process("rejects", url=cluster.url, prefix=prefix)
        said = await _command("doctor", url=cluster.url, prefix=prefix, status=1)
        assert re.findall(r"^(\w+):", said, re.MULTILINE) == ["rejects", "rejects"], "nothing else is wrong"
        await _a_feed_without_a_word_is_marked(made)
        stray = f"{{{prefix}:{OF['LEV']}}}:events"
        await execute(made.client, "XADD", stray, "*", "LEV", "[]")
        said = await _command("doctor", url=cluster.url, prefix=prefix, status=1)
        assert f"write to {made.keys.partition(OF['LEV']).events}" in said


async def _process(*words: str, url: str, prefix: str) -> str:
    """What a command prints that wants the signals of a process."""
    named = [sys.executable, "-m", "depthcast", *words, "--redis-url", url, "--prefix", prefix]
    process = await asyncio.create_subprocess_exec(*named, stdout=PIPE, stderr=PIPE, env=without_settings())
    said, problem = await process.communicate()
    assert process.returncode == 0, (words, said, problem)
    return said.decode()


async def _command(*words: str, url: str, prefix: str, status: int = 0) -> str:
    """What a command prints that ends with this status."""
    named = [*words, "--redis-url", url, "--prefix", prefix]
    ended = await asyncio.to_thread(CliRunner().invoke, main, named)
    assert ended.exit_code == status, (words, ended.output)
    return ended.stdout


async def _a_feed_without_a_word_is_marked(made: Scene) -> None:
    """Entries of feeds are written, found and marked where the input log of their symbol is."""
    sources = Sources(made.client, made.keys, "gone")
    await sources.publish({symbol: {"feeder": "gone", "state": "live"} for symbol in FEEDS})
    assert {each["feeder"] for each in (await sources.read(list(FEEDS))).values()} == {"gone"}
    for symbol in FEEDS:
        entry = json.dumps({"feeder": "gone", "state": "live", "at": 1})
        await execute(made.client, "HSET", made.keys.sources_of(symbol), symbol, entry)
    watch = FeederWatch(made.client, made.keys, PARTITIONS)
    assert await watch.look(0.0) == []
    assert set(await watch.look(UNCHANGED_S)) == set(FEEDS)
    await eventually(lambda: {made.consumer.stale_reason(symbol) for symbol in FEEDS} == {"unfed"})


async def test_a_server_that_is_no_cluster_is_unavailable_as_one(redis_url: str) -> None:
    place = redis_url.partition("://")[2].partition("/")[0]
    async with connect(f"redis+cluster://{place}") as client:
        with pytest.raises(RedisUnavailable, match="cluster support disabled"):
            await execute(client, "GET", "x")


async def _elsewhere(cluster: Cluster, key: str) -> bool:
    with suppress(AssertionError, RedisUnavailable):
        return bool(await cluster.master_of(key))
    return False
