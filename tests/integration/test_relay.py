"""`depthcast relay` between real servers: the copy is the source, entry by entry, whatever happens."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from depthcast import Consumer, Producer
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.runtime import relay_snapshots
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import free_port
from depthcast.runtime.relay import RelayService
from depthcast.runtime.relay_sides import SOURCE, TARGET
from depthcast.shared.errors import CopyError, RedisUnavailable
from depthcast.shared.freshness import ServerClock
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.redis_roles import acl_rules, user_of
from depthcast.shared.runtime.catalog import Catalog, sample_clock
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.runtime.tail import Tail
from depthcast.shared.slots import spread_tags
from tests.chaos.servers import WatchedServers
from tests.clusters import Cluster
from tests.consumer_state import held_by
from tests.environment import without_settings
from tests.ingestor_runs import FEEDS, Input, Run, check_history
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.integration.limited_server import PREFIX, recording
from tests.integration.relay_scene import difference, entries_of, relay_settings, running_relay
from tests.role_commands import commands_of
from tests.waiting import eventually


class Scene:
    """An ingestor at one server, and its copy at another."""

    def __init__(
        self, run: Run, source: EmbeddedServer, target: EmbeddedServer, copied: Redis, source_url: str = ""
    ) -> None:
        self.source_url = source_url
        self.run = run
        self.source, self.target = source, target
        self.copied = copied
        self.sent = Input(run, Random(7), doubting=False)

    def settings(self, **changes: Any) -> Any:
        return relay_settings(self.source_url or self.source.url, self.target.url, self.run.prefix, **changes)

    async def same(self) -> None:
        """Wait until the copy is the source."""

        async def compared() -> bool:
            self.differing = await difference(
                (self.run.client, self.run.prefix), (self.copied, self.run.prefix), 1, list(FEEDS)
            )
            return not self.differing

        try:
            await eventually(compared, message="the copy is the source")
        except AssertionError as error:
            raise AssertionError(self.differing) from error

    async def same_end(self) -> None:
        """Wait until the copy ends where the source does."""

        async def compared() -> bool:
            newest = await self.run.history()
            return newest[-1:] == (await entries_of(self.copied, self.run.keys.deltas))[-1:] != []

        await eventually(compared)

    async def sent_again(self, lost: Position) -> None:
        """Send further input; what was `lost` with the old master is not in the log."""
        assert lost not in [position for position, _ in await self.run.stream(self.run.keys.events)]
        await self.sent.send(20)

    async def books(self) -> dict[str, tuple[int, int]]:
        """Digest and seq of each book at the source, compared with the naive models."""
        replicas = check_history(await self.run.history()).replicas
        for symbol, replica in replicas.items():
            levels = {"bid": replica.book.bids.levels, "ask": replica.book.asks.levels}
            assert levels == self.sent.models[symbol].levels()
        return {symbol: (replica.digest, replica.seq) for symbol, replica in replicas.items()}

    async def read_by(self, gateway: RunningGateway, consumer: Consumer) -> None:
        """Wait until both have the books of the source, live."""
        listings = gateway.process.core.market.listings

        def there(symbol: str, wanted: tuple[int, int]) -> bool:
            replica = listings[symbol].replica
            return (
                held_by(consumer, symbol) == wanted
                and replica is not None
                and (replica.digest, replica.seq) == wanted
                and not listings[symbol].stale
            )

        for symbol, wanted in (await self.books()).items():
            await eventually(partial(there, symbol, wanted), message=f"{symbol} at the readers of the copy")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    with (
        EmbeddedServer(append_only=True, options={"appendfsync": "always"}) as source,
        EmbeddedServer(append_only=True, options={"appendfsync": "always"}) as target,
    ):
        client, copied = connect(source.url), connect(target.url)
        yield Scene(Run(client, "books", source.url, tmp_path), source, target, copied)
        await client.aclose()
        await copied.aclose()


@asynccontextmanager
async def readers(scene: Scene) -> AsyncIterator[tuple[RunningGateway, Consumer]]:
    """A gateway and a consumer of the copy."""
    with running_gateway(scene.target.url, scene.run.prefix, stale_ms=3000, follow="all") as gateway:
        async with Consumer(scene.target.url, prefix=scene.run.prefix) as consumer:
            reading = asyncio.create_task(_follow(consumer))
            market = gateway.process.core.market
            await eventually(lambda: set(market.listings) == set(FEEDS) and market.was_live)
            yield gateway, consumer
            assert not reading.done()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _follow(consumer: Consumer) -> None:
    seqs: dict[str, int] = {}
    async for update in consumer:
        assert update.seq >= seqs.get(update.symbol, 0)
        seqs[update.symbol] = update.seq


async def test_readers_of_a_copy_have_the_books_of_the_source(scene: Scene) -> None:
    settings = scene.run.settings(snapshot_interval_ms=200, retention_s=60, interval_ms=1)
    async with scene.run.service(settings), running_relay(scene.settings()) as relay, readers(scene) as read:
        for _ in range(5):
            await scene.sent.send(40)
            await scene.run.published()
        await scene.read_by(*read)
        assert set(relay.deployments[0].lag_ms()) == {0}
        await eventually(lambda: (relay.deployments[0].lag_ms()[0] or 0) < 3000, message="it keeps up")
    # Nobody writes any more, so the copy can be compared at rest.
    async with running_relay(scene.settings()):
        await scene.same()


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.deep)])
async def test_a_relay_that_is_killed_at_any_instant_loses_nothing(scene: Scene, kills: int) -> None:
    """The chain of entries in the copy has no hole, and its readers never load the whole again."""
    rng = Random(3)
    settings = scene.run.settings(snapshot_interval_ms=100, retention_s=60, interval_ms=1)
    async with scene.run.service(settings):
        await scene.sent.send(20)
        await scene.run.published()
        relay = await start_relay(scene, DEPTHCAST_RELAY_LEASE_MS="500")
        async with readers(scene) as read:
            for _ in range(kills):
                await scene.sent.send(rng.randint(0, 30))
                await asyncio.sleep(rng.uniform(0.4, 1.6))  # anywhere between its start and its work
                relay.kill()
                await relay.wait()
                await scene.sent.send(rng.randint(0, 10))
                relay = await start_relay(scene, DEPTHCAST_RELAY_LEASE_MS="500")
            relay.kill()
            await relay.wait()
            async with running_relay(scene.settings()) as last:
                await scene.run.published()
                await scene.read_by(*read)
                assert last.deployments[0].partitions[0].replaced == 0
    async with running_relay(scene.settings()):
        await scene.same()


async def start_relay(scene: Scene, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "depthcast", "relay", "--source-url", scene.source.url),
        *("--redis-url", scene.target.url, "--prefix", scene.run.prefix),
        env=without_settings() | variables,
        stderr=asyncio.subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    "how", ["flushed", "killed and empty", "deltas deleted", "one entry less", "foreign"]
)
async def test_a_copy_that_loses_data_is_filled_again(scene: Scene, how: str) -> None:
    settings = scene.run.settings(snapshot_interval_ms=200, retention_s=60)
    deltas = scene.run.keys.deltas
    async with scene.run.service(settings), running_relay(scene.settings()) as relay, readers(scene) as read:
        await scene.sent.send(20)
        await scene.run.published()
        await scene.read_by(*read)
        if how == "flushed":
            await execute(scene.copied, "FLUSHALL")
        elif how == "killed and empty":
            scene.target.kill()
            for path in (scene.target.folder or Path()).glob("appendonlydir/*"):
                path.unlink()
            await asyncio.to_thread(scene.target.start)
        elif how == "deltas deleted":
            await execute(scene.copied, "DEL", deltas, scene.run.keys.snapshots("LEV"))
        elif how == "one entry less":
            (partition,) = relay.deployments[0].partitions

            async def noticed() -> bool:
                newest = (await entries_of(scene.copied, deltas))[-1][0]
                await execute(scene.copied, "XDEL", deltas, str(newest))
                await eventually(lambda: partition.replaced > 1 or partition.position != newest)
                return partition.replaced > 1

            await eventually(noticed)
        else:
            await execute(scene.copied, "XADD", deltas, "*", "LEV", "nobody")
        await scene.sent.send(20)
        await scene.run.published()
        await scene.read_by(*read)
    async with running_relay(scene.settings()):
        await scene.same()


async def test_snapshots_of_entries_that_the_source_has_lost_are_taken_back(scene: Scene) -> None:
    """They were copied before their entries, and a leader that goes on writes older ones."""
    async with running_relay(scene.settings()) as relay:
        async with scene.run.service(scene.run.settings(snapshot_interval_ms=200)):
            await scene.sent.send(20)
            await scene.run.published()
        await scene.same_end()
        (_, newest) = (await entries_of(scene.run.client, scene.run.keys.snapshots("LEV")))[-1]
        key, end = scene.run.keys.snapshots("LEV"), (await scene.run.history())[-1][0]
        words = [word for pair in newest for word in pair]
        await execute(scene.copied, "XADD", key, "MAXLEN", 2, str(end.next()), *words)
        copy = relay.deployments[0].partitions[0]
        copy.snapshots.copied["LEV"], before = end.next(), copy.replaced
        async with scene.run.service(scene.run.settings(snapshot_interval_ms=60_000)):
            await scene.sent.send(20)
            await scene.run.published()

            async def is_mended() -> bool:
                return (await entries_of(scene.copied, key))[-1][0] <= end

            await eventually(is_mended)
            async with Consumer(scene.target.url, prefix=scene.run.prefix) as consumer:
                await asyncio.wait_for(consumer.wait_for("LEV"), 15)
        assert copy.replaced == before


@pytest.mark.parametrize("how", ["flushed", "killed and empty", "deltas deleted"])
async def test_a_source_that_loses_data_is_followed(scene: Scene, how: str) -> None:
    settings = scene.run.settings(snapshot_interval_ms=200, retention_s=60)
    async with scene.run.service(settings), running_relay(scene.settings()) as relay, readers(scene) as read:
        await scene.sent.send(20)
        await scene.run.published()
        await scene.read_by(*read)
        if how == "flushed":
            await execute(scene.run.client, "FLUSHALL")
        elif how == "deltas deleted":
            await execute(scene.run.client, "DEL", scene.run.keys.deltas)
        else:
            scene.source.kill()
            for path in (scene.source.folder or Path()).glob("appendonlydir/*"):
                path.unlink()
            await asyncio.to_thread(scene.source.start)
        before = relay.deployments[0].partitions[0].replaced
        await eventually(lambda: relay.deployments[0].partitions[0].replaced > before)

        async def has_books() -> bool:
            try:
                return bool(await execute(scene.run.client, "EXISTS", scene.run.keys.snapshots("ORE")))
            except RedisUnavailable:
                return False

        await eventually(has_books, message="the ingestor wrote its books again")
        epoch = (await scene.run.history())[-1][0].epoch

        def followed() -> bool:
            position = relay.deployments[0].partitions[0].position
            return position is not None and position.epoch == epoch

        await eventually(followed)
        gateway, consumer = read
        replicas = {symbol: gateway.process.core.market.listings[symbol] for symbol in FEEDS}
        await scene.run.send(("LEV", '[["update", "bid", 1, 77]]'))
        await scene.run.published()

        async def live() -> bool:
            newest = await scene.run.snapshots("LEV")
            return (
                all(not listing.stale for listing in replicas.values())
                and consumer.seq("LEV") >= newest[-1][1].seq
                and consumer.book("LEV").bids.levels.get(1) == 77
            )

        await eventually(live, message="the readers of the copy are live again")
    async with running_relay(scene.settings()):
        await scene.same()


async def test_a_copy_whose_source_was_trimmed_meanwhile_begins_again(scene: Scene) -> None:
    settings = scene.run.settings(snapshot_interval_ms=50, retention_s=0)
    async with scene.run.service(settings):
        async with running_relay(scene.settings()):
            await scene.sent.send(5)
            await scene.run.published()
            await scene.same_end()
        oldest = (await scene.run.history())[0][0]
        await scene.sent.send(30)
        await scene.run.published()
        end = (await entries_of(scene.copied, scene.run.keys.deltas))[-1][0]

        async def trimmed() -> bool:
            await scene.sent.send(5)
            return (await scene.run.history())[0][0] > max(oldest, end.next())

        await eventually(trimmed, message="the source is trimmed beyond the copy")
        async with running_relay(scene.settings()) as relay, readers(scene) as read:
            assert relay.deployments[0].partitions[0].replaced == 1
            async with Consumer(scene.source.url, prefix=scene.run.prefix) as at_source:
                reading = asyncio.create_task(_follow(at_source))
                for symbol in FEEDS:
                    await at_source.wait_for(symbol)

                def alike() -> bool:
                    pairs = [
                        (each.digest(symbol), each.seq(symbol))
                        for symbol in FEEDS
                        for each in (at_source, read[1])
                    ]
                    return pairs[::2] == pairs[1::2] and pairs[0][1] > 0

                await eventually(alike)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    async with running_relay(scene.settings()):
        await scene.same()
    async with running_relay(scene.settings()) as relay:
        (partition,) = await eventually(lambda: relay.deployments[0].partitions)
        await eventually(lambda: partition.follows)
        assert relay.deployments[0].partitions[0].replaced == 0


@pytest.mark.slow
async def test_the_promoted_replica_of_a_source_is_followed(tmp_path: Path) -> None:
    async with WatchedServers(1) as watched:
        with EmbeddedServer() as target:
            client, copied = connect(watched.url), connect(target.url)
            run = Run(client, "books", watched.url, tmp_path)
            scene = Scene(run, watched.servers[0], target, copied, source_url=watched.url)
            settings = run.settings(snapshot_interval_ms=200, retention_s=60)
            async with (
                run.service(settings),
                running_relay(scene.settings()) as relay,
                readers(scene) as read,
            ):
                await scene.sent.send(20)
                await run.published()
                epoch = (await run.history())[-1][0].epoch
                replica = connect(watched.servers[1].url)

                async def has_all() -> bool:
                    newest = (await run.history())[-1:]
                    return (await entries_of(replica, run.keys.deltas))[-1:] == newest != []

                await eventually(has_all, message="the replica has what was published")
                # What follows does not reach the replica: it is lost, and the copy has it.
                await execute(replica, "CLIENT", "KILL", "TYPE", "MASTER")
                await execute(replica, "REPLICAOF", "127.0.0.1", free_port())
                lost = await run.send(("LEV", '[["update", "bid", 1, 55]]'))
                await run.published(lost)
                position = relay.deployments[0].partitions[0]
                end = (await run.history())[-1][0]
                await eventually(lambda: (position.position or end) >= end)
                await watched.fail_over()

                async def goes_on() -> bool:
                    try:
                        return (await run.history())[-1][0].epoch > epoch
                    except (RedisUnavailable, IndexError):
                        return False

                await eventually(goes_on, message="a new epoch at the new master")
                await eventually(lambda: relay.deployments[0].partitions[0].replaced > 1)
                await scene.sent_again(lost)
                await run.published()
                await scene.read_by(*read)
            async with running_relay(scene.settings()):
                await scene.same()
            await replica.aclose()
            await client.aclose()
            await copied.aclose()


async def test_a_slow_and_a_full_target_are_waited_for(scene: Scene) -> None:
    settings = scene.run.settings(snapshot_interval_ms=200, retention_s=60, interval_ms=1)
    async with scene.run.service(settings), running_relay(scene.settings()) as relay, readers(scene) as read:
        await scene.sent.send(20)
        await scene.run.published()
        await execute(scene.copied, "CLIENT", "PAUSE", 60_000, "WRITE")
        await scene.sent.send(40)
        await scene.run.published()
        await eventually(lambda: (relay.deployments[0].lag_ms()[0] or 0) > 1500)
        await execute(scene.copied, "CLIENT", "UNPAUSE")
        await scene.read_by(*read)
        await execute(scene.copied, "CONFIG", "SET", "maxmemory", "1")
        await scene.sent.send(20)
        failures = relay.deployments[0].failures
        await eventually(lambda: failures()["target"] > 0)
        assert "OOM" in relay.deployments[0].state()["problems"][0]
        await execute(scene.copied, "CONFIG", "SET", "maxmemory", "0")
        await scene.run.published()
        await scene.read_by(*read)
    async with running_relay(scene.settings()):
        await scene.same()


async def test_two_relays_share_a_copy_and_one_takes_over(scene: Scene) -> None:
    settings = scene.run.settings(snapshot_interval_ms=200, retention_s=60)
    async with scene.run.service(settings):
        first = await start_relay(scene, DEPTHCAST_RELAY_LEASE_MS="500")
        await eventually(lambda: entries_of(scene.copied, scene.run.keys.deltas))
        async with running_relay(scene.settings()) as second, readers(scene) as read:
            (partition,) = await eventually(lambda: second.deployments[0].partitions)
            await eventually(lambda: partition.standing_by)
            await eventually(lambda: second.deployments[0].ready)
            assert not partition.follows
            first.kill()
            await first.wait()
            await scene.sent.send(20)
            await scene.run.published()
            await eventually(lambda: partition.follows)
            await scene.read_by(*read)
            assert partition.replaced == 0
    async with running_relay(scene.settings()), running_relay(scene.settings()):
        await scene.same()


async def test_a_target_with_ingestors_of_its_own_is_refused(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = Run(scene.copied, scene.run.prefix, scene.target.url, tmp_path / "own")
    async with own.service(own.settings()):
        pass
    before = await entries_of(scene.copied, own.keys.deltas)
    async with scene.run.service(scene.run.settings()):
        with pytest.raises(CopyError, match=r"has ingestors of its own, or had them.*another --prefix"):
            await RelayService(scene.settings()).run(asyncio.Event())
    assert await entries_of(scene.copied, own.keys.deltas) == before
    relay = await start_relay(scene)
    assert await relay.wait() == 2


async def test_a_target_with_input_or_of_another_source_is_refused(scene: Scene) -> None:
    async with scene.run.service(scene.run.settings()):
        await execute(scene.copied, "XADD", scene.run.keys.events, "*", "LEV", "[]")
        with pytest.raises(CopyError, match="has input that nobody reads"):
            await RelayService(scene.settings()).run(asyncio.Event())
        await execute(scene.copied, "DEL", scene.run.keys.events)
        async with running_relay(scene.settings(source_name="tokyo")):
            await eventually(lambda: execute(scene.copied, "EXISTS", scene.run.deployment.incarnation))
        async with running_relay(
            scene.settings(source_name="osaka")
        ) as relay:  # the same data, by another name
            await eventually(lambda: relay.deployments[0].ready)
        await execute(scene.copied, "SET", scene.run.deployment.incarnation, "other data")
        with pytest.raises(CopyError, match=r"is a copy of tokyo, not of osaka"):
            await RelayService(scene.settings(source_name="osaka")).run(asyncio.Event())
        await execute(scene.copied, "HSET", scene.run.deployment.meta, "partitions", 7)
        with pytest.raises(
            CopyError, match=r"is a copy with partitions 7, and its source now has another one"
        ):
            await RelayService(scene.settings(source_name="tokyo")).run(asyncio.Event())


async def test_nobody_else_writes_to_a_copy(scene: Scene) -> None:
    async with scene.run.service(scene.run.settings()), running_relay(scene.settings(source_name="tokyo")):
        await eventually(lambda: execute(scene.copied, "HEXISTS", scene.run.deployment.meta, "copy_of"))
        with pytest.raises(CopyError, match=r"is a copy that a relay keeps of tokyo: write to the source"):
            await IngestorService(scene.run.settings(redis_url=scene.target.url)).run(asyncio.Event())
        with pytest.raises(CopyError, match="write to the source"):
            await Producer(scene.target.url, prefix=scene.run.prefix).__aenter__()


async def test_several_sources_under_other_prefixes(tmp_path: Path) -> None:
    with EmbeddedServer() as source, EmbeddedServer() as target:
        clients = connect(source.url), connect(source.url), connect(target.url)
        runs = [
            Run(client, prefix, source.url, tmp_path)
            for client, prefix in zip(clients, ("one", "two"), strict=False)
        ]
        sources = tmp_path / "sources.toml"
        sources.write_text(
            f'[first]\nurl = "{source.url}"\nprefix = "one"\n[two]\nurl = "{source.url}"\n', encoding="utf-8"
        )
        settings = relay_settings("", target.url, "unused", sources=str(sources))
        services = [run.service(run.settings()) for run in runs]
        async with services[0], services[1], running_relay(settings) as relay:
            for run in runs:
                await Input(run, Random(5)).send(10)
                await run.published()
            assert [each.source.prefix for each in relay.deployments] == ["first", "two"]
        async with running_relay(settings):
            for run, prefix in zip(runs, ("first", "two"), strict=True):

                async def same(run: Run = run, prefix: str = prefix) -> bool:
                    return not await difference(
                        (run.client, run.prefix), (clients[2], prefix), 1, list(FEEDS)
                    )

                await eventually(same)
        for client in clients:
            await client.aclose()


async def test_symbols_come_and_go_in_the_copy(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_snapshots, "SEEN_S", 1.0)
    instruments = scene.run.deployment.instruments
    async with (
        scene.run.service(scene.run.settings()),
        running_relay(scene.settings()) as relay,
        readers(scene) as read,
    ):
        gateway, _ = read
        market = gateway.process.core.market
        await execute(scene.run.client, "HSET", instruments, "NEW", "{}")
        await eventually(lambda: "NEW" in market.listings and not market.listings["NEW"].stale)
        await execute(scene.run.client, "HDEL", instruments, "NEW")
        await eventually(lambda: "NEW" not in market.listings)
        copier = relay.deployments[0].partitions[0].snapshots
        await eventually(lambda: "NEW" not in {*copier.wanted(), *copier.copied}, message="it is not read")
        await execute(scene.run.client, "HSET", instruments, "NEW", "{}")
        await eventually(lambda: "NEW" in market.listings and not market.listings["NEW"].stale)
        await execute(scene.run.client, "ZADD", scene.run.deployment.revoked, 2**40, "sub:eve")
        await eventually(lambda: execute(scene.copied, "ZSCORE", scene.run.deployment.revoked, "sub:eve"))


async def test_the_age_of_books_is_by_the_clock_of_the_source(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay sees a target whose clock is an hour ahead, and so do readers: the offset makes up for it."""
    offset = scene.run.deployment.meta
    async with scene.run.service(scene.run.settings()), running_relay(scene.settings()):
        measured = int(await eventually(lambda: execute(scene.copied, "HGET", offset, "copy_offset_us")))
        assert -200_000 < measured <= 0  # both are this machine, and never is an age too small
    clock = ServerClock()
    await sample_clock(scene.copied, clock, scene.run.deployment)
    await execute(scene.copied, "HSET", offset, "copy_offset_us", 3_600_000_000)
    late = ServerClock()
    await sample_clock(scene.copied, late, scene.run.deployment)
    now = asyncio.get_running_loop().time()
    assert 3_590e6 < (clock.now_us(now) or 0) - (late.now_us(now) or 0) < 3_610e6
    catalog = Catalog(scene.copied, scene.run.deployment)
    await catalog.poll(now)
    await catalog.aclose()
    assert abs((catalog.clock.now_us(now) or 0) - (late.now_us(now) or 0)) < 10e6


