"""Old books are never live, and input lag and lost input are said: real processes on a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from depthcast import Consumer, State
from depthcast.ingestor.runtime.lease import wait_for
from depthcast.shared.runtime.redis import execute
from tests.ingestor_runs import Process, Run
from tests.integration.gateway_harness import RunningGateway, client_of, running_gateway
from tests.waiting import eventually

STALE_MS = 1500
ONE = '["A"]\n'
LEVEL = '[["update","bid",5,1]]'


async def get(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(gateway.url + path) as answer:
        return answer.status, await answer.json()


async def state_of(gateway: RunningGateway) -> str:
    return str((await get(gateway, "/v1/books/A"))[1].get("state"))


async def is_state(gateway: RunningGateway, state: str) -> bool:
    return await state_of(gateway) == state


async def server_ms(client: Redis) -> int:
    seconds, us = await execute(client, "TIME")
    return int(seconds) * 1000 + int(us) // 1000


@asynccontextmanager
async def consumed(run: Run) -> AsyncIterator[Consumer]:
    """A consumer of A that reads in the background."""
    async with Consumer(run.url, ["A"], prefix=run.prefix, stale_ms=STALE_MS) as consumer:
        task = asyncio.create_task(_read_all(consumer))
        try:
            await eventually(lambda: consumer._followed[0].reader.shown)
            yield consumer
        finally:
            task.cancel()
            await asyncio.wait([task])


def age_of_a(consumer: Consumer) -> float:
    """In seconds; less than nothing as long as it is unknown."""
    age_s = consumer.age_s("A")
    return -1.0 if age_s is None else age_s


async def _read_all(consumer: Consumer) -> None:
    async for _ in consumer:
        pass


class TestOldBooks:
    async def test_a_reader_that_starts_while_no_ingestor_lives_has_stale_books_until_one_does(
        self, run: Run
    ) -> None:
        ingestor = Process(run.settings(ONE), run.folder)
        async with ingestor:
            await ingestor.leads()
            await run.send(("A", LEVEL))
            await run.published()
            await ingestor.kill()
            await asyncio.sleep(STALE_MS / 1000)
            with running_gateway(run.url, run.prefix, stale_ms=STALE_MS) as gateway:
                await eventually(lambda: is_state(gateway, "stale"), message="the gateway knows the symbol")
                async with client_of(gateway) as client, consumed(run) as consumer:
                    await client.send(op="subscribe", symbols=["A"])
                    await client.until("status", symbol="A", state="stale")
                    for _ in range(10):
                        status, body = await get(gateway, "/readyz")
                        assert (status, body["ready"]) == (503, False)
                        assert await state_of(gateway) != "live"
                        assert consumer.state("A") is State.STALE
                        await asyncio.sleep(0.05)
                    age_s = consumer.age_s("A")
                    assert age_s is None or age_s > STALE_MS / 1000

                    await ingestor.start()
                    await ingestor.leads()
                    await client.until("status", symbol="A", state="live")
                    await eventually(lambda: consumer.state("A") is State.LIVE)
                    assert (await get(gateway, "/readyz"))[0] == 200
                    await eventually(lambda: is_state(gateway, "live"))

                    await ingestor.kill()
                    await client.until("status", symbol="A", state="stale")
                    await eventually(lambda: consumer.state("A") is State.STALE)
                    assert (await get(gateway, "/readyz"))[0] == 200, "once is enough"

    async def test_a_reader_that_starts_under_a_living_ingestor_has_live_books(self, run: Run) -> None:
        async with run.service(run.settings(ONE)):
            await run.send(("A", LEVEL))
            await run.published()
            with running_gateway(run.url, run.prefix) as gateway:
                await eventually(lambda: is_state(gateway, "live"))

                async def is_recent() -> bool:
                    lag_ms: int = (await get(gateway, "/v1/books/A"))[1]["lag_ms"]
                    return 0 <= lag_ms < 1000

                await eventually(is_recent)
            async with consumed(run) as consumer:
                await eventually(lambda: consumer.state("A") is State.LIVE)
                await eventually(lambda: 0 <= age_of_a(consumer) < 2)


@asynccontextmanager
async def old_input(run: Run, ago_ms: int, every_s: float) -> AsyncIterator[None]:
    """Eight rejected entries from long ago, and another one every so often as long as the block lasts."""
    long_ago, stop = await server_ms(run.client) - ago_ms, asyncio.Event()

    async def send() -> None:
        for number in count():
            await execute(run.client, "XADD", run.keys.events, f"{long_ago}-{number}", "A", "[5]")
            if number >= 7 and await wait_for(stop, every_s):
                return

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        stop.set()
        await sending


class TestInputLag:
    async def test_input_that_waits_makes_books_stale_and_says_for_how_long(self, run: Run) -> None:
        """One reject for each interval: of eight entries from 20 s ago, the last ones wait for seconds."""
        settings = run.settings(ONE, interval_ms=400, pending_rejects_max=1, input_batch=2)
        async with run.service(settings) as service:
            with running_gateway(run.url, run.prefix, input_lag_max_ms=1000) as gateway:
                await eventually(lambda: is_state(gateway, "live"))
                async with client_of(gateway) as client, consumed(run) as consumer:
                    await client.send(op="subscribe", symbols=["A"])
                    await client.until("snapshot")
                    async with old_input(run, 20_000, every_s=0.4):
                        sent = await client.until("status", state="stale")
                        assert 19_000 < sent["lag_ms"] < 60_000
                        assert (await get(gateway, "/v1/books/A"))[1]["lag_ms"] > 19_000
                        await eventually(lambda: consumer.state("A") is State.STALE)
                        assert service.stats.of(0).input_lag_s > 19
                    await client.until("status", state="live")
                    assert await run.published()
                    await eventually(lambda: consumer.state("A") is State.LIVE)
                    await eventually(lambda: service.stats.of(0).input_lag_s < 1)


def input_age_ms(consumer: Consumer) -> float:
    """Of A; less than nothing as long as it is unknown."""
    age_s = consumer.input_age_s("A")
    return -1.0 if age_s is None else age_s * 1000


async def ages_of_symbols(gateway: RunningGateway) -> dict[str, int]:
    symbols = (await get(gateway, "/v1/symbols"))[1]
    return {each["symbol"]: each["input_age_ms"] for each in symbols if "input_age_ms" in each}


async def has_book(gateway: RunningGateway) -> bool:
    return (await get(gateway, "/v1/books/A"))[0] == 200


class TestTimesOfInput:
    async def test_they_reach_every_reader_through_a_new_leader(self, run: Run) -> None:
        settings = run.settings('["A"]\n["B"]\n["C"]\n')
        async with run.service(settings):
            sent = await run.send(("A", LEVEL), ("_", '{"ts":77}'))
            last = await run.send(("B", "[]"))
            await run.published()
        async with run.service(settings):
            with running_gateway(run.url, run.prefix, follow="all") as gateway:
                await eventually(lambda: has_book(gateway))
                async with client_of(gateway) as client, consumed(run) as consumer:
                    await client.send(op="subscribe", symbols=["A"])
                    assert (await client.until("snapshot"))["event_ts"] == 77
                    assert (await get(gateway, "/v1/books/A"))[1]["event_ts"] == 77
                    assert consumer.event_ts("A") == 77
                    await eventually(lambda: input_age_ms(consumer) >= 0)
                    before_ms = await server_ms(run.client)
                    age_ms = input_age_ms(consumer)
                    after_ms = await server_ms(run.client)
                    assert before_ms - last.epoch - 5 <= age_ms <= after_ms - sent.epoch + 5000

                    async def are_known() -> dict[str, int]:
                        return await ages_of_symbols(gateway)

                    ages = await eventually(are_known)
                    assert ages.keys() == {"A", "B"}, "C never had input"
                    await run.send(("A", '[["update","bid",5,2]]'), ("_", '{"ts":78}'))
                    assert (await client.until("delta"))["event_ts"] == 78
                    await eventually(lambda: consumer.event_ts("A") == 78)

    async def test_a_symbol_without_input_is_stale_until_its_producer_says_that_it_is_there(
        self, run: Run
    ) -> None:
        async with run.service(run.settings(ONE)):
            await run.send(("A", LEVEL))
            with running_gateway(run.url, run.prefix, input_age_max_ms=1000) as gateway:
                await eventually(lambda: has_book(gateway))
                async with client_of(gateway) as client:
                    await client.send(op="subscribe", symbols=["A"])
                    await client.until("snapshot")
                    await run.send(("A", '[["update","bid",5,2]]'))
                    status = await client.until("status", state="stale")
                    while "input_age_ms" not in status:  # no entry had come yet
                        status = await client.until("status", state="stale")
                    assert status["input_age_ms"] > 1000
                    assert await state_of(gateway) == "stale"
                    await run.send(("A", "[]"))
                    await client.until("status", state="live")
                    await eventually(lambda: is_state(gateway, "live"))


TEN_TRIMMED_TO_TWO = """
for _ = 1, 10 do redis.call('XADD', KEYS[1], '*', 'A', '[5]') end
redis.call('XTRIM', KEYS[1], 'MAXLEN', 2)
"""
"""In one step, so that nobody reads in between."""


class TestLostInput:
    async def test_what_is_trimmed_unread_is_counted_and_said(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = run.settings(ONE, interval_ms=200, pending_rejects_max=1, input_batch=1)
        async with run.service(settings) as service:
            await execute(run.client, "EVAL", TEN_TRIMMED_TO_TWO, 1, run.keys.events)
            await eventually(lambda: self._adds_up(run, 10), message="all of it is counted")
            lost = 10 - len(await run.rejects())
            assert lost == 8
            assert service.stats.of(0).input_lost == lost
            assert "input was deleted before it was read" in caplog.text
            await run.send(("A", LEVEL))
            info = await run.published()
            assert (info.lost, info.applied, info.entries) == (lost, 1, 11)

    async def test_a_producer_that_caps_the_log_is_noticed_under_steady_lag(self, run: Run) -> None:
        settings = run.settings(ONE, interval_ms=50, pending_rejects_max=1, input_batch=1)
        async with run.service(settings):
            for _ in range(40):
                await execute(
                    run.client, "XADD", run.keys.events, "MAXLEN", "=", 3, "*", "A", json.dumps([5])
                )
                await asyncio.sleep(0.005)
            await run.published()
            await eventually(lambda: self._adds_up(run, 40))

    @pytest.mark.parametrize("command", ["XDEL", "XTRIM"])
    async def test_what_is_deleted_while_nobody_leads_is_noticed_by_the_next_leader(
        self, run: Run, command: str
    ) -> None:
        """Also if the input that was consumed last is deleted with it, as by XTRIM."""
        settings = run.settings(ONE)
        async with run.service(settings):
            await run.send(("A", LEVEL))
            await run.published()
        sent = [await run.send(("A", LEVEL)) for _ in range(5)]
        what = (str(sent[1]), str(sent[4])) if command == "XDEL" else ("MAXLEN", 3)
        await execute(run.client, command, run.keys.events, *what)
        async with run.service(settings):
            assert await self._lost_at_least(run, 2) == 2
        async with run.service(settings):
            await run.send(("A", LEVEL))
            info = await run.published()
            assert (info.lost, info.applied, info.entries) == (2, 5, 7), "a leader goes on counting"

    async def test_trimming_by_the_leader_is_no_loss(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = run.settings(ONE, snapshot_interval_ms=50, retention_s=0)
        async with run.service(settings) as service:
            for _ in range(300):
                await run.send(("A", LEVEL))
            await run.published()
            await eventually(lambda: self._is_trimmed(run), timeout_s=30)
            await run.send(("A", LEVEL))
            info = await run.published()
            assert (info.lost, info.entries) == (None, 301)
            assert service.stats.of(0).input_lost == 0
        assert "deleted before" not in caplog.text

    async def _lost_at_least(self, run: Run, least: int) -> int:
        async def lost() -> int:
            info = await run.info()
            found = info.lost or 0 if info else 0
            return found if found >= least else 0

        return int(str(await eventually(lost, message="the loss is said")))

    async def _adds_up(self, run: Run, sent: int) -> bool:
        info = await run.info()
        assert info is not None
        rejected, lost = len(await run.rejects()), info.lost or 0
        assert rejected + lost <= sent
        return rejected + lost == sent and lost > 0

    async def _is_trimmed(self, run: Run) -> bool:
        return int(await execute(run.client, "XLEN", run.keys.events)) < 150
