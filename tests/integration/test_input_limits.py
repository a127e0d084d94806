"""Input that is too large, or that ends its ingestor, on a real server."""

import asyncio
import json
import logging
import signal
from functools import partial
from typing import Any

import msgpack
import pytest

from depthcast.ingestor import checkpoint
from depthcast.ingestor import engine as engine_module
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.events import read_entry
from depthcast.ingestor.limits import Limits
from depthcast.ingestor.runtime import guard as guard_module
from depthcast.ingestor.runtime import leader as leader_module
from depthcast.ingestor.runtime import leadership as leadership_module
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute, last_position
from depthcast.shared.types import Symbol
from tests.ingestor_runs import Process, Run, check_history
from tests.waiting import eventually

ONE_ORDERS_FEED = """
[ORD]
feed = "orders"
[LEV]
"""


def orders(*ids: int) -> str:
    return json.dumps([["add", "bid", 10 + number, 1, number] for number in ids])


def large(symbol: str, events: int = 40_000) -> tuple[str, bytes]:
    """One array of more than 256 KiB."""
    return symbol, msgpack.packb([["add", "bid", 1 << 40, 1, number] for number in range(events)])


async def reasons(run: Run) -> list[tuple[str, str, int, int]]:
    return [
        (one["symbol"].decode(), one["reason"].decode(), int(one["index"]), int(one["count"]))
        for one in await run.rejects()
    ]


async def mark(run: Run, position: Position) -> None:
    """What a leader leaves that was killed while it applied the entry at `position`."""
    last = await last_position(run.client, run.keys.deltas)
    await execute(run.client, "SET", run.keys.applying, f"{last} {position}")


class TestPoison:
    async def test_an_entry_that_its_leader_did_not_survive_is_rejected_and_passed(self, run: Run) -> None:
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            await run.published(await run.send(("ORD", orders(1, 2)), ("LEV", '[["add","bid",1,1]]')))
        first = await run.send(("LEV", '[["add","bid",2,1]]'))
        poison = await run.send(("ORD", orders(3)), ("LEV", '[["add","bid",3,1],7]'), ("ORD", "junk"))
        last = await run.send(("ORD", orders(4)))
        await mark(run, poison)
        async with run.service(run.settings(ONE_ORDERS_FEED, snapshot_interval_ms=60_000)):
            info = await run.published()
            assert (info.applied, info.rejected) == (5, 3)
            found = checkpoint.decode(await execute(run.client, "GET", run.keys.checkpoint("ORD")))
        assert found.src >= poison, "no replay may meet it"
        assert await reasons(run) == [
            ("ORD", "poison", -1, 1),
            ("LEV", "poison", -1, 1),
            ("ORD", "poison", -1, 1),
        ]
        assert {one["source"] for one in await run.rejects()} == {str(poison).encode()}
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            books = check_history(await run.history()).replicas
            assert books["LEV"].book.bids.levels == {1: 1, 2: 1}
            assert books["ORD"].book.bids.levels == {11: 1, 12: 1, 14: 1}
            assert first < poison < last

    async def test_a_mark_of_an_entry_that_was_published_means_nothing(self, run: Run) -> None:
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            await run.published(await run.send(large("ORD")))
            assert await execute(run.client, "GET", run.keys.applying)
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            await run.published(await run.send(("ORD", orders(100_000))))
        assert await reasons(run) == []

    @pytest.mark.parametrize("interval_ms", [0, 5])
    async def test_a_process_killed_while_it_applies_a_large_entry(
        self, run: Run, interval_ms: int, tmp_path: Any
    ) -> None:
        settings = run.settings(ONE_ORDERS_FEED, interval_ms=interval_ms)
        async with Process(settings, tmp_path) as process:
            await process.leads()
            await run.published(await run.send(("LEV", '[["add","bid",1,1]]')))
            # As if it used up memory or never came to an end: stopped after the mark, then killed.
            poison = await run.send(large("ORD", 400_000))

            async def marked() -> bool:
                raw = await execute(run.client, "GET", run.keys.applying)
                return raw is not None and raw.endswith(str(poison).encode())

            await eventually(marked)
            process.child.send_signal(signal.SIGSTOP)
            info = await run.info()
            assert info is not None
            if info.src == str(poison):
                pytest.skip("it was too quick to be killed in between")
            await process.kill()
            await process.start()
            await process.leads()
            good = await run.send(("ORD", orders(1)))
            await run.published(good)
        assert await reasons(run) == [("ORD", "poison", -1, 1)]
        assert check_history(await run.history()).replicas["ORD"].book.bids.levels == {11: 1}

    async def test_a_clean_end_in_the_middle_of_a_large_entry_rejects_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leadership_module, "STOP_S", 0.2)
        begun, going_on = asyncio.Event(), asyncio.Event()

        async def slow(leadership: Any, position: Any, fields: Any) -> None:
            begun.set()
            next(leadership.engine.apply_in_slices(str(position), fields))
            await going_on.wait()

        with monkeypatch.context() as patch:
            patch.setattr(leadership_module.Leadership, "_apply_in_slices", slow)
            async with run.service(run.settings(ONE_ORDERS_FEED)):
                await run.send(large("ORD"))
                await begun.wait()
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            info = await run.published()
        assert (info.applied, info.rejected) == (40_000, 0)


