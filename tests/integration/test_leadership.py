"""Several ingestors share the partitions, follow hot, hand over, and write again what Redis lost."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import decode_info, encode_info
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import connect, execute, last_position, read_hash
from depthcast.shared.types import EntryInfo
from tests.ingestor_runs import FEEDS, Input, Run, check_history
from tests.integration.members import Member, leader_and_successor, leader_of, members
from tests.proxy import FaultProxy
from tests.waiting import eventually

TWELVE = "".join(f'["S{number}"]\n' for number in range(12))


class TestSharing:
    async def test_partitions_are_shared_out_and_move_as_ingestors_come_and_go(self, run: Run) -> None:
        settings = run.settings(TWELVE, partitions=6)
        async with members() as start:
            first = start(settings)
            await eventually(lambda: first.leads() == 6)
            second = start(settings)
            await eventually(lambda: (first.leads(), second.leads()) == (3, 3))
            third = start(settings)
            await eventually(lambda: [m.leads() for m in (first, second, third)] == [2, 2, 2])
            await second.end()
            await eventually(lambda: (first.leads(), third.leads()) == (3, 3))
            await third.crash()
            await eventually(lambda: first.leads() == 6)
            await first.end()
        for number in range(6):
            check_history(await run.stream(run.deployment.partition(number).deltas))

    async def test_nothing_is_lost_or_repeated_while_leadership_moves(self, run: Run) -> None:
        sent = Input(run, Random(12))
        settings = run.settings(snapshot_interval_ms=60)
        async with members() as start:
            living = [start(settings)]
            for attempt in range(6):
                living.append(start(settings))
                await sent.send(30)
                leader = await leader_of(living)
                living.remove(leader)
                await (leader.end() if attempt % 2 else leader.crash())
                await sent.send(10)
            await leader_of(living)
            history = await sent.check()
        assert len(history.epochs) >= 7

    async def test_a_leader_that_ends_names_its_successor_which_follows_hot(self, run: Run) -> None:
        sent = Input(run, Random(3))
        settings = run.settings(lease_ms=60_000)  # an ingestor that waits for its expiry fails this test
        async with members() as start:
            leader, successor = await leader_and_successor(start, settings)
            await sent.send(20)
            await run.published()
            await leader.end()
            await eventually(successor.leads)
            assert successor.service.stats.of(0).warm_takeovers >= 1
            await sent.send(20)
            history = await sent.check()
            assert successor.leads(), "it handed back to the one that ended"
        last = [info for position, info in history.infos if position.epoch == history.epochs[-2]][-1]
        assert last.successor == successor.service.name
        first = next(info for position, info in history.infos if position.epoch == history.epochs[-1])
        assert last.src == first.src

    async def test_one_that_stood_still_beyond_its_lease_is_fenced(self, run: Run) -> None:
        """Another ingestor takes the lease unnoticed, as if this one's clock had stopped."""
        sent = Input(run, Random(4))
        async with members() as start:
            first = start(run.settings(lease_ms=60_000))
            await eventually(first.leads)
            await sent.send(20)
            await run.published()
            await execute(run.client, "DEL", run.keys.leader, run.deployment.ingestors)
            second = start(run.settings(lease_ms=200))
            await eventually(second.leads)
            await sent.send(20)
            await eventually(lambda: first.service.stats.of(0).step_downs)
            history = await sent.check()
        assert len(history.epochs) == 2


async def test_input_is_read_only_where_it_is_published(run: Run) -> None:
    """While there are two masters, a new connection for input goes to the other one, with other input."""
    sent = Input(run, Random(14))
    async with EmbeddedServer() as other, FaultProxy(run.url) as proxy, members() as start:
        member = start(run.settings(redis_url=proxy.url))
        await eventually(member.leads)
        src = await sent.send(20)
        await run.published()
        key = run.keys.events
        await execute(run.client, "XSETID", key, str(Position(src.epoch + 2, 0)))  # as if more had come
        async with connect(other.url) as elsewhere:
            event = '[["update", "bid", -100, 7]]'
            await execute(elsewhere, "XADD", key, str(Position(src.epoch + 1, 0)), "LEV", event)
        proxy.target = other.url
        listed = await run.client.client_list()
        reading = [each["id"] for each in listed if each["cmd"] == "xread"]
        for client_id in reading:
            await execute(run.client, "CLIENT", "KILL", "ID", client_id)
        assert reading
        await eventually(lambda: member.service.stats.of(0).step_downs >= 1)
        proxy.target = run.url
        proxy.cut()
        await sent.send(20)
        await run.published()
        await sent.check()
        await member.end()


