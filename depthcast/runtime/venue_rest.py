"""HTTP requests to a venue: within its limit of weight, with pauses where it asks for them."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping
from typing import Final

import aiohttp

from depthcast.feed.venue import Request
from depthcast.shared.backoff import Backoff

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = 15.0
ANSWER_BYTES_MAX: Final = 64 << 20
BURST: Final = 0.25
"""Share of a minute's weight that may be used at once."""

REFILLED: Final = 0.7
"""Share of a minute's weight that is used over a minute; both together stay below the venue's limit."""

PAUSE_S_MAX: Final = 600.0
"""Longest pause that `Retry-After` is believed."""

TOO_OFTEN: Final = frozenset({418, 429})
"""Statuses by which a venue asks for a pause of all requests; 418 follows where 429 was ignored."""


class RequestFailed(Exception):
    """A request was not answered as wanted. `final`: the same request would be answered so again."""

    def __init__(self, problem: str, *, final: bool = False) -> None:
        self.problem = problem
        self.final = final
        super().__init__(problem)


class Allowance:
    """A bucket of request weight. Times are seconds of any one clock."""

    def __init__(self, weight_per_min: float, now: float) -> None:
        self.most = max(1.0, weight_per_min * BURST)
        self.per_s = weight_per_min * REFILLED / 60
        self._left = self.most
        self._at = now

    def take(self, weight: int, now: float) -> float:
        """Take a request's weight; returns how long to wait before it is sent."""
        self._left = min(self.most, self._left + (now - self._at) * self.per_s) - weight
        self._at = now
        return max(0.0, -self._left / self.per_s)

    def give(self, weight: int) -> None:
        """Give back the weight of a request that was not sent."""
        self._left += weight


class VenueRest:
    """The requests of one process to one venue. `answers`: counts by status, 0 = none came."""

    def __init__(self, session: aiohttp.ClientSession, url: str, weight_per_min: int) -> None:
        self.session = session
        self.url = url.rstrip("/")
        self.answers: Counter[int] = Counter()
        self._allowance = Allowance(weight_per_min, asyncio.get_running_loop().time())
        self._paused_until = 0.0
        self._backoff = Backoff(1.0, 60.0, random.random)

    async def get(self, request: Request) -> bytes:
        """Return the body of the answer; waits for its turn. Raises `RequestFailed`."""
        await self.wait_for_room(request)
        return await self.send(request)

    async def wait_for_room(self, request: Request) -> None:
        """Wait until the request may be sent. Who does not wait to the end takes nothing away from others."""
        try:
            await asyncio.sleep(self._allowance.take(request.weight, asyncio.get_running_loop().time()))
            await self._pause()
        except asyncio.CancelledError:
            self._allowance.give(request.weight)
            raise

    async def send(self, request: Request) -> bytes:
        """Return the body of the answer to a request whose turn it is. Raises `RequestFailed`."""
        loop = asyncio.get_running_loop()
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with self.session.get(self.url + request.path, timeout=timeout) as answer:
                self.answers[answer.status] += 1
                if answer.status != 200:
                    self._refused(answer.status, answer.headers, loop.time())
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise RequestFailed(f"the answer has more than {ANSWER_BYTES_MAX} bytes", final=True)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.answers[0] += 1
            raise RequestFailed(str(error) or type(error).__name__) from error
        self._backoff.reset()
        return bytes(body)

    async def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):  # a pause may be prolonged meanwhile
            await asyncio.sleep(max(0.0, self._paused_until - loop.time()))

    def _refused(self, status: int, headers: Mapping[str, str], now: float) -> None:
        """Raise `RequestFailed` for a status, after noting the pause that it asks for."""
        if status in TOO_OFTEN or (status == 503 and "Retry-After" in headers):
            pause_s = _retry_after_s(headers)
            pause_s = self._backoff.next_s() if pause_s is None else pause_s
            self._paused_until = max(self._paused_until, now + pause_s)
            logger.warning(
                "the venue asks for a pause of requests", extra={"status": status, "seconds": pause_s}
            )
        final = 400 <= status < 500 and status not in (*TOO_OFTEN, 403, 408, 425)
        raise RequestFailed(f"answered with status {status}", final=final)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Retry-After`; None if it is absent or a date."""
    text = headers.get("Retry-After", "").strip()
    return min(float(text), PAUSE_S_MAX) if text.isdecimal() else None
