"""A venue's list of instruments: read at start, again from time to time, and at once when somebody asks."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from depthcast.feed.venue import Sizes, Venue
from depthcast.runtime.venue_rest import RequestFailed, VenueRest
from depthcast.shared.backoff import Backoff

logger = logging.getLogger(__name__)

ASK_S: Final = 0.5
"""Bound of the first wait between two lists that were asked for; it doubles with each."""


async def read_instruments(venue: Venue, rest: VenueRest, symbols: Sequence[str]) -> dict[str, Sizes]:
    """Return the sizes of the venue's instruments. Raises `RequestFailed`, and `ValueError` for no list."""
    answers = [await rest.get(request) for request in venue.instruments_requests(symbols)]
    return venue.read_instruments(answers)


class InstrumentList:
    """Reads the list again every `interval_s`, 0 = only when it is asked for, and gives it to `take`.

    `retry_max_s`: longest wait between two lists that were asked for.
    """

    def __init__(
        self,
        venue: Venue,
        rest: VenueRest,
        symbols: Callable[[], Sequence[str]],
        interval_s: float,
        retry_max_s: float,
        take: Callable[[Mapping[str, Sizes]], Awaitable[None]],
    ) -> None:
        self._venue = venue
        self._rest = rest
        self._symbols = symbols
        self._interval_s = interval_s
        self._take = take
        self._asked = asyncio.Event()
        self._backoff = Backoff(min(ASK_S, retry_max_s), retry_max_s, random.random)
        self._problem = ""

    def ask(self) -> None:
        """Let the list be read at once, or soon if that has happened often lately."""
        self._asked.set()

    async def run(self) -> None:
        """Read when it is due, for ever; a list that cannot be read is tried again."""
        while True:
            if not await self._is_asked():
                self._backoff.reset()
            self._asked.clear()
            await self._read()
            await asyncio.sleep(self._backoff.next_s())

    async def _is_asked(self) -> bool:
        """Wait until the list is due; True if somebody asked for it."""
        try:
            async with asyncio.timeout(self._interval_s or None):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True

    async def _read(self) -> None:
        try:
            listed = await read_instruments(self._venue, self._rest, self._symbols())
        except (RequestFailed, ValueError) as error:
            problem = error.problem if isinstance(error, RequestFailed) else str(error)
            if problem != self._problem:
                logger.warning("the venue's instruments cannot be read", extra={"problem": problem})
            self._problem = problem
            self.ask()
            return
        self._problem = ""
        await self._take(listed)
