"""Draining: no new clients first, a delay, close frames spread evenly, and no waiting when asked twice."""

import asyncio

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.runtime.drain import Drain, drained_within_s
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.runtime.stop import Stop, set_within
from depthcast.shared.settings import GatewaySettings
from tests.waiting import eventually


class Transport(asyncio.Transport):
    """Is only aborted."""

    def __init__(self, client: "FakeClient") -> None:
        self.client = client

    def abort(self) -> None:
        self.client.aborted = True
        self.client.go()


class FakeClient:
    """A client that goes when it is closed, unless it does not `answer`."""

    def __init__(self, there: dict["FakeClient", None], *, answers: bool = True) -> None:
        self.loop = asyncio.get_running_loop()
        self.there = there
        self.answers = answers
        self.aborted = False
        self.closed: list[tuple[float, int]] = []
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self.transport: asyncio.Transport = Transport(self)
        there[self] = None

    def close(self, code: int, linger_s: float | None = None) -> None:
        del linger_s
        if not self.closed:
            self.closed.append((self.loop.time(), code))
            if self.answers:
                self.go()

    def go(self) -> None:
        self.there.pop(self, None)
        if not self.lost.done():
            self.lost.set_result(None)


def drain_of(there: dict[FakeClient, None], delay_s: float, spread_s: float, timeout_s: float) -> Drain:
    settings = GatewaySettings(drain_delay_s=delay_s, drain_spread_s=spread_s, drain_timeout_s=timeout_s)
    return Drain(settings, lambda: tuple(there), GatewayCounters())


async def test_close_frames_wait_for_the_delay_and_are_spread_evenly() -> None:
    there: dict[FakeClient, None] = {}
    clients = [FakeClient(there) for _ in range(5)]
    drain = drain_of(there, 0.3, 0.5, 5)
    began = asyncio.get_running_loop().time()
    await drain.run(CloseCode.RESTARTING, asyncio.Event())
    times = [client.closed[0][0] - began for client in clients]
    assert all(code == CloseCode.RESTARTING for client in clients for _, code in client.closed)
    # Timers are never early but for a millisecond; how late they are depends on the machine.
    for number, time in enumerate(times):
        assert time >= 0.3 + number * 0.1 - 0.002
    assert times == sorted(times)
    assert drain._counters.drained == 5


async def test_it_takes_no_new_clients_from_the_beginning() -> None:
    there: dict[FakeClient, None] = {}
    client = FakeClient(there)
    drain = drain_of(there, 60, 0, 0)
    assert drain.since is None
    running = asyncio.create_task(drain.run(CloseCode.RESTARTING, stop := asyncio.Event()))
    await eventually(lambda: drain.since is not None)
    assert not client.closed, "the client stays while balancers notice"
    stop.set()
    await running
    assert client.closed


async def test_the_delay_counts_from_when_new_clients_were_refused() -> None:
    there: dict[FakeClient, None] = {}
    FakeClient(there)
    drain = drain_of(there, 30, 0, 5)
    drain.begin()
    assert drain.since is not None
    drain.since -= 31
    async with asyncio.timeout(20):
        await drain.run(CloseCode.RESTARTING, asyncio.Event())


async def test_without_clients_it_ends_without_waiting() -> None:
    async with asyncio.timeout(20):
        await drain_of({}, 600, 600, 9).run(CloseCode.RESTARTING, asyncio.Event())


async def test_once_all_clients_have_gone_nothing_is_waited_for() -> None:
    there: dict[FakeClient, None] = {}
    client = FakeClient(there)
    running = asyncio.create_task(drain_of(there, 600, 600, 9).run(CloseCode.RESTARTING, asyncio.Event()))
    await asyncio.sleep(0)
    client.go()
    async with asyncio.timeout(20):
        await running
    assert not client.closed


async def test_a_second_request_ends_at_once_even_clients_that_do_not_answer() -> None:
    there: dict[FakeClient, None] = {}
    clients = [FakeClient(there, answers=False) for _ in range(3)]
    stop = Stop()
    running = asyncio.create_task(drain_of(there, 600, 600, 9).run(CloseCode.RESTARTING, stop.at_once))
    await asyncio.sleep(0)
    stop.ask()
    assert not stop.at_once.is_set()
    stop.ask(again=True)
    async with asyncio.timeout(8):
        await running
    assert all(client.closed and client.aborted for client in clients)


async def test_a_client_that_does_not_answer_is_cut_after_the_timeout() -> None:
    there: dict[FakeClient, None] = {}
    client = FakeClient(there, answers=False)
    await drain_of(there, 0, 0, 0.05).run(CloseCode.RESTARTING, asyncio.Event())
    assert client.aborted


async def test_after_a_failure_nothing_is_spread() -> None:
    there: dict[FakeClient, None] = {}
    clients = [FakeClient(there) for _ in range(3)]
    drain = drain_of(there, 600, 600, 9)
    async with asyncio.timeout(20):
        await drain.run(CloseCode.GOING_AWAY, asyncio.Event())
    assert {code for client in clients for _, code in client.closed} == {CloseCode.GOING_AWAY}
    assert drain._counters.drained == 0


def test_how_long_it_takes_at_most() -> None:
    assert drained_within_s(GatewaySettings(drain_delay_s=1, drain_spread_s=2, drain_timeout_s=3)) == 6


async def test_waiting_for_an_event_has_an_end() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.01)
    event.set()
    assert await set_within(event, 60)
