"""A place for a connection: what follows if the connection that is to replace another one ends."""

import asyncio
from typing import Any, cast

from depthcast.runtime.venue_connection import ConnectionEnded, VenueConnection
from depthcast.runtime.venue_slot import ConnectionSlot
from tests.waiting import eventually


class Stub:
    """A connection that goes on until it is told to end."""

    def __init__(self) -> None:
        self.symbols = ["A"]
        self.opened_at: float | None = None
        self.closing = asyncio.Event()
        self.over = asyncio.Event()

    async def run(self) -> None:
        await self.over.wait()
        raise ConnectionEnded("cut", "")


async def test_the_old_connection_goes_on_if_the_new_one_ends() -> None:
    made: list[Stub] = []
    returned: list[VenueConnection] = []
    taken_over = False

    def make() -> VenueConnection:
        made.append(Stub())
        return cast("Any", made[-1])  # type: ignore[no-any-return]

    slot = ConnectionSlot(
        make, lambda _: taken_over, lambda: True, 0.0, 0.1, lambda *_: None, returned.append
    )
    task = asyncio.create_task(slot.run())
    await eventually(lambda: len(made) == 1)
    made[0].closing.set()
    await eventually(lambda: len(made) == 2)
    old, new = (cast("Any", each) for each in made)
    assert (slot.is_replacing(old), slot.is_replacing(new)) == (False, True)
    new.over.set()
    await eventually(lambda: returned == [old])
    await eventually(lambda: len(made) == 3, message="it is tried again")
    taken_over = True
    await eventually(lambda: slot.current is cast("Any", made[2]))
    assert not slot.is_replacing(cast("Any", made[2]))
    assert (returned, slot.handovers) == ([old], 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
