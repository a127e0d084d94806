"""The ingestor against a real server, from start to end, and through crashes and a bad connection."""

import asyncio
import json
from functools import partial
from itertools import chain, count, islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgpack
import pytest

from depthcast.ingestor import checkpoint
from depthcast.ingestor.rejects import REJECTS_PER_ENTRY
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.leadership import Leadership
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.consumer_entry import ConsumerEntry, encode_entry
from depthcast.shared.instruments import Feed, Instrument, to_json
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import execute, last_position
from depthcast.shared.types import Symbol
from tests.ingestor_runs import FEEDS, Input, Process, Run, check_history
from tests.proxy import Cut, FaultProxy
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually


def pairs(flat: Any) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def readiness(service: IngestorService) -> tuple[bool, dict[str, Any]]:
    ready, body = service._ready()
    return ready, without_checks(body)


def without_checks(body: dict[str, Any]) -> dict[str, Any]:
    """The server of the tests has no append-only file, which is said a moment after the start."""
    return {name: value for name, value in body.items() if name != "redis"}


class TestStart:
    async def test_registers_the_deployment_and_its_instruments(self, run: Run) -> None:
        async with run.service(run.settings('["BTC-USD"]\ntick_size="0.01"\n[ORD]\nfeed="orders"')):
            meta = await run.client.hgetall(run.deployment.meta)
            instruments = await run.client.hgetall(run.deployment.instruments)
        assert meta == {b"protocol": b"1", b"partitions": b"1"}
        assert {name: json.loads(raw) for name, raw in instruments.items()} == {
            b"BTC-USD": {"tick_size": "0.01", "lot_size": "1", "feed": "levels", "on_cross": "reject"},
            b"ORD": {"tick_size": "1", "lot_size": "1", "feed": "orders", "on_cross": "reject"},
        }

    async def test_every_symbol_is_born_in_the_entry_after_the_seal_with_its_recovery_state(
        self, run: Run
    ) -> None:
        async with run.service(run.settings()):
            born = check_history(await run.history())
            assert [symbol for position, symbol, _ in born.deltas if position.n == 1] == sorted(FEEDS)
            assert all(delta.prev_seq == 0 for _, _, delta in born.deltas)
            for symbol, (feed, _) in FEEDS.items():
                position, snapshot = (await run.snapshots(symbol))[0]
                assert (position.n, snapshot.seq, snapshot.bids) == (1, born.replicas[symbol].seq, [])
                held = await execute(run.client, "GET", run.keys.checkpoint(symbol))
                assert (held is not None) == (feed == "orders")
                assert held is None or checkpoint.decode(held)[:2] == (position, ZERO)

    async def test_no_instruments_at_all_is_fine(self, run: Run) -> None:
        async with run.service(run.settings(None)):
            await run.send(("BTC-USD", "[[0]]"))
            assert (await run.published()).rejected == 1
        assert [reject["reason"] for reject in await run.rejects()] == [b"unknown_symbol"]

    async def test_changed_sizes_are_registered_again(self, run: Run) -> None:
        async with run.service(run.settings('[A]\ntick_size="1"')):
            pass
        async with run.service(run.settings('[A]\ntick_size="0.5"')):
            held = await run.client.hget(run.deployment.instruments, "A")
        assert json.loads(held or "")["tick_size"] == "0.5"

    async def test_starts_before_redis_and_waits(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with EmbeddedServer() as server:
            client = patient(server.url)
            run = Run(client, "waits", server.url, tmp_path)
            server.kill()
            service, stop = IngestorService(run.settings()), asyncio.Event()
            running = asyncio.create_task(service.run(stop))
            await eventually(lambda: "waiting for Redis" in caplog.text)
            assert not service._ready()[0]
            server.restart()
            await eventually(lambda: run.leads(service))
            stop.set()
            await running
            await client.aclose()

    async def test_several_partitions(self, run: Run) -> None:
        text = "".join(f'["S{number}"]\n' for number in range(12))
        async with run.service(run.settings(text, partitions=3)) as service:
            assert (await run.client.hget(run.deployment.meta, "partitions")) == b"3"
            assert readiness(service) == (True, {"partitions": 3, "leading": 3, "following": 0})
            fields = [(f"S{number}", '[["add","bid",5,1]]') for number in range(12)]
            for partition in range(3):
                events = run.deployment.partition(partition).events
                await execute(run.client, "XADD", events, "*", *(part for pair in fields for part in pair))
            await eventually(lambda: sum(stats.applied for stats in service.stats.partitions.values()) == 12)
            assert sum(stats.rejected for stats in service.stats.partitions.values()) == 24
        reasons = [
            dict(fields)[b"reason"]
            for partition in range(3)
            for _, fields in await run.stream(run.deployment.partition(partition).rejects)
        ]
        assert reasons == [b"wrong_partition"] * 24


class TestInput:
    async def test_both_encodings_names_and_numbers_atomic_and_repeated_fields(self, run: Run) -> None:
        async with run.service(run.settings()):
            await run.send(
                ("LEV", msgpack.packb([["add", "bid", 100, 5], [0, 0, 99, 7]])),
                ("ORD", '[["add","ask",101,3,"x"],[0,1,102,4,7],[0,1,103,1,"7"]]'),
                ("LEV", '[["update",1,105,2],["reduce","bid",100,4]]'),
                ("_", msgpack.packb({"ts": 77})),
            )
            await run.send(
                ("LEV", '[["clear"],["add","bid",104,1],["add","ask",106,1]]'),
                (
                    "ORD",
                    msgpack.packb(
                        [[3, None, None, 1, "x"], [2, None, None, None, 7], ["delete", 0, 0, 0, 8]]
                    ),
                ),
                ("_", '{"atomic":true,"ts":99}'),
            )
            info = await run.published()
        assert (info.applied, info.rejected, info.ignored) == (10, 3, 0)
        history = check_history(await run.history())
        lev, orders = history.replicas["LEV"].book, history.replicas["ORD"].book
        assert (lev.bids.flat(), lev.asks.flat()) == ([104, 1], [106, 1])
        assert (orders.bids.flat(), orders.asks.flat()) == ([], [101, 3, 102, 4, 103, 1])
        assert max(info.event_ts or 0 for _, info in history.infos) == 99
        (reject,) = await run.rejects()
        assert (reject["symbol"], reject["reason"], reject["index"], reject["count"]) == (
            b"ORD",
            b"unknown_order",
            b"2",
            b"3",
        )
        assert reject["source"] == info.src.encode()
        assert msgpack.unpackb(reject["event"]) == ["delete", 0, 0, 0, 8]

    async def test_whatever_arrives_later_events_still_apply(self, run: Run) -> None:
        async with run.service(run.settings()):
            for raw in (b"", b"\xc1", b"[", b"[" * 50_000, b"\x91" * 50_000, b"{}", b"\xff" * 100, b"5"):
                await run.send(("LEV", raw), ("ORD", raw), (b"\xff\xfe", raw), ("_x", raw), ("", raw))
                await run.send(("LEV", raw), ("_", raw))
            await run.send(("LEV", '[["add","bid",1,1]]'))
            info = await run.published()
            assert info.applied == 1
            rejects = await run.rejects()
        assert sum(int(reject["count"]) for reject in rejects) == info.rejected
        assert {reject["reason"] for reject in rejects} == {b"malformed", b"bad_options"}
        assert all(reject["detail"] for reject in rejects)

    async def test_random_input_comes_out_as_the_models_say(self, run: Run) -> None:
        sent = Input(run, Random(3))
        async with run.service(run.settings()):
            await sent.send(150)
            await sent.check()
        history = await sent.check()
        for symbol in FEEDS:
            position, snapshot = (await run.snapshots(symbol))[-1]
            replica = history.replicas[symbol]
            assert (snapshot.seq, snapshot.digest) == (replica.seq, replica.digest)
            assert (snapshot.bids, snapshot.asks) == (replica.book.bids.flat(), replica.book.asks.flat())
            assert position == await last_position(run.client, run.keys.deltas)

    async def test_more_rejects_than_may_wait_pause_reading_and_none_is_lost(self, run: Run) -> None:
        for attempt in range(30):  # before anybody reads, so that all are there to be read at once
            await run.send(
                ("LEV", msgpack.packb([["add", "bid", 1, -attempt - 1]] * 7)), ("LEV", '[["add",0,1,1]]')
            )
        async with run.service(run.settings(pending_rejects_max=10, interval_ms=1)) as service:
            info = await run.published()
            assert (info.applied, info.rejected) == (30, 210)
            assert service.stats.of(0).input_pauses > 0
        assert len(await run.rejects()) == 210
        history = check_history(await run.history())
        steps = [after.rejected - before.rejected for (_, before), (_, after) in pairwise(history.infos)]
        assert max(steps) <= 17

    async def test_one_entry_may_be_refused_twenty_thousand_times(self, run: Run) -> None:
        async with run.service(run.settings(rejects_max=500)):
            await run.send(("LEV", msgpack.packb([0] * 20_000)))
            await run.send(("LEV", '[["add","bid",1,1]]'))
            info = await run.published()
            assert (info.applied, info.rejected) == (1, 20_000)
        rejects = await run.rejects()
        indices = [int(reject["index"]) for reject in rejects]
        assert indices == list(range(REJECTS_PER_ENTRY + 1 - len(indices), REJECTS_PER_ENTRY + 1))
        assert 500 <= len(indices) < 700
        counts = [int(reject["count"]) for reject in rejects]
        assert counts == [1] * (len(counts) - 1) + [20_000 - REJECTS_PER_ENTRY]


class TestPace:
    async def test_heartbeats(self, run: Run) -> None:
        async with run.service(run.settings()):

            async def gaps() -> list[float]:
                """Seconds between heartbeats: three of them, and one that nothing else delayed."""
                infos = check_history(await run.history()).infos[1:]
                found = [(after.ts - before.ts) / 1e6 for (_, before), (_, after) in pairwise(infos)]
                return found if len(found) >= 3 and min(found) < 1.0 else []

            assert min(await eventually(gaps)) > 0.5
            history = check_history(await run.history())
        assert [delta for position, _, delta in history.deltas if position.n > 1] == []

    async def test_the_first_change_goes_out_at_once_and_the_next_waits_among_heartbeats(
        self, run: Run
    ) -> None:
        interval_us = 2_500_000
        async with run.service(run.settings(interval_ms=interval_us // 1000)):
            first = await run.send(("LEV", '[["add","bid",1,1]]'))
            await run.published(first)
            second = await run.send(("LEV", '[["add","bid",2,1]]'))
            await run.published(second)
        infos = [info for _, info in check_history(await run.history()).infos]
        out = {src: next(info for info in infos if info.src == str(src)) for src in (first, second)}
        assert out[first].ts - first.epoch * 1000 < interval_us / 2
        assert out[second].ts - out[first].ts > 0.95 * interval_us
        between = [info for info in infos if info.src == str(first) and info.ts > out[first].ts]
        assert between, "heartbeats go on while a change waits"

    @pytest.mark.parametrize("interval_ms", [0, 5])
    async def test_a_lone_event_is_published_before_more_input_is_asked_for(
        self, run: Run, interval_ms: int
    ) -> None:
        async def waits_for_input() -> bool:
            clients = (await execute(run.client, "CLIENT", "LIST")).splitlines()
            return any(b" cmd=xread " in client and b" flags=b " in client for client in clients)

        async with run.service(run.settings(interval_ms=interval_ms)):
            await run.send(("LEV", '[["add","bid",1,1]]'))  # the server has the script from now on
            await run.published()
            async with run.client.monitor() as monitor:
                for number in range(2, 6):
                    await eventually(waits_for_input)
                    await asyncio.sleep(2 * interval_ms / 1000)  # a quiet market: the interval is over
                    sent = await run.send(("LEV", json.dumps([["update", "bid", 1, number]])))
                    published = asked = False
                    while not asked:
                        async with asyncio.timeout(TIMEOUT_S):
                            name, *words = (await monitor.next_command())["command"].split()
                        published = published or (name == "EVALSHA" and str(sent) in words)
                        asked = name == "XREAD" and words[-2:] == [run.keys.events, str(sent)]
                    assert published
                    await run.published()

    async def test_one_entry_an_interval_under_load(self, run: Run) -> None:
        numbers = count(1)

        async def changed() -> list[int]:
            """When entries with changes were published, µs."""
            history = check_history(await run.history())
            places = {position for position, _, _ in history.deltas if position.n > 1}
            return [info.ts for position, info in history.infos if position in places]

        async with run.service(run.settings(interval_ms=60)):
            while len(await changed()) < 8:
                async with run.client.pipeline(transaction=False) as many:  # quick, however busy the machine
                    for number in islice(numbers, 100):
                        many.xadd(run.keys.events, {"LEV": json.dumps([["update", "bid", 5, number]])})
                    await many.execute()
            await run.published()
        stamps = (await changed())[:-1]  # the last one may be of the end
        assert (stamps[-1] - stamps[0]) / (len(stamps) - 1) > 55_000
        assert len(stamps) < next(numbers) / 10

    async def test_interval_0_is_one_broadcast_for_each_entry_in_order(self, run: Run) -> None:
        async with run.service(run.settings(interval_ms=0)):
            sources = []
            for number in range(60):
                quantity = 1 if number % 3 == 2 else number % 3  # 0: gone; then 1, and 1 again: no net change
                sources.append(await run.send(("LEV", json.dumps([["update", "bid", 5, quantity]]))))
            await run.published()
        history = check_history(await run.history())
        infos = [info for position, info in history.infos if position.n > 1]
        first_of: dict[str, int] = {}
        for place, info in enumerate(infos):
            first_of.setdefault(info.src, place)
        assert [src for src in first_of if src != "0-0"] == [str(source) for source in sources]
        levels = [pairs(delta.bids) for position, _, delta in history.deltas if position.n > 1]
        assert levels == [{5: 1}, {5: 0}] * 19 + [{5: 1}]

    async def test_interval_0_with_many_entries_read_at_once(self, run: Run) -> None:
        sent = Input(run, Random(5))
        await sent.send(120)
        async with run.service(run.settings(interval_ms=0)):
            history = await sent.check()
        consumed = {info.src for _, info in history.infos} - {"0-0"}
        assert len(consumed) == 120


class TestInstruments:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("depthcast.ingestor.runtime.service.POLL_S", 0.05)

    async def test_one_that_comes_while_running_is_born_and_can_be_used(self, run: Run) -> None:
        async with run.service(run.settings("[LEV]")):
            table: dict[str, str] = {"BAD": "{"}
            for name, feed in (("NEW", Feed.LEVELS), ("ORDNEW", Feed.ORDERS)):
                table[name] = to_json(Instrument(Symbol(name), feed=feed))
            # In one step: symbols read between two steps would be born in two entries.
            await execute(run.client, "HSET", run.deployment.instruments, *chain.from_iterable(table.items()))
            await eventually(lambda: run.snapshots("ORDNEW"))
            assert await run.snapshots("NEW")
            held = checkpoint.decode(await execute(run.client, "GET", run.keys.checkpoint("ORDNEW")))
            await run.send(
                ("NEW", '[["add","bid",1,1]]'), ("ORDNEW", '[["add","bid",2,2,"x"]]'), ("BAD", "[[0]]")
            )
            assert (await run.published()).applied == 2
        history = check_history(await run.history())
        births = {symbol: position for position, symbol, delta in history.deltas if delta.prev_seq == 0}
        assert births["NEW"] == births["ORDNEW"] == (await run.snapshots("NEW"))[0][0] == held.position
        assert history.replicas["ORDNEW"].book.bids.flat() == [2, 2]

    async def test_one_that_goes_is_unknown_and_begins_empty_when_it_is_back(self, run: Run) -> None:
        async with run.service(run.settings("[LEV]\n[ORD]\nfeed='orders'")):
            await run.send(("ORD", '[["add","bid",1,1,"x"]]'))
            await run.published()
            held = await execute(run.client, "HGET", run.deployment.instruments, "ORD")
            await execute(run.client, "HDEL", run.deployment.instruments, "ORD")

            async def refused() -> bool:
                await run.send(("ORD", '[["reduce",null,null,0,"x"]]'))
                await run.published()
                return bool((await run.rejects())[-1]["reason"] == b"unknown_symbol")

            await eventually(refused)
            before = await run.published()
            await execute(run.client, "HSET", run.deployment.instruments, "ORD", held)

            async def taken() -> bool:
                await run.send(("ORD", '[["add","bid",1,1,"y"]]'))
                return (await run.published()).applied > before.applied

            await eventually(taken)
            await run.send(("ORD", '[["delete",null,null,null,"x"]]'))
            await run.published()
            assert (await run.rejects())[-1]["reason"] == b"unknown_order"
        history = check_history(await run.history())
        assert history.replicas["ORD"].book.bids.flat() == [1, 1]
        assert history.listings["ORD"].number == 2
        async with run.service(run.settings(None)):
            await run.send(("ORD", '[["delete",null,null,null,"y"]]'))
            await run.published()
        assert check_history(await run.history()).replicas["ORD"].book.bids.flat() == []

    @pytest.mark.parametrize("trimmed", [False, True])
    async def test_one_that_was_away_for_a_whole_leadership_is_born_again(
        self, run: Run, trimmed: bool
    ) -> None:
        short = {"interval_ms": 0, "snapshot_interval_ms": 50, "retention_s": 0}
        async with run.service(run.settings("[LEV]\n[ORD]\nfeed='orders'", **short)):
            await run.send(("ORD", '[["add","bid",1,1,"x"]]'))
            await run.published()
        left = (await run.snapshots("ORD"))[-1]
        held = await execute(run.client, "HGET", run.deployment.instruments, "ORD")
        await execute(run.client, "HDEL", run.deployment.instruments, "ORD")
        async with run.service(run.settings(None, **short)):
            await run.send(("ORD", '[["add","bid",2,1,"refused"]]'))

            async def behind_the_history() -> bool:
                for price in range(40):
                    await run.send(("LEV", f'[["add","bid",{price},1]]'))
                await run.published()
                return (await run.history())[0][0] > left[0]

            if trimmed:
                await eventually(behind_the_history)
            await run.published()
        await execute(run.client, "HSET", run.deployment.instruments, "ORD", held)
        async with run.service(run.settings(None)):
            position, empty = (await run.snapshots("ORD"))[-1]
            assert (list(empty.bids), empty.digest) == ([], 0)
            assert position > left[0]
            assert empty.seq > left[1].seq
            await run.send(("ORD", '[["add","bid",3,1,"x"]]'))
            await run.published()
        assert list((await run.snapshots("ORD"))[-1][1].bids) == [3, 1]

    async def test_a_slip_in_its_value_withdraws_nothing(self, run: Run) -> None:
        async with run.service(run.settings("[LEV]")) as service:
            await execute(run.client, "HSET", run.deployment.instruments, "LEV", "{")
            await execute(
                run.client, "HSET", run.deployment.instruments, "SEEN", to_json(Instrument(Symbol("SEEN")))
            )
            await eventually(lambda: "SEEN" in service.instruments)
            await run.send(("LEV", '[["add","bid",1,1]]'))
            assert (await run.published()).applied == 1


class TestRecoveryState:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("depthcast.ingestor.runtime.state_keeper.STORE_EVERY_S", 0.02)
        monkeypatch.setattr("depthcast.ingestor.runtime.state_keeper.TRIM_EVERY_S", 0.05)

    async def test_snapshots_and_checkpoints_are_renewed_and_streams_trimmed_behind_them(
        self, run: Run
    ) -> None:
        sent = Input(run, Random(9))
        settings = run.settings(interval_ms=0, snapshot_interval_ms=50, retention_s=0)
        async with run.service(settings):

            async def trimmed() -> bool:
                await sent.send(20)
                first_delta = (await run.history())[0][0]
                first_event = Position.parse(
                    (await execute(run.client, "XRANGE", run.keys.events, "-", "+"))[0][0]
                )
                return first_delta.n > 0 and first_event > beginning

            beginning = await sent.send(20)
            await eventually(trimmed, timeout_s=40)
            await run.published()
            first_delta = (await run.history())[0][0]
            oldest = min([(await run.snapshots(symbol))[-1][0] for symbol in FEEDS])
            assert first_delta <= oldest
            raw = [await execute(run.client, "GET", run.keys.checkpoint(symbol)) for symbol in ("ORD", "ORE")]
            first_event = Position.parse(
                (await execute(run.client, "XRANGE", run.keys.events, "-", "+"))[0][0]
            )
            assert first_event <= min(checkpoint.decode(value).src for value in raw)
            for symbol in FEEDS:
                assert len(await run.snapshots(symbol)) == 2
        async with run.service(settings):
            await sent.send(20)
            info = await run.published()
        assert (info.applied, info.rejected, info.ignored) == (sent.applied, sent.rejected, sent.ignored)
        for symbol, model in sent.models.items():
            _, snapshot = (await run.snapshots(symbol))[-1]
            assert {"bid": pairs(snapshot.bids), "ask": pairs(snapshot.asks)} == model.levels()

    async def test_trimming_leaves_the_last_entry(self, run: Run) -> None:
        async with run.service(run.settings("[LEV]", interval_ms=0, snapshot_interval_ms=50, retention_s=0)):
            for number in range(450):
                await run.send(("LEV", json.dumps([["update", "bid", 5, number % 7 + 1]])))

            async def short() -> bool:
                return len(await run.history()) < 250

            await eventually(short)
            tail = await last_position(run.client, run.keys.deltas)
            assert (await run.history())[-1][0] >= tail


class TestRestart:
    async def test_a_clean_restart_goes_on_where_it_stopped(self, run: Run) -> None:
        sent = Input(run, Random(1))
        for _ in range(3):
            async with run.service(run.settings()):
                await sent.send(40)
            await sent.send(5)
        async with run.service(run.settings()):
            history = await sent.check()
        assert len(history.epochs) == 4

    async def test_a_crash_between_the_seal_and_the_next_entry_loses_no_book(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent = Input(run, Random(7))
        async with run.service(run.settings()):
            await sent.send(40)

        async def dies_here(*_: Any) -> None:
            await asyncio.Event().wait()

        for _ in range(2):
            with monkeypatch.context() as patched:
                patched.setattr(Leadership, "begin", dies_here)
                running = asyncio.create_task(IngestorService(run.settings()).run(asyncio.Event()))
                before = await last_position(run.client, run.keys.deltas)

                async def sealed(before: Position = before) -> bool:
                    return await last_position(run.client, run.keys.deltas) > before

                await eventually(sealed, message="the leader seals")
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            assert (await last_position(run.client, run.keys.deltas)).n == 0
        async with run.service(run.settings()):
            await sent.send(5)
            history = await sent.check()
        assert len(history.epochs) == 4

    async def test_a_second_one_follows_and_takes_over(self, run: Run) -> None:
        sent = Input(run, Random(2))
        settings = run.settings(lease_ms=10_000)  # so long that only an end hands over
        first, second = IngestorService(settings), IngestorService(settings)
        stops = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(first.run(stops[0]))]
        await eventually(lambda: run.leads(first))
        tasks.append(asyncio.create_task(second.run(stops[1])))
        await sent.send(30)
        await eventually(lambda: readiness(second) == (True, {"partitions": 1, "leading": 0, "following": 1}))
        assert not run.leads(second)
        stops[0].set()
        await tasks[0]
        await sent.send(30)
        await eventually(lambda: run.leads(second))
        history = await sent.check()
        stops[1].set()
        await tasks[1]
        assert len(history.epochs) == 2

    @pytest.mark.parametrize("interval_ms", [0, 5])
    async def test_cut_off_anywhere_over_a_bad_line_everything_counts_once(
        self, run: Run, interval_ms: int
    ) -> None:
        rng = Random(interval_ms)
        sent = Input(run, rng)
        async with FaultProxy(run.url) as proxy:
            settings = run.settings(redis_url=proxy.url, interval_ms=interval_ms, snapshot_interval_ms=50)
            for attempt in range(9):
                service = IngestorService(settings)
                running = asyncio.create_task(service.run(asyncio.Event()))
                if rng.random() < 0.8:
                    await eventually(partial(run.leads, service))
                for _ in range(rng.randint(0, 12)):
                    await sent.send(rng.randint(1, 4))
                    if rng.random() < 0.3:
                        proxy.faults.append(rng.choice(list(Cut)))
                    if proxy.held and rng.random() < 0.5:
                        await proxy.release()
                if attempt % 3 == 0:
                    proxy.faults.clear()
                    await run.published()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                proxy.faults.clear()
            while proxy.held:
                await proxy.release()
        async with run.service(run.settings()):
            history = await sent.check()
        assert len(history.epochs) > 4
        assert proxy.cuts > 3


class TestEnd:
    async def test_what_was_consumed_is_published(self, run: Run) -> None:
        sent = Input(run, Random(6))
        async with run.service(run.settings(interval_ms=60_000)) as service:
            first = await sent.send()
            await run.published(first)
            await sent.send(50)
            await eventually(lambda: service.stats.of(0).entries_consumed == 51)
            assert (await run.published(first)).src == str(first)
        await sent.check()

    async def test_without_redis_it_ends_all_the_same(
        self,
        fresh_server: EmbeddedServer,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("depthcast.ingestor.runtime.leadership.STOP_S", 0.3)
        client = patient(fresh_server.url)
        run = Run(client, "gone", fresh_server.url, tmp_path)
        async with run.service(run.settings()):
            fresh_server.kill()
            await eventually(lambda: "outcome of a publish unknown" in caplog.text)
        assert "ended before everything consumed was published" in caplog.text
        await client.aclose()

    async def test_while_beginning_without_redis_it_ends_too(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with run.service(run.settings()):
            pass  # the server knows the scripts now
        async with FaultProxy(run.url) as proxy:
            settings = run.settings(redis_url=proxy.url, lease_ms=60_000)
            service, stop = IngestorService(settings), asyncio.Event()
            proxy.faults += [Cut.BEFORE] * 100_000
            proxy.spared = 3  # the seal, a look at the input, and the record; never the entry after them
            running = asyncio.create_task(service.run(stop))
            await eventually(lambda: "outcome of a publish unknown" in caplog.text)
            stop.set()
            async with asyncio.timeout(TIMEOUT_S):
                await running
        assert not run.leads(service)

    async def test_another_server_process_behind_the_address_begins_a_new_epoch(
        self, tmp_path: Path, prefix: str
    ) -> None:
        with EmbeddedServer(append_only=True) as server:
            client = patient(server.url)
            try:
                run = Run(client, prefix, server.url, tmp_path)
                async with run.service(run.settings("[LEV]")):
                    await run.send(("LEV", '[["add","bid",1,1]]'))
                    await run.published()
                    await asyncio.to_thread(server.restart)

                    async def sealed_again() -> bool:
                        return len(check_history(await run.history()).epochs) == 2

                    await eventually(sealed_again)
                    await run.send(("LEV", '[["add","bid",2,1]]'))
                    assert (await run.published()).applied == 2
                assert check_history(await run.history()).replicas["LEV"].book.bids.flat() == [2, 1, 1, 1]
            finally:
                await client.aclose()


class TestProcess:
    async def test_killed_and_ended_at_any_moment_under_load(self, run: Run, tmp_path: Path) -> None:
        rng = Random(4)
        sent = Input(run, rng)
        settings = run.settings(lease_ms=100, snapshot_interval_ms=100)
        async with Process(settings, tmp_path) as process:
            for attempt in range(3):
                goal = await sent.send(rng.randint(5, 60))
                if attempt % 2:
                    await run.published(goal)
                    await sent.send(rng.randint(0, 20))
                if attempt == 2:
                    await process.leads()
                    assert await process.terminate() == 0
                else:
                    await process.kill()
                await process.start()
            await process.leads()
            history = await sent.check()
            assert await process.terminate() == 0
        assert len(history.epochs) >= 3
        for line in process.log.read_text().splitlines():
            assert json.loads(line)["level"] in ("INFO", "WARNING")
        checks = [(await run.snapshots(symbol))[-1][1].seq for symbol in FEEDS]
        assert checks == [check_history(await run.history()).replicas[symbol].seq for symbol in FEEDS]

    async def test_admin_address(self, run: Run, tmp_path: Path) -> None:
        async with (
            Process(run.settings(admin_port=0), tmp_path) as process,
            aiohttp.ClientSession() as session,
        ):
            await eventually(lambda: "admin listening on http://127.0.0.1:" in process.log.read_text())
            line = next(line for line in process.log.read_text().splitlines() if line.startswith("admin"))
            url = line.rpartition(" ")[2]

            async def ready() -> dict[str, Any] | None:
                async with session.get(f"{url}/readyz") as response:
                    body = without_checks(await response.json())
                    return body if response.status == 200 and body["leading"] else None

            assert await eventually(ready) == {
                "ready": True,
                "partitions": 1,
                "leading": 1,
                "following": 0,
            }
            async with session.get(f"{url}/healthz") as response:
                assert (response.status, await response.json()) == (200, {"status": "up"})
            await run.send(("LEV", '[["add","bid",1,1],["add","bid",1,0]]'))
            await run.published()

            async def counted() -> dict[str, float]:
                async with session.get(f"{url}/metrics") as response:
                    text = await response.text()
                return {
                    words[0].removeprefix("depthcast_ingestor_"): float(words[1])
                    for line in text.splitlines()
                    if not line.startswith("#") and (words := line.split())
                }

            metrics = await counted()
            assert metrics['events_applied{partition="0"}'] == 1
            assert metrics['events_rejected{partition="0"}'] == 1
            assert metrics['leading{partition="0"}'] == 1
            assert metrics['symbols{partition="0"}'] == 4
            assert metrics['entries_consumed_total{partition="0"}'] == 1
            assert metrics['events_total{partition="0",result="applied"}'] == 1
            assert metrics['events_total{partition="0",result="rejected"}'] == 1
            assert metrics['depthcast_stage_seconds_count{partition="0",stage="consumed_to_published"}'] >= 1
            now_us, lag_ms = REAL_ENVIRONMENT.now_us(), {0: 7}
            entry = encode_entry(ConsumerEntry(now_us, "of another program", lag_ms, {0: 30}))
            await execute(run.client, "HSET", run.deployment.consumers, "risk", entry)
            name = 'depthcast_consumer_lag_seconds{consumer="risk",partition="0"}'

            async def lag() -> float | None:
                return (await counted()).get(name)

            assert (await eventually(lag, message="the leader has read it") or 0) < 60
            assert (await counted())[name.replace("_lag_", "_replica_lag_")] == 0.03
            assert await process.terminate() == 0
