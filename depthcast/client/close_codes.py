"""Why a connection to a gateway ended, and what follows from it."""

from collections.abc import Callable
from typing import Final, NamedTuple

RandomSource = Callable[[], float]


class Closing(NamedTuple):
    """What a WebSocket close code means here."""

    meaning: str
    reconnect: bool


CLOSINGS: Final = {
    1000: Closing("the gateway ended the session", False),
    1001: Closing("the gateway is going away", True),
    1002: Closing("WebSocket protocol error", False),
    1003: Closing("frame type not taken", False),
    1006: Closing("the connection was lost", True),
    1007: Closing("text that is not UTF-8", False),
    1008: Closing("protocol misuse", False),
    1009: Closing("message too big", False),
    1011: Closing("internal error of the gateway", True),
    1012: Closing("the gateway is restarting", True),
    1013: Closing("the gateway is overloaded", True),
    4401: Closing("unauthorized", False),
    4408: Closing("no subscription in time", False),
    4410: Closing("too slow", True),
    4429: Closing("rate limit", True),
}
"""Close codes of the contract (`docs/protocol.md`, section 3) and of RFC 6455."""

UNKNOWN: Final = Closing("unknown close code", True)

LOST: Final = 1006
"""What a connection that ended without a close frame counts as."""


class ConnectionLost(Exception):
    """The connection ended with close code `code`; for the client itself, which decides what follows."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.closing = CLOSINGS.get(code, UNKNOWN)
        self.reason = reason
        super().__init__(f"closed with {code}, {self.closing.meaning}" + (f": {reason}" if reason else ""))


class Backoff:
    """Waiting times between attempts: doubling, with full jitter so that clients do not come back all at once.

    `random` gives a number from 0 to 1, such as `random.random`.
    """

    def __init__(self, first_s: float, most_s: float, random: RandomSource) -> None:
        self.first_s = first_s
        self.most_s = most_s
        self.random = random
        self.bound_s = first_s

    def next_s(self) -> float:
        """How long to wait before the next attempt."""
        wait_s = self.bound_s * self.random()
        self.bound_s = min(self.bound_s * 2, self.most_s)
        return wait_s

    def reset(self) -> None:
        """An attempt succeeded."""
        self.bound_s = self.first_s
