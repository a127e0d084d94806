"""Faults of a real Redis server: what the ingestor does, what viewers see, which metrics change.

The table in `docs/operations.md`, "When Redis is in trouble", says the same in words. Throughout, the viewer
checks that no seq goes back and that every message's digest is that of its book.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from redis.asyncio import Redis

from depthcast.consumer.consumer import Consumer
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.shared.codec import decode_info
from depthcast.shared.errors import RedisRefused, RedisUnavailable
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.redis import connect, execute, last_position
from tests.book_model import brute_digest
from tests.ingestor_runs import FEEDS, check_history
from tests.integration.fault_scene import HEARTBEAT_S, STALE_MS, Scene, scene, watching
from tests.integration.gateway_harness import running_gateway
from tests.proxy import FaultProxy
from tests.waiting import TIMEOUT_S, eventually

OUTAGES = "depthcast_gateway_redis_troubles_total"
RESYNCS = "depthcast_gateway_resyncs_total"
REPLACED = "depthcast_gateway_replaced_total"
MISMATCHES = "depthcast_gateway_digest_mismatches_total"
GAPS = "depthcast_gateway_gaps_total"
STEP_DOWNS = "depthcast_ingestor_step_downs_total"
RESTATEMENTS = "depthcast_ingestor_restatements_total"
RESENDS = "depthcast_ingestor_resends_total"
BROADCASTS = "depthcast_ingestor_broadcasts_total"

LONG = """
local function now() local time = redis.call('TIME'); return time[1] * 1000000 + time[2] end
local until_us = now() + ARGV[1]
while now() < until_us do end
"""
"""Keeps the server busy for some microseconds."""


@pytest.fixture(autouse=True)
def _silence_is_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthcast.broadcaster.schedule.HEARTBEAT_S", HEARTBEAT_S)


@pytest.fixture
def lasting_server() -> Iterator[EmbeddedServer]:
    """A server of this test's own that keeps its data over a restart."""
    with EmbeddedServer(append_only=True, options={"appendfsync": "always"}) as server:
        yield server


@pytest.fixture
def second_server() -> Iterator[EmbeddedServer]:
    """A second server, to become a replica."""
    with EmbeddedServer() as server:
        yield server