async def test_a_relay_has_the_rights_of_its_roles_and_needs_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client, role in ((scene.run.client, "relay-source"), (scene.copied, "relay")):
        await execute(
            client, "ACL", "SETUSER", user_of(role, PREFIX), *acl_rules(role, scene.run.prefix, "secret")
        )
    settings = scene.settings(
        source_username=user_of("relay-source", PREFIX), source_password="secret",
        redis_username=user_of("relay", PREFIX), redis_password="secret", relay_lease_ms=500,
    )  # fmt: skip
    await execute(scene.run.client, "ZADD", scene.run.deployment.revoked, 2**40, "sub:eve")
    ingestor = scene.run.settings(snapshot_interval_ms=50, retention_s=0)
    with recording(monkeypatch) as sent:
        async with scene.run.service(ingestor), running_relay(settings):
            for symbol in ("NEW", "LATE"):
                await execute(scene.run.client, "HSET", scene.run.deployment.instruments, symbol, "{}")
                await scene.sent.send(10)
                await scene.run.published()
                await eventually(lambda: execute(scene.copied, "EXISTS", scene.run.deployment.relays))
            await execute(scene.run.client, "HDEL", scene.run.deployment.instruments, "LATE")
            await eventually(lambda: execute(scene.copied, "HLEN", scene.run.deployment.relays))
            await execute(scene.copied, "HSET", scene.run.deployment.relays, "relay-old", "{}")
            await eventually(lambda: _gone(scene, "relay-old"))
            await execute(scene.copied, "DEL", scene.run.keys.deltas)
            await eventually(lambda: entries_of(scene.copied, scene.run.keys.deltas))
        async with running_relay(settings):
            await scene.same()
            # What does not change is watched from one look to the next.
            await eventually(lambda: {"exec", "multi"} <= sent["relay"] & sent["relay-source"])
    for client in (scene.run.client, scene.copied):
        assert await execute(client, "ACL", "LOG") == []
    for role in ("relay", "relay-source"):
        assert sent[role] - commands_of(role) == set()
        never = commands_of(role) - sent[role] - {"select", "cluster|slots", "asking", "unwatch"}
        assert never == set(), f"what {role} may and never sends"


