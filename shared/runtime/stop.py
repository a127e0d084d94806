"""How a process is asked to end: once in order, and a second time without waiting for anybody."""

import asyncio


class Stop(asyncio.Event):
    """Set once the process is to end. `at_once`: nothing is to be waited for any more."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = asyncio.Event()

    def ask(self, *, again: bool = False) -> None:
        """Take a request to end; `again`: the same one came before, so somebody does not want to wait."""
        if again:
            self.at_once.set()
        self.set()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; returns False if it is not set after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
