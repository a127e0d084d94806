"""The simulated network: the faults that the program's Redis clients can meet."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any

import pytest

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.position import ZERO
from depthcast.shared.runtime.redis import execute, last_position, read_stream
from tests.simulation.journal import Journal
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network, Weather
from tests.simulation.server import Server

Use = Callable[[], Coroutine[Any, Any, Any]]


class Bench:
    """One process, one server."""

    def __init__(self) -> None:
        self.loop = SimulatedLoop(Random(1))
        self.journal = Journal()
        self.server = Server(self.loop, Random(2), self.journal, node_entries=10)
        self.network = Network(self.loop, self.server, lambda *_: None)
        self.process = Process(self.loop, "one", Random(3))

    def run(self, use: Use) -> Any:
        return self.loop.run_until_complete(self.process.spawn(use()))

    def connect(self) -> Any:
        return self.network.connect("redis://simulated")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


async def _fails(sending: Coroutine[Any, Any, Any]) -> bool:
    try:
        await sending
    except RedisUnavailable:
        return True
    return False


def test_a_late_command_comes_after_what_was_sent_next(bench: Bench) -> None:
    async def use() -> list[bytes]:
        client = bench.connect()
        bench.network.set_weather(Weather(late=1.0))
        while not await _fails(execute(client, "XADD", "s", "*", "try", "first")):
            pass
        bench.network.set_weather(Weather())
        await execute(client, "XADD", "s", "*", "try", "second")
        await asyncio.sleep(2.0)
        return [fields[0][1] for _, fields in await read_stream(client, "s", ZERO, count=100)]

    assert bench.run(use)[-2:] == [b"second", b"first"]


def test_a_cut_line_hides_whether_it_was_done(bench: Bench) -> None:
    async def use() -> Any:
        client = bench.connect()
        bench.network.set_weather(Weather(cut_after=1.0))
        with pytest.raises(RedisUnavailable):
            await execute(client, "SET", "a", "done")
        bench.network.set_weather(Weather(cut_before=1.0))
        with pytest.raises(RedisUnavailable):
            await execute(client, "SET", "b", "done")
        bench.network.set_weather(Weather())
        return [await execute(client, "GET", key) for key in "ab"]

    assert bench.run(use) == [b"done", None]


def test_a_blocked_reader_is_woken_or_gives_up(bench: Bench) -> None:
    async def use() -> None:
        client, other = bench.connect(), bench.connect()
        assert await read_stream(client, "s", ZERO, count=5, block_ms=300) == []
        reading = asyncio.create_task(read_stream(client, "s", ZERO, count=5, block_ms=1500))
        await asyncio.sleep(0.2)
        await execute(other, "XADD", "s", "5-0", "a", "b")
        assert [str(position) for position, _ in await reading] == ["5-0"]

    bench.run(use)


def test_a_parted_process_times_out_and_its_command_arrives_when_it_heals(bench: Bench) -> None:
    async def use() -> Any:
        client = bench.connect()
        await execute(client, "PING")
        link = bench.network.link(bench.process)
        link.parted = True
        with pytest.raises(RedisUnavailable):
            await execute(client, "SET", "a", "late")
        assert bench.server.store.execute(b"GET", b"a") is None
        link.heal()
        return await execute(client, "GET", "a")

    assert bench.run(use) == b"late"


def test_another_server_process_is_told_by_its_run_id(bench: Bench) -> None:
    async def use() -> None:
        client = bench.connect()
        await execute(client, "XADD", "s", "5-0", "a", "b")
        replica = bench.server.replicate()
        await execute(client, "XADD", "s", "6-0", "a", "b")
        before = bench.server.store.run_id
        bench.server.stop()
        with pytest.raises(RedisUnavailable):
            await execute(client, "PING")
        bench.server.store.take_data(replica.data)
        bench.journal.lose(replica.mark)
        bench.server.start()
        assert bench.server.store.run_id != before
        assert str(await last_position(client, "s")) == "5-0"

    bench.run(use)
    assert [len(entries) for entries in bench.journal.streams.values()] == [1]
    assert bench.journal.lost == 1