async def test_a_symbol_that_was_not_published_yet_is_not_taken_for_lost(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its publish is refused until the leadership has ended; the same ingestor leads again."""
    monkeypatch.setattr("depthcast.ingestor.runtime.leadership.STOP_S", 0.1)
    sent = Input(run, Random(15))
    async with FaultProxy(run.url) as proxy, members() as start:
        member = start(run.settings(redis_url=proxy.url))
        await eventually(member.leads)
        await sent.send(20)
        await run.published()
        refused: list[bytes] = []

        def refuse(words: list[bytes]) -> str | None:
            if run.keys.listings.encode() not in words:
                return None
            refused.append(words[0])
            return "OOM command not allowed when used memory > 'maxmemory'."

        proxy.refuse = refuse
        await execute(run.client, "HSET", run.deployment.instruments, "NEW", '{"tick_size": "0.01"}')
        await eventually(lambda: refused)
        member.service.leaders[0].end()
        await eventually(lambda: not member.leads())
        proxy.refuse = None
        await eventually(member.leads)
        await sent.send(20)
        await eventually(lambda: run.client.exists(run.keys.snapshots("NEW")), message="NEW is published")
        assert member.service.stats.of(0).restatements == 0
        await sent.check()
        await member.end()


class TestWhatRedisLost:
    async def republication(self, run: Run, sent: Input, member: Member, lose: Callable[[], Any]) -> None:
        """Delete keys under a running leader; it publishes everything again and continues."""
        before = member.service.stats.of(0).restatements
        await sent.send(40)
        await run.published()
        await lose()
        await eventually(lambda: member.service.stats.of(0).restatements > before)
        await eventually(member.leads)

    async def check(self, run: Run, sent: Input) -> None:
        """The stream alone must give the models' books, and a new ingestor must recover the orders."""
        info = await run.published()
        assert (info.applied, info.rejected, info.ignored) == (sent.applied, sent.rejected, sent.ignored)
        for symbol, model in sent.models.items():
            _, snapshot = (await run.snapshots(symbol))[-1]
            assert {
                "bid": dict(zip(snapshot.bids[::2], snapshot.bids[1::2], strict=True)),
                "ask": dict(zip(snapshot.asks[::2], snapshot.asks[1::2], strict=True)),
            } == model.levels()

    async def test_everything(self, run: Run) -> None:
        sent = Input(run, Random(8))
        settings = run.settings(snapshot_interval_ms=50)

        async def lose() -> None:
            names = [name async for name in run.client.scan_iter(match=f"*{run.prefix}*")]
            await execute(run.client, "DEL", *names)

        async with members() as start:
            member = start(settings)
            await eventually(member.leads)
            seq = check_history(await run.history()).replicas["ORD"].seq
            await self.republication(run, sent, member, lose)
            position, fields = (await run.history())[0]
            info = decode_info(dict(fields)[b"_"])
            assert (position.n, info.prev, info.src) == (0, "0-0", "0-0")
            _, moves = (await run.history())[1]
            assert {name.decode() for name, _ in moves[1:-1]} == sent.models.keys()
            assert (await run.snapshots("ORD"))[0][1].seq > seq
            assert await execute(run.client, "EXISTS", run.keys.checkpoint("ORD")) == 1

            async def registered() -> bool:
                table = await read_hash(run.client, run.deployment.instruments)
                meta = await read_hash(run.client, run.deployment.meta)
                return {name.decode() for name in table} == sent.models.keys() and bool(meta)

            await eventually(registered)
            await sent.send(40)
            await run.published()
            await member.end()
            await self.check(run, sent)
            other = start(settings)
            await eventually(other.leads)
            await sent.send(40)
            await run.published()
            await other.end()
        await self.check(run, sent)

    @pytest.mark.parametrize("name", ["deltas", "events"])
    async def test_one_stream(self, run: Run, name: str) -> None:
        sent = Input(run, Random(9))
        settings = run.settings(snapshot_interval_ms=50)

        async def lose() -> None:
            await execute(run.client, "DEL", getattr(run.keys, name))

        async with members() as start:
            member = start(settings)
            await eventually(member.leads)
            await self.republication(run, sent, member, lose)
            await sent.send(40)
            await run.published()
            await member.end()
            other = start(settings)
            await eventually(other.leads)
            await sent.send(40)
            await run.published()
            await other.end()
        await self.check(run, sent)

    async def test_a_standby_remembers_when_the_leader_is_lost_with_it(self, run: Run) -> None:
        sent = Input(run, Random(10))
        settings = run.settings(snapshot_interval_ms=50, lease_ms=1000)
        async with members() as start:
            leader, other = await leader_and_successor(start, settings)
            await sent.send(40)
            await run.published()

            def followed() -> bool:
                recovery = other.service.leaders[0].standby._recovery
                return recovery is not None and Position.parse(recovery.info.src) == last

            last = Position.parse((await run.published()).src)
            await eventually(followed)
            leader.running.cancel()
            names = [name async for name in run.client.scan_iter(match=f"*{run.prefix}*")]
            await execute(run.client, "DEL", *names)
            await leader.crash()
            await eventually(other.leads)
            assert other.service.stats.of(0).restatements == 1
            await sent.send(20)
            await run.published()
            await other.end()
        await self.check(run, sent)

    @pytest.mark.parametrize("remedy", ["restore", "delete"])
    async def test_books_that_include_lost_input_are_not_written_again(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, remedy: str
    ) -> None:
        """A failover loses the newest input and what it changed, then somebody deletes `deltas`.

        The books in memory include an event that the log does not have, so its producer will send it again.
        """
        monkeypatch.setattr("depthcast.ingestor.runtime.leader.RECOVERY_RETRY_S", 0.1)
        sent = Input(run, Random(13))
        keys = run.keys
        async with members() as start:
            member = start(run.settings(snapshot_interval_ms=60_000))
            await eventually(member.leads)
            await sent.send(40)
            await run.published()
            before = await execute(run.client, "DUMP", keys.deltas)
            log = await execute(run.client, "DUMP", keys.events)
            lost = await run.send(("LEV", '[["update", "bid", -100, 7]]'))
            await run.published(lost)
            async with run.client.pipeline(transaction=True) as pipe:
                pipe.delete(keys.deltas)
                pipe.execute_command("RESTORE", keys.events, 0, log, "REPLACE")
                await pipe.execute()

            async def another_ms() -> bool:
                seconds, us = await execute(run.client, "TIME")
                return int(seconds) * 1000 + int(us) // 1000 > lost.epoch

            await eventually(another_ms, message="the next entry cannot have the ID of the lost one")
            await sent.send()  # so the log does not end before what was lost
            stats = member.service.stats.of(0)
            await eventually(lambda: stats.recovery_failures >= 2)
            assert not member.leads()
            assert member.service.leaders[0].problem
            assert stats.restatements == 0
            if remedy == "restore":
                await execute(run.client, "RESTORE", keys.deltas, 0, before, "REPLACE")
            else:
                books = [key(symbol) for symbol in FEEDS for key in (keys.snapshots, keys.checkpoint)]
                await execute(run.client, "DEL", keys.deltas, keys.symbols, *books)
            await eventually(member.leads)
            await sent.send(20)
            await run.published()
            await member.end()
            await self.check(run, sent)

    async def test_with_nobody_who_remembers_it_begins_empty_and_seq_goes_up(self, run: Run) -> None:
        sent = Input(run, Random(11))
        async with members() as start:
            member = start(run.settings())
            await eventually(member.leads)
            await sent.send(40)
            await run.published()
            seq = check_history(await run.history()).replicas["LEV"].seq
            await member.end()
            names = [name async for name in run.client.scan_iter(match=f"*{run.prefix}*")]
            await execute(run.client, "DEL", *names)
            other = start(run.settings())
            await eventually(other.leads)
            replica = check_history(await run.history()).replicas["LEV"]
            assert replica.seq > seq
            assert not replica.book.bids.levels


class TestRefusal:
    async def test_input_trimmed_too_far_is_said_and_other_partitions_are_led(self, run: Run) -> None:
        text = '[S0]\nfeed="orders"\n[A]\nfeed="orders"\n'  # partitions 0 and 1 of 2
        settings = run.settings(text, partitions=2, snapshot_interval_ms=60_000)
        whole, broken = run.deployment.partition(0), run.deployment.partition(1)
        async with members() as start:
            member = start(settings)
            await eventually(lambda: member.leads() == 2)
            for keys, symbol in ((whole, "S0"), (broken, "A")):
                for number in range(3):
                    event = json.dumps([["add", "bid", 5, 1, number]])
                    await execute(run.client, "XADD", keys.events, "*", symbol, event)
            # Cancelled, not ended, so that the checkpoints are those of the symbols' birth.
            await eventually(lambda: sum(s.applied for s in member.service.stats.partitions.values()) == 6)
            await member.crash()
            await execute(run.client, "XTRIM", broken.events, "MAXLEN", 1)
            last = await last_position(run.client, broken.deltas)
            other = start(settings)
            await eventually(lambda: other.leads() == 1 and other.service.leaders[1].problem)
            ready, body = other.service._ready()
            assert not ready
            assert "does not reach back so far" in body["problems"][1]
            assert other.service.stats.of(1).recovery_failures == 1
            assert await last_position(run.client, broken.deltas) == last, "nothing was guessed"
            assert other.service.leaders[0].leadership is not None

    async def test_a_checkpoint_that_is_gone_is_said(self, run: Run) -> None:
        settings = run.settings('[A]\nfeed="orders"\n', snapshot_interval_ms=60_000)
        async with members() as start:
            member = start(settings)
            await eventually(member.leads)
            await run.send(("A", '[["add","bid",5,1,"x"]]'))
            await run.published()
            await member.crash()
            await execute(run.client, "DEL", run.keys.checkpoint("A"))
            other = start(settings)
            await eventually(lambda: other.service.leaders and other.service.leaders[0].problem)
            assert "A has no checkpoint" in other.service.leaders[0].problem
            assert not other.running.done()

    async def test_an_src_that_is_none_is_said(self, run: Run) -> None:
        async with members() as start:
            member = start(run.settings("[A]"))
            await eventually(member.leads)
            await member.end()
            last = await last_position(run.client, run.keys.deltas)
            broken = encode_info(EntryInfo(ts=1, src="later", applied=0, rejected=0, ignored=0))
            await execute(run.client, "XADD", run.keys.deltas, str(last.next()), "_", broken)
            other = start(run.settings("[A]"))
            await eventually(lambda: other.service.leaders and other.service.leaders[0].problem)
            assert "'later' is not a stream position" in other.service.leaders[0].problem
            assert not other.running.done()