async def _gone(scene: Scene, name: str) -> bool:
    return not await execute(scene.copied, "HEXISTS", scene.run.deployment.relays, name)


async def test_instruments_are_read_when_they_have_changed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthcast.runtime.relay.POLL_S", 0.02)
    keys = scene.run.deployment
    async with scene.run.service(scene.run.settings()), running_relay(scene.settings()) as relay:
        catalog = relay.deployments[0].catalog
        polls = 0
        sample = catalog._target_clock.observe

        def observed(*sampled: Any) -> None:
            nonlocal polls
            polls += 1
            sample(*sampled)

        monkeypatch.setattr(catalog._target_clock, "observe", observed)

        async def quiet() -> bool:
            """Nothing was read in ten looks."""
            before, upto = catalog.whole_reads.copy(), polls + 10
            await eventually(lambda: polls >= upto)
            return catalog.whole_reads == before

        await eventually(lambda: catalog.written)
        await eventually(quiet, message="instruments that do not change are not read")
        reads = catalog.whole_reads.copy()
        await execute(scene.run.client, "HSET", keys.instruments, "NEW", "{}")
        await eventually(partial(_registered, scene, "NEW"), message="a new one is copied")
        await execute(scene.copied, "DEL", keys.instruments)
        await eventually(
            partial(_registered, scene, "NEW"), message="what the copy has lost is written again"
        )
        await eventually(quiet)
        # A change between the beginning of the next watch and the read counts for the next look too.
        assert reads[SOURCE] < catalog.whole_reads[SOURCE] <= reads[SOURCE] + 2
        assert catalog.whole_reads[TARGET] <= reads[TARGET] + 4


