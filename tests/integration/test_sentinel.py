"""Addresses of sentinels: every process follows the master they name, through a real failover."""

import asyncio
from functools import partial
from pathlib import Path
from random import Random

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.errors import RedisRefused, RedisUnavailable, SettingsError
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.settings import GatewaySettings, variable
from tests.chaos.oracle import Oracle
from tests.chaos.servers import SERVICE, WatchedServers
from tests.ingestor_runs import FEEDS, Input, Run, check_history
from tests.integration.gateway_harness import running_gateway
from tests.waiting import eventually


@pytest.mark.slow
@pytest.mark.parametrize("by", ["a crash", "FAILOVER", "FAILOVER TO"])
async def test_ingestor_gateway_and_consumer_go_on_with_the_promoted_replica(
    tmp_path: Path, prefix: str, by: str
) -> None:
    async with WatchedServers(3) as watched:
        client = connect(watched.url)
        run = Run(client, prefix, watched.url, tmp_path)
        sent = Input(run, Random(11), doubting=False)
        with running_gateway(watched.url, prefix, stale_ms=600, follow="all") as gateway:
            async with run.service(run.settings()), Consumer(watched.url, prefix=prefix) as consumer:
                reading = asyncio.create_task(_follow(consumer))
                await sent.send(30)
                await run.published()
                market = gateway.process.core.market
                await eventually(lambda: set(market.listings) == set(FEEDS) and market.was_live)
                epoch = (await run.history())[-1][0].epoch
                if by == "a crash":
                    async with client.pipeline(transaction=False) as pipeline:
                        # WAIT is about the writes of its connection: this one comes after all others.
                        pipeline.execute_command("SET", "x", "1")
                        pipeline.execute_command("WAIT", 1, 30_000)
                        assert (await pipeline.execute())[1] == 1, "the replica has everything"
                    await watched.fail_over()
                else:
                    await sent.send(30)
                    await _command_failover(watched, to=by.endswith("TO"))
                    await client.connection_pool.disconnect()  # a replica would still answer it

                async def goes_on() -> bool:
                    try:
                        return (await run.history())[-1][0].epoch > epoch
                    except (RedisUnavailable, IndexError):
                        return False

                await eventually(goes_on, message="a new epoch at the new master")
                await sent.send(30)
                await run.published()
                oracle = Oracle.of(FEEDS, await run.stream(run.keys.events))
                info = await run.info()
                assert info is not None
                assert (info.applied, info.rejected, info.ignored) == oracle.counts
                books = check_history(await run.history()).replicas

                def there(symbol: str) -> bool:
                    wanted, listing = (oracle.digest(symbol), books[symbol].seq), market.listings[symbol]
                    replica = listing.replica
                    return (
                        (consumer.digest(symbol), consumer.seq(symbol)) == wanted
                        and replica is not None
                        and (replica.digest, replica.seq) == wanted
                        and not listing.stale
                    )

                for symbol in FEEDS:
                    book = books[symbol].book
                    assert {"bid": book.bids.levels, "ask": book.asks.levels} == oracle.levels(symbol)
                    await eventually(partial(there, symbol), message=f"{symbol} at the readers")
                assert not reading.done()
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        await client.aclose()


async def _command_failover(watched: WatchedServers, *, to: bool) -> None:
    """Have master and replica change places by the server's own command."""
    try:
        await watched.command_failover(to=to)
    except RedisRefused as error:
        if error.malformed:
            pytest.skip(f"the server has no FAILOVER: {error.problem}")
        raise


async def _follow(consumer: Consumer) -> None:
    """Read for ever; fails when a seq goes back."""
    seqs: dict[str, int] = {}
    async for update in consumer:
        assert update.seq >= seqs.get(update.symbol, 0)
        seqs[update.symbol] = update.seq


async def test_a_demoted_master_is_left_at_the_first_refusal() -> None:
    with EmbeddedServer() as server, EmbeddedServer() as other:
        client, control = connect(server.url, connections_max=1), connect(server.url)
        await execute(client, "SET", "x", "1")
        before = await execute(client, "CLIENT", "ID")
        await execute(control, "REPLICAOF", HOST, other.port)
        with pytest.raises(RedisUnavailable, match=r"(?i)read only replica"):
            await execute(client, "SET", "x", "2")
        assert await execute(client, "CLIENT", "ID") != before
        await client.aclose()
        await control.aclose()


async def test_what_sentinels_do_not_know_is_unavailable() -> None:
    async with WatchedServers(1) as watched:
        sentinel = watched.sentinels[0]
        client = connect(f"redis+sentinel://{HOST}:{sentinel.port}/other")
        with pytest.raises(RedisUnavailable, match="watches no such master"):
            await execute(client, "PING")
        await client.aclose()
        # The first does not exist, the second is no sentinel.
        places = f"{HOST}:{free_port()},{HOST}:{watched.servers[0].port}"
        client = connect(f"redis+sentinel://{places}/{SERVICE}")
        with pytest.raises(RedisUnavailable, match=r"does not answer: .*; .* replied ERR unknown command"):
            await execute(client, "PING")
        await client.aclose()
        # The third knows.
        places = f"{HOST}:{free_port()},{HOST}:{watched.servers[0].port},{HOST}:{sentinel.port}"
        client = connect(f"redis+sentinel://{places}/{SERVICE}?db=3")
        await execute(client, "SET", "x", "1")
        assert b"db=3" in await execute(client, "CLIENT", "INFO")
        await client.aclose()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://", "is not host"),
        ("redis+sentinel://h", "one service name"),
        ("redis+sentinel://h/", "one service name"),
        ("redis+sentinel://h/books/0", "one service name"),
        ("redis+sentinel://h,,g/books", "is not host"),
        ("redis+sentinel://h:x/books", "comes host:port"),
        ("redis+sentinel://:secret@h:99999/books", "comes host:port"),
    ],
)
def test_an_address_that_means_nothing(url: str, problem: str) -> None:
    for attempt in (lambda: connect(url), lambda: GatewaySettings(redis_url=url)):
        with pytest.raises(SettingsError, match=f"is not a usable address: .*{problem}") as caught:
            attempt()
        assert caught.value.name == variable("redis_url")
        assert "secret" not in str(caught.value)
