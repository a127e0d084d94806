"""When a venue's list of instruments is read."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from depthcast.feed.venue import Request, Sizes
from depthcast.runtime.venue_instruments import InstrumentList
from depthcast.runtime.venue_rest import RequestFailed, VenueRest
from tests.venues.toy_adapter import Toy
from tests.waiting import eventually

LISTED = b'{"A": {"tick": "0.1", "lot": "1"}}'


class Rest(VenueRest):
    """Answers with what is in `answers`, then with the last of them; counts the requests."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.left = list(answers)
        self.requests = 0

    async def get(self, request: Request) -> bytes:
        self.requests += 1
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def reading(
    rest: Rest, interval_s: float
) -> AsyncIterator[tuple[InstrumentList, list[Mapping[str, Sizes]]]]:
    """Yield a list that is read, and what was read so far."""
    taken: list[Mapping[str, Sizes]] = []

    async def take(listed: Mapping[str, Sizes]) -> None:
        taken.append(listed)

    made = InstrumentList(Toy(), rest, lambda: ["A"], interval_s, 0.02, take)
    running = asyncio.create_task(made.run())
    try:
        yield made, taken
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_it_is_read_again_and_again() -> None:
    async with reading(Rest(LISTED), 0.01) as (_, taken):
        await eventually(lambda: len(taken) > 3)
        assert taken[0] == {"A": Sizes("0.1", "1")}


async def test_without_an_interval_it_is_read_when_it_is_asked_for() -> None:
    rest = Rest(LISTED)
    async with reading(rest, 0.0) as (made, taken):
        await asyncio.sleep(0.05)
        assert rest.requests == 0
        made.ask()
        made.ask()
        await eventually(lambda: taken)
        await asyncio.sleep(0.05)
        assert rest.requests == 1
        made.ask()
        await eventually(lambda: len(taken) == 2)


async def test_a_list_that_cannot_be_read_is_tried_again() -> None:
    rest = Rest(RequestFailed("answered with status 500"), b"[", LISTED)
    async with reading(rest, 3600.0) as (made, taken):
        made.ask()
        await eventually(lambda: taken)
        assert rest.requests == 3
