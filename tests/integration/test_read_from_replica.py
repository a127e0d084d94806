"""Readers of replicas: which server they read, and that no fault of it shows a wrong book as right."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.consumer.resumption import ResumingFollower
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.shared.consumer_entry import ConsumerEntry, decode_entry
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import RedisUnavailable, SettingsError
from depthcast.shared.reader import PartitionReader
from depthcast.shared.replica_choice import Address, Report
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.redis import connect, execute, last_position
from depthcast.shared.runtime.replicas import ReadingClient
from depthcast.shared.settings import GatewaySettings
from depthcast.updates import State
from tests.chaos.oracle import Oracle
from tests.chaos.servers import WatchedServers
from tests.consumer_state import held_by
from tests.ingestor_runs import FEEDS, Input, Run, check_history
from tests.integration.gateway_harness import FakeIngestor, RunningGateway, fake_ingestor, running_gateway
from tests.integration.replica_scene import ask, follow, followed, look_often, place
from tests.proxy import FaultProxy
from tests.waiting import eventually


class Reading:
    """A consumer that reads from replicas, and checks every book that it gets."""

    def __init__(self, consumer: Consumer, ingestor: FakeIngestor) -> None:
        self.consumer = consumer
        self.ingestor = ingestor
        self.published: dict[int, int] = {}
        self.seq = 0
        self._level = 200

    async def publish(self) -> None:
        """Publish a change of AAA."""
        self._level += 1
        book = self.ingestor.books["AAA"]
        seq = book.seq + 1
        bids = {100: self._level}
        await self.ingestor.publish("AAA", bids)
        self.published[seq] = book.digest

    async def read(self) -> None:
        """Read for ever; fails if a book is none that was published, or goes back."""
        async for update in self.consumer:
            digest = digest_of(update.book.bids.levels.items(), update.book.asks.levels.items())
            assert self.published.get(update.seq, digest) == digest
            assert update.seq >= self.seq
            self.seq = update.seq

    def shows_all(self) -> bool:
        """Whether the book is the newest one, and is called right."""
        wanted = self.ingestor.books["AAA"]
        held = self.consumer.seq("AAA"), self.consumer.digest("AAA")
        return held == (wanted.seq, wanted.digest) and self.consumer.state("AAA") is State.LIVE

    @property
    def place(self) -> str:
        return self.consumer.places[0].server

    @property
    def client(self) -> ReadingClient:
        (followed_partition,) = self.consumer._followed.values()
        client = followed_partition.follower.client
        assert isinstance(client, ReadingClient)
        return client


@asynccontextmanager
async def reading(url: str, prefix: str, **options: Any) -> AsyncIterator[Reading]:
    async with fake_ingestor(url, prefix, "AAA") as ingestor:
        await ingestor.birth("AAA", {100: 5}, {101: 7})
        given = {"stale_ms": 1000, "replica_lag_max_ms": 1000, **options}
        async with (
            ingestor.beating(),
            Consumer(url, prefix=prefix, read_from="replica", **given) as consumer,
        ):
            found = Reading(consumer, ingestor)
            task = asyncio.create_task(found.read())
            try:
                await eventually(lambda: task.done() or (found.seq and found.shows_all()))
                assert not task.done(), task.result()
                yield found
                assert not task.done(), task.result()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("paused", "away"),
        ("killed", "away"),
        ("behind", "behind"),
        ("promoted", "history"),
        ("wiped", "history link"),
    ],
)
async def test_a_fault_of_the_replica_leads_to_the_primary_and_back(
    prefix: str, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    look_often(monkeypatch)
    async with (
        followed() as servers,
        reading(servers.primary.url, prefix) as found,
        EmbeddedServer() as other,
    ):
        (replica,), (link,) = servers.replicas, servers.links
        await eventually(lambda: found.place == place(replica))
        await found.publish()
        await eventually(found.shows_all)
        assert "cmdstat_xread" not in await ask(servers.primary, "INFO", "commandstats")
        assert "cmdstat_xread" in await ask(replica, "INFO", "commandstats")
        if fault == "paused":
            os.kill(replica.pid, signal.SIGSTOP)
        elif fault == "killed":
            replica.kill()
        elif fault == "behind":
            link.freeze()
        elif fault == "promoted":
            await ask(replica, "REPLICAOF", "NO", "ONE")
            await ask(replica, "XADD", found.ingestor.keys.partition(0).deltas, "*", "x", "y")
        else:
            await ask(replica, "REPLICAOF", HOST, other.port)
        await eventually(lambda: found.place == "primary", message="the primary is read")
        ((why, times),) = found.client.fallbacks.items()
        assert why in reason.split()
        assert times == 1
        await found.publish()
        await eventually(found.shows_all, message="the book goes on at the primary")
        if fault == "paused":
            os.kill(replica.pid, signal.SIGCONT)
        elif fault == "killed":
            replica.restart()
            await follow(replica, link.port)
        elif fault == "behind":
            link.thaw()
        else:
            await follow(replica, link.port)
        await eventually(lambda: found.place == place(replica), message="the replica is read again")
        await found.publish()
        await eventually(found.shows_all, message="the book goes on at the replica")
        if fault not in ("promoted", "wiped"):
            assert found.consumer.resyncs == 0, "nothing had to be loaded again"


async def test_a_replica_far_behind_makes_books_stale_where_the_limit_allows_it(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    async with (
        followed() as servers,
        reading(servers.primary.url, prefix, replica_lag_max_ms=600_000) as found,
    ):
        await eventually(lambda: found.place == place(servers.replicas[0]))
        before = found.consumer.seq("AAA")
        servers.links[0].freeze()
        await found.publish()
        await eventually(lambda: found.consumer.state("AAA") is State.STALE, message="stale")
        assert found.consumer.seq("AAA") == before
        assert (found.consumer.age_s("AAA") or 0) >= 1
        await eventually(lambda: (found.consumer.places[0].lag_ms or 0) > 1000, message="the lag is known")
        assert found.place == place(servers.replicas[0])
        servers.links[0].thaw()
        await eventually(found.shows_all, message="live again")
        await eventually(lambda: found.consumer.places[0].lag_ms is not None)
        assert not found.client.fallbacks


async def test_a_stored_position_that_the_replica_does_not_have_is_read_from_the_primary(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    async with (
        followed() as servers,
        reading(servers.primary.url, prefix, replica_lag_max_ms=600_000) as found,
    ):
        first = await _place_of_another(found, servers.primary.url, prefix, None)
        assert first == place(servers.replicas[0])
        servers.links[0].freeze()
        await found.publish()
        async with Consumer(servers.primary.url, prefix=prefix) as ahead:
            await ahead.wait_for("AAA", found.ingestor.books["AAA"].seq)
            await found.publish()
            await ahead.wait_for("AAA", found.ingestor.books["AAA"].seq)
            since = str(ahead.position)
        assert await _place_of_another(found, servers.primary.url, prefix, since) == "primary"
        servers.links[0].thaw()


async def _place_of_another(found: Reading, url: str, prefix: str, since: str | None) -> str:
    """Where a consumer reads the book of `found`, which must come without a gap."""
    options: dict[str, Any] = {"read_from": "replica", "replica_lag_max_ms": 600_000}
    async with Consumer(url, prefix=prefix, since=since, **options) as consumer:
        await consumer.wait_for("AAA", found.ingestor.books["AAA"].seq)
        return consumer.places[0].server


async def test_a_consumer_with_a_name_says_how_far_its_replica_is_behind(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    monkeypatch.setattr("depthcast.consumer.consumer.POLL_S", 0.05)
    async with followed() as servers, reading(servers.primary.url, prefix, name="risk") as found:

        async def said() -> ConsumerEntry | None:
            raw = await ask(servers.primary, "HGET", f"{prefix}:consumers", "risk")
            return None if raw is None else decode_entry(raw)

        async def knows_the_lag() -> bool:
            entry = await said()
            return entry is not None and entry.replica_lag_ms.get(0) is not None

        async def names_no_replica() -> bool:
            entry = await said()
            return entry is not None and not entry.replica_lag_ms

        await eventually(knows_the_lag, message="the lag is in Redis")
        servers.replicas[0].kill()
        await eventually(names_no_replica, message="the primary is read")
        assert found.place == "primary"


@pytest.mark.parametrize("what", ["it has lost entries", "it is left meanwhile"])
async def test_only_the_primary_alone_says_that_there_is_a_gap(
    prefix: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with followed() as servers, reading(servers.primary.url, prefix) as found:
        url, keys = servers.primary.url, found.ingestor.keys.partition(0)
        since = found.consumer.position[0]
        client = ReadingClient(url, keys.deltas, 600_000, connect)
        try:
            await client.check()
            assert client.place == place(servers.replicas[0])
            if what == "it has lost entries":
                await ask(servers.replicas[0], "REPLICAOF", "NO", "ONE")
                await found.publish()
                await ask(servers.replicas[0], "XADD", keys.deltas, f"{since.epoch}-{since.n + 9}", "x", "y")
                await ask(servers.replicas[0], "XTRIM", keys.deltas, "MAXLEN", 1)
            else:
                servers.links[0].freeze()
                await found.publish()
                since = await last_position(found.ingestor.redis, keys.deltas)
                start = Follower._start

                async def moving(self: Follower, symbols: Any) -> Any:
                    started = await start(self, symbols)
                    if self.client is client:
                        await client.to_primary("a check that comes just then")
                    return started

                monkeypatch.setattr(Follower, "_start", moving)
            reader = PartitionReader(lambda _: True)
            follower = ResumingFollower(client, keys, reader, lambda: {"AAA"}, since)
            assert (await anext(follower.entries())) is not None
            assert (client.place, follower.since) == ("primary", since), "nothing is taken for lost"
        finally:
            await client.aclose()


async def test_without_a_replica_and_at_a_replica_the_address_itself_is_read(
    prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look_often(monkeypatch)
    async with followed(0) as alone, reading(alone.primary.url, prefix) as found:
        await found.publish()
        await eventually(found.shows_all)
        assert found.place == "primary"
        assert "no replica can be read" in caplog.text
        async with EmbeddedServer() as replica:
            await follow(replica, alone.primary.port)
            async with Consumer(replica.url, prefix=prefix, read_from="replica") as consumer:
                await consumer.wait_for("AAA", found.ingestor.books["AAA"].seq)
                assert consumer.places[0].server == "primary"
            await eventually(lambda: found.place == place(replica), message="a replica that came later")


class Market:
    """A real ingestor with input, and a gateway and a consumer that read from replicas."""

    def __init__(self, run: Run, gateway: RunningGateway, consumer: Consumer) -> None:
        self.run = run
        self.sent = Input(run, Random(7), doubting=False)
        self.gateway = gateway
        self.consumer = consumer

    def places(self) -> set[str]:
        """Where the books are read."""
        clients = self.gateway.process.market_reader.replica_clients.values()
        return {self.consumer.places[0].server, *(client.place for client in clients)}

    async def epoch(self) -> int:
        try:
            history = await self.run.history()
        except RedisUnavailable:
            return 0
        return history[-1][0].epoch if history else 0

    async def check(self) -> None:
        """The books are those of the input that there is, at both readers, and are called right."""
        await self.run.published()
        oracle = Oracle.of(FEEDS, await self.run.stream(self.run.keys.events))
        books = check_history(await self.run.history()).replicas

        def there(symbol: str) -> bool:
            wanted, listing = (oracle.digest(symbol), books[symbol].seq), self._listing(symbol)
            replica = listing.replica
            return (
                held_by(self.consumer, symbol) == wanted
                and replica is not None
                and (replica.digest, replica.seq) == wanted
                and not listing.stale
            )

        for symbol in FEEDS:
            await eventually(partial(there, symbol), message=f"{symbol} at the readers")

    def _listing(self, symbol: str) -> Any:
        return self.gateway.process.core.market.listings[symbol]


@asynccontextmanager
async def market(url: str, prefix: str, folder: Path) -> AsyncIterator[Market]:
    seqs: dict[str, int] = {}

    async def read(consumer: Consumer) -> None:
        async for update in consumer:
            assert update.seq >= seqs.get(update.symbol, 0)
            seqs[update.symbol] = update.seq

    options: dict[str, Any] = {"read_from": "replica", "replica_lag_max_ms": 300}
    async with connect(url) as client:
        run = Run(client, prefix, url, folder)
        with running_gateway(url, prefix, stale_ms=1000, follow="all", **options) as gateway:
            # Snapshots are rare, so the whole stream is there to be checked.
            async with run.service(run.settings()), Consumer(url, prefix=prefix, **options) as consumer:
                made = Market(run, gateway, consumer)
                task = asyncio.create_task(read(consumer))
                try:
                    await made.sent.send(30)
                    await eventually(lambda: gateway.process.core.market.was_live, message="live")
                    await made.check()
                    yield made
                    assert not task.done(), task.result()
                finally:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
async def test_a_replica_that_lags_is_promoted_and_the_tail_that_was_read_elsewhere_is_lost(
    tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    async with followed(2) as servers, FaultProxy(servers.primary.url) as front:
        ahead, behind = servers.replicas
        async with market(front.url, prefix, tmp_path) as made:
            newest = await last_position(made.run.client, made.run.keys.deltas)

            async def has_it() -> bool:
                async with connect(behind.url) as client:
                    return await last_position(client, made.run.keys.deltas) >= newest

            await eventually(has_it, message="the other one has the books so far")
            servers.links[1].freeze()
            await eventually(lambda: made.places() == {place(ahead)}, message="the one in time is read")
            await made.sent.send(30)
            await made.check()
            epoch = await made.epoch()
            servers.primary.kill()
            await ask(behind, "REPLICAOF", "NO", "ONE")
            await ask(ahead, "REPLICAOF", HOST, behind.port)
            front.target = behind.url
            front.cut()

            async def goes_on() -> bool:
                return await made.epoch() > epoch

            await eventually(goes_on, message="a new epoch at the promoted replica")
            await made.sent.send(30)
            await made.check()
            await eventually(lambda: made.places() == {place(ahead)}, message="the replica is read again")
            await made.sent.send(10)
            await made.check()


@pytest.mark.slow
async def test_under_sentinels_readers_leave_the_replica_that_is_promoted_and_read_the_next_one(
    tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_often(monkeypatch)
    async with WatchedServers(1) as watched, market(watched.url, prefix, tmp_path) as made:
        master = await watched.master()
        replica = next(server for server in watched.servers if server is not master)
        await eventually(lambda: made.places() == {place(replica)}, message="the replica is read")
        epoch = await made.epoch()
        dead = await watched.fail_over()

        async def goes_on() -> bool:
            return await made.epoch() > epoch

        await eventually(goes_on, message="a new epoch at the new master")
        await made.sent.send(30)
        await made.check()
        assert made.places() == {"primary"}
        await asyncio.to_thread(dead.restart)
        await eventually(lambda: made.places() == {place(dead)}, message="the old master is read")
        await made.sent.send(30)
        await made.check()


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be primary or replica"):
        GatewaySettings(read_from="nearest")
    with pytest.raises(SettingsError, match="must be primary or replica"):
        Consumer("redis://h", read_from="")


async def test_a_connection_that_was_being_made_to_a_forgotten_replica_is_closed() -> None:
    async with followed() as servers:
        (replica,) = servers.replicas

        async def connections() -> int:
            return len((await ask(replica, "CLIENT", "LIST", "TYPE", "normal")).split(b"\n")) - 1

        async with ReadingClient(servers.primary.url, "key", 1000, connect) as client:
            await client.check()
            assert client.place == place(replica)
            current = client.current
            os.kill(replica.pid, signal.SIGSTOP)
            asking = asyncio.create_task(execute(current, "PING"))
            pool = cast("Any", current.connection_pool)
            try:
                await eventually(lambda: any(each.is_connected for each in pool._in_use_connections))
                await client._forget(())
            finally:
                os.kill(replica.pid, signal.SIGCONT)
            await asyncio.gather(asking, return_exceptions=True)
            await execute(current, "PING")  # a reader that has not looked since
            await client._forget(())
            assert await connections() == 1, "none but that which asks"
            await execute(current, "PING")
        assert await connections() == 1


async def test_one_of_many_replicas_is_read() -> None:
    """The primary is asked about each of them, and not about more at once than there are connections."""
    async with followed(4) as servers, ReadingClient(servers.primary.url, "key", 1000, connect) as client:
        await client.check()
        assert client.place in {place(replica) for replica in servers.replicas}


async def test_a_replica_that_the_reader_leaves_while_it_is_asked_is_left_once() -> None:
    async with followed() as servers, ReadingClient(servers.primary.url, "key", 1000, connect) as client:
        await client.check()
        moves, report = client.moves, client._report
        assert client.at_replica

        async def leave_meanwhile(address: Address) -> Report:
            found = await report(address)
            await client.to_primary("it does not have what is read next")
            return found

        client._report = leave_meanwhile  # type: ignore[method-assign]
        await client.check()
        assert (client.place, client.moves) == ("primary", moves + 1)
        assert client.fallbacks == {"behind": 1}