class TestServer:
    async def test_a_restart_with_its_file(self, lasting_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(lasting_server, tmp_path) as it:
            await it.begin_led(OUTAGES, STEP_DOWNS)
            epoch = await it.epoch()
            await asyncio.to_thread(lasting_server.kill)
            await it.viewer.status_is("stale")
            await asyncio.to_thread(lasting_server.start)
            await it.new_epoch(epoch)
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()
            assert it.metric(MISMATCHES) == 0
            await it.rises(OUTAGES, STEP_DOWNS)

    async def test_a_restart_with_nothing(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(OUTAGES, STEP_DOWNS, RESTATEMENTS, REPLACED)
            await asyncio.to_thread(fresh_server.kill)
            await it.viewer.status_is("stale")
            await asyncio.to_thread(fresh_server.start)
            await it.viewer.status_is("live")
            await _published_again(it)
            await it.rises(OUTAGES, STEP_DOWNS, RESTATEMENTS, REPLACED)

    async def test_a_failover_to_a_replica_that_lacks_the_tail(
        self, fresh_server: EmbeddedServer, second_server: EmbeddedServer, tmp_path: Path
    ) -> None:
        async with scene(fresh_server, tmp_path) as it, connect(second_server.url) as replica:
            await it.redis("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            await execute(replica, "REPLICAOF", HOST, fresh_server.port)
            await _wait_for_replica(it, replica)
            await execute(replica, "REPLICAOF", "NO", "ONE")
            await it.feed()  # lost, but seen by the viewer
            await it.viewer.holds(it.sent)
            await it.begin_led(STEP_DOWNS, RESYNCS, REPLACED)
            lost = await last_position(it.run.client, it.run.keys.deltas)
            it.run.client, before = replica, it.run.client
            await before.aclose()
            for link in (it.ingestor_link, it.gateway_link):
                link.target = second_server.url
                link.cut()
            await it.new_epoch(lost.epoch)
            oracle = await it.oracle()
            await it.viewer.holds(oracle)
            assert await it.counts() == oracle.counts
            assert all(it.viewer.seqs()[symbol] > seq for symbol, seq in it.seqs.items())
            check_history(await it.run.history())
            await it.rises(STEP_DOWNS, RESYNCS, REPLACED)

    @pytest.mark.parametrize("forced", [False, True])
    async def test_the_command_failover(
        self, fresh_server: EmbeddedServer, second_server: EmbeddedServer, tmp_path: Path, forced: bool
    ) -> None:
        """No connection is cut by the test: everybody leaves the demoted master by itself.

        If the failover is forced, the new master lacks what was written last.
        """
        async with AsyncExitStack() as stack:
            it = await stack.enter_async_context(scene(fresh_server, tmp_path))
            replication = await stack.enter_async_context(FaultProxy(fresh_server.url))
            replica = await stack.enter_async_context(connect(second_server.url))
            consumer = await stack.enter_async_context(Consumer(it.gateway_link.url, prefix="faults"))
            reading = asyncio.create_task(_follow(consumer))
            await it.redis("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            await execute(replica, "REPLICAOF", HOST, replication.port)
            await _wait_for_replica(it, replica)
            if forced:
                replication.freeze()
                await it.feed()  # lost, but seen by the viewer
                await it.viewer.holds(it.sent)
            await it.begin_led(OUTAGES, STEP_DOWNS)
            refused = error_replies.counts["UNBLOCKED"]
            before = await last_position(it.run.client, it.run.keys.deltas)
            await it.sent.send(20)
            force = ("FORCE", "TIMEOUT", 200) if forced else ()
            await _fail_over(it, replica, "TO", HOST, second_server.port, *force)
            it.run.client, old = replica, it.run.client
            await old.aclose()
            it.ingestor_link.target = it.gateway_link.target = second_server.url
            await it.new_epoch(before.epoch)
            await it.feed()
            oracle = await it.oracle()
            await it.viewer.holds(oracle)
            assert await it.counts() == oracle.counts
            if not forced:
                assert oracle.counts == it.exactly_once()
            wanted = {symbol: brute_digest(model.levels()) for symbol, model in oracle.models.items()}
            market = it.gateway.process.core.market
            await eventually(lambda: {symbol: consumer.digest(symbol) for symbol in FEEDS} == wanted)
            await eventually(lambda: not any(listing.stale for listing in market.listings.values()))
            assert all(it.viewer.seqs()[symbol] >= seq for symbol, seq in it.seqs.items())
            assert error_replies.counts["UNBLOCKED"] > refused
            check_history(await it.run.history())
            await it.rises(OUTAGES, STEP_DOWNS)
            assert not reading.done(), reading
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def test_full_memory(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin(RESENDS, BROADCASTS)
            epoch = await it.epoch()
            await it.redis("CONFIG", "SET", "maxmemory", 1)
            with pytest.raises(RedisUnavailable, match="maxmemory"):
                await it.sent.send()
            await it.viewer.status_is("stale")
            assert await it.redis("EXISTS", it.run.keys.leader) == 1, "the lease is kept"
            await it.redis("CONFIG", "SET", "maxmemory", 0)
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()
            assert await it.epoch() == epoch, "the leadership goes on"
            await it.rises(RESENDS, BROADCASTS)

    async def test_its_file_cannot_be_written(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin(RESENDS)
            refused = error_replies.counts["MISCONF"]
            epoch = await it.epoch()
            (_, name) = await it.redis("CONFIG", "GET", "dbfilename")
            assert fresh_server.folder is not None
            in_its_place = fresh_server.folder / name.decode()
            in_its_place.mkdir()
            await it.redis("CONFIG", "SET", "save", "3600 1000000")
            await _saved(it, "err")
            await it.viewer.status_is("stale")
            in_its_place.rmdir()
            await _saved(it, "ok")
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()
            assert await it.epoch() == epoch, "the leadership goes on"
            assert error_replies.counts["MISCONF"] > refused
            await it.rises(RESENDS)

    async def test_it_reads_its_file_for_long(self, tmp_path: Path) -> None:
        delays = {"key-load-delay": "100000", "loading-process-events-interval-bytes": "1024"}
        with EmbeddedServer(options=delays) as server:
            async with scene(server, tmp_path) as it:
                await it.begin_led(OUTAGES, STEP_DOWNS)
                refused = error_replies.counts["LOADING"]
                for number in range(10):  # it answers only after each KiB that it has read
                    await it.redis("SET", f"filler{number}", Random(number).randbytes(2048))
                await it.redis("SAVE")
                await asyncio.to_thread(server.kill)
                await it.viewer.status_is("stale")
                await asyncio.to_thread(server.start)
                await it.viewer.status_is("live")
                await it.settle()
                assert await it.counts() == it.exactly_once()
                assert error_replies.counts["LOADING"] > refused
                await it.rises(OUTAGES, STEP_DOWNS)

    async def test_everything_flushed(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(STEP_DOWNS, RESTATEMENTS, REPLACED)
            await it.redis("FLUSHALL")
            await _published_again(it)
            await it.rises(STEP_DOWNS, RESTATEMENTS, REPLACED)


async def _wait_for_replica(it: Scene, replica: Redis) -> None:
    """Wait until a replica has everything that its master has, and the master counts it as online."""
    events = it.run.keys.events

    async def followed() -> bool:
        info = await it.redis("INFO", "replication")
        online = info["slave0"]["state"] == "online" if "slave0" in info else False
        return online and await last_position(replica, events) == await last_position(it.run.client, events)

    await eventually(followed, message="the replica is in step")


async def _fail_over(it: Scene, replica: Redis, *options: str | int) -> None:
    """Run `FAILOVER` on the master, and wait until the two have changed places."""
    try:
        await it.redis("FAILOVER", *options)
    except RedisRefused as error:
        if error.malformed:
            pytest.skip(f"the server has no FAILOVER: {error.problem}")
        raise

    async def changed() -> bool:
        roles = [(await execute(client, "ROLE"))[0] for client in (it.run.client, replica)]
        return roles == [b"slave", b"master"]

    await eventually(changed, message="master and replica have changed places")


async def _follow(consumer: Consumer) -> None:
    """Read for ever."""
    async for _ in consumer:
        pass


async def _saved(it: Scene, status: str) -> None:
    """Have the server write its file in the background, and wait until that ended with `status`."""
    await it.redis("BGSAVE")

    async def ended() -> bool:
        found = await it.redis("INFO", "persistence")
        return (found["rdb_bgsave_in_progress"], found["rdb_last_bgsave_status"]) == (0, status)

    await eventually(ended, message=f"the server's file: {status}")


async def _published_again(it: Scene) -> None:
    """Check that a running leader has written everything again, for new readers and old ones."""

    async def back() -> bool:
        history, meta, listed = (
            await it.run.history(),
            await it.redis("HGET", it.run.deployment.meta, "partitions"),
            await it.redis("HKEYS", it.run.deployment.instruments),
        )
        if not history or meta is None:
            return False
        first = decode_info(dict(history[0][1])[b"_"]).prev
        return (first, int(meta), {name.decode() for name in listed}) == ("0-0", 1, set(FEEDS))

    await eventually(back, message="meta, instruments and a stream that begins anew")
    await _newcomers_hold(it)
    await it.settle()


async def _newcomers_hold(it: Scene) -> None:
    """Check that a consumer and a gateway that start now get the books."""
    wanted = {symbol: brute_digest(model.levels()) for symbol, model in it.sent.models.items()}
    async with Consumer(it.server.url, prefix="faults") as consumer, asyncio.timeout(TIMEOUT_S):
        held: dict[str, int] = {}
        async for update in consumer:
            held[update.symbol] = consumer.digest(update.symbol)
            if held == wanted:
                break
    with running_gateway(it.server.url, "faults") as gateway:
        await eventually(lambda: gateway.process.core.market.was_live, message="a new gateway has all books")
        async with watching(gateway) as viewer:
            await viewer.holds(it.sent)


class TestKeys:
    async def test_deltas(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(STEP_DOWNS, RESTATEMENTS, REPLACED)
            await it.redis("DEL", it.run.keys.deltas)
            await _published_again(it)
            assert await it.counts() == it.exactly_once()
            await it.rises(STEP_DOWNS, RESTATEMENTS, REPLACED)

    async def test_events(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("DEL", it.run.keys.events)
            await it.settle()
            await _newcomers_hold(it)
            assert await it.counts() == it.exactly_once()

    @pytest.mark.parametrize("symbol", ["LEV", "ORD"])
    async def test_recovery_state(self, fresh_server: EmbeddedServer, tmp_path: Path, symbol: str) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(STEP_DOWNS)
            epoch = await it.epoch()
            keys = [it.run.keys.snapshots(symbol), it.run.keys.checkpoint(symbol)]
            await it.redis("DEL", *keys)

            async def written_again() -> bool:
                await it.feed(1)
                return int(await it.redis("EXISTS", *keys)) == (2 if symbol == "ORD" else 1)

            await eventually(written_again)
            await it.settle()
            await _newcomers_hold(it)
            assert (await it.epoch(), it.metric(STEP_DOWNS)) == (epoch, it.before[STEP_DOWNS])
            assert await it.counts() == it.exactly_once()

    async def test_meta(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("DEL", it.run.deployment.meta)

            async def written_again() -> bool:
                return bool(await it.redis("EXISTS", it.run.deployment.meta))

            await eventually(written_again)
            await it.settle()
            await _newcomers_hold(it)
            assert await it.counts() == it.exactly_once()

    async def test_instruments(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        """That is how an operator withdraws a symbol; here it is all of them."""
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            key = it.run.deployment.instruments
            definitions = await it.redis("HGETALL", key)
            await it.redis("DEL", key)
            ended = it.viewer.client.messages
            await eventually(
                lambda: (
                    {m["symbol"] for m in ended if m["type"] == "unsubscribed" and m["reason"] == "removed"}
                    == set(FEEDS)
                ),
                message="every subscription is ended by the gateway",
            )
            flat = [word for pair in definitions.items() for word in pair]
            await it.redis("HSET", key, *flat)
            await eventually(lambda: set(it.service.instruments) == set(FEEDS), message="listed again")
            it.sent.relisted()
            await it.feed()
            await _newcomers_hold(it)
            assert await it.counts() == it.exactly_once()

    async def test_the_lease(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("DEL", it.run.keys.leader)

            async def taken_again() -> bool:
                return bool(await it.redis("EXISTS", it.run.keys.leader))

            await eventually(taken_again)
            await it.settle()
            assert await it.counts() == it.exactly_once()


class TestLink:
    async def test_slow_replies(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(STEP_DOWNS, MISMATCHES, BROADCASTS)
            it.ingestor_link.delay_s = it.gateway_link.delay_s = 0.04
            for _ in range(5):
                await it.feed(3)
            await it.settle()
            assert it.viewer.states == [], "slow is not stale"
            assert await it.counts() == it.exactly_once()
            assert it.metric(STEP_DOWNS) == it.before[STEP_DOWNS]
            await it.rises(BROADCASTS)

    async def test_a_partitioned_ingestor(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            it.ingestor_link.freeze()
            await it.sent.send(5)
            await it.viewer.status_is("stale")

            async def expired() -> bool:
                return not await it.redis("EXISTS", it.run.keys.leader)

            await eventually(expired, message="the lease runs out")
            it.ingestor_link.thaw()
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()

    async def test_a_partitioned_gateway_alone(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            with running_gateway(fresh_server.url, "faults", stale_ms=2000) as other:
                await eventually(lambda: other.process.core.market.was_live)
                async with watching(other) as elsewhere:
                    it.begin(RESYNCS)
                    elsewhere.forget()
                    it.gateway_link.freeze()
                    await it.feed()
                    await it.viewer.status_is("stale")
                    await elsewhere.holds(it.sent)
                    assert elsewhere.states == [], "others see nothing of it"
                    it.gateway_link.thaw()
                    await it.viewer.status_is("live")
                    await it.settle()
                    assert it.metric(RESYNCS) == it.before[RESYNCS], "nothing was missed"

    async def test_a_gateway_cut_off_for_longer_than_history_reaches(
        self, fresh_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("depthcast.ingestor.runtime.state_keeper.STORE_EVERY_S", 0.02)
        monkeypatch.setattr("depthcast.ingestor.runtime.state_keeper.TRIM_EVERY_S", 0.05)
        async with scene(fresh_server, tmp_path, retention_s=0) as it:
            await it.redis("CONFIG", "SET", "stream-node-max-entries", 2)  # so that little is trimmed too
            it.begin(RESYNCS, REPLACED)
            it.gateway_link.freeze()
            at = it.gateway.process.core.market.upstreams[0].reader.position
            assert at is not None

            async def trimmed() -> bool:
                await it.feed(5)
                return (await it.run.history())[0][0] > at.next()

            await eventually(trimmed, message="the stream begins after what the gateway has read")
            await it.viewer.status_is("stale")
            it.gateway_link.thaw()
            await it.viewer.status_is("live")
            await it.settle()
            await it.rises(RESYNCS, REPLACED)

    async def test_connections_cut_everywhere(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin(OUTAGES)
            for _ in range(10):
                await it.sent.send(2)
                it.ingestor_link.cut()
                it.gateway_link.cut()
            await it.settle()
            assert await it.counts() == it.exactly_once()
            await it.rises(OUTAGES)

    async def test_clients_killed(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin(OUTAGES)
            for _ in range(10):
                await it.sent.send(2)
                await it.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await it.settle()
            assert await it.counts() == it.exactly_once()
            await it.rises(OUTAGES)

    @pytest.mark.parametrize("which", ["ALL", "WRITE"])
    async def test_clients_paused(self, fresh_server: EmbeddedServer, tmp_path: Path, which: str) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("CLIENT", "PAUSE", 3 * STALE_MS, which)
            await it.viewer.status_is("stale")
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()


class TestErrorReplies:
    """What a real server can be brought to say; `tests/conformance/error_replies.py` has all the rest."""

    async def test_blocked_reads_are_ended_by_an_error(
        self, fresh_server: EmbeddedServer, tmp_path: Path
    ) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(OUTAGES, STEP_DOWNS)
            for _ in range(10):
                for number in range(1, int(await it.redis("CLIENT", "ID")) + 50):
                    await it.redis("CLIENT", "UNBLOCK", number, "ERROR")
                await it.sent.send(1)
            await it.settle()
            assert await it.counts() == it.exactly_once()
            assert it.metric(STEP_DOWNS) == it.before[STEP_DOWNS], "the leadership goes on"
            await it.rises(OUTAGES)

    @pytest.mark.parametrize("serves_stale", ["yes", "no"])
    async def test_the_server_is_a_replica_for_a_while(
        self, fresh_server: EmbeddedServer, tmp_path: Path, serves_stale: str
    ) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("CONFIG", "SET", "replica-serve-stale-data", serves_stale)
            await it.redis("REPLICAOF", HOST, 1)
            await it.viewer.status_is("stale")
            await it.redis("REPLICAOF", "NO", "ONE")
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()

    @pytest.mark.parametrize("command", ["xread", "evalsha", "xadd", "xinfo", "type", "set", "get", "time"])
    async def test_a_command_is_denied_for_a_while(
        self, fresh_server: EmbeddedServer, tmp_path: Path, command: str
    ) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("ACL", "SETUSER", "default", f"-{command}")
            await asyncio.sleep(STALE_MS / 1000)
            await it.redis("ACL", "SETUSER", "default", f"+{command}")
            await it.settle()
            assert await it.counts() == it.exactly_once()

    async def test_a_script_that_may_write_deltas_alone_writes_nothing(
        self, fresh_server: EmbeddedServer, tmp_path: Path
    ) -> None:
        """Rejects are trimmed before they are written if they fill their cap."""
        async with scene(fresh_server, tmp_path, rejects_max=1) as it:
            it.begin()
            await it.redis("ACL", "SETUSER", "default", "-xtrim")
            await it.run.send(("LEV", '[["add", "bid", 1, 0]]'))
            before = await it.counts()
            await it.viewer.status_is("stale")
            assert await it.counts() == before, "nothing was consumed without its rejects"
            await it.redis("ACL", "SETUSER", "default", "+xtrim")
            info = await it.run.published()
            assert info.rejected == before[1] + 1

    async def test_too_few_replicas(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("CONFIG", "SET", "min-replicas-to-write", 1)
            await it.viewer.status_is("stale")
            await it.redis("CONFIG", "SET", "min-replicas-to-write", 0)
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()

    async def test_a_long_script(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            await it.redis("CONFIG", "SET", "busy-reply-threshold", 20)
            await it.redis("EVAL", LONG, 0, 1_500_000)
            await it.viewer.status_is("stale")
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()

    async def test_another_password(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin(OUTAGES)
            await it.redis("CONFIG", "SET", "requirepass", "another")
            await it.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await it.viewer.status_is("stale")
            await it.redis("CONFIG", "SET", "requirepass", "")
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()
            await it.rises(OUTAGES)

    async def test_too_many_clients(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin(OUTAGES)
            await it.redis("CONFIG", "SET", "maxclients", 1)
            await it.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await it.viewer.status_is("stale")
            await it.redis("CONFIG", "SET", "maxclients", 1000)
            await it.viewer.status_is("live")
            await it.settle()
            assert await it.counts() == it.exactly_once()
            await it.rises(OUTAGES)
