"""Several ingestors of one deployment in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from depthcast.ingestor.runtime.service import IngestorService
from depthcast.shared.settings import IngestorSettings
from tests.waiting import TIMEOUT_S, eventually


@dataclass
class Member:
    """An ingestor in this process."""

    service: IngestorService
    stop: asyncio.Event
    running: asyncio.Task[None]

    def leads(self) -> int:
        return sum(leader.leadership is not None for leader in self.service.leaders)

    def hot(self) -> bool:
        """Whether it leads or follows every partition and has joined the others."""
        ready, body = self.service._ready()
        return ready and body["leading"] + body["following"] == len(self.service.leaders)

    def knows(self, count: int) -> bool:
        """Whether it knows of this many ingestors, including itself."""
        membership = self.service.stats.membership
        return membership is not None and membership.count() == count

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await self.running

    async def crash(self) -> None:
        """Cancel it at any point; unlike a killed process it still releases its leases."""
        if not self.running.cancelling():  # a second time would cut its cleaning up off
            self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


Start = Callable[[IngestorSettings], Member]


async def leader_of(living: list[Member]) -> Member:
    """Wait until all know each other and are hot, and the assigned ingestor leads the only partition."""

    def settled() -> Member | None:
        leading = [one for one in living if one.leads()]
        if len(leading) != 1 or not all(one.hot() and one.knows(len(living)) for one in living):
            return None
        membership = leading[0].service.stats.membership
        assert membership is not None
        return leading[0] if membership.owner(0) == membership.name else None

    found = await eventually(settled, message="leadership has settled")
    assert isinstance(found, Member)
    return found


async def leader_and_successor(start: Start, settings: IngestorSettings) -> tuple[Member, Member]:
    """Two ingestors of one partition, one leading and one hot."""
    first = start(settings)
    await eventually(first.leads)
    second = start(settings)
    leader = await leader_of([first, second])
    return leader, second if leader is first else first


@asynccontextmanager
async def members() -> AsyncIterator[Start]:
    started: list[Member] = []

    def start(settings: IngestorSettings) -> Member:
        service, stop = IngestorService(settings), asyncio.Event()
        started.append(Member(service, stop, asyncio.create_task(service.run(stop))))
        return started[-1]

    try:
        yield start
    finally:
        for member in started:
            await member.crash()
