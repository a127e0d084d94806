"""The deterministic loop: virtual time, and processes that pause."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from tests.simulation.loop import START_S, Deadlock, Process, SimulatedLoop


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    made = SimulatedLoop(Random(1))
    yield made
    made.close()


def process(loop: SimulatedLoop, name: str = "one") -> Process:
    return Process(loop, name, Random(1))


def run(loop: SimulatedLoop, seconds: float) -> None:
    loop.run_until_complete(loop.world.spawn(asyncio.sleep(seconds)))


def test_time_passes_only_by_timers(loop: SimulatedLoop) -> None:
    run(loop, 3600.0)
    assert loop.time() == START_S + 3600.0


def test_a_paused_process_goes_on_later_with_all_that_became_due(loop: SimulatedLoop) -> None:
    one, seen = process(loop), list[float]()

    async def tick() -> None:
        for _ in range(3):
            await asyncio.sleep(1.0)
            seen.append(loop.time() - START_S)

    task = one.spawn(tick())
    run(loop, 1.5)
    one.paused = True
    run(loop, 5.0)
    assert seen == [1.0]
    one.proceed()
    loop.run_until_complete(task)
    assert seen == [1.0, 6.5, 7.5]


def test_a_killed_process_runs_nothing_any_more_not_even_its_finally(loop: SimulatedLoop) -> None:
    one, seen = process(loop), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(1.0)
        finally:
            seen.append("finally")

    task = one.spawn(work())
    run(loop, 0.5)
    one.killed = True
    task.cancel()
    run(loop, 5.0)
    assert seen == []
    one.killed = False  # so that nothing is left behind
    one.release()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


def test_clocks_differ(loop: SimulatedLoop) -> None:
    late, early = Process(loop, "late", Random(1), -500), Process(loop, "early", Random(1), 500)
    assert early.now_us() - late.now_us() == 1000


def test_nothing_left_to_happen_is_an_error(loop: SimulatedLoop) -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    task = loop.world.spawn(wait_for_ever())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


def test_the_seed_decides_which_process_runs_first() -> None:
    def order(seed: int) -> list[str]:
        loop = SimulatedLoop(Random(seed))
        seen: list[str] = []

        async def say(name: str) -> None:
            seen.append(name)

        tasks = [Process(loop, name, Random(1)).spawn(say(name)) for name in "abcd"]
        loop.run_until_complete(asyncio.wait(tasks))
        loop.close()
        return seen

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(20)}) > 5
