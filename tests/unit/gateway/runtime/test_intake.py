"""Work is done round robin, and for a bounded time of each turn."""

import asyncio

from depthcast.gateway.runtime.intake import ROUND_S, Intake
from depthcast.shared.settings import GatewaySettings


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Busy:
    """A connection whose steps take `step_s` each."""

    def __init__(self, name: str, steps: int, clock: Clock, log: list[str], step_s: float = 0.0) -> None:
        self.name = name
        self.steps = steps
        self.clock = clock
        self.log = log
        self.step_s = step_s
        self.queued = False

    def step(self) -> bool:
        self.log.append(self.name)
        self.clock.now += self.step_s
        self.steps -= 1
        return self.steps > 0

    def evict(self) -> None:
        self.log.append(f"evict {self.name}")


async def test_each_connection_has_a_step_in_round() -> None:
    clock, log = Clock(), list[str]()
    intake = Intake(asyncio.get_running_loop(), GatewaySettings(), clock)
    for name, steps in (("a", 3), ("b", 1), ("c", 2)):
        connection = Busy(name, steps, clock, log)
        intake.add(connection)
        intake.add(connection)
    await asyncio.sleep(0)
    assert log == ["a", "b", "c", "a", "c", "a"]
    assert intake.rounds == 0


async def test_a_turn_ends_in_time_and_the_loop_goes_on_before_the_next() -> None:
    clock, log = Clock(), list[str]()
    loop = asyncio.get_running_loop()
    intake = Intake(loop, GatewaySettings(), clock)
    intake.add(Busy("x", 10, clock, log, step_s=ROUND_S / 2))
    loop.call_soon(log.append, "others")
    for _ in range(8):
        await asyncio.sleep(0)
    assert log == ["x", "x", "others", *"xxxxxxxx"]
    assert intake.rounds == 4


async def test_the_largest_holders_end_if_all_hold_too_much() -> None:
    clock, log = Clock(), list[str]()
    intake = Intake(asyncio.get_running_loop(), GatewaySettings(input_buffer_bytes_max=2**20), clock)
    small, large = Busy("small", 0, clock, log), Busy("large", 0, clock, log)
    intake.hold(large, 2**20)
    assert log == []
    intake.hold(small, 1)
    assert log == ["evict large"]