class TestExceptions:
    async def test_an_entry_that_raises_is_rejected_by_the_next_leadership(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(leader_module, "UNEXPECTED_RETRY_S", 0.01)
        really = read_entry

        def failing(fields: Any) -> Any:
            if any(b"mine" in raw for _, raw in fields):
                raise RuntimeError("a mistake in the program")
            return really(fields)

        monkeypatch.setattr(engine_module, "read_entry", failing)
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            await run.send(("ORD", orders(1)))
            await run.send(("ORD", '[["add","bid",10,1,"mine"]]'))
            await run.send(("ORD", orders(2)))
            info = await run.published()
        assert (info.applied, info.rejected) == (2, 1)
        assert await reasons(run) == [("ORD", "poison", -1, 1)]
        assert [
            record.levelno for record in caplog.records if record.msg == "leadership ended by an error"
        ] == [logging.ERROR]
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            assert check_history(await run.history()).replicas["ORD"].book.bids.levels == {11: 1, 12: 1}

    async def test_memory_that_is_short_for_a_moment_loses_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leader_module, "UNEXPECTED_RETRY_S", 0.01)
        left = [3]
        really = Engine._apply_array

        def failing(engine: Engine, *arguments: Any) -> Any:
            outcome = really(engine, *arguments)
            if left[0]:
                left[0] -= 1
                raise MemoryError
            return outcome

        monkeypatch.setattr(Engine, "_apply_array", failing)
        async with run.service(run.settings(ONE_ORDERS_FEED)) as service:
            await run.send(("ORD", orders(1)), ("LEV", '[["add","bid",1,1]]'))
            info = await run.published()
            assert service.stats.of(0).step_downs == 3
        assert (info.applied, info.rejected) == (2, 0)
        assert not left[0]
        check_history(await run.history())