async def test_instruments_are_read_after_the_interval_in_any_case(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthcast.runtime.relay.POLL_S", 0.02)
    settings = scene.settings(catalog_interval_s=1)
    async with scene.run.service(scene.run.settings()), running_relay(settings) as relay:
        reads = relay.deployments[0].catalog.whole_reads
        await eventually(lambda: reads[SOURCE] >= 3, message="nothing changes, and they are read")


async def _registered(scene: Scene, symbol: str) -> bool:
    table = await scene.copied.hgetall(scene.run.deployment.instruments)
    return (
        table == await scene.run.client.hgetall(scene.run.deployment.instruments) and symbol.encode() in table
    )


async def test_what_is_read_at_once_is_limited(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of some kB and one that is larger than the limit, which is read alone."""
    most = 65_536
    replies: list[tuple[int, int]] = []
    read = Tail.read

    async def noted(self: Tail, after: Position, *, count: int, block_ms: int) -> Any:
        entries = await read(self, after, count=count, block_ms=block_ms)
        replies.append((len(entries), self.reply_bytes))
        return entries

    async with scene.run.service(scene.run.settings(retention_s=600, snapshot_interval_ms=60_000)):
        for number in range(40):
            levels = 20_000 if number == 20 else 1500
            book = [["update", "bid", 1 + n, 1 + number] for n in range(levels)]
            await scene.run.send(("LEV", json.dumps(book)))
            await scene.run.published()
    monkeypatch.setattr(Tail, "read", noted)
    async with running_relay(scene.settings(relay_read_bytes_max=most)) as relay:
        await scene.same()
        [partition] = relay.deployments[0].partitions
        assert partition.limited
    assert any(size > most for _, size in replies), "one entry is larger than the limit"
    assert all(size <= most or count == 1 for count, size in replies)
    assert max(count for count, _ in replies) > 1


@pytest.mark.slow
async def test_copies_to_a_cluster_and_from_it(tmp_path: Path) -> None:
    """A chain of two relays with a cluster in the middle, whose slots move and whose node is replaced."""
    with (
        EmbeddedServer(append_only=True, options={"appendfsync": "always"}) as source,
        EmbeddedServer() as last,
    ):
        async with Cluster() as cluster, AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(connect(url)) for url in (source.url, cluster.url, last.url)
            ]
            run = Run(clients[0], "books", source.url, tmp_path)
            sent = Input(run, Random(9), doubting=False)
            settings = run.settings(snapshot_interval_ms=200, retention_s=60, interval_ms=1)
            await stack.enter_async_context(run.service(settings))
            for here, there in ((source.url, cluster.url), (cluster.url, last.url)):
                await stack.enter_async_context(running_relay(relay_settings(here, there, "books")))
            keys = DeploymentKeys("books", clustered=True, tags=tuple(spread_tags("books", 1)))
            deltas = keys.partition(0).deltas

            async def copied() -> bool:
                wanted = (await entries_of(clients[0], run.keys.deltas))[-1:]
                ends = [
                    (await entries_of(c, k))[-1:]
                    for c, k in ((clients[1], deltas), (clients[2], run.keys.deltas))
                ]
                return [wanted, wanted] == ends

            for fault in (partial(cluster.migrate, deltas), partial(cluster.migrate, keys.meta), None):
                await sent.send(30)
                await run.published()
                if fault is None:
                    await cluster.fail_over(deltas)
                else:
                    await fault((await cluster.others(fault.args[0]))[0])
                await sent.send(30)
                await run.published()
                await eventually(copied, message="both copies are at the end of the source")
            with running_gateway(cluster.url, "books", stale_ms=3000) as gateway:
                market = gateway.process.core.market
                await eventually(lambda: set(market.listings) == set(FEEDS) and market.was_live)
                for symbol, replica in check_history(await run.history()).replicas.items():
                    held = market.listings[symbol].replica
                    assert held is not None
                    assert held.digest == replica.digest
