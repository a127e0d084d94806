"""The client of a test itself, as opposed to those of the programs under test."""

from redis.asyncio import Redis

from depthcast.shared.runtime.redis import connect
from tests.waiting import TIMEOUT_S


def patient(url: str) -> Redis:
    """A client that waits for an answer as long as a test waits for anything.

    With the limit of the programs, a machine that stands still for four seconds would fail the test, which
    has promised nothing about that.
    """
    return connect(url, timeout_s=TIMEOUT_S)
