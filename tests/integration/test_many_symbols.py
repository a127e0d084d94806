"""Thousands of symbols in one partition: born in small steps, and taken over without a long pause."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from depthcast.ingestor.runtime.leadership import BIRTHS_MAX
from depthcast.shared.codec import decode_delta
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute, read_hash
from tests.ingestor_runs import Run, check_history
from tests.waiting import eventually

COUNT = 3_000
NAMES = [f"S{number:05}" for number in range(COUNT)]
FILE = "".join(f"[{name}]\n" for name in NAMES)
LAST = NAMES[-1]


@asynccontextmanager
async def longest_pause(pauses: list[float]) -> AsyncIterator[None]:
    """Append to `pauses` how long the event loop ran nothing else, at most."""

    async def measure() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            pauses.append(time.monotonic() - before)

    measuring = asyncio.create_task(measure())
    try:
        yield
    finally:
        measuring.cancel()


async def born(run: Run) -> dict[str, tuple[Position, int]]:
    """The position of each birth, and how many symbols are born in its entry."""
    found: dict[str, tuple[Position, int]] = {}
    for position, fields in await run.history():
        names = [
            name.decode()
            for name, raw in fields
            if not name.startswith(b"_") and not decode_delta(raw).prev_seq
        ]
        found.update(dict.fromkeys(names, (position, len(names))))
    return found


async def test_many_symbols_are_born_in_small_steps_and_taken_over(run: Run) -> None:
    pauses: list[float] = []
    async with run.service(run.settings(FILE)):
        # Its birth may still be waiting: its input is applied all the same.
        await run.send((LAST, '[["update","bid",1,1]]'))
        await eventually(lambda: execute(run.client, "EXISTS", run.keys.snapshots(LAST)))

        async def all_born() -> bool:
            return int(await execute(run.client, "HLEN", run.keys.symbols)) == COUNT

        await eventually(all_born, message="all are born")
        births = await born(run)
        assert births.keys() == set(NAMES)
        assert max(size for _, size in births.values()) <= BIRTHS_MAX + 1
        held = await read_hash(run.client, run.keys.symbols)
        for name in (NAMES[0], NAMES[COUNT // 2], LAST):
            snapshots = await run.snapshots(name)
            assert Position.parse(held[name.encode()]) >= births[name][0]
            assert snapshots[0][0] >= births[name][0], "with the birth or, where it had input, after it"
    before = (await run.history())[-1][0].epoch
    async with longest_pause(pauses), run.service(run.settings(FILE)):

        async def moved() -> int:
            history = await run.history()
            return sum(
                len(fields) - 2 for position, fields in history if position.epoch > before and position.n
            )

        async def all_moved() -> bool:
            return await moved() >= COUNT

        await eventually(all_moved, message="all are moved")
    assert not {symbol for symbol, (position, _) in (await born(run)).items() if position.epoch > before}
    assert max(pauses) < 3, "others wait for their turn: with the square of the symbols it took 7 s"
    check_history(await run.history())