class TestLimits:
    async def test_an_entry_beyond_all_limits_is_not_even_read(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leadership_module, "REPLY_MARGIN_BYTES", 1_000)
        async with run.service(run.settings(ONE_ORDERS_FEED, entry_bytes_max=4096)):
            for _ in range(3):
                await run.send(("LEV", '[["add","bid",1,1]]'))
            await run.send(("LEV", b"x" * 100_000), ("ORD", b"y" * 2_000_000))
            await run.send(*[(f"S{number}", b"z" * 10) for number in range(3_000)])
            await run.send(("LEV", '[["add","bid",1,1]]'))
            info = await run.published()
        assert (info.applied, info.rejected, info.lost) == (4, 3_002, None)
        rejects = await run.rejects()
        assert {one["reason"] for one in rejects} == {b"too_big"}
        assert [one["event"] for one in rejects[:2]] == [b"x" * 1024, b"y" * 1024]
        assert [int(one["count"]) for one in rejects[2:]] == [1] * 999 + [2_001]

    async def test_a_replay_has_the_limits_of_its_time(self, run: Run) -> None:
        """Each leader has another limit, and the next one has to replay what it consumed."""
        for attempt, most in enumerate([2, 5, 3, 100]):
            settings = run.settings(ONE_ORDERS_FEED, orders_max=most, snapshot_interval_ms=60_000)
            running = asyncio.create_task(_killed_later(run, settings))
            await eventually(partial(_led, run, attempt + 1))
            ids = range(10 * attempt, 10 * attempt + 4)
            await run.published(await run.send(("ORD", orders(*ids))))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        async with run.service(run.settings(ONE_ORDERS_FEED)):
            history = check_history(await run.history())
        # Two of the first four; then three more; then none; then all.
        assert sorted(history.replicas["ORD"].book.bids.levels) == [10, 11, 20, 21, 22, 40, 41, 42, 43]
        assert [reason for _, reason, _, _ in await reasons(run)] == ["too_many_orders"] * 7

    async def test_symbols_beyond_the_limit(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        async with run.service(run.settings("[AAA]\n[BBB]", symbols_max=2)) as service:
            for symbol in ("AA", "CCC"):
                await execute(
                    run.client,
                    "HSET",
                    run.deployment.instruments,
                    symbol,
                    to_json(Instrument(Symbol(symbol))),
                )
            await eventually(lambda: service.stats.of(0).symbols_left_out == 2)
            await run.published(
                await run.send(("AAA", "[[0,0,1,1]]"), ("BBB", "[[0,0,1,1]]"), ("AA", "[[0,0,1,1]]"))
            )
            await execute(run.client, "HDEL", run.deployment.instruments, "AAA", "CCC")
            await eventually(lambda: service.stats.of(0).symbols_left_out == 0)
            await run.published(await run.send(("AA", "[[0,0,1,1]]")))
        assert await reasons(run) == [("AA", "unknown_symbol", 0, 1)]
        assert sum("symbols_max" in record.message for record in caplog.records) == 2

    @pytest.mark.parametrize("part", ["_run_pieces", "settle"])
    @pytest.mark.parametrize("interval_ms", [0, 50])
    async def test_a_large_entry_stops_neither_heartbeats_nor_instruments(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, part: str, interval_ms: int
    ) -> None:
        monkeypatch.setattr(leadership_module, "SLICE_S", 0.0)
        monkeypatch.setattr(guard_module, "MARKED_BYTES", 1)
        really = getattr(Engine, part)
        applying = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(*arguments: Any, **options: Any) -> Any:
            applying.set()
            until = loop.time() + 2.0
            first = arguments[0]
            if part == "settle":
                first.whole = False
            while loop.time() < until:
                yield
            first.whole = part == "settle"
            return (yield from really(*arguments, **options))

        settings = run.settings(ONE_ORDERS_FEED, lease_ms=300, interval_ms=interval_ms)
        async with run.service(settings) as service:
            before = len(await run.history())
            monkeypatch.setattr(Engine, part, slow)
            await run.send(large("ORD"))
            await applying.wait()
            await execute(
                run.client, "HSET", run.deployment.instruments, "NEW", to_json(Instrument(Symbol("NEW")))
            )
            await run.published()
            history = await run.history()
            assert len(history) - before >= 3, "heartbeats"
            await run.published(await run.send(("NEW", "[[0,0,1,1]]")))
            assert service.stats.of(0).step_downs == 0
        assert await reasons(run) == []
        assert len(check_history(await run.history()).epochs) == 1


async def _led(run: Run, times: int) -> bool:
    return len(check_history(await run.history()).epochs) == times and bool((await run.history())[-1][0].n)


async def _killed_later(run: Run, settings: Any) -> None:
    async with run.service(settings):
        await asyncio.Event().wait()


class TestWithdrawn:
    async def test_what_a_withdrawn_orders_feed_refused_is_not_replayed(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Withdrawn under one leader, which crashes, and registered again before the next one begins."""
        monkeypatch.setattr("depthcast.ingestor.runtime.service.POLL_S", 0.05)
        settings = run.settings(ONE_ORDERS_FEED, snapshot_interval_ms=60_000)
        running = asyncio.create_task(_killed_later(run, settings))
        await eventually(partial(_led, run, 1))
        await run.published(await run.send(("ORD", orders(1))))
        held = await execute(run.client, "HGET", run.deployment.instruments, "ORD")
        await execute(run.client, "HDEL", run.deployment.instruments, "ORD")
        numbers = iter(range(2, 1000))

        async def refused() -> bool:
            await run.published(await run.send(("ORD", orders(next(numbers)))))
            return bool(await run.rejects())

        await eventually(refused)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await execute(run.client, "HSET", run.deployment.instruments, "ORD", held)
        async with run.service(settings):
            await run.published(await run.send(("ORD", orders(1_000))))
            found = checkpoint.decode(await execute(run.client, "GET", run.keys.checkpoint("ORD")))
            assert found.limits == Limits.of(settings)
        async with run.service(settings):
            books = check_history(await run.history()).replicas
        assert books["ORD"].book.bids.levels == {10 + 1_000: 1}, "a new listing begins empty"
